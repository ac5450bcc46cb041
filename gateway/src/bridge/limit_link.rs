//! How a worker asks the cold side to count a request in shared counters, and hears the answer. [bridge]
//!
//! A question goes into one queue of all workers, its answer into the worker's mailbox. A worker has
//! at most [`ASKS_IN_FLIGHT_MAX`] questions under way, which is what its mailbox holds: no answer is
//! lost. Whoever stops waiting leaves nothing behind: an admission that nobody takes is ended.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};

use super::mailbox::Sender;
use super::shared_limits::{Ask, Ending, LayerRoom, Outcome, Receipt, RedisDown, Refused};

/// Questions and endings waiting, of all workers. At the bound a question is answered
/// [`RedisDown`]; an ending is lost, and the slots are freed by the next refresh. About 1 MB.
pub const LIMIT_MESSAGES_MAX: usize = 16_384;
/// Questions of one worker under way; more are answered [`RedisDown`]. About 100 KB per worker.
pub const ASKS_IN_FLIGHT_MAX: usize = 1_024;

/// What workers tell the cold side.
#[derive(Debug)]
pub enum ToLimits {
    /// Count a request.
    Ask {
        /// Where the answer goes.
        worker: u16,
        /// To be given back with the answer.
        number: u64,
        /// The request.
        ask: Ask,
    },
    /// A request has ended.
    End(Receipt, Ending),
}

/// The answer to [`ToLimits::Ask`].
#[derive(Debug)]
pub struct LimitAnswer {
    /// As asked.
    pub number: u64,
    /// How it went.
    pub outcome: Result<Outcome, RedisDown>,
}

/// What both sides know of the way between them.
#[derive(Debug, Default)]
pub struct LinkState {
    serving: AtomicBool,
    lost: AtomicU64,
}

impl LinkState {
    /// Whether questions are answered. Without shared counters they never are.
    pub fn is_serving(&self) -> bool {
        self.serving.load(Relaxed)
    }

    /// Says whether questions are answered from now on.
    pub fn serve(&self, serving: bool) {
        self.serving.store(serving, Relaxed);
    }

    /// Endings that found no room.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

/// The way to the cold side. Cloned for each permit.
#[derive(Clone, Debug)]
struct Way {
    to: Sender<ToLimits>,
    state: Arc<LinkState>,
}

impl Way {
    fn end(&self, receipt: Receipt, ending: Ending) {
        if self.to.send(ToLimits::End(receipt, ending)).is_err() {
            self.state.lost.fetch_add(1, Relaxed);
        }
    }
}

/// A worker's end. Sent to its thread once, then never shared.
#[derive(Debug)]
pub struct LimitLink {
    worker: u16,
    way: Way,
    next: Cell<u64>,
    /// Questions whose answer has not come, waited for or not.
    in_flight: Cell<usize>,
    waiting: RefCell<HashMap<u64, Waiting>>,
}

#[derive(Debug)]
enum Waiting {
    Asked(Option<Waker>),
    Answered(Result<Outcome, RedisDown>),
}

impl AsFd for LimitLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.way.to.as_fd()
    }
}

impl LimitLink {
    /// The end of worker number `worker`.
    pub fn new(worker: u16, to: Sender<ToLimits>, state: Arc<LinkState>) -> Self {
        Self {
            worker,
            way: Way { to, state },
            next: Cell::new(0),
            in_flight: Cell::new(0),
            waiting: RefCell::default(),
        }
    }

