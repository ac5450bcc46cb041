//! A map cut into shards, so that a changed copy shares whatever it did not change. [pure]
//!
//! The caller hashes a key once: some bits of the hash choose the shard, others the slot in it.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

/// Shards of one map. A change copies one of them, and this many pointers.
pub const SHARDS: usize = 256;

/// Entries by key. A clone shares every shard until one of the two changes it.
pub struct Shards<K, V> {
    shards: Arc<[Arc<Shard<K, V>>]>,
    len: usize,
    copied: u64,
}

type Shard<K, V> = HashMap<u64, Slot<K, V>, BuildHasherDefault<Hashed>>;

/// The entries of one hash: nearly always one.
#[derive(Clone)]
struct Slot<K, V> {
    key: K,
    value: V,
    next: Option<Box<Self>>,
}

/// The shard of a hash. Its bits are neither those that choose a bucket (the lowest) nor those that
/// tell the entries of a bucket apart (the highest), which would be equal throughout a shard.
fn shard_of(hash: u64) -> usize {
    usize::from(hash.to_le_bytes()[4])
}

// One byte of the hash chooses.
const _: () = assert!(SHARDS == 1 << u8::BITS);

impl<K: Clone, V: Clone> Shards<K, V> {
    /// The value of `key`, whose hash is `hash`.
    pub fn get<Q: Eq + ?Sized>(&self, hash: u64, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let mut slot = Some(self.shards[shard_of(hash)].get(&hash)?);
        while let Some(here) = slot {
            if here.key.borrow() == key {
                return Some(&here.value);
            }
            slot = here.next.as_deref();
        }
        None
    }

    /// Puts `value` under `key`, whose hash is `hash`, in place of what was there.
    pub fn insert(&mut self, hash: u64, key: K, value: V)
    where
        K: Eq,
    {
        self.remove(hash, &key);
        let shard = self.shard_mut(hash);
        let next = shard.remove(&hash).map(Box::new);
        shard.insert(hash, Slot { key, value, next });
        self.len += 1;
    }

    /// Takes `key`, whose hash is `hash`, out.
    pub fn remove<Q: Eq + ?Sized>(&mut self, hash: u64, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.get(hash, key)?;
        let shard = self.shard_mut(hash);
        let mut rest = shard.remove(&hash).map(Box::new);
        let mut removed = None;
        let mut kept = None;
        while let Some(mut slot) = rest {
            rest = slot.next.take();
            if slot.key.borrow() == key {
                removed = Some(slot.value);
            } else {
                slot.next = kept;
                kept = Some(slot);
            }
        }
        if let Some(slot) = kept {
            shard.insert(hash, *slot);
        }
        self.len -= 1;
        removed
    }

    /// The values, in no order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        let slots = self.shards.iter().flat_map(|shard| shard.values());
        slots
            .flat_map(|slot| std::iter::successors(Some(slot), |slot| slot.next.as_deref()))
            .map(|slot| &slot.value)
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many entries were copied so far because a clone shared their shard.
    pub fn copied(&self) -> u64 {
        self.copied
    }

    fn shard_mut(&mut self, hash: u64) -> &mut Shard<K, V> {
        let shard = &mut Arc::make_mut(&mut self.shards)[shard_of(hash)];
        if Arc::strong_count(shard) > 1 {
            self.copied += shard.len() as u64;
        }
        Arc::make_mut(shard)
    }
}

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        let empty = Arc::new(Shard::default());
        Self {
            shards: std::iter::repeat_n(empty, SHARDS).collect(),
            len: 0,
            copied: 0,
        }
    }
}

impl<K, V> Clone for Shards<K, V> {
    fn clone(&self) -> Self {
        Self {
            shards: Arc::clone(&self.shards),
            ..*self
        }
    }
}

/// Counts only: the values may be credentials.
impl<K, V> fmt::Debug for Shards<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards").field("len", &self.len).finish()
    }
}

/// Takes a hash as it is.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.is_empty(), "a key of a shard is a u64");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Spreads over shards, and lets every seventh key meet another one's hash.
    fn hash(key: u32) -> u64 {
        u64::from(key / 7 * 7).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    #[test]
    fn it_holds_what_a_map_holds_also_where_hashes_meet() {
        let mut shards = Shards::default();
        let mut map = BTreeMap::new();
        for step in 0..6000_u32 {
            let key = step.wrapping_mul(2_654_435_761) % 1500;
            if step % 3 == 2 {
                assert_eq!(shards.remove(hash(key), &key), map.remove(&key));
            } else {
                shards.insert(hash(key), key, step);
                map.insert(key, step);
            }
            assert_eq!(shards.len(), map.len());
        }
        for key in 0..1500 {
            assert_eq!(shards.get(hash(key), &key), map.get(&key), "{key}");
        }
        let mut values: Vec<u32> = shards.values().copied().collect();
        let mut want: Vec<u32> = map.values().copied().collect();
        values.sort_unstable();
        want.sort_unstable();
        assert_eq!(values, want);
        assert!(!shards.is_empty() && Shards::<u32, u32>::default().is_empty());
    }

    #[test]
    fn a_change_leaves_clones_alone_and_copies_one_shard() {
        let mut shards = Shards::default();
        for key in 0..10_000 {
            shards.insert(hash(key), key, key);
        }
        assert_eq!(shards.copied(), 0, "nobody shared anything");
        let before = shards.clone();
        shards.insert(hash(5), 5, 50);
        shards.insert(hash(5), 5, 51);
        assert!(shards.copied() < 200, "{}", shards.copied());
        assert_eq!(before.get(hash(5), &5), Some(&5));
        assert_eq!(shards.get(hash(5), &5), Some(&51));
        let shared = std::iter::zip(&*before.shards, &*shards.shards);
        assert_eq!(shared.filter(|(a, b)| !Arc::ptr_eq(a, b)).count(), 1);
    }
}
