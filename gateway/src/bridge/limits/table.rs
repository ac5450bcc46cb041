//! Which bucket belongs to which subject. [bridge]

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::bucket::Bucket;

const SHARDS: usize = 64;
const PER_SHARD_MAX: usize = 4_096;
/// Most buckets of a process. Worst case about 300 bytes each with their keys, 80 MB.
pub const BUCKETS_MAX: usize = SHARDS * PER_SHARD_MAX;

/// All buckets of a process, by their keys.
///
/// Workers keep what they get, and come here once for each bucket. A bucket that nobody keeps, in
/// which no slot is taken and whose windows are over is dropped by [`LimitTable::sweep`].
///
/// At the bound the part of the table that is full first drops such buckets, then one that nobody
/// keeps, whatever it has counted: its subject has not been heard of for a while, and those who
/// press against their limits are not the ones who are forgotten. Where all are kept the answer is
/// none, the request goes uncounted, and that is counted.
#[derive(Debug)]
pub struct LimitTable {
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
    forgotten: AtomicU64,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Shard {
    buckets: HashMap<Box<str>, Arc<Bucket>>,
    /// When all its buckets were last looked at, in seconds: a full shard is not walked through for
    /// each new key.
    walked_secs: u64,
}

impl Default for LimitTable {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            forgotten: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }
}

impl LimitTable {
    /// The bucket of `key`, made where there is none; `None` where there is no room for one.
    pub fn bucket(&self, key: &str, now_ms: u64) -> Option<Arc<Bucket>> {
        let mut shard = self.shard(key)?;
        if let Some(bucket) = shard.buckets.get(key) {
            return Some(Arc::clone(bucket));
        }
        if shard.buckets.len() >= PER_SHARD_MAX {
            shard.drop_idle_once_a_second(now_ms);
        }
        if shard.buckets.len() >= PER_SHARD_MAX {
            let counter = if shard.forget_one() {
                &self.forgotten
            } else {
                &self.refused
            };
            counter.fetch_add(1, Relaxed);
        }
        if shard.buckets.len() >= PER_SHARD_MAX {
            return None;
        }
        let bucket = Arc::<Bucket>::default();
        shard.buckets.insert(key.into(), Arc::clone(&bucket));
        Some(bucket)
    }

    /// Drops the buckets that nobody keeps and in which nothing is counted any more. Locks one part
    /// of the table at a time. To be called every minute or so from a cold thread.
    pub fn sweep(&self, now_ms: u64) {
        for shard in &self.shards {
            locked(shard).drop_idle(now_ms);
        }
    }

    /// Shows every bucket with its key. Locks one part of the table at a time.
    pub fn for_each(&self, mut visit: impl FnMut(&str, &Bucket)) {
        for shard in &self.shards {
            let shard = locked(shard);
            shard
                .buckets
                .iter()
                .for_each(|(key, bucket)| visit(key, bucket));
        }
    }

    /// Buckets there are.
    pub fn len(&self) -> usize {
        let lengths = self.shards.iter().map(|shard| locked(shard).buckets.len());
        lengths.sum()
    }

    /// Whether there is no bucket.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Buckets dropped with what they had counted, because there was no room.
    pub fn forgotten(&self) -> u64 {
        self.forgotten.load(Relaxed)
    }

    /// Times that no bucket was given out, because there was no room: requests not counted.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    fn shard(&self, key: &str) -> Option<MutexGuard<'_, Shard>> {
        // The remainder is below the number of shards.
        let at = self.hasher.hash_one(key) as usize % SHARDS;
        self.shards.get(at).map(locked)
    }
}

impl Shard {
    /// The lock is held and nobody has another `Arc`: nobody can come by one.
    fn drop_idle(&mut self, now_ms: u64) {
        self.buckets.retain(|_, bucket| {
            let is_kept = Arc::get_mut(bucket).is_none();
            is_kept || !bucket.is_idle(now_ms)
        });
    }

    fn drop_idle_once_a_second(&mut self, now_ms: u64) {
        let now_secs = now_ms / 1_000;
        if self.walked_secs != now_secs {
            self.walked_secs = now_secs;
            self.drop_idle(now_ms);
        }
    }

    fn forget_one(&mut self) -> bool {
        let forgotten = self.buckets.iter_mut().find_map(|(key, bucket)| {
            let bucket = Arc::get_mut(bucket)?;
            (!bucket.is_occupied()).then(|| key.clone())
        });
        forgotten.is_some_and(|key| self.buckets.remove(&key).is_some())
    }
}

