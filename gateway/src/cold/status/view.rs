//! The documents of the status pages. [cold]

use std::fmt::Write;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::bridge::WorkerView;
use crate::bridge::health::{HealthState, HealthTable, HealthView};
use crate::bridge::memory::Memory;
use crate::bridge::shard::{HEARTBEAT_MS, STALLED_TURN_MS};
use crate::tls::upstream::Unverified;
use config_sync::state::Rejected;
use config_sync::status::ConfigView;

/// `/status/config`. Ages are those at `now_unix_s`.
pub fn config(view: &ConfigView, unverified: &Unverified, now_unix_s: i64) -> String {
    let mut source = Map::new();
    source.insert("type".into(), view.source.into());
    if let Some(connected) = view.connected {
        source.insert("connected".into(), connected.into());
    }
    if let Some(revision) = view.observed_revision {
        source.insert("observed_revision".into(), revision.into());
    }
    if let Some((hash, at)) = &view.observed {
        source.insert("source_hash".into(), hash.as_str().into());
        source.insert("observed_at".into(), rfc3339(*at).into());
    }
    if let Some(at) = view.confirmed_at.filter(|_| view.connected.is_some()) {
        source.insert("confirmed_at".into(), rfc3339(at).into());
    }
    if view.restored_from_cache {
        source.insert("restored_from_cache".into(), true.into());
    }
    let mut document = Map::new();
    document.insert("state".into(), view.state().into());
    document.insert("source".into(), source.into());
    if let Some(applied) = &view.applied {
        let mut fields = Map::new();
        if let Some(revision) = applied.applied_revision {
            fields.insert("applied_revision".into(), revision.into());
        }
        fields.insert("config_hash".into(), applied.config_hash.as_str().into());
        fields.insert("apply_seq".into(), applied.apply_seq.into());
        fields.insert("applied_at".into(), rfc3339(applied.applied_at).into());
        fields.insert("resource_counts".into(), json!(applied.resource_counts));
        document.insert("applied".into(), fields.into());
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
    let rejected = view
        .rows
        .rejected
        .iter()
        .map(|row| rejected(row, now_unix_s));
    document.insert("rejected".into(), rejected.collect());
    let partial = view.rows.partially_compatible.iter().map(|partial| {
        json!({
            "resource_kind": &*partial.resource_kind,
            "field": &*partial.field,
            "count": partial.count,
        })
    });
    document.insert("partially_compatible".into(), partial.collect());
    if unverified.deployment || unverified.keys > 0 {
        let names: Vec<&str> = unverified.names.iter().map(|name| &**name).collect();
        let unverified = json!({
            "deployment": unverified.deployment,
            "provider_keys": unverified.keys,
            "names": names,
        });
        document.insert("unverified_upstreams".into(), unverified);
    }
    Value::Object(document).to_string()
}

fn rejected(row: &Rejected, now_unix_s: i64) -> Value {
    let mut fields = Map::new();
    fields.insert("resource_kind".into(), (*row.resource_kind).into());
    fields.insert("resource_id".into(), (*row.resource_id).into());
    fields.insert("last_error_kind".into(), row.why.kind.label().into());
    fields.insert("last_error".into(), (*row.why.message).into());
    fields.insert("first_seen_at".into(), rfc3339(row.first_seen).into());
    fields.insert("last_seen_at".into(), rfc3339(row.last_seen).into());
    if let Some(since) = row.stale_since {
        let age = now_unix_s.saturating_sub(since).max(0);
        fields.insert("serving_stale_since".into(), rfc3339(since).into());
        fields.insert("serving_stale_age_seconds".into(), age.into());
    }
    fields.into()
}

/// `/status/models`, by id: how each model is doing at `now_ms`, as all workers see it.
pub fn models(view: &ConfigView, health: &HealthTable, now_ms: u64) -> String {
    let models = view.model_rows();
    let rows = models.iter().map(|model| {
        let seen = health.view(&model.id, now_ms);
        let seen = seen.filter(|_| model.kind == "direct");
        let status = match seen.as_ref().map(|seen| seen.state) {
            _ if model.kind != "direct" => "not_applicable",
            None | Some(HealthState::Healthy) => "healthy",
            Some(HealthState::Cooling) => "cooldown",
            Some(HealthState::Unhealthy) => "unhealthy",
        };
        let mut fields = Map::new();
        fields.insert("id".into(), (*model.id).into());
        fields.insert("display_name".into(), (*model.display_name).into());
        fields.insert("kind".into(), model.kind.into());
        fields.insert("status".into(), status.into());
        if let Some(seen) = seen {
            standing(&seen, &mut fields);
        }
        Value::Object(fields)
    });
    Value::Array(rows.collect()).to_string()
}

/// Times as the clients of AISIX read them, and once more as text.
fn standing(seen: &HealthView, fields: &mut Map<String, Value>) {
    let times = [
        ("cooldown_until", seen.cooldown_until_ms),
        ("last_checked_at", seen.last_checked_at_ms),
    ];
    for (name, ms) in times {
        let Some(ms) = ms else { continue };
        let (secs, nanos) = (ms / 1_000, ms % 1_000 * 1_000_000);
        let time = json!({"secs_since_epoch": secs, "nanos_since_epoch": nanos});
        fields.insert(name.into(), time);
        let text = rfc3339(i64::try_from(secs).unwrap_or(i64::MAX));
        fields.insert(format!("{name}_utc"), text.into());
    }
    if let Some(status) = seen.last_check_status {
        fields.insert("last_check_status".into(), status.into());
    }
    if let Some(reason) = seen.reason {
        fields.insert("status_reason".into(), reason.label().into());
    }
}

/// `/status/ready?verbose`: the driver, how memory stands to its mark where it has one, and how long
/// ago each worker's loop turned.
pub fn ready(
    applied: bool,
    io_engine: &str,
    (workers, memory): (&[WorkerView], &Memory),
    now_unix_ms: u64,
) -> String {
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
    if let Some(bounds) = memory.bounds() {
        let (used, mark) = (memory.used(), bounds.mark);
        match memory.pace().is_high() {
            false => line(true, format_args!("memory ok: {used} of {mark} bytes")),
            true => line(
                false,
                format_args!("memory above its mark: {used} of {mark} bytes"),
            ),
        }
    }
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
    use crate::bridge::histogram::BucketSettings;
    use crate::bridge::memory::Bounds;
    use config_sync::status::{ConfigStatus, FailureKind, Loaded, ModelRow};

    fn parsed(status: &ConfigStatus) -> Value {
        let page = config(&status.view(), &Unverified::default(), 1_770_091_500);
        serde_json::from_str(&page).unwrap()
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
    fn upstreams_that_nobody_verifies_are_named() {
        let unverified = Unverified {
            deployment: false,
            keys: 70,
            names: vec!["a".into(), "b".into()],
        };
        let page = config(&ConfigStatus::new("file").view(), &unverified, 0);
        let page: Value = serde_json::from_str(&page).unwrap();
        let want = json!({"deployment": false, "provider_keys": 70, "names": ["a", "b"]});
        assert_eq!(page["unverified_upstreams"], want);
    }

    #[test]
    fn models_are_listed_by_id() {
        let status = ConfigStatus::new("file");
        let row = |id: &str| ModelRow {
            id: id.into(),
            display_name: "fast".into(),
            kind: if id == "a" { "routing" } else { "direct" },
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
        let one = |id, kind, status| json!({"id": id, "display_name": "fast", "kind": kind, "status": status});
        let want = [
            one("a", "routing", "not_applicable"),
            one("b", "direct", "healthy"),
        ];
        assert_eq!(list, json!(want));
    }

    fn models_text(status: &ConfigStatus) -> String {
        models(&status.view(), &HealthTable::default(), 0)
    }

    #[test]
    fn verbose_readiness_names_the_driver_and_every_worker() {
        let (workers, cold) = build(3, &BucketSettings::default()).unwrap();
        workers[0].shard.turn(10_000);
        workers[1].shard.turn(5_000);
        let want = "[+]config ok\n[+]io_engine epoll\n[+]worker 0 ok\n\
            [-]worker 1 stalled: last turn 5010 ms ago\n[-]worker 2 not started\n\
            ready check passed";
        let unwatched = Memory::new(None, None, 3);
        let page = ready(true, "epoll", (&cold.workers, &unwatched), 10_010);
        assert_eq!(page, want);
        assert!(ready(false, "epoll", (&[], &unwatched), 0).ends_with("ready check failed"));
    }

    #[test]
    fn verbose_readiness_tells_how_memory_stands() {
        let bounds = Bounds {
            limit: 2_000_000,
            mark: 1_000_000,
        };
        let memory = Memory::new(Some(bounds), None, 1);
        let cases = [
            (5, "[+]memory ok: 5 of 1000000 bytes\n"),
            (
                1_000_001,
                "[-]memory above its mark: 1000001 of 1000000 bytes\n",
            ),
        ];
        for (used, want) in cases {
            memory.measured(used);
            let page = ready(true, "epoll", (&[], &memory), 0);
            assert!(
                page.contains(want) && page.ends_with("ready check passed"),
                "{page}"
            );
        }
    }
}
