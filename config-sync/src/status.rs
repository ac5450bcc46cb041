//! What became of the configuration: written by the sync thread, read by the status pages. [bridge]
//!
//! One lock guards one small view; no worker ever takes it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use self::propagation::{PROPAGATION_BOUNDS_S, Propagation};
pub use self::view::{Applied, ConfigView, Failure, FailureKind, ModelRow};
use crate::decode::cut;
use crate::snapshot::Snapshot;
use crate::state::{Hashes, Report};

mod propagation;
mod view;

/// Longest error text kept, bytes.
const ERROR_BYTES_MAX: usize = 16 * 1024;
/// What a failed fetch is called; the detail is for the log.
const UNREACHABLE: &str = "configuration source unreachable";

/// Shared view of the configuration source. No worker touches it.
#[derive(Clone, Debug)]
pub struct ConfigStatus(Arc<Mutex<ConfigView>>);

/// A configuration that was taken into service whole.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// SHA-256 of what was loaded, lower-case hex.
    pub hash: String,
    /// Resources by collection.
    pub counts: Vec<(&'static str, usize)>,
    /// All models, in any order.
    pub models: Vec<ModelRow>,
}

/// Where rows of a store came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// The cache on disk: nothing is known of the store yet.
    Cache,
    /// Everything was read. Counts as a reload.
    Listing,
    /// The store told what changed.
    Batch,
    /// The rows held were read with other keys: the store told nothing.
    Keys,
}

/// Rows of a store that were taken into service.
#[derive(Debug)]
pub struct Update {
    /// Where they came from.
    pub origin: Origin,
    /// The store's revision of all this.
    pub revision: i64,
    /// Whether another configuration is served than before ([`crate::state::Changed::config`]).
    pub config_changed: bool,
    /// The hashes now; `None` keeps those told before, until [`ConfigStatus::hashed`].
    pub hashes: Option<Hashes>,
    /// What is to be told of rows; `None` where that did not change.
    pub report: Option<Report>,
    /// What is served; `None` where that did not change.
    pub snapshot: Option<Arc<Snapshot>>,
}

impl ConfigStatus {
    /// Nothing has been loaded yet from `source` (`file`, `etcd`).
    pub fn new(source: &'static str) -> Self {
        let view = ConfigView {
            source,
            connected: (source != "file").then_some(false),
            ..ConfigView::default()
        };
        Self(Arc::new(Mutex::new(view)))
    }

    /// A whole load was taken into service.
    pub fn loaded(&self, mut loaded: Loaded, now_unix_s: i64) {
        loaded.models.sort_by(|a, b| a.id.cmp(&b.id));
        self.change(|view| {
            let changed = view
                .applied
                .as_ref()
                .is_none_or(|applied| applied.config_hash != loaded.hash);
            view.apply(changed, now_unix_s, |applied| {
                applied.config_hash = loaded.hash.clone();
                let counts = loaded.counts.into_iter().filter(|(_, n)| *n > 0);
                applied.resource_counts = counts.collect();
            });
            view.observed = Some((loaded.hash, now_unix_s));
            view.last_reload = Some((true, now_unix_s));
            view.last_success = Some(now_unix_s);
            view.confirmed_at = Some(now_unix_s);
            view.rejected_whole = false;
            view.reloads += 1;
            view.models = loaded.models.into();
        });
    }

    /// A load failed; what was served before still is. `hash` is that of the refused document,
    /// absent when it could not be read.
    pub fn failed(&self, kind: FailureKind, error: &str, hash: Option<String>, now_unix_s: i64) {
        let error = cut(error, ERROR_BYTES_MAX).to_owned();
        self.change(|view| {
            view.last_reload = Some((false, now_unix_s));
            view.last_failure = Some(Failure {
                at: now_unix_s,
                kind,
                error,
            });
            view.reloads += 1;
            *view.failures.entry(kind.reason()).or_default() += 1;
            // A source that cannot be read says nothing about what is served.
            if kind != FailureKind::Fetch {
                view.rejected_whole = true;
            }
            if let Some(hash) = hash {
                view.observed = Some((hash, now_unix_s));
            }
        });
    }

