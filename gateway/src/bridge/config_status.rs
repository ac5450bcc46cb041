//! What became of the configuration: written by the sync thread, read by the status pages. [bridge]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Longest error text kept, bytes.
const ERROR_BYTES_MAX: usize = 16 * 1024;

/// Shared view of the configuration source. No worker touches it.
#[derive(Clone, Debug)]
pub struct ConfigStatus(Arc<Mutex<ConfigView>>);

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
}

impl FailureKind {
    /// Value of `last_error_kind`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::NonJson => "non_json",
            Self::ParseFailed => "parse_failed",
            Self::SchemaFailed => "schema_failed",
        }
    }

    /// Value of `reason` in `config_reload_failures_total`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::NonJson => "parse",
            Self::ParseFailed | Self::SchemaFailed => "validate",
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
}

/// A configuration that was taken into service.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// SHA-256 of what was loaded, lower-case hex.
    pub hash: String,
    /// Resources by collection.
    pub counts: Vec<(&'static str, usize)>,
    /// All models, in any order.
    pub models: Vec<ModelRow>,
}

/// What is being served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Applied {
    /// SHA-256 of the bytes served, lower-case hex.
    pub config_hash: String,
    /// Grows by one whenever the hash changes.
    pub apply_seq: u64,
    /// Unix seconds of that change.
    pub applied_at: i64,
    /// Non-empty collections only.
    pub resource_counts: BTreeMap<&'static str, usize>,
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
    /// Hash of what was last seen, and when (Unix seconds).
    pub observed: Option<(String, i64)>,
    /// What is being served.
    pub applied: Option<Applied>,
    /// Result and Unix seconds of the last load.
    pub last_reload: Option<(bool, i64)>,
    /// Unix seconds of the last load without a complaint.
    pub last_success: Option<i64>,
    /// The last failure, until restart.
    pub last_failure: Option<Failure>,
    /// Whether what was last seen was rejected as a whole.
    pub rejected_whole: bool,
    /// Loads so far, failed ones included.
    pub reloads: u64,
    /// Failed loads by reason.
    pub failures: BTreeMap<&'static str, u64>,
    /// Models being served, by id.
    pub models: Arc<[ModelRow]>,
}

impl ConfigStatus {
    /// Nothing has been loaded yet from `source` (`file`, `etcd`).
    pub fn new(source: &'static str) -> Self {
        let view = ConfigView {
            source,
            ..ConfigView::default()
        };
        Self(Arc::new(Mutex::new(view)))
    }

    /// A load was taken into service.
    pub fn loaded(&self, mut loaded: Loaded, now_unix_s: i64) {
        loaded.models.sort_by(|a, b| a.id.cmp(&b.id));
        self.change(|view| {
            let previous = view.applied.take();
            let (apply_seq, applied_at) = match &previous {
                Some(same) if same.config_hash == loaded.hash => (same.apply_seq, same.applied_at),
                Some(older) => (older.apply_seq + 1, now_unix_s),
                None => (1, now_unix_s),
            };
            view.applied = Some(Applied {
                config_hash: loaded.hash.clone(),
                apply_seq,
                applied_at,
                resource_counts: loaded.counts.into_iter().filter(|(_, n)| *n > 0).collect(),
            });
            view.observed = Some((loaded.hash, now_unix_s));
            view.last_reload = Some((true, now_unix_s));
            view.last_success = Some(now_unix_s);
            view.rejected_whole = false;
            view.reloads += 1;
            view.models = loaded.models.into();
        });
    }

    /// A load failed; what was served before still is. `hash` is that of the refused document,
    /// absent when it could not be read.
    pub fn failed(&self, kind: FailureKind, error: &str, hash: Option<String>, now_unix_s: i64) {
        let error = super::log::cut(error, ERROR_BYTES_MAX).to_owned();
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
    /// Value of `state` (config.md §11.2).
    pub fn state(&self) -> &'static str {
        match &self.applied {
            _ if self.rejected_whole => "out_of_sync",
            None => "never_loaded",
            Some(applied) if applied.resource_counts.is_empty() => "empty",
            Some(_) => "synced",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(hash: &str, models: usize) -> Loaded {
        let row = |id: usize| ModelRow {
            id: id.to_string().into(),
            display_name: "m".into(),
        };
        Loaded {
            hash: hash.into(),
            counts: vec![("models", models), ("api_keys", 0)],
            models: (0..models).rev().map(row).collect(),
        }
    }

    #[test]
    fn the_state_follows_loads_and_failures() {
        let status = ConfigStatus::new("file");
        assert_eq!(status.view().state(), "never_loaded");
        status.failed(FailureKind::Fetch, "gone", None, 1);
        assert_eq!(
            status.view().state(),
            "never_loaded",
            "an unreadable file changes nothing"
        );
        status.loaded(loaded("a", 0), 2);
        assert_eq!(status.view().state(), "empty");
        status.loaded(loaded("b", 2), 3);
        assert_eq!(status.view().state(), "synced");
        status.failed(FailureKind::SchemaFailed, "bad", Some("c".into()), 4);
        let view = status.view();
        assert_eq!(view.state(), "out_of_sync");
        assert_eq!(view.observed, Some(("c".into(), 4)));
        assert_eq!(view.applied.unwrap().config_hash, "b", "still served");
        assert_eq!(view.reloads, 4);
        assert_eq!(
            view.failures,
            BTreeMap::from([("fetch", 1), ("validate", 1)])
        );
        assert_eq!(
            (view.last_reload, view.last_success),
            (Some((false, 4)), Some(3))
        );
    }

    #[test]
    fn only_another_hash_advances_the_sequence() {
        let status = ConfigStatus::new("file");
        let seq = |status: &ConfigStatus| {
            let applied = status.view().applied.unwrap();
            (applied.apply_seq, applied.applied_at)
        };
        status.loaded(loaded("a", 1), 10);
        status.loaded(loaded("a", 1), 20);
        assert_eq!(seq(&status), (1, 10));
        status.loaded(loaded("b", 1), 30);
        assert_eq!(seq(&status), (2, 30));
    }

    #[test]
    fn empty_collections_are_left_out_and_models_are_sorted() {
        let status = ConfigStatus::new("file");
        status.loaded(loaded("a", 3), 1);
        let view = status.view();
        assert_eq!(
            view.applied.unwrap().resource_counts,
            BTreeMap::from([("models", 3)])
        );
        let ids: Vec<_> = view.models.iter().map(|row| &*row.id).collect();
        assert_eq!(ids, ["0", "1", "2"]);
    }
}
