//! The only types that both sides of the thread boundary touch. [bridge]

pub mod counter;
pub mod dns;
pub mod domain;
pub mod health;
pub mod histogram;
pub mod limit_link;
pub mod limits;
pub mod log;
pub mod mailbox;
pub mod memory;
pub mod rare;
pub mod record;
pub mod series;
pub mod shard;
pub mod shared_limits;
pub mod tried;

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use dns::DnsRequest;
use health::HealthTable;
use histogram::BucketSettings;
use limit_link::{LIMIT_MESSAGES_MAX, LimitLink, LinkState, ToLimits};
use limits::LimitTable;
use mailbox::{Mailbox, MailboxSender, Receiver, Sender};
use record::RequestRecord;
use shard::{Counters, WorkerShard};

/// Records waiting per worker. Drained every 20 ms: enough for 200,000 requests per second. A
/// slot is a pointer, a waiting record about 700 bytes.
pub const RECORDS_MAX: usize = 4_096;
/// Records given back to a worker at a time, and kept by it: a drain's worth at 50,000 requests
/// per second. Worst case per worker: twice as many, 1.4 MB.
pub const SPARE_RECORDS_MAX: usize = 1_024;
/// DNS questions waiting, of all workers.
pub const DNS_REQUESTS_MAX: usize = 1_024;

/// A worker's side of the boundary. Sent to its thread once, then never shared.
#[derive(Debug)]
pub struct WorkerBridge {
    /// Number of the worker.
    pub worker: u16,
    /// What it counts.
    pub shard: WorkerShard,
    /// Messages for it.
    pub mailbox: Mailbox,
    /// Readable when the mailbox may hold something. In blocking mode ([`mailbox::queue`]).
    pub wake: OwnedFd,
    /// How targets are doing; one for all workers.
    pub health: Arc<HealthTable>,
    /// What callers have used of their limits; one for all workers.
    pub buckets: Arc<LimitTable>,
    /// The way to the counters that gateways share, if there are any.
    pub limits: LimitLink,
    records: Arc<ArrayQueue<Box<RequestRecord>>>,
    #[expect(
        clippy::vec_box,
        reason = "the boxes are what is handed on, and comes back"
    )]
    spare: RefCell<Vec<Box<RequestRecord>>>,
    given_back: Arc<SpareQueue>,
    events: Arc<ArrayQueue<log::Event>>,
    questions: Sender<DnsRequest>,
}

/// Blank records on their way back to their worker. One batch: a worker that has not taken it has
/// enough.
pub type SpareQueue = ArrayQueue<Vec<Box<RequestRecord>>>;

impl WorkerBridge {
    /// All descriptors in it. Nothing else has them, so that they may go into the worker's own table.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let all = [&self.wake, &self.questions as &dyn AsFd, &self.limits];
        all.into_iter().map(AsFd::as_fd)
    }

    /// A blank record, where possible in the place of an earlier one.
    pub fn blank(&self) -> Box<RequestRecord> {
        let mut spare = self.spare.borrow_mut();
        if spare.is_empty()
            && !self.given_back.is_empty()
            && let Some(batch) = self.given_back.pop()
        {
            *spare = batch;
        }
        spare.pop().unwrap_or_default()
    }

    /// Accounts one finished request: counts it and queues its record. When the queue is full the
    /// record is dropped and counted as such.
    pub fn finish(&self, record: Box<RequestRecord>) {
        self.shard.request(&record);
        if self.records.push(record).is_err() {
            self.shard.dropped_record();
        }
    }

    /// Hands out the answers of the shared counters that have come. To be called when `wake` was
    /// readable.
    pub fn deliver_limits(&self) {
        while let Some(answer) = self.mailbox.pop_limit() {
            self.limits.deliver(answer);
        }
    }

    /// Asks for the addresses of `host`; the answer comes by mailbox, several times if it changes
    /// from stale to fresh. Returns false, and counts, when too many questions are waiting.
    pub fn resolve(&self, host: &Arc<str>) -> bool {
        let asked = self.questions.send(DnsRequest {
            worker: self.worker,
            host: Arc::clone(host),
        });
        if asked.is_err() {
            self.shard.dropped_dns();
        }
        asked.is_ok()
    }

    /// Has an event written to the process log. When the queue is full it is counted instead.
    pub fn log(&self, event: log::Event) {
        if self.events.push(event).is_err() {
            self.shard.dropped_log();
        }
    }
}

/// What the cold side sees of one worker.
#[derive(Clone, Debug)]
pub struct WorkerView {
    /// What the worker counts.
    pub counters: Arc<Counters>,
    /// Records it has finished.
    pub records: Arc<ArrayQueue<Box<RequestRecord>>>,
    /// Where records go once they are written, blank again.
    pub given_back: Arc<SpareQueue>,
    /// Events it wants logged.
    pub events: Arc<ArrayQueue<log::Event>>,
    /// The way to tell it something.
    pub mailbox: MailboxSender,
}

