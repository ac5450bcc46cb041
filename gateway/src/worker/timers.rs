//! The deadlines of one worker: as many as there are connections, and nearly all of them never come. [ring]
//!
//! The runtime's own timer takes 640 bytes and a place in its wheel for each. Here a deadline is 56 bytes and one entry of
//! a heap, which stays where it is while the deadline moves later, and one timer of the runtime serves all.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use monoio::time::{Instant, Sleep, sleep_until};

use super::Worker;

/// Entries of deadlines that are gone or moved, beyond which the heap is cleared of them once they are most of it.
const STALE_MAX: usize = 1024;

thread_local! {
    static TIMERS: RefCell<Timers> = RefCell::default();
}

/// A deadline of this thread's, which may move with every byte; free of cost until it is first waited for.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<Slot>);

impl Alarm {
    /// Ready once `deadline` has passed; `None` never is.
    pub(crate) fn poll_until(&mut self, cx: &Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        let Some(at) = deadline else {
            return Poll::Pending;
        };
        let (ready, unused) =
            TIMERS.with_borrow_mut(|timers| timers.poll(&mut self.0, at, cx.waker()));
        // What a waker takes along may have deadlines of its own.
        drop(unused);
        ready
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(slot) = self.0.take() {
            // A thread that ends takes all deadlines along.
            let removed = TIMERS.try_with(|timers| timers.borrow_mut().remove(slot));
            drop(removed);
        }
    }
}

/// A deadline's place; given back with [`Timers::remove`].
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Slot(u32);

#[derive(Debug)]
struct Deadline {
    at: Instant,
    /// When its entry of the heap comes up: then, or before that.
    armed: Option<Instant>,
    waker: Waker,
}

/// Deadlines, and who waits for them.
#[derive(Debug, Default)]
struct Timers {
    slots: Vec<Option<Deadline>>,
    free: Vec<Slot>,
    heap: BinaryHeap<Reverse<(Instant, Slot)>>,
    /// The time up to which deadlines were told.
    told: Option<Instant>,
    driver: Option<Waker>,
}

impl Timers {
    /// Ready once `at` was told; else `waker` is woken then. Takes a place where `slot` has none.
    ///
    /// A waker that is not needed any more comes back, to be dropped when nothing is borrowed.
    fn poll(
        &mut self,
        slot: &mut Option<Slot>,
        at: Instant,
        waker: &Waker,
    ) -> (Poll<()>, Option<Waker>) {
        if self.told.is_some_and(|told| at <= told) {
            return (Poll::Ready(()), None);
        }
        let slot = *slot.get_or_insert_with(|| self.place());
        let mut unused = None;
        let deadline = self.slots[slot.0 as usize].get_or_insert_with(|| Deadline {
            at,
            armed: None,
            waker: waker.clone(),
        });
        deadline.at = at;
        if !deadline.waker.will_wake(waker) {
            unused = Some(std::mem::replace(&mut deadline.waker, waker.clone()));
        }
        if deadline.armed.is_none_or(|armed| at < armed) {
            deadline.armed = Some(at);
            self.arm(at, slot);
        }
        (Poll::Pending, unused)
    }

    /// Takes a place back; its waker, as [`Timers::poll`].
    fn remove(&mut self, slot: Slot) -> Option<Waker> {
        let gone = self.slots[slot.0 as usize].take();
        self.free.push(slot);
        gone.map(|deadline| deadline.waker)
    }

    /// When the next entry comes up; `driver` is woken when that changes to earlier.
    fn next(&mut self, driver: &Waker) -> Option<Instant> {
        if !self
            .driver
            .as_ref()
            .is_some_and(|known| known.will_wake(driver))
        {
            self.driver = Some(driver.clone());
        }
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Tells everything that was due at `now`: whom to wake.
    fn tell(&mut self, now: Instant) -> Vec<Waker> {
        self.told = Some(now);
        let mut due = Vec::new();
        while let Some(Reverse((at, slot))) = self.heap.peek().copied() {
            if at > now {
                break;
            }
            self.heap.pop();
            let Some(deadline) = &mut self.slots[slot.0 as usize] else {
                continue;
            };
            // An entry from before the deadline was moved earlier, or of another one's in this place.
            if deadline.armed != Some(at) {
                continue;
            }
            if deadline.at > now {
                deadline.armed = Some(deadline.at);
                self.heap.push(Reverse((deadline.at, slot)));
            } else {
                deadline.armed = None;
                due.push(deadline.waker.clone());
            }
        }
        due
    }

    fn place(&mut self) -> Slot {
        self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            Slot(u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX))
        })
    }

    fn arm(&mut self, at: Instant, slot: Slot) {
        if self.heap.len() > STALE_MAX + 2 * (self.slots.len() - self.free.len()) {
            let slots = &self.slots;
            self.heap.retain(|Reverse((at, slot))| {
                let deadline = slots[slot.0 as usize].as_ref();
                deadline.is_some_and(|deadline| deadline.armed == Some(*at))
            });
        }
        let is_first = self
            .heap
            .peek()
            .is_none_or(|Reverse((first, _))| at < *first);
        self.heap.push(Reverse((at, slot)));
        if is_first && let Some(driver) = &self.driver {
            driver.wake_by_ref();
        }
    }
}

