//! The listening sockets of a worker, so that it can be told to leave them. [ring]

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};

/// Who accepts, each at a door of its own.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    is_shut: Cell<bool>,
    attended: Cell<usize>,
    wakers: RefCell<Vec<Waker>>,
}

/// One listening socket's place among [`Doors`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Door(usize);

impl Doors {
    /// Opens one more.
    pub(crate) fn add(&self) -> Door {
        self.attended.set(self.attended.get() + 1);
        let mut wakers = self.wakers.borrow_mut();
        wakers.push(Waker::noop().clone());
        Door(wakers.len() - 1)
    }

    /// Ready once nothing more shall be accepted.
    pub(crate) fn poll_shut(&self, door: Door, cx: &Context<'_>) -> Poll<()> {
        if self.is_shut.get() {
            return Poll::Ready(());
        }
        self.wakers.borrow_mut()[door.0].clone_from(cx.waker());
        Poll::Pending
    }

    /// Has everybody leave.
    pub(crate) fn shut(&self) {
        self.is_shut.set(true);
        self.wakers.borrow().iter().for_each(Waker::wake_by_ref);
    }

    /// Says that a door is attended no more; `true` where it was the last one.
    pub(crate) fn leave(&self) -> bool {
        let left = self.attended.get().saturating_sub(1);
        self.attended.set(left);
        left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_is_open_until_all_are_shut_and_the_last_one_to_leave_knows() {
        let doors = Doors::default();
        let (first, second) = (doors.add(), doors.add());
        let cx = Context::from_waker(Waker::noop());
        assert!(doors.poll_shut(first, &cx).is_pending());
        doors.shut();
        assert!(doors.poll_shut(first, &cx).is_ready());
        assert!(doors.poll_shut(second, &cx).is_ready());
        assert!(!doors.leave());
        assert!(doors.leave());
    }
}
