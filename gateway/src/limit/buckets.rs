//! A worker's hold on the buckets its requests use. [pure]

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::plan::Plans;
use crate::bridge::limits::{Bucket, LimitTable};

/// Most buckets that a worker holds. Worst case about 200 bytes each with their keys, 2 MB.
const HELD_MAX: usize = 8_192;
/// A bucket unused for this long is let go of.
const KEPT_MS: u64 = 60_000;

/// The buckets that a worker's requests used lately: the shared table is asked once for each of
/// them, and the count of references that requests change is the worker's own.
///
/// At the bound those that no request holds are let go of, at most once a second, and asked for
/// again when they are needed; until then a bucket that is not held is taken from the table.
#[derive(Debug)]
pub struct Buckets {
    table: Arc<LimitTable>,
    held: RefCell<HashMap<Box<str>, Held>>,
    cleared_secs: Cell<u64>,
    /// Which of them requests of each kind need.
    pub(super) plans: Plans,
    /// Where keys are written.
    pub(super) key: RefCell<String>,
}

/// A bucket in the hands of one worker.
pub(super) type Hold = Rc<Arc<Bucket>>;

#[derive(Debug)]
struct Held {
    bucket: Hold,
    used_ms: u64,
}

impl Buckets {
    /// A hold on buckets of `table`, none at first.
    pub fn new(table: Arc<LimitTable>) -> Self {
        Self {
            table,
            held: RefCell::default(),
            cleared_secs: Cell::new(u64::MAX),
            plans: Plans::default(),
            key: RefCell::default(),
        }
    }

    /// The bucket of `key`; `None` where the table has no room for it. Allocates for a new one only.
    pub(super) fn hold(&self, key: &str, now_ms: u64) -> Option<Hold> {
        let mut held = self.held.borrow_mut();
        if let Some(known) = held.get_mut(key) {
            known.used_ms = now_ms;
            return Some(Rc::clone(&known.bucket));
        }
        let bucket = Rc::new(self.table.bucket(key, now_ms)?);
        let now_secs = now_ms / 1_000;
        if held.len() >= HELD_MAX && self.cleared_secs.replace(now_secs) != now_secs {
            held.retain(|_, held| held.is_used());
        }
        if held.len() < HELD_MAX {
            let first = Held {
                bucket: Rc::clone(&bucket),
                used_ms: now_ms,
            };
            held.insert(key.into(), first);
        }
        Some(bucket)
    }

    /// Lets go of buckets that no request holds and none used for a minute. To be called every
    /// minute or so.
    pub fn sweep(&self, now_ms: u64) {
        self.plans.sweep(now_ms);
        let mut held = self.held.borrow_mut();
        held.retain(|_, held| held.is_used() || held.used_ms.saturating_add(KEPT_MS) > now_ms);
    }
}

impl Held {
    /// Whether a request holds it.
    fn is_used(&self) -> bool {
        Rc::strong_count(&self.bucket) > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_asked_once_and_what_is_unused_is_let_go_of() {
        let table = Arc::new(LimitTable::default());
        let buckets = Buckets::new(Arc::clone(&table));
        let first = buckets.hold("a", 0).unwrap();
        for _ in 0..3 {
            assert!(Rc::ptr_eq(&first, &buckets.hold("a", 5).unwrap()));
        }
        assert_eq!(Arc::strong_count(&first), 2);
        buckets.hold("b", 0).unwrap();

        // One is unused for long enough; the other one is in the hands of a request, for how long ever.
        for at_ms in [KEPT_MS, 9 * KEPT_MS] {
            buckets.sweep(at_ms);
            assert_eq!(buckets.held.borrow().len(), 1);
        }
        drop(first);
        buckets.sweep(KEPT_MS + 4);
        assert_eq!(buckets.held.borrow().len(), 1);
        buckets.sweep(KEPT_MS + 5);
        assert!(buckets.held.borrow().is_empty());
        table.sweep(KEPT_MS);
        assert!(table.is_empty());
    }

    #[test]
    fn at_the_bound_only_what_requests_hold_is_kept() {
        let buckets = Buckets::new(Arc::default());
        let busy = buckets.hold("busy", 0).unwrap();
        for number in 1..HELD_MAX {
            buckets.hold(&number.to_string(), 0).unwrap();
        }
        buckets.hold("one more", 0).unwrap();
        assert_eq!(buckets.held.borrow().len(), 2);
        assert!(Rc::ptr_eq(&busy, &buckets.hold("busy", 0).unwrap()));
        for number in 2..HELD_MAX {
            buckets.hold(&number.to_string(), 0).unwrap();
        }
        // Not twice in a second, and no bucket is two because of it.
        let [one, two] = [(); 2].map(|()| buckets.hold("not held", 0).unwrap());
        assert_eq!(buckets.held.borrow().len(), HELD_MAX);
        assert!(Arc::ptr_eq(&one, &two) && !Rc::ptr_eq(&one, &two));
    }
}
