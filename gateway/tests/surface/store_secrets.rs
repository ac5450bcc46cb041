//! Sealed credentials: opened by the gateway alone, and told to nobody but the upstream.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::canary::{self, CREDENTIALS, DISABLED_KEY, FIELD, HEADER, holds};
use crate::on_both_engines;
use crate::support::command::{sluice, sluice_with};
use crate::support::gateway::{CALLER_KEY, UPSTREAM_KEY, chat};
use crate::support::store::{self, Etcd, Rows, base64, caller, model};
use crate::support::{Engine, Gateway, Setup, mock, upstream_requests, wait_for};

const CHAT: &str = "/v1/chat/completions";
const GUARD: &str = "guard-canary-4b1d";
const GUARD_ID: &str = "guard-id-canary-90ff";
const TOOLS: &str = "tools-canary-c2e8";
const AGENT: &str = "agent-canary-1f77";
const EXPORTER: &str = "exporter-canary-de05";

/// Every credential of [`fill`].
const SEALED: [&str; 8] = [
    UPSTREAM_KEY,
    HEADER,
    FIELD,
    GUARD,
    GUARD_ID,
    TOOLS,
    AGENT,
    EXPORTER,
];

/// Rows with a canary in every slot for secrets.
fn fill(rows: &mut Rows, mock: SocketAddr) {
    rows.seed(mock);
    let mut up = store::provider_key(mock);
    up["request"] = json!({
        "default_headers": {"x-tenant-secret": HEADER},
        "default_body_fields": {"safety_identifier": FIELD},
    });
    rows.put("provider_keys/up", &up);
    // Nobody listens there.
    up["display_name"] = "dead".into();
    up["api_base"] = "http://127.0.0.1:1/v1".into();
    rows.put("provider_keys/dead", &up);
    let mut dead = model("dead", "d");
    dead["provider_key_id"] = "dead".into();
    rows.put("models/dead", &dead);
    let allowed = ["m", "embed", "dead", "script/*"];
    rows.put("api_keys/caller", &caller(CALLER_KEY, &allowed));
    let mut off = caller(DISABLED_KEY, &["*"]);
    off["disabled"] = true.into();
    rows.put("api_keys/off", &off);
    let guard = json!({"name": "g", "kind": "lakera", "api_key": GUARD});
    rows.put("guardrails/lakera", &guard);
    let guard = json!({"name": "aws", "kind": "bedrock", "guardrail_id": "gr", "guardrail_version": "1",
        "region": "eu-west-1",
        "latency_mode": {"kind": "timed", "timeout_ms": 500},
        "aws_credentials": {"kind": "static", "access_key_id": GUARD_ID, "secret_access_key": GUARD}});
    rows.put("guardrails/aws", &guard);
    let tools = json!({"name": "tools", "url": "https://tools.example/mcp", "auth_type": "bearer",
        "secret": TOOLS});
    rows.put("mcp_servers/tools", &tools);
    let agent = json!({"name": "agent", "url": "https://agent.example/a2a", "auth_type": "bearer",
        "secret": AGENT});
    rows.put("a2a_agents/agent", &agent);
    let exporter = json!({"name": "traces", "kind": "otlp_http", "endpoint": "https://o.example/v1/traces",
        "headers": {"x-token": EXPORTER}});
    rows.put("observability_exporters/traces", &exporter);
}

/// A store with the rows of [`fill`], sealed in place with a ring, whose history is gone.
struct Vault {
    etcd: Etcd,
    mock: SocketAddr,
    dir: tempfile::TempDir,
}

impl Vault {
    fn new() -> Self {
        let (etcd, mock) = (Etcd::start(), mock());
        fill(&mut Rows::new(etcd.addr()), mock);
        let vault = Self {
            etcd,
            mock,
            dir: tempfile::tempdir().unwrap(),
        };
        vault.new_ring("ring.json");
        let sealed = vault.run("seal", &[]).well();
        assert_eq!(sealed.stdout.lines().count(), 7, "{}", sealed.printed());
        assert!(
            sealed.stderr.ends_with("12 value(s) in 7 row(s) sealed\n"),
            "{}",
            sealed.stderr
        );
        assert!(!sealed.printed().contains("canary"), "{}", sealed.printed());
        // What was written before lies in the history until that is thrown away.
        let revision = Rows::new(vault.etcd.addr()).put("models/last", &model("last", "x"));
        vault
            .etcd
            .ctl(&["compact", "--physical", &revision.to_string()]);
        vault.etcd.ctl(&["defrag"]);
        vault
    }

