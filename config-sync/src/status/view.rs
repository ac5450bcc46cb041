//! The state of the configuration in one piece, as the status pages show it. [pure]

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Propagation;
use crate::decode::RejectionKind;
use crate::snapshot::Snapshot;
use crate::state::Report;

/// Why a load failed.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum FailureKind {
    /// The source could not be read; what is served stays as it was.
    Fetch,
    /// Not JSON or YAML.
    NonJson,
    /// Not the expected shape.
    ParseFailed,
    /// Shaped right, but against the rules.
    SchemaFailed,
    /// A row whose key names no resource.
    BadKey,
    /// A row of a newer version's collection.
    UnknownKind,
}

impl FailureKind {
    /// Value of `last_error_kind`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::NonJson => "non_json",
            Self::ParseFailed => "parse_failed",
            Self::SchemaFailed => "schema_failed",
            Self::BadKey => "bad_key",
            Self::UnknownKind => "unknown_kind",
        }
    }

    /// Value of `reason` in `config_reload_failures_total`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::NonJson => "parse",
            Self::ParseFailed | Self::SchemaFailed | Self::BadKey | Self::UnknownKind => "validate",
        }
    }
}

impl From<RejectionKind> for FailureKind {
    fn from(kind: RejectionKind) -> Self {
        match kind {
            RejectionKind::BadKey => Self::BadKey,
            RejectionKind::NonJson => Self::NonJson,
            RejectionKind::SchemaFailed => Self::SchemaFailed,
            RejectionKind::ParseFailed => Self::ParseFailed,
            RejectionKind::UnknownKind => Self::UnknownKind,
        }
    }
}

/// One model of the served configuration, for `/status/models`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ModelRow {
    /// Resource id.
    pub id: Arc<str>,
    /// Name callers use.
    pub display_name: Arc<str>,
    /// `direct`, `routing`, `ensemble` or `semantic`.
    pub kind: &'static str,
}

/// What is being served.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Applied {
    /// SHA-256 of the bytes served, lower-case hex.
    pub config_hash: String,
    /// Grows by one whenever the hash changes.
    pub apply_seq: u64,
    /// Unix seconds of that change.
    pub applied_at: i64,
    /// Non-empty collections only.
    pub resource_counts: BTreeMap<&'static str, usize>,
    /// The store's revision; `None` for a file.
    pub applied_revision: Option<i64>,
}

/// The last load that failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// Unix seconds.
    pub at: i64,
    /// What went wrong.
    pub kind: FailureKind,
    /// The report. Holds no value of a secret.
    pub error: String,
}

/// The state in one piece.
#[derive(Clone, Debug, Default)]
pub struct ConfigView {
    /// `file` or `etcd`.
    pub source: &'static str,
    /// Whether the store answers; `None` for a file.
    pub connected: Option<bool>,
    /// Whether what is served comes from the cache on disk, and the store was not read yet.
    pub restored_from_cache: bool,
    /// Hash of what was last seen, and when (Unix seconds).
    pub observed: Option<(String, i64)>,
    /// The store's revision that was last seen; `None` for a file, and before the first.
    pub observed_revision: Option<i64>,
    /// Unix seconds when the source last confirmed that what was seen is all there is.
    pub confirmed_at: Option<i64>,
    /// What is being served.
    pub applied: Option<Applied>,
    /// Result and Unix seconds of the last load, single changes of a store included.
    pub last_reload: Option<(bool, i64)>,
    /// Unix seconds of the last load without a complaint.
    pub last_success: Option<i64>,
    /// The last failure, until restart.
    pub last_failure: Option<Failure>,
    /// Whether what was last seen was rejected as a whole.
    pub rejected_whole: bool,
    /// What there is to tell of a store's rows.
    pub rows: Report,
    /// Whole loads and failed fetches so far.
    pub reloads: u64,
    /// Whole loads of a store after the first attempt.
    pub resyncs: u64,
    /// How often a store that answered was lost.
    pub watch_losses: u64,
    /// Failed loads by reason.
    pub failures: BTreeMap<&'static str, u64>,
    /// From the arrival of a change to its publication.
    pub propagation: Propagation,
    /// Models being served from a file, by id.
    pub models: Arc<[ModelRow]>,
    /// What is being served from a store.
    pub snapshot: Option<Arc<Snapshot>>,
}

impl ConfigView {
    /// Value of `state` (config.md §11.2).
    pub fn state(&self) -> &'static str {
        let rejected = self.rows.rejected_count() > 0;
        match &self.applied {
            _ if self.rejected_whole => "out_of_sync",
            None => "never_loaded",
            Some(applied) => match (applied.resource_counts.is_empty(), rejected) {
                (true, true) => "out_of_sync",
                (false, true) => "degraded",
                (true, false) => "empty",
                (false, false) => "synced",
            },
        }
    }

    /// Models being served, by id.
    pub fn model_rows(&self) -> Arc<[ModelRow]> {
        let Some(snapshot) = &self.snapshot else {
            return Arc::clone(&self.models);
        };
        let models = snapshot.models().map(|model| ModelRow {
            id: Arc::clone(&model.id),
            display_name: Arc::clone(&model.display_name),
            kind: model.kind.name(),
        });
        let mut rows: Vec<ModelRow> = models.collect();
        rows.sort_by(|a, b| a.id.cmp(&b.id));
        rows.into()
    }

    /// Seconds since the source last confirmed what is served; `None` before the first time.
    pub fn age_s(&self, now_unix_s: i64) -> Option<i64> {
        let confirmed = self.confirmed_at?;
        Some(now_unix_s.saturating_sub(confirmed).max(0))
    }
}