    /// Has `ask` counted. Answered [`RedisDown`] at once where nobody counts or too much is under
    /// way. Dropping the answer before it is there ends the request.
    pub fn ask(&self, ask: Ask) -> Asking<'_> {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        let message = ToLimits::Ask {
            worker: self.worker,
            number,
            ask,
        };
        let asks = self.way.state.is_serving() && self.in_flight.get() < ASKS_IN_FLIGHT_MAX;
        let waiting = if asks && self.way.to.send(message).is_ok() {
            self.in_flight.set(self.in_flight.get() + 1);
            Waiting::Asked(None)
        } else {
            Waiting::Answered(Err(RedisDown))
        };
        self.waiting.borrow_mut().insert(number, waiting);
        Asking { link: self, number }
    }

    /// Takes an answer in and wakes whoever waits for it.
    pub fn deliver(&self, answer: LimitAnswer) {
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
        let unheard = {
            let mut waiting = self.waiting.borrow_mut();
            match waiting.get_mut(&answer.number) {
                Some(place) => match std::mem::replace(place, Waiting::Answered(answer.outcome)) {
                    Waiting::Asked(waker) => Ok(waker),
                    Waiting::Answered(earlier) => Err(earlier),
                },
                None => Err(answer.outcome),
            }
        };
        match unheard {
            Ok(waker) => {
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            Err(outcome) => self.turn_down(outcome),
        }
    }

    /// Ends an admission that nobody takes.
    fn turn_down(&self, outcome: Result<Outcome, RedisDown>) {
        if let Ok(Outcome::Admitted(admitted)) = outcome {
            self.way.end(admitted.receipt, Ending::Refunded);
        }
    }
}

/// An answer that is on its way.
#[derive(Debug)]
#[must_use = "dropping it ends the request"]
pub struct Asking<'l> {
    link: &'l LimitLink,
    number: u64,
}

/// An answer.
#[derive(Debug)]
pub enum Answer {
    /// Counted in all buckets; what is left, layer by layer.
    Admitted(SharedPermit, Vec<LayerRoom>),
    /// Counted in none.
    Refused(Refused),
}

impl Future for Asking<'_> {
    type Output = Result<Answer, RedisDown>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut waiting = self.link.waiting.borrow_mut();
        if let Some(Waiting::Asked(waker)) = waiting.get_mut(&self.number) {
            *waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let Some(Waiting::Answered(outcome)) = waiting.remove(&self.number) else {
            return Poll::Ready(Err(RedisDown));
        };
        Poll::Ready(outcome.map(|outcome| match outcome {
            Outcome::Refused(refused) => Answer::Refused(refused),
            Outcome::Admitted(admitted) => {
                let permit = SharedPermit {
                    receipt: Some(admitted.receipt),
                    ending: Ending::Refunded,
                    way: self.link.way.clone(),
                };
                Answer::Admitted(permit, admitted.rooms)
            }
        }))
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let left = self.link.waiting.borrow_mut().remove(&self.number);
        if let Some(Waiting::Answered(outcome)) = left {
            self.link.turn_down(outcome);
        }
    }
}

/// Leave to serve one request, counted in shared counters. To be held until the answer has ended;
/// dropping it frees its slots, and what was said of its tokens before is charged then.
#[derive(Debug)]
#[must_use = "a permit that is dropped frees its slots at once"]
pub struct SharedPermit {
    receipt: Option<Receipt>,
    ending: Ending,
    way: Way,
}

impl SharedPermit {
    /// Charges `tokens` in the place of what was reserved, once the permit is dropped. The first
    /// call counts, later ones do nothing.
    pub fn settle(&mut self, tokens: u64) {
        if !matches!(self.ending, Ending::Settled(_)) {
            self.ending = Ending::Settled(tokens);
        }
    }

    /// What was reserved stays charged if the tokens do not become known.
    pub fn keep_reservation(&mut self) {
        if self.ending == Ending::Refunded {
            self.ending = Ending::Kept;
        }
    }

    /// Takes back everything that was counted. Not after [`SharedPermit::settle`].
    pub fn give_back(mut self) {
        debug_assert!(
            !matches!(self.ending, Ending::Settled(_)),
            "what was settled is spent"
        );
        self.ending = Ending::GivenBack;
    }
}

impl Drop for SharedPermit {
    fn drop(&mut self) {
        if let Some(receipt) = self.receipt.take() {
            self.way.end(receipt, self.ending);
        }
    }
}

#[cfg(test)]
mod tests;