/// Nothing panics while a shard is locked but for want of memory; the map is whole even then.
fn locked(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use config_sync::model::rate_limit::RateLimit;

    use super::super::bucket::Charge;
    use super::super::terms::Terms;
    use super::*;

    const MINUTE_MS: u64 = 60_000;

    fn count_in(bucket: &Bucket, at_ms: u64) {
        let limits = RateLimit {
            rpm: Some(1),
            ..RateLimit::default()
        };
        let charge = Charge { at_ms, tokens: 0 };
        let _ = bucket
            .take(&Terms::from(&limits), charge, |_, _| ())
            .unwrap();
    }

    #[test]
    fn a_key_has_one_bucket_and_idle_ones_are_swept() {
        let table = LimitTable::default();
        let kept = table.bucket("kept", 0).unwrap();
        assert!(Arc::ptr_eq(&kept, &table.bucket("kept", 0).unwrap()));
        count_in(&table.bucket("counted", 0).unwrap(), 5);
        table.bucket("unused", 0).unwrap();
        assert_eq!((table.len(), table.is_empty()), (3, false));

        table.sweep(MINUTE_MS - 1);
        assert_eq!(table.len(), 2);
        table.sweep(MINUTE_MS);
        assert_eq!(table.len(), 1);
        assert!(Arc::ptr_eq(&kept, &table.bucket("kept", 0).unwrap()));
        drop(kept);
        table.sweep(MINUTE_MS);
        assert!(table.is_empty());
    }

    #[test]
    fn a_bucket_with_a_slot_taken_is_kept_for_whoever_took_it() {
        let table = LimitTable::default();
        let limits = RateLimit {
            concurrency: Some(1),
            ..RateLimit::default()
        };
        let bucket = table.bucket("k", 0).unwrap();
        let receipt = bucket
            .take(&Terms::from(&limits), Charge::default(), |_, _| ())
            .unwrap();
        drop(bucket);
        table.sweep(MINUTE_MS);
        let bucket = table.bucket("k", MINUTE_MS).unwrap();
        assert!(bucket.check(&Terms::from(&limits), MINUTE_MS).is_err());
        bucket.release(receipt);
        drop(bucket);
        table.sweep(MINUTE_MS);
        assert!(table.is_empty());
    }

    /// Keys that fall into one shard, without end.
    fn keys(table: &LimitTable) -> impl Iterator<Item = String> {
        let shard_of = |key: &str| table.hasher.hash_one(key) as usize % SHARDS;
        let keys = (0..).map(|number: u64| number.to_string());
        keys.filter(move |key| shard_of(key) == 0)
    }

    #[test]
    fn a_full_table_drops_what_is_idle_then_what_nobody_keeps_then_gives_none() {
        let table = LimitTable::default();
        let mut keys = keys(&table);
        let mut next = || keys.next().unwrap();
        let first = next();
        table.bucket(&first, 0).unwrap();
        let mut held: Vec<_> = (1..PER_SHARD_MAX - 1)
            .map(|_| table.bucket(&next(), 0).unwrap())
            .collect();
        let counted = next();
        count_in(&table.bucket(&counted, 0).unwrap(), 5_000);
        assert_eq!(table.len(), PER_SHARD_MAX);

        // The idle one goes, the counted one stays.
        held.push(table.bucket(&next(), 5_000).unwrap());
        assert_eq!((table.len(), table.forgotten()), (PER_SHARD_MAX, 0));
        let bucket = table.bucket(&counted, 5_000).unwrap();
        assert!(!bucket.is_idle(5_000));
        drop(bucket);

        // Nothing is idle: the counted one, which nobody keeps, goes.
        held.push(table.bucket(&next(), 6_000).unwrap());
        assert_eq!((table.len(), table.forgotten()), (PER_SHARD_MAX, 1));
        // Everything is kept.
        assert!(table.bucket(&next(), 7_000).is_none());
        assert_eq!((table.refused(), table.forgotten()), (1, 1));
        assert_eq!(table.len(), PER_SHARD_MAX);

        held.pop();
        assert!(table.bucket(&next(), 7_000).is_some());
    }

    #[test]
    fn threads_get_the_same_buckets_while_others_sweep() {
        const LIMIT: u64 = 300;
        let table = LimitTable::default();
        let limits = RateLimit {
            rpm: Some(LIMIT),
            ..RateLimit::default()
        };
        let admitted = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for at_ms in 0..2_000 {
                        let bucket = table.bucket("k", at_ms).unwrap();
                        let taken = bucket.take(
                            &Terms::from(&limits),
                            Charge { at_ms, tokens: 0 },
                            |_, _| (),
                        );
                        admitted.fetch_add(u64::from(taken.is_ok()), Relaxed);
                    }
                });
            }
            scope.spawn(|| (0..2_000).for_each(|at_ms| table.sweep(at_ms)));
        });
        assert_eq!(admitted.into_inner(), LIMIT);
    }
}
