//! A bounded queue into a sleeping thread, with a socket that wakes it. [bridge]
//!
//! Every message is followed by one byte into a socket pair. The receiver waits for its end to
//! become readable, reads what is there, then pops until the queue is empty. A full socket is
//! fine: a byte is already pending.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU8, Ordering::AcqRel, Ordering::Acquire, Ordering::Release,
};

use crossbeam_queue::ArrayQueue;

use super::dns::DnsAnswer;
use super::limit_link::{ASKS_IN_FLIGHT_MAX, LimitAnswer};

/// Messages waiting for one worker. An answer that finds no room is lost; the worker's own
/// deadline covers that.
pub const WORKER_MESSAGES_MAX: usize = 256;

const DRAIN: u8 = 1;
const STOP_ACCEPTING: u8 = 2;
const CUT: u8 = 4;
const HAND_OVER: u8 = 8;
const SHED: u8 = 16;

/// The sending end of a bounded queue with a wake-up. Clones share its descriptor.
#[derive(Debug)]
pub struct Sender<T> {
    queue: Arc<ArrayQueue<T>>,
    bell: Arc<UnixStream>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self {
            queue: Arc::clone(&self.queue),
            bell: Arc::clone(&self.bell),
        }
    }
}

impl<T> Sender<T> {
    /// Queues a message and wakes the receiver. Never blocks.
    ///
    /// # Errors
    ///
    /// The message, when the queue is full.
    pub fn send(&self, message: T) -> Result<(), T> {
        let sent = self.queue.push(message);
        self.ring();
        sent
    }

    /// Another sending end with a descriptor of its own, for a thread that has its own table of them.
    ///
    /// # Errors
    ///
    /// When the process is out of file descriptors.
    pub fn separate(&self) -> io::Result<Self> {
        Ok(Self {
            queue: Arc::clone(&self.queue),
            bell: Arc::new(self.bell.try_clone()?),
        })
    }

    /// Wakes the receiver without a message.
    fn ring(&self) {
        // WouldBlock: bytes are pending, the receiver will look. Any other error: the receiver is
        // gone and nobody is left to be woken.
        let _ = (&*self.bell).write(&[1]);
    }
}

impl<T> AsFd for Sender<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

/// The popping end.
#[derive(Debug)]
pub struct Receiver<T> {
    queue: Arc<ArrayQueue<T>>,
}

impl<T> Receiver<T> {
    /// The oldest message.
    pub fn pop(&self) -> Option<T> {
        self.queue.pop()
    }
}

/// A queue for `capacity` messages, and the receiver's end of the socket pair.
///
/// That end is left in blocking mode, because io_uring answers a read of a non-blocking socket
/// with EAGAIN instead of waiting; a receiver on an epoll loop sets the mode itself.
///
/// # Errors
///
/// When the process is out of file descriptors.
pub fn queue<T>(capacity: usize) -> io::Result<(Sender<T>, Receiver<T>, OwnedFd)> {
    let (bell, ear) = UnixStream::pair()?;
    bell.set_nonblocking(true)?;
    let queue = Arc::new(ArrayQueue::new(capacity));
    let sender = Sender {
        queue: Arc::clone(&queue),
        bell: Arc::new(bell),
    };
    Ok((sender, Receiver { queue }, ear.into()))
}

/// Reads away pending wake-ups of a receiver's end in non-blocking mode.
pub fn hush(ear: &mut impl Read) {
    let mut bytes = [0; 64];
    while matches!(ear.read(&mut bytes), Ok(n) if n > 0) {}
}

/// What a worker is told.
#[derive(Clone, Debug)]
pub enum ToWorker {
    /// Another process accepts from now on: leave the listening sockets to it, answer with
    /// `connection: close`.
    HandOver,
    /// Answer with `connection: close` from now on, and leave once nothing is in flight.
    Drain,
    /// Close the listening socket and idle connections.
    StopAccepting,
    /// End every connection, busy or not.
    Cut,
    /// Close the connections that have no request: memory is above its mark.
    Shed,
    /// An address, or none.
    Dns(DnsAnswer),
}

/// A worker's mailbox.
#[derive(Debug)]
pub struct Mailbox {
    answers: Receiver<DnsAnswer>,
    limits: Receiver<LimitAnswer>,
    orders: Arc<AtomicU8>,
    accepts_no_more: Arc<AtomicBool>,
}

impl Mailbox {
    /// The next message. Orders come first and are never lost, whatever is queued.
    pub fn pop(&self) -> Option<ToWorker> {
        for (bit, order) in [
            (HAND_OVER, ToWorker::HandOver),
            (DRAIN, ToWorker::Drain),
            (STOP_ACCEPTING, ToWorker::StopAccepting),
            (CUT, ToWorker::Cut),
            (SHED, ToWorker::Shed),
        ] {
            if self.orders.fetch_and(!bit, AcqRel) & bit != 0 {
                return Some(order);
            }
        }
        self.answers.pop().map(ToWorker::Dns)
    }

    /// Tells the other end that every connection of this worker is counted, and none will be added.
    pub fn say_accepts_no_more(&self) {
        // Pairs with the Acquire below: who sees it sees the connections counted before it.
        self.accepts_no_more.store(true, Release);
    }

