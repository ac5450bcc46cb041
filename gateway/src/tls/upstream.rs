//! What operators are shown of the trust in upstreams. [bridge]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use config_sync::publish::SnapshotCell;

/// Provider keys named at most, in one document.
const NAMED_MAX: usize = 64;

/// Whether certificates of upstreams are verified, and how often the files of `upstream.tls` changed.
#[derive(Debug)]
pub struct UpstreamTrust {
    /// Whether the deployment verifies any certificate at all.
    pub verifies: bool,
    snapshots: SnapshotCell,
    reloads: AtomicU64,
    refused: AtomicU64,
}

/// Whose certificates are not verified.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Unverified {
    /// `upstream.tls.verify` is false: nobody's.
    pub deployment: bool,
    /// Provider keys whose own `tls.verify` is false.
    pub keys: usize,
    /// The first [`NAMED_MAX`] of their names, in order.
    pub names: Vec<Arc<str>>,
}

impl UpstreamTrust {
    /// That of a deployment whose provider keys are those of `snapshots`.
    pub fn new(verifies: bool, snapshots: SnapshotCell) -> Self {
        Self {
            verifies,
            snapshots,
            reloads: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Counts files that were taken in the place of earlier ones.
    pub(crate) fn replaced(&self) {
        self.reloads.fetch_add(1, Relaxed);
    }

    /// Counts files that could not be used.
    pub(crate) fn refuse(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// Changed files taken, and refused.
    pub(crate) fn reloads(&self) -> (u64, u64) {
        (self.reloads.load(Relaxed), self.refused.load(Relaxed))
    }

    /// Whose certificates are not verified now. Walks all provider keys.
    pub fn unverified(&self) -> Unverified {
        let snapshot = self.snapshots.current();
        let keys = snapshot.provider_keys().filter(|key| !key.tls.verify);
        let mut names: Vec<Arc<str>> = keys.map(|key| Arc::clone(&key.name)).collect();
        names.sort_unstable();
        let keys = names.len();
        names.truncate(NAMED_MAX);
        Unverified {
            deployment: !self.verifies,
            keys,
            names,
        }
    }
}