/// Tells the deadlines of this worker as they come.
pub(super) async fn run(worker: Rc<Worker>) {
    let mut sleep: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| -> Poll<()> {
        loop {
            ready!(poll_next(&mut sleep, cx));
            let now = worker.tick();
            TIMERS
                .with_borrow_mut(|timers| timers.tell(now))
                .iter()
                .for_each(Waker::wake_by_ref);
        }
    })
    .await;
}

/// Ready once the next entry has come up.
fn poll_next(sleep: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> Poll<()> {
    let Some(next) = TIMERS.with_borrow_mut(|timers| timers.next(cx.waker())) else {
        return Poll::Pending;
    };
    let sleep = sleep.get_or_insert_with(|| Box::pin(sleep_until(next)));
    if sleep.deadline() != next {
        sleep.as_mut().reset(next);
    }
    sleep.as_mut().poll(cx)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;
    use std::time::Duration;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Timers, and a clock that stands at 0.
    fn timers() -> (Timers, impl Fn(u64) -> Instant) {
        let zero = Instant::now();
        (Timers::default(), move |ms| {
            zero + Duration::from_millis(ms)
        })
    }

    fn told(timers: &mut Timers, now: Instant) -> usize {
        let due = timers.tell(now);
        due.iter().for_each(Waker::wake_by_ref);
        due.len()
    }

    #[test]
    fn a_deadline_that_moves_later_is_told_once_and_then() {
        let (mut timers, at) = timers();
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut slot = None;
        for ms in [10, 20, 30] {
            assert!(timers.poll(&mut slot, at(ms), &waker).0.is_pending());
        }
        assert_eq!(timers.heap.len(), 1, "an entry for each move");
        assert_eq!(told(&mut timers, at(10)), 0);
        assert_eq!(timers.next(Waker::noop()), Some(at(30)));
        assert_eq!(told(&mut timers, at(31)), 1);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(timers.poll(&mut slot, at(30), &waker).0.is_ready());
        assert!(timers.poll(&mut slot, at(40), &waker).0.is_pending());
        assert_eq!(told(&mut timers, at(40)), 1);
    }

    #[test]
    fn one_that_moves_earlier_is_told_earlier_and_the_driver_hears_of_it() {
        let (mut timers, at) = timers();
        let driver = Arc::new(Count::default());
        assert_eq!(timers.next(&Waker::from(Arc::clone(&driver))), None);
        let mut slot = None;
        for (ms, heard) in [(30, 1), (10, 2), (20, 2)] {
            let ready = timers.poll(&mut slot, at(ms), Waker::noop()).0;
            assert!(ready.is_pending());
            assert_eq!(driver.0.load(Ordering::Relaxed), heard, "at {ms} ms");
        }
        assert_eq!(
            (told(&mut timers, at(10)), told(&mut timers, at(20))),
            (0, 1)
        );
        assert_eq!(told(&mut timers, at(99)), 0, "what it was before is told");
    }

    #[test]
    fn places_are_used_again_and_what_is_gone_takes_no_room_for_long() {
        let (mut timers, at) = timers();
        for round in 0..10_000 {
            let mut slot = None;
            let ready = timers.poll(&mut slot, at(1_000 + round), Waker::noop()).0;
            assert!(ready.is_pending());
            timers.remove(slot.unwrap());
        }
        assert_eq!(timers.slots.len(), 1);
        assert!(timers.heap.len() <= STALE_MAX + 2, "{}", timers.heap.len());
        assert_eq!(told(&mut timers, at(99_999)), 0);
    }
}