    fn ring(&self) -> PathBuf {
        self.dir.path().join("ring.json")
    }

    fn new_ring(&self, name: &str) {
        let path = self.dir.path().join(name);
        sluice(&[
            "rotate",
            "--keyring-file",
            path.to_str().unwrap(),
            "--new-key",
        ])
        .well();
    }

    /// A command on the store with the ring.
    fn run(&self, command: &str, more: &[&str]) -> crate::support::command::Ended {
        let etcd = format!("http://{}", self.etcd.addr());
        let ring = self.ring();
        let args = [
            command,
            "--etcd",
            &etcd,
            "--keyring-file",
            ring.to_str().unwrap(),
        ];
        sluice(&[&args, more].concat())
    }

    fn setup(&self, engine: Engine) -> Setup {
        canary::setup(engine, self.mock)
            .following(self.etcd.addr())
            .with("secrets.keyring_file", self.ring().to_str().unwrap())
    }
}

fn status(gateway: &Gateway, model: &str) -> u16 {
    gateway.post(CHAT, &chat(model, false)).status
}

/// The keys of the ring, as it writes them.
fn keys_of(ring: &Path) -> Vec<String> {
    let ring: Value = serde_json::from_slice(&std::fs::read(ring).unwrap()).unwrap();
    let keys = ring["keys"].as_array().unwrap().iter();
    keys.map(|key| key["key"].as_str().expect("a key").to_owned())
        .collect()
}

on_both_engines! {
    fn a_sealed_secret_is_told_to_nobody_but_the_upstream_it_is_meant_for(engine) {
        let vault = Vault::new();
        let cache = vault.dir.path().join("cache/cache.json");
        let setup = vault.setup(engine).with("managed.snapshot_cache_path", cache.to_str().unwrap());
        let gateway = setup.start_ready();
        let config = gateway.config();
        assert_eq!(config["state"], "synced", "{config}");
        let told = canary::drive(&gateway);
        let requests = Value::from(upstream_requests(vault.mock)).to_string();
        for secret in [UPSTREAM_KEY, HEADER, FIELD] {
            assert!(requests.contains(secret), "{secret} never reached the upstream");
        }
        for secret in ["$enc:", GUARD, GUARD_ID, TOOLS, AGENT, EXPORTER] {
            assert!(!requests.contains(secret), "{secret} reached the upstream");
        }
        gateway.access_lines(told.len() / 2);
        canary::no_canary(&gateway);
        let read = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        wait_for("the cache", || cache.exists().then_some(()));
        let mut places = canary::operators_see(&gateway);
        places.push(("the store", read(&vault.etcd.save())));
        places.push(("the cache", read(&cache)));
        places.push(("answers", told.iter().map(|answer| String::from_utf8_lossy(answer)).collect()));
        places.push(("validate", vault.run("validate", &[]).well().printed()));
        places.push(("validate as JSON", vault.run("validate", &["--format", "json"]).well().printed()));
        places.push(("export", vault.run("export", &[]).printed()));
        let etcd = format!("http://{}", vault.etcd.addr());
        places.push(("validate without a ring", sluice(&["validate", "--etcd", &etcd]).printed()));
        places.push(("export without a ring", sluice(&["export", "--etcd", &etcd]).printed()));
        for (place, text) in places {
            assert!(!text.is_empty(), "{place}");
            for canary in SEALED.iter().chain(&CREDENTIALS) {
                let found = text.split(['\n', '\0']).find(|line| holds(line, canary));
                assert!(found.is_none(), "{canary} in {place}: {found:?}");
                let found = text.contains(&base64(canary.as_bytes())[..canary.len()]);
                assert!(!found, "{canary} in base64 in {place}");
            }
            for key in keys_of(&vault.ring()) {
                assert!(!text.contains(&key), "a data key in {place}");
            }
        }
    }

    fn with_the_wrong_ring_the_last_good_rows_serve_and_nothing_is_used_raw(engine) {
        let vault = Vault::new();
        let right = std::fs::read(vault.ring()).unwrap();
        let gateway = vault.setup(engine).start_ready();
        assert_eq!(status(&gateway, "m"), 200);
        let before = gateway.config();
        vault.new_ring("other.json");
        std::fs::copy(vault.dir.path().join("other.json"), vault.ring()).unwrap();
        gateway.signal(Signal::HUP);
        let config = gateway.config_until("rejections", |config| {
            config["rejected"].as_array().is_some_and(|rows| rows.len() == 7)
        });
        assert_eq!(config["state"], "degraded", "{config}");
        assert_eq!(config["applied"]["config_hash"], before["applied"]["config_hash"], "{config}");
        for row in config["rejected"].as_array().unwrap() {
            assert_eq!(row["last_error_kind"], "schema_failed", "{row}");
            assert!(row["serving_stale_since"].is_string(), "{row}");
        }
        let key = config["rejected"].as_array().unwrap().last().unwrap();
        assert!(key["last_error"].as_str().unwrap().starts_with("/api_key: "), "{key}");
        assert_eq!(status(&gateway, "m"), 200);
        // A ring that cannot be read at all changes nothing.
        std::fs::write(vault.ring(), "{").unwrap();
        gateway.signal(Signal::HUP);
        let refused = "the key ring cannot be read; nothing is reloaded";
        wait_for(refused, || gateway.stderr().contains(refused).then_some(()));
        assert_eq!(status(&gateway, "m"), 200);
        std::fs::write(vault.ring(), right).unwrap();
        gateway.signal(Signal::HUP);
        let config = gateway.config_until("the right ring", |config| config["state"] == "synced");
        assert_eq!(config["rejected"], json!([]), "{config}");
        assert_eq!(status(&gateway, "m"), 200);
        let requests = upstream_requests(vault.mock);
        assert_eq!(requests.len(), 4);
        for request in requests {
            let text = request.to_string();
            assert!(text.contains(UPSTREAM_KEY) && !text.contains("$enc:"), "{text}");
        }
    }
}

