//! A thread that writes to a stream or a rotating file, behind a bounded queue. [cold]
//!
//! Whoever logs never waits for the disk or for a reader of stdout: a full queue is an answer.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;

use super::rotate::RotatingFile;

/// Written buffers kept for the next writes, and the sizes worth it: a large one costs more page
/// faults than it costs to fill, a small one costs nothing. Worst case: 2 MiB.
const SPARE_MAX: usize = 2;
const SPARE_BYTES: std::ops::RangeInclusive<usize> = 16 * 1024..=1024 * 1024;

/// Where lines go.
#[derive(Debug)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file.
    File(RotatingFile),
}

impl Output {
    /// Whether somebody looks at it, so that colours make sense.
    pub fn is_terminal(&self) -> bool {
        match self {
            Self::Stdout => io::stdout().is_terminal(),
            Self::Stderr => io::stderr().is_terminal(),
            Self::File(_) => false,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()
            }
            Self::Stderr => io::stderr().lock().write_all(bytes),
            Self::File(file) => file.write(bytes),
        }
    }
}

enum Job {
    Write(Vec<u8>),
    Reopen,
    Flush(SyncSender<()>),
}

/// The sending end of a writer thread. The thread ends when the last clone is dropped and the
/// queue is written.
#[derive(Clone, Debug)]
pub struct Writer {
    jobs: SyncSender<Job>,
    lost: Arc<AtomicU64>,
    spare: Arc<ArrayQueue<Vec<u8>>>,
}

impl Writer {
    /// Starts a thread with room for `queue` writes.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn start(name: &str, output: Output, queue: usize) -> io::Result<Self> {
        let (jobs, inbox) = sync_channel(queue);
        let lost = Arc::new(AtomicU64::new(0));
        let spare = Arc::new(ArrayQueue::new(SPARE_MAX));
        let (failed, written) = (Arc::clone(&lost), Arc::clone(&spare));
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                super::stand_behind();
                run(output, &inbox, &failed, &written);
            })?;
        Ok(Self { jobs, lost, spare })
    }

    /// An empty buffer, where possible one whose bytes were written.
    pub fn buffer(&self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Queues one write of whole lines. Never blocks.
    ///
    /// # Errors
    ///
    /// The bytes, when the queue is full or the thread is gone.
    pub fn try_write(&self, bytes: Vec<u8>) -> Result<(), Vec<u8>> {
        self.jobs.try_send(Job::Write(bytes)).map_err(|refused| {
            let (TrySendError::Full(job) | TrySendError::Disconnected(job)) = refused;
            match job {
                Job::Write(bytes) => bytes,
                Job::Reopen | Job::Flush(_) => Vec::new(),
            }
        })
    }

    /// Has a file opened anew, after something else has moved it away.
    pub fn reopen(&self) {
        // Full: the next signal will do; the file in use stays valid.
        let _ = self.jobs.try_send(Job::Reopen);
    }

    /// Waits until everything queued so far is written, at most `limit`. Returns whether it was.
    pub fn flush(&self, limit: Duration) -> bool {
        let (done, wait) = sync_channel(1);
        let mut waited = Duration::ZERO;
        let mut job = Job::Flush(done);
        while let Err(TrySendError::Full(back)) = self.jobs.try_send(job) {
            if waited >= limit {
                return false;
            }
            job = back;
            std::thread::park_timeout(FLUSH_POLL);
            waited += FLUSH_POLL;
        }
        wait.recv_timeout(limit.saturating_sub(waited)).is_ok()
    }

    /// Counts writes that were given up.
    pub fn count_lost(&self, writes: u64) {
        self.lost.fetch_add(writes, Relaxed);
    }

    /// Writes given up so far: queue full or write error.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

/// How often a flush tries to get into a full queue.
const FLUSH_POLL: Duration = Duration::from_millis(5);

fn run(mut output: Output, jobs: &Receiver<Job>, lost: &AtomicU64, spare: &ArrayQueue<Vec<u8>>) {
    while let Ok(job) = jobs.recv() {
        match job {
            Job::Write(mut bytes) => {
                if output.write(&bytes).is_err() {
                    // Nowhere to say so but in a counter: the log is what failed.
                    lost.fetch_add(1, Relaxed);
                }
                if SPARE_BYTES.contains(&bytes.capacity()) {
                    bytes.clear();
                    // Full: there are enough.
                    let _ = spare.push(bytes);
                }
            }
            Job::Reopen => {
                if let Output::File(file) = &mut output
                    && file.reopen().is_err()
                {
                    lost.fetch_add(1, Relaxed);
                }
            }
            Job::Flush(done) => {
                let _ = done.try_send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cold::rotate::FileOptions;

    #[test]
    fn writes_reach_the_file_in_order_and_survive_a_move() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let file = RotatingFile::open(FileOptions::new(path.clone())).unwrap();
        let writer = Writer::start("test-writer", Output::File(file), 4).unwrap();
        writer.try_write(b"a\n".to_vec()).unwrap();
        writer.try_write(b"b\n".to_vec()).unwrap();
        assert!(writer.flush(Duration::from_secs(10)));
        std::fs::rename(&path, dir.path().join("moved")).unwrap();
        writer.reopen();
        writer.try_write(b"c\n".to_vec()).unwrap();
        assert!(writer.flush(Duration::from_secs(10)));
        assert_eq!(
            std::fs::read_to_string(dir.path().join("moved")).unwrap(),
            "a\nb\n"
        );
        assert_eq!(std::fs::read_to_string(path).unwrap(), "c\n");
        assert_eq!(writer.lost(), 0);
    }

    #[test]
    fn a_reader_that_does_not_read_blocks_nobody() {
        // A pipe nobody reads, through the path of a file.
        let (reader, pipe) = std::io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&pipe));
        let file = RotatingFile::open(FileOptions::new(path.into())).unwrap();
        let writer = Writer::start("test-writer", Output::File(file), 2).unwrap();
        let mut refused = 0;
        for _ in 0..20 {
            refused += u32::from(writer.try_write(vec![b'x'; 64 * 1024]).is_err());
        }
        assert!(refused >= 16, "{refused} of 20 refused");
        assert!(!writer.flush(Duration::from_millis(20)));
        drop(reader);
    }
}
