//! The commands of operators on a real store: seal, unseal, rotate, validate, export.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::on_both_engines;
use crate::support::command::{Ended, sluice, sluice_with};
use crate::support::gateway::{CALLER_KEY, UPSTREAM_KEY, chat};
use crate::support::store::{self, Etcd, Rows, Steady, caller, model};
use crate::support::{Engine, Gateway, Setup, mock, upstream_requests, wait_for};

const CHAT: &str = "/v1/chat/completions";
const RESYNCS: &str = "sluice_config_resyncs_total";
const HEADER: &str = "x-tenant-canary-77aa";

/// A seeded store, and a directory for key rings and files.
struct Desk {
    etcd: Etcd,
    url: String,
    rows: Rows,
    mock: std::net::SocketAddr,
    dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let (etcd, mock) = (Etcd::start(), mock());
        let mut rows = Rows::new(etcd.addr());
        rows.seed(mock);
        let mut up = store::provider_key(mock);
        up["request"] = json!({"default_headers": {"x-tenant": HEADER}});
        rows.put("provider_keys/up", &up);
        Self {
            url: format!("http://{}", etcd.addr()),
            etcd,
            rows,
            mock,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A new key in the ring of this name.
    fn new_key(&self, ring: &str) -> Ended {
        let path = self.path(ring);
        sluice(&[
            "rotate",
            "--new-key",
            "--keyring-file",
            path.to_str().unwrap(),
        ])
    }

    /// A command on the store with the ring of this name.
    fn with_ring(&self, ring: &str, command: &str, more: &[&str]) -> Ended {
        let path = self.path(ring);
        let args = [
            command,
            "--etcd",
            &self.url,
            "--keyring-file",
            path.to_str().unwrap(),
        ];
        sluice(&[&args, more].concat())
    }

    /// The value of a row in the store.
    fn stored(&self, row: &str) -> Value {
        let key = format!("/sluice/{row}");
        let text = self.etcd.ctl(&["get", "--print-value-only", &key]);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{row}: {error} in {text}"))
    }

    fn setup(&self, engine: Engine) -> Setup {
        Setup::new(engine, self.mock).following(self.etcd.addr())
    }
}

/// Has the gateway read rings and store again.
fn reread(gateway: &Gateway) {
    let before = gateway.metric(RESYNCS, &[]);
    gateway.signal(Signal::HUP);
    wait_for("a resync", || {
        (gateway.metric(RESYNCS, &[]) > before).then_some(())
    });
}

/// Whether the text is sealed with the key of this id, which must be below 16.
fn is_sealed_with(id: u8, text: &Value) -> bool {
    // Four bytes of versions and four of the id in base64url: the last six bits that are the id's
    // alone are zero, then come its low four and two of the nonce.
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let text = text.as_str().unwrap_or_default();
    let digit = text
        .strip_prefix("$enc:AQEAAAAAAA")
        .and_then(|rest| rest.bytes().next());
    let value = digit.and_then(|digit| DIGITS.iter().position(|&other| other == digit));
    value.is_some_and(|value| value >> 2 == usize::from(id))
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

on_both_engines! {
    fn a_store_is_sealed_rotated_and_unsealed_under_load_without_a_failed_request(engine) {
        let desk = Desk::new();
        let made = desk.new_key("ring.json").well();
        assert!(made.stderr.contains("key 1 seals from now on"), "{}", made.stderr);
        assert_eq!(made.stdout, "");
        assert_eq!(mode(&desk.path("ring.json")), 0o400);
        let ring = desk.path("ring.json");
        let setup = desk.setup(engine).with("secrets.keyring_file", ring.to_str().unwrap());
        let gateway = setup.start_ready();
        let clients = [false, true].map(|stream| Steady::start(&gateway, stream, Duration::from_millis(5)));
        let revision = || gateway.config()["applied"]["applied_revision"].as_i64().unwrap();
        let plain = desk.stored("provider_keys/up");

        let start = revision();
        let dry = desk.with_ring("ring.json", "seal", &["--dry-run"]).well();
        assert_eq!(dry.stderr, "2 value(s) in 1 row(s) sealed (dry run: nothing was written)\n");
        assert_eq!((desk.stored("provider_keys/up"), revision()), (plain.clone(), start));
        let sealed = desk.with_ring("ring.json", "seal", &[]).well();
        assert_eq!(sealed.stdout, "/sluice/provider_keys/up: 2 value(s) sealed\n");
        assert_eq!(sealed.stderr, "2 value(s) in 1 row(s) sealed\n");
        let row = desk.stored("provider_keys/up");
        let slots = |row: &Value| [row["api_key"].clone(), row["request"]["default_headers"]["x-tenant"].clone()];
        assert!(slots(&row).iter().all(|slot| is_sealed_with(1, slot)), "{row}");
        assert_eq!(row["api_base"], plain["api_base"], "nothing else changes");
        wait_for("the sealed row", || (revision() == start + 1).then_some(()));
        let again = desk.with_ring("ring.json", "seal", &[]).well();
        assert_eq!(again.printed(), "0 value(s) in 0 row(s) sealed\n");
        let valid = desk.with_ring("ring.json", "validate", &[]).well();
        assert_eq!(valid.printed(), "OK: /sluice loaded 6 resource(s)\n");

        std::fs::copy(&ring, desk.path("old.json")).unwrap();
        let made = desk.new_key("ring.json").well();
        assert!(made.stderr.contains("key 2 seals from now on"), "{}", made.stderr);
        assert_eq!(mode(&ring), 0o400);
        reread(&gateway);
        let rotated = desk.with_ring("ring.json", "rotate", &[]).well();
        assert_eq!(rotated.stderr, "2 value(s) in 1 row(s) sealed with the newest key\n");
        let row = desk.stored("provider_keys/up");
        assert!(slots(&row).iter().all(|slot| is_sealed_with(2, slot)), "{row}");
        wait_for("the rotated row", || (revision() == start + 2).then_some(()));
        let stale = desk.with_ring("old.json", "validate", &[]);
        assert_eq!(stale.code, 1);
        assert!(stale.stderr.contains("provider_keys/up: schema_failed: /api_key: "), "{}", stale.stderr);
        for command in ["seal", "unseal", "rotate"] {
            let refused = desk.with_ring("old.json", command, &[]);
            assert_eq!(refused.code, 1, "{command}");
            assert!(refused.stderr.ends_with("Error: 1 row(s) were left as they are\n"), "{}", refused.stderr);
        }
        assert_eq!(desk.stored("provider_keys/up"), row, "nothing was made worse");

        let opened = desk.with_ring("ring.json", "unseal", &[]).well();
        assert_eq!(opened.stderr, "2 value(s) in 1 row(s) unsealed\n");
        assert!(!opened.printed().contains("canary"), "{}", opened.printed());
        assert_eq!(desk.stored("provider_keys/up"), plain);
        wait_for("the plain row", || (revision() == start + 3).then_some(()));
        let served: u64 = clients.map(Steady::end).iter().sum();
        assert!(served > 20, "{served}");
        assert_eq!(gateway.config()["rejected"], json!([]));
        let requests = upstream_requests(desk.mock);
        for request in requests {
            let text = request.to_string();
            assert!(text.contains(UPSTREAM_KEY) && text.contains(HEADER), "{text}");
            assert!(!text.contains("$enc:"), "{text}");
        }
    }
}

#[test]
fn a_new_row_is_sealed_value_by_value_so_that_its_plain_text_never_reaches_the_store() {
    let etcd = Etcd::start();
    let mock = mock();
    let dir = tempfile::tempdir().unwrap();
    let ring = dir.path().join("ring.json");
    let ring = ring.to_str().unwrap();
    sluice(&["rotate", "--new-key", "--keyring-file", ring]).well();
    let one = |command: &str, row: &str, field: &str, stdin: &str| {
        let args = [
            command,
            "--keyring-file",
            ring,
            "--row",
            row,
            "--field",
            field,
        ];
        sluice_with(&args, &[], stdin)
    };
    let seal = |field: &str, stdin: &str| {
        let sealed = one("seal", "provider_keys/up", field, stdin).well();
        assert_eq!(sealed.stderr, "");
        let envelope = sealed
            .stdout
            .strip_suffix('\n')
            .expect("one line")
            .to_owned();
        assert!(
            envelope.starts_with("$enc:") && !envelope.contains('\n'),
            "{envelope}"
        );
        let opened = one("unseal", "provider_keys/up", field, &sealed.stdout).well();
        assert_eq!(
            (opened.stdout.trim_end(), &*opened.stderr),
            (stdin.trim_end(), "")
        );
        envelope
    };
    let fields = r#"{"safety_identifier":"field-canary-1b"}"#;
    let mut up = store::provider_key(mock);
    // `echo` ends its line.
    up["api_key"] = seal("/api_key", &format!("{UPSTREAM_KEY}\n")).into();
    up["request"] = json!({
        "default_headers": {"x-tenant": seal("/request/default_headers/x-tenant", HEADER)},
        "default_body_fields": seal("/request/default_body_fields", fields),
    });
    let mut rows = Rows::new(etcd.addr());
    let seed = store::seed(mock);
    for (row, document) in &seed[1..] {
        rows.put(row, document);
    }
    rows.put("provider_keys/up", &up);
    let setup = Setup::new(Engine::Epoll, mock).following(etcd.addr());
    let gateway = setup.with("secrets.keyring_file", ring).start_ready();
    assert_eq!(gateway.post(CHAT, &chat("m", false)).status, 200);
    let request = upstream_requests(mock).remove(0).to_string();
    for secret in [UPSTREAM_KEY, HEADER, "field-canary-1b"] {
        assert!(request.contains(secret), "{secret} in {request}");
    }
    // Neither the database nor the log beside it ever held them.
    let mut files = vec![etcd.dir().join("data")];
    let mut bytes = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(
                std::fs::read_dir(path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            continue;
        }
        let content = std::fs::read(&path).unwrap();
        bytes += content.len();
        let text = String::from_utf8_lossy(&content);
        assert!(!text.contains("canary"), "{}", path.display());
    }
    assert!(bytes > 10_000, "{bytes}");

    let refused = [
        ("models/m", "/display_name", "x", "holds nothing to change"),
        (
            "provider_keys/up",
            "/display_name",
            "x",
            "holds nothing to change",
        ),
        (
            "provider_keys/up",
            "/request/default_body_fields",
            "{",
            "takes JSON",
        ),
        ("widgets/up", "/api_key", "x", "--row must be COLLECTION/ID"),
        (
            "provider_keys",
            "/api_key",
            "x",
            "--row must be COLLECTION/ID",
        ),
        (
            "provider_keys/",
            "/api_key",
            "x",
            "--row must be COLLECTION/ID",
        ),
    ];
    for (row, field, stdin, why) in refused {
        let ended = one("seal", row, field, stdin);
        assert_eq!((ended.code, &*ended.stdout), (1, ""), "{row} {field}");
        assert!(
            ended.stderr.starts_with("Error: ") && ended.stderr.contains(why),
            "{}",
            ended.stderr
        );
    }
    let envelope = up["api_key"].as_str().unwrap();
    for (row, field) in [
        ("provider_keys/other", "/api_key"),
        ("provider_keys/up", "/request/default_headers/x"),
    ] {
        let ended = one("unseal", row, field, envelope);
        assert_eq!(
            (ended.code, &*ended.stdout),
            (1, ""),
            "opened at {row} {field}"
        );
    }
    let large = one(
        "seal",
        "provider_keys/up",
        "/api_key",
        &"x".repeat(1024 * 1024 + 1),
    );
    assert_eq!((large.code, &*large.stdout), (1, ""));
}

/// The file that `export` wrote, loaded by a gateway of its own; `stderr` names the variables.
fn in_file_mode(file: &Path, mock: std::net::SocketAddr, env: &[(&str, &str)]) -> Gateway {
    let mut setup = Setup::new(Engine::IoUring, mock);
    let text = std::fs::read_to_string(file).unwrap();
    let env = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    setup.env.extend(env);
    let gateway = setup.start();
    gateway.write_resources(&text);
    gateway.signal(Signal::HUP);
    let said = "resources file reloaded";
    wait_for(said, || gateway.logged(said));
    gateway
}

#[test]
fn an_exported_store_serves_the_same_from_its_file() {
    let mut desk = Desk::new();
    desk.rows.put(
        "models/virtual",
        &json!({"display_name": "virtual",
        "routing": {"strategy": "failover", "targets": [{"model": "m"}]}}),
    );
    desk.rows.put(
        "api_keys/caller",
        &caller(CALLER_KEY, &["m", "embed", "script/*", "cost-$5"]),
    );
    desk.rows.put("models/dollar", &model("cost-$5", "up-${x}"));
    desk.new_key("ring.json").well();
    desk.with_ring("ring.json", "seal", &[]).well();
    let file = desk.path("resources.yaml");
    std::fs::write(&file, "old").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    let name = file.to_str().unwrap();
    let exported = desk.with_ring("ring.json", "export", &["-o", name]).well();
    assert_eq!(exported.stdout, "");
    assert_eq!(mode(&file), 0o600);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("_format_version: \"1\""), "{text}");
    assert!(
        !text.contains("canary") && !text.contains("$enc:"),
        "{text}"
    );
    let (key, header) = (
        "SLUICESECRET_PROVIDER_KEYS_UP_API_KEY",
        "SLUICESECRET_PROVIDER_KEYS_UP_REQUEST_DEFAULT_HEADERS_X_TENANT",
    );
    assert!(
        exported.stderr.contains(&format!("  {key}: ")),
        "{}",
        exported.stderr
    );
    assert!(
        exported.stderr.contains(&format!("  {header}: ")),
        "{}",
        exported.stderr
    );
    let validate = |env: &[(&str, &str)]| sluice_with(&["validate", "--resources", name], env, "");
    assert_eq!(validate(&[]).code, 1, "the variables are not set");
    let env = [(key, UPSTREAM_KEY), (header, HEADER)];
    let valid = validate(&env).well();
    assert_eq!(valid.stdout, format!("OK: {name} loaded 8 resource(s)\n"));

    let from_file = in_file_mode(&file, desk.mock, &env);
    let ring = desk.path("ring.json");
    let setup = desk
        .setup(Engine::Epoll)
        .with("secrets.keyring_file", ring.to_str().unwrap());
    let from_store = setup.start_ready();
    let listed = |gateway: &Gateway| {
        let list = gateway.get("/v1/models").json();
        let models = list["data"].as_array().unwrap().iter();
        let mut ids: Vec<_> = models.map(|model| model["id"].to_string()).collect();
        ids.sort();
        ids
    };
    assert_eq!(listed(&from_file), listed(&from_store));
    for gateway in [&from_file, &from_store] {
        for (model, status) in [("m", 200), ("cost-$5", 200), ("other", 403), ("none", 404)] {
            assert_eq!(
                gateway.post(CHAT, &chat(model, false)).status,
                status,
                "{model}"
            );
        }
    }
    let requests = upstream_requests(desk.mock);
    assert_eq!(requests.len(), 4);
    let sent = |request: &Value| {
        let mut headers: Vec<String> = request["headers"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|pair| pair[0] != "x-sluice-request-id")
            .map(ToString::to_string)
            .collect();
        headers.sort();
        (headers, request["body"].clone())
    };
    assert_eq!(sent(&requests[0]), sent(&requests[2]));
    assert_eq!(sent(&requests[1]), sent(&requests[3]));
    assert!(
        requests[3].to_string().contains("up-${x}"),
        "{}",
        requests[3]
    );

    // With its secrets inside, the file needs no variable.
    let revealed = desk
        .with_ring("ring.json", "export", &["-o", name, "--reveal-secrets"])
        .well();
    assert!(
        revealed
            .stderr
            .contains("warning: the file holds credentials in plain text"),
        "{}",
        revealed.stderr
    );
    assert!(
        !revealed.printed().contains("canary"),
        "{}",
        revealed.printed()
    );
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(
        text.contains(UPSTREAM_KEY) && text.contains(HEADER),
        "{text}"
    );
    validate(&[]).well();
    assert_eq!(mode(&file), 0o600);
    let same = desk
        .with_ring("ring.json", "export", &["--reveal-secrets"])
        .well();
    assert_eq!(same.stdout, text);
}

#[test]
fn an_export_that_would_not_load_is_written_and_ends_with_1() {
    let mut desk = Desk::new();
    desk.rows.put("models/dangling", &{
        let mut row = model("dangling", "x");
        row["provider_key_id"] = "nobody".into();
        row
    });
    desk.rows.put_text("models/bad", "{");
    let file = desk.path("out.yaml");
    let ended = sluice(&["export", "--etcd", &desk.url, "-o", file.to_str().unwrap()]);
    assert_eq!(ended.code, 1);
    assert!(
        ended
            .stderr
            .lines()
            .filter(|line| line.starts_with("error: "))
            .count()
            >= 2,
        "{}",
        ended.stderr
    );
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(
        text.contains("dangling") && text.contains("gpt-up"),
        "{text}"
    );
    assert_eq!(mode(&file), 0o600);
    let nowhere = sluice(&["export", "--etcd", &desk.url, "-o", "/not/there/out.yaml"]);
    assert_eq!(nowhere.code, 1);
    assert!(
        nowhere.stderr.contains("/not/there/out.yaml: "),
        "{}",
        nowhere.stderr
    );
}

#[test]
fn validate_tells_every_row_for_people_and_for_programs() {
    let mut desk = Desk::new();
    let json = |ended: &Ended| -> Value { serde_json::from_str(&ended.stdout).unwrap() };
    let url = desk.url.clone();
    let validate = |more: &[&str]| sluice(&[&["validate", "--etcd", &url], more].concat());
    assert_eq!(
        validate(&[]).well().printed(),
        "OK: /sluice loaded 6 resource(s)\n"
    );
    let fine = validate(&["--format", "json"]).well();
    assert_eq!((fine.stdout.trim(), &*fine.stderr), ("[]", ""));
    let mut odd = model("odd", "x");
    odd["colour"] = "red".into();
    desk.rows.put("models/odd", &odd);
    desk.rows.put("widgets/w", &json!({}));
    let odd = validate(&[]).well();
    assert!(
        odd.stderr
            .contains("warning: models: colour is not taken into account in 1 row(s)"),
        "{}",
        odd.stderr
    );
    assert!(
        odd.stderr
            .contains("warning: widgets: 1 row(s) without an effect in this version"),
        "{}",
        odd.stderr
    );
    desk.rows.put_text("models/bad", "{");
    desk.rows.put("models/worse", &json!({"display_name": 1}));
    desk.rows.put_text("models", "{}");
    let text = validate(&[]);
    assert_eq!((text.code, &*text.stdout), (1, ""));
    for line in [
        "models/bad: non_json: not JSON at line 1, column 1",
        "models/worse: schema_failed: display_name: must be a string, not a number",
        "(key): bad_key: the key has no id after its collection",
        "3 of 11 row(s) are refused",
    ] {
        assert!(
            text.stderr.lines().any(|said| said.starts_with(line)),
            "{line} in {}",
            text.stderr
        );
    }
    let ended = validate(&["--format", "json"]);
    assert_eq!((ended.code, &*ended.stderr), (1, ""));
    let scopes = json(&ended);
    let scopes: Vec<_> = scopes
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["scope"].clone(), row["kind"].clone()))
        .collect();
    assert_eq!(
        json!(scopes),
        json!([
            ["(key)", "bad_key"],
            ["models/bad", "non_json"],
            ["models/worse", "schema_failed"]
        ])
    );
    // The prefix and the environment below it are chosen by arguments, or by a startup file.
    let elsewhere = validate(&["--prefix", "/sluice/widgets/"]);
    assert_eq!(elsewhere.stderr.lines().count(), 2, "{}", elsewhere.stderr);
    let empty = validate(&["--env-id", "blue"]).well();
    assert_eq!(empty.stdout, "OK: /sluice/blue loaded 0 resource(s)\n");
    let config = desk.path("c.yaml");
    let file = format!(
        "etcd: {{endpoints: ['{}'], env_id: green}}\nproxy: {{addr: '127.0.0.1:0'}}\nadmin: {{enabled: false}}\n",
        desk.url
    );
    std::fs::write(&config, file).unwrap();
    let config = config.to_str().unwrap();
    let by_file = sluice(&["validate", "--config", config]).well();
    assert_eq!(by_file.stdout, "OK: /sluice/green loaded 0 resource(s)\n");
    let by_variable = sluice_with(&["validate"], &[("SLUICE_CONFIG", config)], "").well();
    assert_eq!(by_variable.stdout, by_file.stdout);
    let both = sluice(&["validate", "--config", config, "--env-id", ""]);
    assert_eq!(both.code, 1, "the argument wins: {}", both.printed());
}