#[test]
fn a_gateway_that_never_had_the_right_ring_serves_no_sealed_row() {
    let vault = Vault::new();
    vault.new_ring("other.json");
    let other = vault.dir.path().join("other.json");
    let with = |ring: Option<&Path>| {
        let setup = canary::setup(Engine::Epoll, vault.mock).following(vault.etcd.addr());
        match ring {
            None => setup,
            Some(ring) => setup.with("secrets.keyring_file", ring.to_str().unwrap()),
        }
    };
    for (what, setup, why) in [
        (
            "none",
            with(None),
            "/api_key: sealed, and no key ring is configured",
        ),
        ("another", with(Some(&other)), "/api_key: sealed, but "),
    ] {
        let gateway = setup.start_ready();
        let config = gateway.config();
        assert_eq!(config["state"], "degraded", "{what}: {config}");
        assert_eq!(
            gateway.metric("sluice_config_rejected_resources", &["\"provider_keys\""]),
            2.0
        );
        let rows = config["rejected"].as_array().unwrap();
        let key = rows
            .iter()
            .find(|row| row["resource_kind"] == "provider_keys")
            .unwrap();
        assert!(
            key["last_error"].as_str().unwrap().starts_with(why),
            "{what}: {key}"
        );
        assert!(key.get("serving_stale_since").is_none(), "{what}: {key}");
        let answer = gateway.post(CHAT, &chat("m", false));
        assert!(answer.status >= 400, "{what}: {}", answer.text());
        assert!(
            !answer.text().contains("$enc:"),
            "{what}: {}",
            answer.text()
        );
    }
    assert!(upstream_requests(vault.mock).is_empty());
    // A gateway whose ring is not there does not start: it could open nothing.
    let mut gateway = with(Some(Path::new("/not/there.json"))).spawn();
    assert_eq!(gateway.ended().code(), Some(1));
    let said = gateway.stderr();
    assert!(said.contains("/not/there.json"), "{said}");
}