    /// Rows of a store were taken into service, the good ones among them.
    pub fn updated(&self, update: Update, now_unix_s: i64) {
        self.change(|view| {
            if let Some(report) = update.report {
                view.report(report);
            }
            let (served, hashes) = (view.rows.served_by_kind.clone(), update.hashes);
            view.apply(update.config_changed, now_unix_s, |applied| {
                applied.applied_revision = Some(update.revision);
                applied.resource_counts = served.into_iter().filter(|(_, n)| *n > 0).collect();
                if let Some(hashes) = hashes {
                    applied.config_hash = hashes.config_hex();
                }
            });
            if let Some(snapshot) = update.snapshot {
                view.snapshot = Some(snapshot);
            }
            match update.origin {
                Origin::Cache => view.restored_from_cache = true,
                Origin::Keys => {}
                Origin::Listing | Origin::Batch => {
                    view.connected = Some(true);
                    view.restored_from_cache = false;
                    view.observe(update.revision, hashes.as_ref(), now_unix_s);
                    view.settle(update.origin == Origin::Listing, now_unix_s);
                }
            }
        });
    }

    /// The hashes of what was last told without any.
    pub fn hashed(&self, hashes: &Hashes) {
        self.change(|view| {
            if let Some(applied) = &mut view.applied {
                applied.config_hash = hashes.config_hex();
            }
            if let Some((source_hash, _)) = &mut view.observed {
                *source_hash = hashes.source_hex();
            }
        });
    }

    /// The store confirmed that nothing changed up to `revision`.
    pub fn confirmed(&self, revision: i64, now_unix_s: i64) {
        self.change(|view| {
            view.connected = Some(true);
            view.confirmed_at = Some(now_unix_s);
            let observed = view.observed_revision.unwrap_or(revision);
            view.observed_revision = Some(observed.max(revision));
            // Nothing changed up to there, so what is applied is of that revision too.
            if let Some(applied) = view
                .applied
                .as_mut()
                .and_then(|it| it.applied_revision.as_mut())
            {
                *applied = (*applied).max(revision);
            }
        });
    }

    /// The store cannot be reached, or was lost. Counts as a failed reload; the detail is for the log.
    pub fn lost(&self, now_unix_s: i64) {
        self.change(|view| view.watch_losses += u64::from(view.connected == Some(true)));
        self.failed(FailureKind::Fetch, UNREACHABLE, None, now_unix_s);
        self.change(|view| view.connected = Some(false));
    }

    /// A change of the store took `took` from its arrival to its publication.
    pub fn propagated(&self, took: Duration) {
        self.change(|view| view.propagation.note(took));
    }

    /// The state now.
    pub fn view(&self) -> ConfigView {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn change(&self, change: impl FnOnce(&mut ConfigView)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl ConfigView {
    /// Something was taken into service; `changed`: something else than before.
    fn apply(&mut self, changed: bool, now_unix_s: i64, fill: impl FnOnce(&mut Applied)) {
        let first = self.applied.is_none();
        let applied = self.applied.get_or_insert_with(Applied::default);
        if changed || first {
            applied.apply_seq += 1;
            applied.applied_at = now_unix_s;
        }
        fill(applied);
    }

    /// Rows are told of anew.
    fn report(&mut self, report: Report) {
        self.rows = report;
    }

    /// The store was seen at `revision`.
    fn observe(&mut self, revision: i64, hashes: Option<&Hashes>, now_unix_s: i64) {
        self.observed_revision = Some(revision);
        self.confirmed_at = Some(now_unix_s);
        let known = self.observed.take().map(|(hash, _)| hash);
        let hash = hashes.map(Hashes::source_hex).or(known);
        self.observed = Some((hash.unwrap_or_default(), now_unix_s));
    }

    /// The outcome of what was just seen; `whole`: of everything.
    fn settle(&mut self, whole: bool, now_unix_s: i64) {
        let successful = self.rows.rejected_count() == 0;
        self.last_reload = Some((successful, now_unix_s));
        if successful {
            self.last_success = Some(now_unix_s);
        }
        if whole {
            self.resyncs += u64::from(self.reloads > 0);
            self.reloads += 1;
            self.count_reasons();
        }
        let newest = self.rows.newest_rejection.as_ref();
        if let Some(newest) = newest.filter(|newest| newest.last_seen == now_unix_s) {
            self.last_failure = Some(Failure {
                at: now_unix_s,
                kind: newest.why.kind.into(),
                error: newest.why.message.to_string(),
            });
        }
    }

    /// A failed reload counts once for each reason.
    fn count_reasons(&mut self) {
        let rejected: &BTreeMap<&'static str, usize> = &self.rows.rejected_by_reason;
        for (reason, _) in rejected.iter().filter(|(_, rows)| **rows > 0) {
            *self.failures.entry(reason).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests;
