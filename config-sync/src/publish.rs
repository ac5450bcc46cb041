//! Hands each new snapshot to all readers at once. [bridge]

use std::fmt;
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};

use crate::snapshot::Snapshot;

/// The one writer. Lives on the thread that loads configuration.
///
/// It keeps every replaced generation until no reader holds it, so that none of them ever frees a
/// big one: their last reference is always the publisher's.
pub struct Publisher {
    current: Arc<ArcSwap<Snapshot>>,
    /// Replaced, and held by a reader when last looked at: so at most one per request in flight and
    /// one per reader that has not looked since.
    replaced: Vec<Arc<Snapshot>>,
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
        let publisher = Self {
            current,
            replaced: Vec::new(),
        };
        (publisher, cell)
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
        let replaced = self.current.swap(Arc::new(next));
        self.replaced.push(replaced);
        self.collect();
    }

    /// Frees the replaced generations that no reader holds any more, and counts those still held.
    ///
    /// To be called now and then: readers let go without telling.
    pub fn collect(&mut self) -> usize {
        // Nobody can come to hold a replaced generation but by cloning another holder's reference.
        self.replaced.retain(|old| Arc::strong_count(old) > 1);
        self.replaced.len()
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
    fn the_publisher_frees_what_readers_of_other_threads_held_last() {
        let (mut publisher, cell) = Publisher::new(generation(1));
        let first = Arc::downgrade(&publisher.current());
        let (to_reader, orders) = std::sync::mpsc::channel::<()>();
        let (to_main, done) = std::sync::mpsc::channel::<()>();
        let mut reader = cell.reader();
        let worker = std::thread::spawn(move || {
            let request = Arc::clone(reader.load());
            to_main.send(()).unwrap();
            orders.recv().unwrap();
            assert_eq!(reader.load().generation(), 2, "the reader moves on");
            drop(request);
            to_main.send(()).unwrap();
            orders.recv().unwrap();
        });
        done.recv().unwrap();
        publisher.publish(generation(2));
        assert_eq!(publisher.collect(), 1, "a request still holds it");
        to_reader.send(()).unwrap();
        done.recv().unwrap();
        assert_eq!(
            first.strong_count(),
            1,
            "the reader let go, and did not free it"
        );
        assert_eq!(publisher.collect(), 0);
        assert_eq!(first.strong_count(), 0);
        to_reader.send(()).unwrap();
        worker.join().unwrap();
    }

    #[test]
    fn what_nobody_holds_is_freed_by_the_next_publication() {
        let (mut publisher, cell) = Publisher::new(Snapshot::empty());
        let mut idle = cell.reader();
        for next in 1..=10 {
            publisher.publish(generation(next));
            assert_eq!(publisher.replaced.len(), 1, "the idle reader's first one");
        }
        idle.load();
        assert_eq!(publisher.collect(), 0);
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