/// The cold side of the boundary.
#[derive(Debug)]
pub struct ColdBridge {
    /// By number of the worker.
    pub workers: Vec<WorkerView>,
    /// DNS questions of all workers.
    pub questions: Receiver<DnsRequest>,
    /// Readable when there may be a question. In blocking mode.
    pub questions_wake: OwnedFd,
    /// How targets are doing.
    pub health: Arc<HealthTable>,
    /// What callers have used of their limits.
    pub buckets: Arc<LimitTable>,
    /// What the workers tell the shared counters.
    pub limits: LimitInbox,
}

/// The cold end of the workers' way to the shared counters.
#[derive(Debug)]
pub struct LimitInbox {
    /// Of all workers.
    pub messages: Receiver<ToLimits>,
    /// Readable when there may be a message. In blocking mode.
    pub wake: OwnedFd,
    /// Says whether they are heard.
    pub state: Arc<LinkState>,
}

/// Both sides of the boundary for `workers` workers.
///
/// # Errors
///
/// When the process is out of file descriptors: four per worker and four more are opened.
pub fn build(
    workers: u16,
    buckets: &BucketSettings,
) -> io::Result<(Vec<WorkerBridge>, ColdBridge)> {
    let (ask, questions, questions_wake) = mailbox::queue(DNS_REQUESTS_MAX)?;
    let (health, table) = <(Arc<HealthTable>, Arc<LimitTable>)>::default();
    let (to_limits, messages, limits_wake) = mailbox::queue(LIMIT_MESSAGES_MAX)?;
    let state = Arc::<LinkState>::default();
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for worker in 0..workers {
        let (shard, counters) = WorkerShard::new(buckets.clone());
        let (sender, mailbox, wake) = mailbox::mailbox()?;
        let records = Arc::new(ArrayQueue::new(RECORDS_MAX));
        let given_back = Arc::new(SpareQueue::new(1));
        let events = Arc::new(ArrayQueue::new(log::EVENTS_MAX));
        theirs.push(WorkerView {
            counters,
            records: Arc::clone(&records),
            given_back: Arc::clone(&given_back),
            events: Arc::clone(&events),
            mailbox: sender,
        });
        ours.push(WorkerBridge {
            worker,
            shard,
            mailbox,
            wake,
            health: Arc::clone(&health),
            buckets: Arc::clone(&table),
            limits: LimitLink::new(worker, to_limits.separate()?, Arc::clone(&state)),
            records,
            spare: RefCell::default(),
            given_back,
            events,
            questions: ask.separate()?,
        });
    }
    Ok((
        ours,
        ColdBridge {
            workers: theirs,
            questions,
            questions_wake,
            health,
            buckets: table,
            limits: LimitInbox {
                messages,
                wake: limits_wake,
                state,
            },
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::log::{Event, Level};
    use super::*;

    #[test]
    fn a_full_queue_drops_and_counts_and_never_blocks() {
        let (workers, cold) = build(1, &BucketSettings::default()).unwrap();
        for _ in 0..RECORDS_MAX + 3 {
            workers[0].finish(Box::new(record::tests::record()));
        }
        for _ in 0..log::EVENTS_MAX + 2 {
            workers[0].log(Event::new(Level::Warn, "m", "d"));
        }
        for _ in 0..DNS_REQUESTS_MAX + 1 {
            workers[0].resolve(&"a.example".into());
        }
        let counters = &cold.workers[0].counters;
        assert_eq!(counters.records_dropped.value(), 3);
        assert_eq!(counters.log_dropped.value(), 2);
        assert_eq!(counters.dns_dropped.value(), 1);
        assert_eq!(
            counters.series()[0].requests.value(),
            RECORDS_MAX as u64 + 3
        );
        assert_eq!(cold.workers[0].records.len(), RECORDS_MAX);
    }

    #[test]
    fn a_record_that_is_given_back_lends_its_place_to_the_next_one() {
        let (workers, cold) = build(1, &BucketSettings::default()).unwrap();
        let first = workers[0].blank();
        let place = std::ptr::from_ref(&*first);
        workers[0].finish(first);
        let written = cold.workers[0].records.pop().unwrap();
        cold.workers[0].given_back.push(vec![written]).unwrap();
        let second = workers[0].blank();
        assert_eq!(std::ptr::from_ref(&*second), place);
        let third = workers[0].blank();
        assert_ne!(std::ptr::from_ref(&*third), place);
    }

    #[test]
    fn a_worker_can_be_sent_to_its_thread() {
        fn sendable<T: Send>(_: &T) {}
        let (workers, cold) = build(2, &BucketSettings::default()).unwrap();
        sendable(&workers[0]);
        sendable(&cold);
        assert_eq!((workers[1].worker, cold.workers.len()), (1, 2));
    }
}