#[test]
fn an_envelope_opens_only_where_it_was_sealed() {
    let vault = Vault::new();
    let gateway = vault.setup(Engine::IoUring).start_ready();
    let stored = vault
        .etcd
        .ctl(&["get", "--print-value-only", "/sluice/provider_keys/up"]);
    let mut row: Value = serde_json::from_str(&stored).unwrap();
    assert!(
        row["api_key"].as_str().unwrap().starts_with("$enc:"),
        "{row}"
    );
    let mut rows = Rows::new(vault.etcd.addr());
    row["display_name"] = "moved".into();
    rows.put("provider_keys/moved", &row);
    let header = row["request"]["default_headers"]["x-tenant-secret"].clone();
    row["api_key"] = header;
    rows.put("provider_keys/up", &row);
    let config = gateway.config_until("both rejections", |config| {
        config["rejected"]
            .as_array()
            .is_some_and(|rows| rows.len() == 2)
    });
    let rejected = config["rejected"].as_array().unwrap();
    assert!(rejected[0].get("serving_stale_since").is_none(), "{config}");
    assert!(rejected[1]["serving_stale_since"].is_string(), "{config}");
    assert_eq!(status(&gateway, "m"), 200);
    let requests = upstream_requests(vault.mock);
    assert!(requests[0].to_string().contains(UPSTREAM_KEY));
}

#[test]
fn rejected_rows_show_no_value_anywhere() {
    let (etcd, mock) = (Etcd::start(), mock());
    let mut rows = Rows::new(etcd.addr());
    rows.seed(mock);
    let bad = [
        (
            "provider_keys/a",
            format!("{{\"api_key\": \"{UPSTREAM_KEY}"),
        ),
        ("provider_keys/b", format!("\"{UPSTREAM_KEY}\"")),
        (
            "provider_keys/c",
            json!({"display_name": "c", "api_key": [UPSTREAM_KEY], "adapter": HEADER,
            "x": FIELD})
            .to_string(),
        ),
        (
            "provider_keys/d",
            json!({"display_name": "d", "provider": "openai", "adapter": "openai",
            "api_key": 1, "api_base": format!("https://u:{HEADER}@h/v1?api_key={UPSTREAM_KEY}"),
            "tls": {"ca_cert": FIELD}})
            .to_string(),
        ),
        (
            "provider_keys/e",
            json!({"display_name": "e", "provider": "openai", "adapter": "openai",
            "api_key": "k", "api_base": UPSTREAM_KEY, "request": {"default_headers":
            {"a b": HEADER, "x": [HEADER]}, "default_body_fields": FIELD}})
            .to_string(),
        ),
        (
            "provider_keys/f",
            json!({"display_name": "f", "provider": "openai", "adapter": "openai",
            "api_key": format!("$enc:{UPSTREAM_KEY}")})
            .to_string(),
        ),
        (
            "api_keys/a",
            json!({"key_hash": CALLER_KEY, "allowed_models": FIELD}).to_string(),
        ),
        (
            "mcp_servers/a",
            json!({"name": "a__b", "url": UPSTREAM_KEY, "auth_type": "oauth2",
            "secret": [HEADER]})
            .to_string(),
        ),
        (
            "observability_exporters/a",
            json!({"name": "a", "kind": "otlp_http",
            "endpoint": format!("https://u:{HEADER}@h/"), "headers": {"x": [UPSTREAM_KEY]}})
            .to_string(),
        ),
    ];
    for (row, text) in &bad {
        rows.put_text(row, text);
    }
    let setup = Setup::new(Engine::IoUring, mock).following(etcd.addr());
    let gateway = setup.with("observability.log_level", "trace").start_ready();
    let config = gateway.config();
    let rejected = config["rejected"].as_array().unwrap();
    assert_eq!(rejected.len(), bad.len(), "{config}");
    assert_eq!(status(&gateway, "m"), 200);
    let etcd = format!("http://{}", etcd.addr());
    let validate =
        |format: &str| sluice_with(&["validate", "--etcd", &etcd, "--format", format], &[], "");
    let mut places = canary::operators_see(&gateway);
    for (place, ended) in [
        ("validate", validate("text")),
        ("validate as JSON", validate("json")),
    ] {
        assert_eq!(ended.code, 1, "{place}");
        places.push((place, ended.printed()));
    }
    for (place, text) in places {
        for canary in SEALED.iter().chain(&CREDENTIALS) {
            let found = text.lines().find(|line| holds(line, canary));
            assert!(found.is_none(), "{canary} in {place}: {found:?}");
        }
    }
}
