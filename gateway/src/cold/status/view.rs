//! The documents of the status pages. [cold]

use std::fmt::Write;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::bridge::WorkerView;
use crate::bridge::config_status::ConfigView;
use crate::bridge::shard::{HEARTBEAT_MS, STALLED_TURN_MS};

/// `/status/config` (config.md §11.2).
pub fn config(view: &ConfigView) -> String {
    let mut source = Map::new();
    source.insert("type".into(), view.source.into());
    if let Some((hash, at)) = &view.observed {
        source.insert("source_hash".into(), hash.as_str().into());
        source.insert("observed_at".into(), rfc3339(*at).into());
    }
    let mut document = Map::new();
    document.insert("state".into(), view.state().into());
    document.insert("source".into(), source.into());
    if let Some(applied) = &view.applied {
        let applied = json!({
            "config_hash": applied.config_hash,
            "apply_seq": applied.apply_seq,
            "applied_at": rfc3339(applied.applied_at),
            "resource_counts": applied.resource_counts,
        });
        document.insert("applied".into(), applied);
    }
    if let Some((successful, at)) = view.last_reload {
        let reload = json!({ "successful": successful, "at": rfc3339(at) });
        document.insert("last_reload".into(), reload);
    }
    let failure = view.last_failure.as_ref().map(|failure| {
        json!({
            "at": rfc3339(failure.at),
            "last_error_kind": failure.kind.label(),
            "last_error": failure.error,
        })
    });
    document.insert("last_failure".into(), failure.unwrap_or(Value::Null));
    // A file is taken whole or not at all.
    document.insert("rejected".into(), json!([]));
    document.insert("partially_compatible".into(), json!([]));
    Value::Object(document).to_string()
}

/// `/status/models`, by id. Cooldowns and checks are omitted until they exist.
pub fn models(view: &ConfigView) -> String {
    let rows = view.models.iter().map(|model| {
        json!({
            "id": &*model.id,
            "display_name": &*model.display_name,
            "kind": "direct",
            "status": "healthy",
        })
    });
    Value::Array(rows.collect()).to_string()
}

/// `/status/ready?verbose`: the driver, and how long ago each worker's loop turned.
pub fn ready(applied: bool, io_engine: &str, workers: &[WorkerView], now_unix_ms: u64) -> String {
    let mut out = String::new();
    let mut line = |ok: bool, text: std::fmt::Arguments<'_>| {
        let mark = if ok { '+' } else { '-' };
        writeln!(out, "[{mark}]{text}").expect("a string takes every write");
    };
    if applied {
        line(true, format_args!("config ok"));
    } else {
        line(false, format_args!("config failed: not ready"));
    }
    line(true, format_args!("io_engine {io_engine}"));
    for (number, worker) in workers.iter().enumerate() {
        match worker.counters.last_turn_unix_ms.value() {
            0 => line(false, format_args!("worker {number} not started")),
            last => {
                let ago_ms = now_unix_ms.saturating_sub(last);
                if ago_ms <= STALLED_TURN_MS + HEARTBEAT_MS {
                    line(true, format_args!("worker {number} ok"));
                } else {
                    line(
                        false,
                        format_args!("worker {number} stalled: last turn {ago_ms} ms ago"),
                    );
                }
            }
        }
    }
    out.push_str(if applied {
        "ready check passed"
    } else {
        "ready check failed"
    });
    out
}

/// Whole seconds, UTC, `Z`.
fn rfc3339(unix_s: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(unix_s).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    at.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::build;
    use crate::bridge::config_status::{ConfigStatus, FailureKind, Loaded, ModelRow};
    use crate::bridge::histogram::BucketSettings;

    fn parsed(status: &ConfigStatus) -> Value {
        serde_json::from_str(&config(&status.view())).unwrap()
    }

    #[test]
    fn the_document_grows_with_what_has_happened() {
        let status = ConfigStatus::new("file");
        let fresh = json!({
            "state": "never_loaded", "source": { "type": "file" },
            "last_failure": null, "rejected": [], "partially_compatible": [],
        });
        assert_eq!(parsed(&status), fresh);
        let loaded = Loaded {
            hash: "aa".into(),
            counts: vec![("models", 4)],
            models: Vec::new(),
        };
        status.loaded(loaded, 1_770_091_445);
        status.failed(
            FailureKind::NonJson,
            "line 3",
            Some("bb".into()),
            1_770_091_446,
        );
        let want = json!({
            "state": "out_of_sync",
            "source": {"type": "file", "source_hash": "bb", "observed_at": "2026-02-03T04:04:06Z"},
            "applied": {"config_hash": "aa", "apply_seq": 1, "applied_at": "2026-02-03T04:04:05Z",
                        "resource_counts": {"models": 4}},
            "last_reload": {"successful": false, "at": "2026-02-03T04:04:06Z"},
            "last_failure": {"at": "2026-02-03T04:04:06Z", "last_error_kind": "non_json",
                             "last_error": "line 3"},
            "rejected": [], "partially_compatible": [],
        });
        assert_eq!(parsed(&status), want);
    }

    #[test]
    fn models_are_listed_by_id() {
        let status = ConfigStatus::new("file");
        let row = |id: &str| ModelRow {
            id: id.into(),
            display_name: "fast".into(),
        };
        let models = vec![row("b"), row("a")];
        status.loaded(
            Loaded {
                hash: "a".into(),
                counts: Vec::new(),
                models,
            },
            0,
        );
        let list: Value = serde_json::from_str(&models_text(&status)).unwrap();
        let one =
            |id| json!({"id": id, "display_name": "fast", "kind": "direct", "status": "healthy"});
        assert_eq!(list, json!([one("a"), one("b")]));
    }

    fn models_text(status: &ConfigStatus) -> String {
        models(&status.view())
    }

    #[test]
    fn verbose_readiness_names_the_driver_and_every_worker() {
        let (workers, cold) = build(3, &BucketSettings::default()).unwrap();
        workers[0].shard.turn(10_000);
        workers[1].shard.turn(5_000);
        let want = "[+]config ok\n[+]io_engine epoll\n[+]worker 0 ok\n\
            [-]worker 1 stalled: last turn 5010 ms ago\n[-]worker 2 not started\n\
            ready check passed";
        assert_eq!(ready(true, "epoll", &cold.workers, 10_010), want);
        assert!(ready(false, "epoll", &[], 0).ends_with("ready check failed"));
    }
}
