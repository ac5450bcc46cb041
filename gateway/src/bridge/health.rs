//! How the targets are doing, as all workers see it. [bridge]
//!
//! A target that fails one worker is left alone by all of them. A worker looks a target up once and
//! keeps what it finds: requests touch a few atomics and no lock.

mod failure;
mod target;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use failure::{CheckOutcome, Failure, FailureClass, Reason};
pub use target::{
    Cooled, DEGRADED_AFTER, DOWN_AFTER, Grade, HealthState, HealthView, Held, InFlight, Latency,
    TargetHealth,
};

/// Most targets whose standing is shared: 4 MB. One beyond it is known to its holder only.
pub const TARGETS_MAX: usize = 10_000;

type Targets = HashMap<Arc<str>, Arc<TargetHealth>>;

/// The standing of all targets, by id of the model. One per process.
#[derive(Debug, Default)]
pub struct HealthTable {
    targets: Mutex<Targets>,
}

impl HealthTable {
    /// The standing of the model `id`, a clean one if nobody holds it yet. Takes a lock: to be called
    /// when a worker begins to hold a target, not per request.
    ///
    /// At [`TARGETS_MAX`] targets, first those that nobody holds are dropped; if none can be, what
    /// is returned is shared with no one.
    pub fn hold(&self, id: &Arc<str>) -> Arc<TargetHealth> {
        let mut targets = self.lock();
        if let Some(target) = targets.get(id) {
            return Arc::clone(target);
        }
        if targets.len() >= TARGETS_MAX {
            drop_unheld(&mut targets);
        }
        let target = Arc::default();
        if targets.len() < TARGETS_MAX {
            targets.insert(Arc::clone(id), Arc::clone(&target));
        }
        target
    }

    /// What is known of the model `id` at `now_ms`; `None` if nobody has held it since the last sweep.
    pub fn view(&self, id: &str, now_ms: u64) -> Option<HealthView> {
        self.lock().get(id).map(|target| target.view(now_ms))
    }

    /// Forgets the targets that nobody holds. To be called after workers let go of what left the
    /// snapshot.
    pub fn sweep(&self) {
        drop_unheld(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Targets> {
        // The map is whole after every step: poison says nothing here.
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Only the map's own handle makes new ones of a target that nobody holds, and the map is locked.
fn drop_unheld(targets: &mut Targets) {
    targets.retain(|_, target| Arc::strong_count(target) > 1);
}
