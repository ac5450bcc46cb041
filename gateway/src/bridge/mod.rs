//! The only types that both sides of the thread boundary touch. [bridge]

pub mod counter;
pub mod dns;
pub mod domain;
pub mod histogram;
pub mod log;
pub mod mailbox;
pub mod record;
pub mod series;
pub mod shard;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use dns::DnsRequest;
use histogram::BucketSettings;
use mailbox::{Mailbox, MailboxSender, Receiver, Sender};
use record::RequestRecord;
use shard::{Counters, WorkerShard};

/// Records waiting per worker. Drained every 20 ms: enough for 200,000 requests per second. A
/// slot is a pointer, a waiting record about 600 bytes.
pub const RECORDS_MAX: usize = 4_096;
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
    records: Arc<ArrayQueue<Box<RequestRecord>>>,
    events: Arc<ArrayQueue<log::Event>>,
    questions: Sender<DnsRequest>,
}

impl WorkerBridge {
    /// Accounts one finished request: counts it and queues its record. When the queue is full the
    /// record is dropped and counted as such.
    pub fn finish(&self, record: Box<RequestRecord>) {
        self.shard.request(&record);
        if self.records.push(record).is_err() {
            self.shard.dropped_record();
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
}

/// Both sides of the boundary for `workers` workers.
///
/// # Errors
///
/// When the process is out of file descriptors: two per worker and two more are opened.
pub fn build(
    workers: u16,
    buckets: &BucketSettings,
) -> io::Result<(Vec<WorkerBridge>, ColdBridge)> {
    let (ask, questions, questions_wake) = mailbox::queue(DNS_REQUESTS_MAX)?;
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for worker in 0..workers {
        let (shard, counters) = WorkerShard::new(buckets.clone());
        let (sender, mailbox, wake) = mailbox::mailbox()?;
        let records = Arc::new(ArrayQueue::new(RECORDS_MAX));
        let events = Arc::new(ArrayQueue::new(log::EVENTS_MAX));
        theirs.push(WorkerView {
            counters,
            records: Arc::clone(&records),
            events: Arc::clone(&events),
            mailbox: sender,
        });
        let questions = ask.clone();
        ours.push(WorkerBridge {
            worker,
            shard,
            mailbox,
            wake,
            records,
            events,
            questions,
        });
    }
    Ok((
        ours,
        ColdBridge {
            workers: theirs,
            questions,
            questions_wake,
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
    fn a_worker_can_be_sent_to_its_thread() {
        fn sendable<T: Send>(_: &T) {}
        let (workers, cold) = build(2, &BucketSettings::default()).unwrap();
        sendable(&workers[0]);
        sendable(&cold);
        assert_eq!((workers[1].worker, cold.workers.len()), (1, 2));
    }
}