    /// The next answer of the shared counters.
    pub fn pop_limit(&self) -> Option<LimitAnswer> {
        self.limits.pop()
    }
}

/// The other end of a worker's mailbox.
#[derive(Clone, Debug)]
pub struct MailboxSender {
    answers: Sender<DnsAnswer>,
    limits: Arc<ArrayQueue<LimitAnswer>>,
    orders: Arc<AtomicU8>,
    accepts_no_more: Arc<AtomicBool>,
}

impl MailboxSender {
    /// Delivers a message and wakes the worker. Never blocks.
    ///
    /// Returns false when an answer found the queue full and was dropped.
    pub fn send(&self, message: ToWorker) -> bool {
        let order = match message {
            ToWorker::HandOver => HAND_OVER,
            ToWorker::Drain => DRAIN,
            ToWorker::StopAccepting => STOP_ACCEPTING,
            ToWorker::Cut => CUT,
            ToWorker::Shed => SHED,
            ToWorker::Dns(answer) => return self.answers.send(answer).is_ok(),
        };
        self.orders.fetch_or(order, AcqRel);
        self.answers.ring();
        true
    }

    /// Whether the worker has left its listening sockets.
    pub fn accepts_no_more(&self) -> bool {
        self.accepts_no_more.load(Acquire)
    }

    /// Delivers an answer of the shared counters and wakes the worker. Never blocks.
    ///
    /// # Errors
    ///
    /// The answer, when more have come than the worker may have asked for.
    pub fn send_limit(&self, answer: LimitAnswer) -> Result<(), LimitAnswer> {
        let sent = self.limits.push(answer);
        self.answers.ring();
        sent
    }
}

/// A worker's mailbox with both ends and the worker's end of the socket pair.
///
/// # Errors
///
/// As [`queue`].
pub fn mailbox() -> io::Result<(MailboxSender, Mailbox, OwnedFd)> {
    let (sender, answers, ear) = queue(WORKER_MESSAGES_MAX)?;
    let orders = Arc::new(AtomicU8::new(0));
    let accepts_no_more = Arc::new(AtomicBool::new(false));
    let limits = Arc::new(ArrayQueue::new(ASKS_IN_FLIGHT_MAX));
    let sender = MailboxSender {
        answers: sender,
        limits: Arc::clone(&limits),
        orders: Arc::clone(&orders),
        accepts_no_more: Arc::clone(&accepts_no_more),
    };
    let mailbox = Mailbox {
        answers,
        limits: Receiver { queue: limits },
        orders,
        accepts_no_more,
    };
    Ok((sender, mailbox, ear))
}

#[cfg(test)]
mod tests {
    use super::super::dns::DnsError;
    use super::*;
    use std::time::Duration;

    fn answer() -> ToWorker {
        ToWorker::Dns(DnsAnswer {
            host: "a.example".into(),
            addrs: Err(DnsError::NotFound),
            fresh_for: Duration::from_secs(1),
            usable_for: Duration::from_secs(1),
        })
    }

    #[test]
    fn a_message_wakes_a_thread_that_waits_on_the_socket() {
        let (sender, mailbox, ear) = mailbox().unwrap();
        let worker = std::thread::spawn(move || {
            let mut ear = UnixStream::from(ear);
            ear.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let mut byte = [0; 64];
            let read = ear.read(&mut byte).unwrap();
            (read, matches!(mailbox.pop(), Some(ToWorker::Dns(_))))
        });
        assert!(sender.send(answer()));
        assert_eq!(worker.join().unwrap(), (1, true));
    }

    #[test]
    fn orders_overtake_answers_and_survive_a_full_queue() {
        let (sender, mailbox, _ear) = mailbox().unwrap();
        for at in 0..WORKER_MESSAGES_MAX + 3 {
            assert_eq!(sender.send(answer()), at < WORKER_MESSAGES_MAX);
        }
        assert!(sender.send(ToWorker::StopAccepting));
        assert!(sender.send(ToWorker::Drain));
        assert!(matches!(mailbox.pop(), Some(ToWorker::Drain)));
        assert!(matches!(mailbox.pop(), Some(ToWorker::StopAccepting)));
        let rest = std::iter::from_fn(|| mailbox.pop()).count();
        assert_eq!(rest, WORKER_MESSAGES_MAX);
    }

    #[test]
    fn a_full_socket_blocks_nobody_and_still_wakes() {
        let (sender, receiver, ear) = queue::<u32>(1).unwrap();
        for at in 0..100_000 {
            let _ = sender.send(at);
        }
        let mut ear = UnixStream::from(ear);
        ear.set_nonblocking(true).unwrap();
        hush(&mut ear);
        assert_eq!(receiver.pop(), Some(0));
        sender.send(7).unwrap();
        let mut byte = [0];
        assert_eq!(ear.read(&mut byte).unwrap(), 1);
        assert_eq!(receiver.pop(), Some(7));
    }

    #[test]
    fn a_gone_receiver_is_no_error() {
        let (sender, receiver, ear) = queue::<u32>(4).unwrap();
        drop((receiver, ear));
        assert!(sender.send(1).is_ok());
    }
}
