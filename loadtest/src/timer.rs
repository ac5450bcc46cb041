//! Timers of microseconds: a heap per thread and one timerfd. [cold]
//!
//! Those of tokio fire on whole milliseconds, so that a thousand streams would send in bursts and a
//! gateway would see events that no provider sends.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use crate::clock;

/// Timers due this soon fire with the one that is due: a wake-up costs more.
const SLACK: Duration = Duration::from_micros(10);

thread_local! {
    static TIMERS: RefCell<Timers> = RefCell::default();
}

#[derive(Default)]
struct Timers {
    /// Deadlines, earliest first; those whose waker is gone were cancelled.
    heap: BinaryHeap<Reverse<(Instant, u64)>>,
    wakers: HashMap<u64, Waker>,
    last_id: u64,
    /// When the timerfd will fire.
    armed: Option<Instant>,
    fd: Option<Rc<AsyncFd<OwnedFd>>>,
}

/// Completes at its deadline, on the thread that first polls it.
#[derive(Debug)]
pub struct Sleep {
    deadline: Instant,
    id: Option<u64>,
}

impl Sleep {
    pub fn until(deadline: Instant) -> Self {
        Self { deadline, id: None }
    }

    /// Ready at or after the deadline.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(id) = self.id {
            // Fired, or polled for another reason.
            return TIMERS.with_borrow_mut(|timers| match timers.wakers.get_mut(&id) {
                Some(waker) => {
                    waker.clone_from(cx.waker());
                    Poll::Pending
                }
                None => Poll::Ready(()),
            });
        }
        if self.deadline <= clock::now() {
            return Poll::Ready(());
        }
        let id = TIMERS.with_borrow_mut(|timers| timers.add(self.deadline, cx.waker()));
        self.id = Some(id);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            // The thread may be ending, and its timers with it.
            let _ = TIMERS.try_with(|timers| timers.borrow_mut().wakers.remove(&id));
        }
    }
}

/// Waits until `deadline`.
pub async fn sleep_until(deadline: Instant) {
    let mut sleep = Sleep::until(deadline);
    poll_fn(|cx| sleep.poll(cx)).await;
}

/// Waits for `duration`.
pub async fn sleep(duration: Duration) {
    sleep_until(clock::now() + duration).await;
}

/// Fires the timers of this thread; runs beside the tasks that use them, until they end.
///
/// # Errors
///
/// The kernel's, if it has no timerfd to give.
pub async fn drive() -> io::Result<()> {
    let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
    #[expect(
        deprecated,
        reason = "its replacement is unsafe; an `OwnedFd` always is the descriptor it says it is"
    )]
    let fd = Rc::new(AsyncFd::new(fd)?);
    TIMERS.with_borrow_mut(|timers| {
        timers.fd = Some(Rc::clone(&fd));
        timers.arm();
    });
    loop {
        fd.readable().await?.clear_ready();
        for waker in TIMERS.with_borrow_mut(Timers::fire) {
            waker.wake();
        }
    }
}

impl Timers {
    fn add(&mut self, deadline: Instant, waker: &Waker) -> u64 {
        self.last_id += 1;
        self.heap.push(Reverse((deadline, self.last_id)));
        self.wakers.insert(self.last_id, waker.clone());
        if self.armed.is_none_or(|armed| deadline < armed) {
            self.arm();
        }
        self.last_id
    }

    /// Takes the wakers that are due and arms for the next.
    fn fire(&mut self) -> Vec<Waker> {
        let due = clock::now() + SLACK;
        let mut wakers = Vec::new();
        while let Some(Reverse((deadline, id))) = self.heap.peek().copied() {
            if deadline > due {
                break;
            }
            self.heap.pop();
            wakers.extend(self.wakers.remove(&id));
        }
        self.arm();
        wakers
    }

    fn arm(&mut self) {
        self.armed = None;
        let (Some(fd), Some(Reverse((deadline, _)))) = (&self.fd, self.heap.peek()) else {
            return;
        };
        let left = deadline.saturating_duration_since(clock::now());
        // Zero would disarm it.
        let left = left.max(Duration::from_nanos(1));
        let spec = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            },
        };
        if timerfd_settime(fd.get_ref(), TimerfdTimerFlags::empty(), &spec).is_ok() {
            self.armed = Some(*deadline);
        }
    }
}

/// Runs `main` on a runtime of this thread, with its timers.
///
/// # Errors
///
/// Those of making a runtime.
pub fn block_on<T>(main: impl Future<Output = T>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        tokio::select! {
            biased;
            result = main => Ok(result),
            Err(error) = drive() => Err(error),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_in_order_and_never_early() {
        let fired = block_on(async {
            let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
            let start = clock::now();
            for millis in [7, 1, 5, 3] {
                let sender = sender.clone();
                tokio::spawn(async move {
                    let deadline = start + Duration::from_millis(millis);
                    sleep_until(deadline).await;
                    assert!(clock::now() + SLACK >= deadline);
                    let _ = sender.send(millis);
                });
            }
            drop(sender);
            let mut fired = Vec::new();
            while let Some(millis) = receiver.recv().await {
                fired.push(millis);
            }
            fired
        });
        assert_eq!(fired.unwrap(), [1, 3, 5, 7]);
    }

    #[test]
    fn a_dropped_timer_wakes_nobody_and_a_past_one_is_ready() {
        block_on(async {
            let mut sleep = Sleep::until(clock::now() + Duration::from_secs(600));
            assert!(poll_fn(|cx| Poll::Ready(sleep.poll(cx).is_pending())).await);
            drop(sleep);
            TIMERS.with_borrow(|timers| assert!(timers.wakers.is_empty()));
            sleep_until(clock::now()).await;
        })
        .unwrap();
    }
}
