//! Drains the workers' records: one line each, one write per batch. [cold]

pub mod line;

use std::time::Duration;

use super::client_type::TokensByClient;
use super::writer::Writer;
use crate::bridge::record::{RequestRecord, UsageSource};
use crate::bridge::{SPARE_RECORDS_MAX, WorkerView};
use crate::client_type::ClientTypes;
use line::Lines;

/// Time between two drains while there is much to write: records are read while they still lie in a
/// cache, and their places are used again sooner. Otherwise they are drained whenever memory is measured.
pub const BUSY_DRAIN_PERIOD: Duration = Duration::from_millis(4);
/// Records in one drain that count as much.
pub const BUSY_RECORDS: usize = 128;
/// Batches waiting for the writer thread. When all are, records stay with the workers, whose
/// queues are bounded and whose losses are counted.
pub const BATCHES_MAX: usize = 8;
/// A batch is handed over once it is this long. Worst case `BATCHES_MAX` and one more: 2.3 MiB.
const BATCH_BYTES: usize = 256 * 1024;

/// Turns records into lines.
#[derive(Debug)]
pub struct AccessLog {
    writer: Option<Writer>,
    lines: Lines,
    batch: Vec<u8>,
    tokens_by_client: TokensByClient,
}

impl AccessLog {
    /// Writes to `writer`, or nothing at all when lines are switched off.
    pub fn new(writer: Option<Writer>, client_types: ClientTypes) -> Self {
        Self {
            writer,
            lines: Lines::default(),
            batch: Vec::new(),
            tokens_by_client: TokensByClient::new(client_types),
        }
    }

    /// Takes what the workers have queued, until their queues are empty or the writer is full.
    /// Returns the number of records taken.
    pub fn drain(&mut self, workers: &[WorkerView]) -> usize {
        let mut taken = 0;
        if !self.hand_over() {
            return taken;
        }
        for worker in workers {
            let mut written = Vec::new();
            taken += self.drain_one(worker, &mut written);
            // Full: the worker has as many as it needs.
            if !written.is_empty() {
                let _ = worker.given_back.push(written);
            }
            if self.batch.len() >= BATCH_BYTES {
                return taken;
            }
        }
        self.hand_over();
        taken
    }

    /// Takes what one worker has queued, until the writer has no room for another batch. Returns the
    /// number of records taken.
    #[expect(clippy::vec_box, reason = "the boxes are what is given back")]
    fn drain_one(&mut self, worker: &WorkerView, written: &mut Vec<Box<RequestRecord>>) -> usize {
        // What arrives meanwhile waits for the next turn: a busy worker must not hold the others up.
        let waiting = worker.records.len();
        for taken in 0..waiting {
            let Some(mut record) = worker.records.pop() else {
                return taken;
            };
            self.take(&record);
            if written.len() < SPARE_RECORDS_MAX {
                *record = RequestRecord::default();
                written.push(record);
            }
            if self.batch.len() >= BATCH_BYTES && !self.hand_over() {
                return taken + 1;
            }
        }
        waiting
    }

    fn take(&mut self, record: &RequestRecord) {
        if record.usage.source != UsageSource::Absent {
            self.tokens_by_client.count(record);
        }
        if self.writer.is_some() {
            self.lines.append(record, &mut self.batch);
        }
    }

    /// Returns whether there is room for another batch.
    fn hand_over(&mut self) -> bool {
        if self.batch.is_empty() {
            return true;
        }
        let Some(writer) = &self.writer else {
            return true;
        };
        match writer.try_write(std::mem::take(&mut self.batch)) {
            Ok(()) => {
                self.batch = writer.buffer();
                true
            }
            Err(back) => {
                self.batch = back;
                false
            }
        }
    }

    /// Writes everything that is queued, waiting at most `limit`. Blocks; for the shutdown only,
    /// after the workers have ended.
    pub fn flush_and_stop(&mut self, workers: &[WorkerView], limit: Duration) {
        let Some(writer) = self.writer.clone() else {
            return;
        };
        let mut waited = Duration::ZERO;
        loop {
            self.drain(workers);
            let left = !self.batch.is_empty() || workers.iter().any(|w| !w.records.is_empty());
            let slice = Duration::from_millis(50);
            let flushed = writer.flush(slice.min(limit.saturating_sub(waited)));
            if (flushed && !left) || waited >= limit {
                return;
            }
            waited += slice;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::histogram::BucketSettings;
    use crate::bridge::record::tests::record;
    use crate::bridge::{RECORDS_MAX, build};
    use crate::cold::rotate::{FileOptions, RotatingFile};
    use crate::cold::writer::Output;

    #[test]
    fn every_record_becomes_one_line_and_none_is_left_at_the_end() {
        let (workers, cold) = build(2, &BucketSettings::default()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access");
        let file = RotatingFile::open(FileOptions::new(path.clone())).unwrap();
        let writer = Writer::start("test-access", Output::File(file), BATCHES_MAX).unwrap();
        let mut log = AccessLog::new(Some(writer), ClientTypes::default());
        for worker in &workers {
            for _ in 0..RECORDS_MAX {
                worker.finish(Box::new(record()));
            }
        }
        log.flush_and_stop(&cold.workers, Duration::from_secs(10));
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text.lines().count(), 2 * RECORDS_MAX);
        assert!(
            text.lines()
                .all(|line| line.starts_with('{') && line.ends_with('}'))
        );
    }

    #[test]
    fn a_blocked_output_leaves_records_with_the_worker() {
        let (workers, cold) = build(1, &BucketSettings::default()).unwrap();
        let (_reader, pipe) = std::io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&pipe));
        let file = RotatingFile::open(FileOptions::new(path.into())).unwrap();
        let writer = Writer::start("test-access", Output::File(file), 1).unwrap();
        let mut log = AccessLog::new(Some(writer), ClientTypes::default());
        for _ in 0..20 {
            for _ in 0..RECORDS_MAX {
                workers[0].finish(Box::new(record()));
            }
            log.drain(&cold.workers);
        }
        assert!(log.batch.len() < BATCH_BYTES + 4_096);
        assert!(cold.workers[0].counters.records_dropped.value() > 0);
    }

    #[test]
    fn switched_off_it_still_empties_the_queues() {
        let (workers, cold) = build(1, &BucketSettings::default()).unwrap();
        workers[0].finish(Box::new(record()));
        AccessLog::new(None, ClientTypes::default()).drain(&cold.workers);
        assert!(cold.workers[0].records.is_empty());
    }
}
