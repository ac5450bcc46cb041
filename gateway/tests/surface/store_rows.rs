//! Rows of a store that are wrong, or of a newer version: the others serve on, and operators are told.

use serde_json::{Value, json};

use crate::on_both_engines;
use crate::support::gateway::{CALLER_KEY, chat};
use crate::support::store::{self, Etcd, Rows, caller, model, pause};
use crate::support::{Gateway, Setup, mock, upstream_requests, wait_for};

const CHAT: &str = "/v1/chat/completions";
const REJECTED: &str = "sluice_config_rejected_resources";
const PARTIAL: &str = "sluice_config_partially_compatible_resources";
const STALE: &str = "sluice_config_stale_served_resources";
const FAILURES: &str = "sluice_config_reload_failures_total";
const LAST_OK: &str = "sluice_config_last_reload_successful";

fn status(gateway: &Gateway, model: &str) -> u16 {
    gateway.post(CHAT, &chat(model, false)).status
}

/// Waits until exactly these rows are rejected.
fn rejected(gateway: &Gateway, rows: &[&str]) -> Vec<Value> {
    let named = |config: &Value| -> Vec<String> {
        let rows = config["rejected"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        rows.map(|row| {
            format!(
                "{}/{}",
                text(&row["resource_kind"]),
                text(&row["resource_id"])
            )
        })
        .collect()
    };
    let config = gateway.config_until(&format!("{rows:?} to be rejected"), |config| {
        named(config) == rows
    });
    config["rejected"].as_array().unwrap().clone()
}

/// Whether `text` is a time as the status pages write them.
fn is_time(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.len() == 20 && text.ends_with('Z') && &text[10..11] == "T"
}

on_both_engines! {
    fn the_last_good_version_of_a_bad_row_serves_on_across_a_restart(engine) {
        let (etcd, mock) = (Etcd::start(), mock());
        let mut rows = Rows::new(etcd.addr());
        rows.seed(mock);
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("cache.json");
        let setup = Setup::new(engine, mock).following(etcd.addr())
            .with("managed.snapshot_cache_path", cache.to_str().unwrap());
        let mut gateway = setup.clone().start_ready();
        let good_hash = rows.hash();
        let mut bad = model("m", "gpt-bad");
        bad["provider"] = 7.into();
        rows.put("models/m", &bad);
        let row = rejected(&gateway, &["models/m"]).remove(0);
        let since = row["serving_stale_since"].clone();
        assert!(is_time(&since) && is_time(&row["first_seen_at"]) && is_time(&row["last_seen_at"]), "{row}");
        assert_eq!(row["last_error_kind"], "schema_failed", "{row}");
        assert!(row["last_error"].as_str().unwrap().starts_with("provider: "), "{row}");
        assert!(row["serving_stale_age_seconds"].as_i64().is_some_and(|age| (0..10).contains(&age)), "{row}");
        assert_eq!(status(&gateway, "m"), 200);
        let upstream = |mock| upstream_requests(mock).last().unwrap()["body"].to_string();
        assert!(upstream(mock).contains("gpt-up"), "the last good version");
        let config = gateway.config_until("the hashes", |config| {
            config["applied"]["config_hash"] == *good_hash && config["source"]["source_hash"] == *rows.hash()
        });
        assert_eq!(config["state"], "degraded", "{config}");
        assert_eq!(config["last_reload"]["successful"], false, "{config}");
        assert_eq!(config["last_failure"]["last_error_kind"], "schema_failed", "{config}");
        assert_eq!(gateway.metric(REJECTED, &["\"models\""]), 1.0);
        assert_eq!(gateway.metric(STALE, &["\"models\""]), 1.0);
        // Worse bytes keep both the version and the time.
        pause(std::time::Duration::from_millis(1100));
        rows.put_text("models/m", "{");
        wait_for("the newer rejection", || {
            let row = rejected(&gateway, &["models/m"]).remove(0);
            (row["last_error_kind"] == "non_json").then(|| assert_eq!(row["serving_stale_since"], since))
        });
        gateway.signal(rustix::process::Signal::TERM);
        assert_eq!(gateway.ended().code(), Some(0));
        for round in 0..2 {
            let gateway = setup.clone().start();
            let row = rejected(&gateway, &["models/m"]).remove(0);
            assert_eq!(row["serving_stale_since"], since, "{round}: {row}");
            assert_eq!(status(&gateway, "m"), 200, "{round}");
            assert!(upstream(mock).contains("gpt-up"), "{round}");
            assert_eq!(gateway.metric(STALE, &["\"models\""]), 1.0, "{round}");
        }
        let gateway = setup.clone().start_ready();
        rows.put("models/m", &model("m", "gpt-mended"));
        rejected(&gateway, &[]);
        assert_eq!(status(&gateway, "m"), 200);
        assert!(upstream(mock).contains("gpt-mended"));
        let config = rows.agree_with(&gateway);
        assert_eq!(config["state"], "synced", "{config}");
        assert_eq!(gateway.metric(REJECTED, &["\"models\""]), 0.0);
        assert_eq!(gateway.metric(STALE, &["\"models\""]), 0.0);
        assert_eq!(gateway.metric(LAST_OK, &[]), 1.0);
        // A bad row that leaves takes its last good version with it.
        rows.put("models/m", &bad);
        rejected(&gateway, &["models/m"]);
        rows.delete("models/m");
        rejected(&gateway, &[]);
        assert_eq!(status(&gateway, "m"), 404);
        rows.put("models/m", &bad);
        let row = rejected(&gateway, &["models/m"]).remove(0);
        assert!(row.get("serving_stale_since").is_none(), "{row}");
        assert_eq!(status(&gateway, "m"), 404);
    }

    fn bad_rows_are_reported_each_with_its_kind_and_stop_no_other(engine) {
        let (etcd, mock) = (Etcd::start(), mock());
        let mut rows = Rows::new(etcd.addr());
        rows.seed(mock);
        let mut both_spellings = store::provider_key(mock);
        both_spellings["secret"] = "x".into();
        let bad = [
            ("", "models", "bad_key", "{}".to_owned()),
            ("models/", "bad-json", "non_json", "{\"display_name\": ".to_owned()),
            ("models/", "bad-shape", "schema_failed", "[]".to_owned()),
            ("models/", "bad-type", "schema_failed", json!({"display_name": 1}).to_string()),
            ("api_keys/", "bad-hash", "schema_failed", json!({"key_hash": "x", "allowed_models": []}).to_string()),
            ("provider_keys/", "both", "parse_failed", both_spellings.to_string()),
        ];
        for (collection, id, _, text) in &bad {
            rows.put_text(&format!("{collection}{id}"), text);
        }
        let gateway = Setup::new(engine, mock).following(etcd.addr()).start_ready();
        assert_eq!(status(&gateway, "m"), 200);
        let config = gateway.config();
        assert_eq!(config["state"], "degraded", "{config}");
        let seen = config["rejected"].as_array().unwrap();
        assert_eq!(seen.len(), bad.len(), "{config}");
        for (collection, id, kind, _) in &bad {
            let (collection, id) = match collection.strip_suffix('/') {
                Some(collection) => (collection, *id),
                None => ("", ""),
            };
            let mut rows = seen.iter();
            let row = rows.find(|row| row["resource_kind"] == collection && row["resource_id"] == id);
            let row = row.unwrap_or_else(|| panic!("{collection}/{id} in {config}"));
            assert_eq!(row["last_error_kind"], *kind, "{row}");
            assert!(row.get("serving_stale_since").is_none(), "{row}");
        }
        let keys: Vec<_> = seen.iter().map(|row| (row["resource_kind"].to_string(), row["resource_id"].to_string())).collect();
        assert!(keys.is_sorted(), "{keys:?}");
        assert_eq!(gateway.metric(REJECTED, &["\"models\""]), 3.0);
        assert_eq!(gateway.metric(REJECTED, &["\"api_keys\""]), 1.0);
        assert_eq!(gateway.metric(STALE, &[]), 0.0);
        assert_eq!(gateway.metric(LAST_OK, &[]), 0.0);
        // One per reason and reload.
        assert_eq!(gateway.metric(FAILURES, &["\"parse\""]), 1.0);
        assert_eq!(gateway.metric(FAILURES, &["\"validate\""]), 1.0);
        assert_eq!(gateway.metric("sluice_config_last_reload_success_timestamp_seconds", &[]), 0.0);
        let errors = gateway.stderr().matches("a row is rejected").count();
        assert_eq!(errors, bad.len(), "{}", gateway.stderr());
        for (collection, id, ..) in &bad {
            rows.delete(&format!("{collection}{id}"));
        }
        rejected(&gateway, &[]);
        assert_eq!(gateway.metric(REJECTED, &[]), 0.0);
        let page = gateway.status_page("/metrics");
        assert!(page.text().contains("sluice_config_rejected_resources{kind=\"models\"} 0"), "{}", page.text());
        assert_eq!(gateway.metric(LAST_OK, &[]), 1.0);
        assert!(gateway.metric("sluice_config_last_reload_success_timestamp_seconds", &[]) > 1.7e9);
    }
}

#[test]
fn rows_of_a_newer_version_serve_without_what_is_unknown() {
    let (etcd, mock) = (Etcd::start(), mock());
    let mut rows = Rows::new(etcd.addr());
    rows.seed(mock);
    for id in ["a", "b"] {
        let mut row = model(id, "x");
        row["colour"] = "red".into();
        row["overrides"] = json!({"deep": {"deeper": 1}});
        rows.put(&format!("models/{id}"), &row);
        rows.put(&format!("widgets/{id}"), &json!({"display_name": id}));
    }
    let mut key = caller(CALLER_KEY, &["*"]);
    key["quota_tier"] = "gold".into();
    rows.put("api_keys/caller", &key);
    let setup = Setup::new(crate::support::Engine::Epoll, mock).following(etcd.addr());
    let gateway = setup.start_ready();
    let config = gateway.config();
    assert_eq!(config["state"], "synced", "{config}");
    assert_eq!(config["rejected"], json!([]), "{config}");
    let partial = |kind: &str, field: &str, count: u64| json!({"resource_kind": kind, "field": field, "count": count});
    let want = json!([
        partial("api_keys", "quota_tier", 1),
        partial("models", "colour", 2),
        partial("models", "overrides", 2),
        partial("widgets", "*", 2),
    ]);
    assert_eq!(config["partially_compatible"], want, "{config}");
    assert_eq!(gateway.metric(PARTIAL, &["\"models\""]), 2.0);
    assert_eq!(gateway.metric(PARTIAL, &["\"api_keys\""]), 1.0);
    assert_eq!(gateway.metric(PARTIAL, &["\"unknown\""]), 2.0);
    assert_eq!(status(&gateway, "a"), 200);
    let warnings = gateway.stderr();
    let count = |text: &str| warnings.lines().filter(|line| line.contains(text)).count();
    assert_eq!(
        count("fields that this version does not know are ignored on models"),
        1,
        "{warnings}"
    );
    assert_eq!(
        count("rows of the collection widgets are passed over"),
        1,
        "{warnings}"
    );
    for id in ["a", "b"] {
        rows.put(&format!("models/{id}"), &model(id, "x"));
        rows.delete(&format!("widgets/{id}"));
    }
    let config = rows.agree_with(&gateway);
    assert_eq!(
        config["partially_compatible"],
        json!([partial("api_keys", "quota_tier", 1)])
    );
    assert_eq!(gateway.metric(PARTIAL, &["\"models\""]), 0.0);
}

#[test]
fn rows_of_neighbours_are_not_ours() {
    let (etcd, mock) = (Etcd::start(), mock());
    Rows::below(etcd.addr(), "/sluice-staging").seed(mock);
    Rows::below(etcd.addr(), "/sluic").put_text("e/models/m", "{");
    let setup = Setup::new(crate::support::Engine::Epoll, mock).following(etcd.addr());
    let gateway = setup.clone().with("etcd.env_id", "blue").start_ready();
    let config = gateway.config();
    assert_eq!(config["state"], "empty", "{config}");
    assert_eq!(config["rejected"], json!([]), "{config}");
    assert_eq!(
        gateway.get("/readyz").status,
        200,
        "an empty configuration is one"
    );
    let mut rows = Rows::below(etcd.addr(), "/sluice/blue");
    rows.seed(mock);
    let config = rows.agree_with(&gateway);
    assert_eq!(config["state"], "synced", "{config}");
    assert_eq!(status(&gateway, "m"), 200);
    // To who reads all of `/sluice`, those are rows of a collection called `blue`.
    let whole = setup.with("etcd.prefix", "/sluice/").start_ready();
    let config = whole.config();
    assert_eq!(
        config["partially_compatible"][0]["resource_kind"], "blue",
        "{config}"
    );
    assert_ne!(status(&whole, "m"), 200);
}

#[test]
fn the_metrics_of_a_store_follow_its_life() {
    let (etcd, mock) = (Etcd::start(), mock());
    let mut rows = Rows::new(etcd.addr());
    rows.seed(mock);
    let setup = Setup::new(crate::support::Engine::IoUring, mock).following(etcd.addr());
    let gateway = setup.start_ready();
    let first = rows.agree_with(&gateway);
    let revision = |name: &str| gateway.metric(&format!("sluice_config_{name}_revision"), &[]);
    assert_eq!((revision("observed"), revision("applied")), (2.0, 2.0));
    assert_eq!(gateway.metric("sluice_config_reloads_total", &[]), 1.0);
    assert_eq!(gateway.metric("sluice_config_resyncs_total", &[]), 0.0);
    let hash = |config: &Value| {
        config["applied"]["config_hash"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let info = "sluice_config_hash_info";
    assert_eq!(gateway.metric(info, &[&hash(&first)]), 1.0);
    let last = rows.put("models/new", &model("new", "x"));
    let second = rows.agree_with(&gateway);
    assert_eq!(
        (revision("observed"), revision("applied")),
        (last as f64, last as f64)
    );
    assert_eq!(
        (
            gateway.metric(info, &[]),
            gateway.metric(info, &[&hash(&second)])
        ),
        (1.0, 1.0)
    );
    assert_eq!(
        gateway.metric("sluice_config_resources", &["\"models\""]),
        5.0
    );
    assert_eq!(
        gateway.metric("sluice_config_reloads_total", &[]),
        1.0,
        "a change is no reload"
    );
    // Bytes that say the same make no other configuration.
    let seq = |config: &Value| config["applied"]["apply_seq"].clone();
    let spaced = format!(" {} ", model("new", "x").to_string().replace(',', " , "));
    rows.put_text("models/new", &spaced);
    let third = gateway.config_until("the next revision", |config| {
        config["applied"]["applied_revision"] == last + 1
    });
    assert_eq!(
        (seq(&third), hash(&third)),
        (seq(&second), hash(&second)),
        "{third}"
    );
    gateway.signal(rustix::process::Signal::HUP);
    wait_for("a resync", || {
        (gateway.metric("sluice_config_resyncs_total", &[]) == 1.0).then_some(())
    });
    assert_eq!(gateway.metric("sluice_config_reloads_total", &[]), 2.0);
    assert_eq!(gateway.metric(FAILURES, &[]), 0.0);
    assert_eq!(gateway.metric("sluice_config_watch_losses_total", &[]), 0.0);
    assert_eq!(seq(&gateway.config()), seq(&second));
    let confirmed = gateway.metric("sluice_config_source_confirmed_timestamp_seconds", &[]);
    assert!(confirmed > 1.7e9, "{confirmed}");
    let models = gateway.status_page("/status/models").json();
    let ids: Vec<&str> = models
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["embed", "m", "new", "other", "script"]);
}

#[test]
fn two_rows_with_one_key_serve_the_older_until_it_leaves() {
    let (etcd, mock) = (Etcd::start(), mock());
    let mut rows = Rows::new(etcd.addr());
    rows.seed(mock);
    let gateway = Setup::new(crate::support::Engine::Epoll, mock)
        .following(etcd.addr())
        .start_ready();
    rows.put("api_keys/a-second", &caller(CALLER_KEY, &["other"]));
    let row = rejected(&gateway, &["api_keys/a-second"]).remove(0);
    assert!(
        row["last_error"].as_str().unwrap().contains("caller"),
        "{row}"
    );
    assert_eq!(
        (status(&gateway, "m"), status(&gateway, "other")),
        (200, 403)
    );
    rows.delete("api_keys/caller");
    rejected(&gateway, &[]);
    assert_eq!(
        (status(&gateway, "m"), status(&gateway, "other")),
        (403, 200)
    );
}
