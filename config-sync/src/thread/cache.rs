//! Keeps the cache on disk up to date, from one place and in order. [cold]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::time::Instant;

use crate::disk::{self, CachedView, SnapshotKey};

/// Least time between two writes.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// The pause is at least so many times what sealing took: at most 0.5 % of a core. 10,000 rows take
/// some 30 ms, so while they change all the time the file is up to 6 s behind.
const PAUSE_FACTOR: u32 = 200;

/// Seals rows on the sync thread and has them written by a thread that may wait for the disk.
#[derive(Debug)]
pub(super) struct CacheFile {
    key: SnapshotKey,
    path: PathBuf,
    sealed: SyncSender<String>,
    writer: JoinHandle<()>,
    /// Nothing is sealed before.
    not_before: Instant,
    failing: bool,
}

impl CacheFile {
    /// Starts the writer of `path`; `None` where no key can be had, which is logged.
    ///
    /// # Errors
    ///
    /// A thread could not be started.
    pub(super) fn open(path: PathBuf) -> io::Result<Option<Self>> {
        let key = match SnapshotKey::beside(&path) {
            Ok(key) => key,
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "no snapshot cache is kept");
                return Ok(None);
            }
        };
        if let Some(warning) = key.warning() {
            tracing::warn!("{warning}");
        }
        let (sealed, received) = sync_channel::<String>(1);
        let place = path.clone();
        let writer = std::thread::Builder::new()
            .name("sluice-cache".to_owned())
            .spawn(move || {
                let mut failing = false;
                for sealed in received {
                    write(&place, &sealed, &mut failing);
                }
            })?;
        Ok(Some(Self {
            key,
            path,
            sealed,
            writer,
            not_before: Instant::now(),
            failing: false,
        }))
    }

    /// Hands `view` to the writer; `false` where that must be tried again later.
    pub(super) fn offer<'r>(&mut self, view: impl FnOnce() -> CachedView<'r>) -> bool {
        let start = Instant::now();
        if start < self.not_before {
            return false;
        }
        let Some(sealed) = self.seal(&view()) else {
            return true;
        };
        let now = Instant::now();
        let pause = now.saturating_duration_since(start) * PAUSE_FACTOR;
        self.not_before = now + pause.max(PAUSE_MIN);
        !matches!(self.sealed.try_send(sealed), Err(TrySendError::Full(_)))
    }

    /// Writes `view`, whatever was handed over before, and ends the writer.
    pub(super) fn close(mut self, view: Option<&CachedView<'_>>) {
        if let Some(sealed) = view.and_then(|view| self.seal(view)) {
            // The writer ends only when this end does.
            let _ = self.sealed.send(sealed);
        }
        drop(self.sealed);
        let _ = self.writer.join();
    }

    fn seal(&mut self, view: &CachedView<'_>) -> Option<String> {
        let sealed = disk::seal(view, &self.key);
        if let Err(error) = &sealed
            && !self.failing
        {
            tracing::error!(path = %self.path.display(), %error, "the snapshot cache is not kept");
        }
        self.failing = sealed.is_err();
        sealed.ok()
    }
}

/// Says once that it fails, and once that it works again.
fn write(path: &Path, sealed: &str, failing: &mut bool) {
    match disk::write(path, sealed) {
        Ok(()) if *failing => {
            *failing = false;
            tracing::info!(path = %path.display(), "the snapshot cache is written again");
        }
        Ok(()) => {}
        Err(error) if !*failing => {
            *failing = true;
            tracing::error!(path = %path.display(), %error, "the snapshot cache is not written");
        }
        Err(_) => {}
    }
}