#[test]
fn a_store_that_nobody_serves_is_said_to_be_unreachable() {
    let dir = tempfile::tempdir().unwrap();
    let ring = dir.path().join("ring.json");
    let ring = ring.to_str().unwrap();
    sluice(&["rotate", "--new-key", "--keyring-file", ring]).well();
    let etcd = ["--etcd", "http://127.0.0.1:1"];
    for command in [
        &["validate"][..],
        &["export"],
        &["seal", "--keyring-file", ring],
    ] {
        let ended = sluice(&[command, &etcd].concat());
        assert_eq!((ended.code, &*ended.stdout), (1, ""), "{command:?}");
        assert_eq!(
            ended.stderr.matches("; trying again\n").count(),
            2,
            "{}",
            ended.stderr
        );
        let last = ended.stderr.lines().last().unwrap();
        assert!(
            last.starts_with("Error: etcd: ") && last.contains("refused"),
            "{last}"
        );
    }
    let usage = [
        (&["validate", "--etcd", "ftp://x"][..], 1, "--etcd: "),
        (
            &["validate", "--etcd", "http://user:canary@h"],
            1,
            "--etcd: ",
        ),
        (
            &["seal", "--etcd", "http://127.0.0.1:1"],
            1,
            "a key ring is needed",
        ),
        (
            &[
                "seal",
                "--etcd",
                "http://127.0.0.1:1",
                "--keyring-file",
                "/not/there",
            ],
            1,
            "/not/there",
        ),
        (&["seal"], 2, "--etcd"),
        (&["export"], 2, "--etcd"),
        (&["rotate", "--new-key"], 2, "--keyring-file"),
    ];
    for (args, code, said) in usage {
        let ended = sluice(args);
        assert_eq!((ended.code, &*ended.stdout), (code, ""), "{args:?}");
        assert!(ended.stderr.contains(said), "{args:?}: {}", ended.stderr);
        assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
    }
    // A ring of another environment seals nothing.
    let env = "11111111-2222-3333-4444-555555555555";
    let theirs = dir.path().join("theirs.json");
    let theirs = theirs.to_str().unwrap();
    let args = [
        "rotate",
        "--new-key",
        "--keyring-file",
        theirs,
        "--env-id",
        env,
    ];
    sluice(&args).well();
    let ended = sluice(&[&["seal", "--keyring-file", theirs], &etcd[..]].concat());
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains(env), "{}", ended.stderr);
}
