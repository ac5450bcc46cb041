//! Hands each new snapshot to all readers at once. [bridge]

use std::fmt;
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};

use crate::snapshot::Snapshot;

/// The one writer. Lives on the thread that loads configuration.
pub struct Publisher {
    current: Arc<ArcSwap<Snapshot>>,
}

/// Where readers find the current snapshot.
#[derive(Clone)]
pub struct SnapshotCell {
    current: Arc<ArcSwap<Snapshot>>,
}

/// One reader's view. Lives on one worker.
pub struct SnapshotReader {
    cache: Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
}

impl Publisher {
    /// Publishes `first` in a new cell.
    pub fn new(first: Snapshot) -> (Self, SnapshotCell) {
        let current = Arc::new(ArcSwap::from_pointee(first));
        let cell = SnapshotCell {
            current: Arc::clone(&current),
        };
        (Self { current }, cell)
    }

    /// What readers see now.
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// The generation that the next successful load carries.
    pub fn next_generation(&self) -> u64 {
        self.current.load().generation() + 1
    }

    /// Replaces the snapshot. Requests in flight keep the one they started with.
    ///
    /// Takes `&mut self`, so that there is one writer; generations must grow.
    pub fn publish(&mut self, next: Snapshot) {
        debug_assert!(next.generation() > self.current.load().generation());
        self.current.store(Arc::new(next));
    }
}

impl SnapshotCell {
    /// A view for one worker.
    pub fn reader(&self) -> SnapshotReader {
        SnapshotReader {
            cache: Cache::new(Arc::clone(&self.current)),
        }
    }

    /// The current snapshot, for cold code.
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Number of the current snapshot.
    pub fn generation(&self) -> u64 {
        self.current.load().generation()
    }
}

impl SnapshotReader {
    /// The current snapshot: one load of a rarely written line while nothing changed.
    ///
    /// Keeps the snapshot it saw last alive until the next call.
    pub fn load(&mut self) -> &Arc<Snapshot> {
        self.cache.load()
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.current.load().fmt(f)
    }
}

impl fmt::Debug for SnapshotCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.current.load().fmt(f)
    }
}

impl fmt::Debug for SnapshotReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotReader").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::SnapshotParts;

    fn generation(generation: u64) -> Snapshot {
        Snapshot::build(SnapshotParts {
            generation,
            ..SnapshotParts::default()
        })
    }

    #[test]
    fn every_reader_sees_what_was_published_and_keeps_what_it_holds() {
        let (mut publisher, cell) = Publisher::new(Snapshot::empty());
        let mut readers = [cell.reader(), cell.clone().reader()];
        let held = Arc::clone(readers[0].load());
        assert_eq!((held.generation(), publisher.next_generation()), (0, 1));
        publisher.publish(generation(1));
        for reader in &mut readers {
            assert_eq!(reader.load().generation(), 1);
        }
        assert_eq!((held.generation(), cell.generation()), (0, 1));
        assert_eq!(publisher.current().generation(), 1);
    }

    #[test]
    fn readers_on_other_threads_see_generations_in_order() {
        let (mut publisher, cell) = Publisher::new(Snapshot::empty());
        let mut reader = cell.reader();
        let watcher = std::thread::spawn(move || {
            let mut last = 0;
            while last < 200 {
                let seen = reader.load().generation();
                assert!(seen >= last);
                last = seen;
            }
        });
        for next in 1..=200 {
            publisher.publish(generation(next));
        }
        watcher.join().unwrap();
    }
}
