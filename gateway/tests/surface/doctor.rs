//! `sluice doctor` on real files, limits and filters: what is found, how it is told, the exit codes.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::engine::{scarce_memory, without_io_uring};
use crate::support::tls::Authority;

/// Files of a test.
struct Desk {
    dir: TempDir,
    config: Value,
}

/// How a run ended.
struct Report {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Desk {
    /// A startup file that there is nothing to say against, with its resources file.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(dir.path(), open).unwrap();
        let desk = Self {
            config: json!({
                "proxy": {"addr": "127.0.0.1:3000", "workers": 2, "max_connections_per_worker": 16},
                "observability": {"metrics": {"prometheus": {"addr": "127.0.0.1:9090"}}},
                "resources_file": dir.path().join("resources.yaml"),
            }),
            dir,
        };
        desk.resources("${UPSTREAM_KEY}");
        desk
    }

    fn with(mut self, block: &str, value: Value) -> Self {
        self.config[block] = value;
        self
    }

    fn resources(&self, api_key: &str) -> PathBuf {
        let resources = json!({
            "_format_version": "1",
            "provider_keys": [{"display_name": "up", "provider": "openai", "adapter": "openai",
                "api_key": api_key}],
            "models": [{"display_name": "m", "provider": "openai", "model_name": "gpt",
                "provider_key": "up"}],
            "api_keys": [{"display_name": "bot", "key_env": "CALLER_KEY", "allowed_models": ["m"]}],
        });
        self.file("resources.yaml", &resources.to_string(), 0o640)
    }

    fn file(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        chmod(&path, mode);
        path
    }

    fn startup_file(&self) -> PathBuf {
        let path = self.dir.path().join("config.json");
        std::fs::write(&path, self.config.to_string()).unwrap();
        chmod(&path, 0o640);
        path
    }

    fn doctor(&self) -> Report {
        self.doctor_under(Vec::new(), "sk-a-key-of-this-test")
    }

    fn doctor_under(&self, wrapper: Vec<String>, caller_key: &str) -> Report {
        let config = self.startup_file().to_str().unwrap().to_owned();
        let args = ["doctor", "--json", "--config", &config];
        run(
            wrapper,
            &args,
            &[("CALLER_KEY", caller_key), ("UPSTREAM_KEY", "sk-up")],
        )
    }
}

impl Report {
    fn document(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }

    /// Findings with this id.
    fn of(&self, id: &str) -> Vec<Value> {
        let document = self.document();
        let all = document["findings"].as_array().expect("a list").clone();
        all.into_iter().filter(|found| found["id"] == id).collect()
    }

    /// The one finding with this id.
    fn one(&self, id: &str) -> Value {
        let mut found = self.of(id);
        assert_eq!(found.len(), 1, "{id}: {}", self.stdout);
        found.remove(0)
    }

    #[track_caller]
    fn says(&self, id: &str, severity: &str) -> Value {
        let found = self.one(id);
        assert_eq!(found["severity"], severity, "{found}");
        let has_remedy = found["remedy"].is_string();
        assert_eq!(has_remedy, severity != "ok", "{found}");
        found
    }
}

fn run(wrapper: Vec<String>, args: &[&str], env: &[(&str, &str)]) -> Report {
    let mut words = wrapper;
    words.push(env!("CARGO_BIN_EXE_sluice").to_owned());
    let output = Command::new(&words[0])
        .args(&words[1..])
        .args(args)
        .env_remove("SLUICE_CONFIG")
        .envs(env.iter().copied())
        .output()
        .expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("output is text");
    Report {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// What of a document does not depend on the machine: everything but the host's own findings.
const OF_THE_HOST: [&str; 17] = [
    "kernel",
    "io_uring",
    "huge_pages",
    "clock",
    "identity",
    "memlock",
    "memory",
    "open_files",
    "cpus",
    "interrupts",
    "max_map_count",
    "somaxconn",
    "syn_backlog",
    "local_ports",
    "tw_reuse",
    "receive_buffer",
    "device_backlog",
];

#[test]
fn a_careful_configuration_has_nothing_to_mend() {
    let report = Desk::new().doctor();
    let document = report.document();
    assert_eq!(document["schema_version"], 1);
    assert_eq!(document["version"], env!("CARGO_PKG_VERSION"));
    for found in document["findings"].as_array().unwrap() {
        let id = found["id"].as_str().unwrap();
        let bad = matches!(found["severity"].as_str().unwrap(), "warn" | "fail");
        assert!(!bad || OF_THE_HOST.contains(&id), "{found}");
        for key in ["subject", "seen", "why"] {
            assert!(found[key].is_string(), "{found}");
        }
    }
    let counts = &document["counts"];
    let clean = counts["warn"] == 0 && counts["fail"] == 0;
    assert_eq!(document["clean"], clean);
    assert_eq!(report.code, Some(i32::from(!clean)));
    assert_eq!(report.stderr, "");
}

#[test]
fn what_is_too_open_has_an_id_a_reason_and_a_remedy() {
    let report = Desk::new()
        .with("proxy", json!({"addr": "0.0.0.0:3000", "workers": 1}))
        .with("observability", json!({}))
        .with(
            "admin",
            json!({"addr": "0.0.0.0:3001", "admin_keys": ["use-a-long-random-value-here"]}),
        )
        .doctor();
    assert_eq!(report.code, Some(1));
    report.says("proxy_plaintext_public", "warn");
    report.says("proxy_bind", "info");
    report.says("admin_exposed", "fail");
    report.says("admin_default_key", "fail");
    let metrics = report.says("metrics_exposed", "warn");
    assert_eq!(metrics["seen"], "0.0.0.0:9090, plain HTTP");
    assert!(!report.stdout.contains("use-a-long-random-value-here"));
}

#[test]
fn credentials_in_the_resources_file_are_named_and_never_shown() {
    let desk = Desk::new();
    desk.resources("sk-canary-in-the-file");
    let report = desk.doctor_under(Vec::new(), "sk-sluice-demo");
    assert_eq!(report.code, Some(1));
    let clear = report.says("secrets_in_the_clear", "warn");
    assert_eq!(clear["seen"], "provider_keys[0].api_key");
    let example = report.says("example_caller_key", "fail");
    assert!(
        example["seen"].as_str().unwrap().contains("bot"),
        "{example}"
    );
    for canary in ["sk-canary-in-the-file", "sk-sluice-demo"] {
        assert!(!report.stdout.contains(canary), "{canary}");
    }
    std::fs::write(desk.dir.path().join("resources.yaml"), "models: 1\n").unwrap();
    desk.doctor().says("resources_file", "fail");
}

#[test]
fn an_open_file_is_named_with_the_command_that_closes_it() {
    let desk = Desk::new();
    let resources = desk.dir.path().join("resources.yaml");
    for (mode, want) in [(0o640, "ok"), (0o644, "warn"), (0o646, "fail")] {
        chmod(&resources, mode);
        let found = desk.doctor().of("file_mode");
        let found = found
            .iter()
            .find(|found| {
                found["subject"]
                    .as_str()
                    .unwrap()
                    .starts_with("resources_file ")
            })
            .expect("a finding");
        assert_eq!(found["severity"], want, "{mode:o}: {found}");
        if want != "ok" {
            let remedy = found["remedy"].as_str().unwrap();
            assert_eq!(remedy, format!("chmod 0640 {}", resources.display()));
        }
    }
}

#[test]
fn certificates_are_looked_at_wherever_the_startup_file_names_them() {
    let authority = Authority::new();
    let desk = Desk::new();
    let pair = |name: &str, leaf: &crate::support::tls::Leaf, mode| {
        let cert = desk.file(&format!("{name}.crt"), &leaf.cert, 0o644);
        let key = desk.file(&format!("{name}.key"), &leaf.key, mode);
        (cert, key)
    };
    let (cert, key) = pair("proxy", &authority.expired("a.test"), 0o600);
    let (client_cert, client_key) = pair("client", &authority.client(), 0o644);
    let proxy = json!({"addr": "127.0.0.1:3000", "workers": 1,
        "tls": {"cert_file": cert, "key_file": key}});
    let upstream = json!({"tls": {"client_cert_file": client_cert, "client_key_file": client_key}});
    let report = Desk {
        config: json!({"proxy": proxy, "upstream": upstream,
            "resources_file": desk.dir.path().join("resources.yaml"),
            "observability": {"metrics": {"prometheus": {"addr": "127.0.0.1:9090"}}}}),
        ..desk
    }
    .doctor();
    assert_eq!(report.code, Some(1));
    let subject = |found: &Value| found["subject"].as_str().unwrap().to_owned();
    let expiry = report.of("certificate_expiry");
    let of = |setting: &str| expiry.iter().find(|it| subject(it).starts_with(setting));
    let expired = of("proxy.tls.cert_file ").expect("a finding");
    assert_eq!(expired["severity"], "fail", "{expired}");
    assert!(
        expired["seen"].as_str().unwrap().starts_with("expired "),
        "{expired}"
    );
    assert_eq!(
        of("upstream.tls.client_cert_file ").expect("a finding")["severity"],
        "ok"
    );
    let modes = report.of("file_mode");
    let open = modes
        .iter()
        .find(|it| subject(it).starts_with("upstream.tls.client_key_file "));
    assert_eq!(open.expect("a finding")["severity"], "fail");
}

#[test]
fn a_certificate_that_is_none_is_a_startup_file_that_is_refused() {
    let desk = Desk::new();
    let junk = desk.file("junk.pem", "not PEM", 0o600);
    let tls = json!({"cert_file": junk, "key_file": junk});
    let report = desk
        .with(
            "proxy",
            json!({"addr": "127.0.0.1:3000", "workers": 1, "tls": tls}),
        )
        .doctor();
    assert_eq!(report.code, Some(1));
    let found = report.says("startup_file", "fail");
    assert!(
        found["seen"]
            .as_str()
            .unwrap()
            .contains("proxy.tls.cert_file"),
        "{found}"
    );
    assert!(
        !report.of("io_uring").is_empty(),
        "the host is looked at all the same"
    );
}

#[test]
fn a_plain_store_beyond_this_host_is_told() {
    let mut desk = Desk::new();
    desk.config
        .as_object_mut()
        .unwrap()
        .remove("resources_file");
    let report = desk
        .with(
            "etcd",
            json!({"endpoints": ["http://10.0.0.5:2379", "http://127.0.0.1:2379"]}),
        )
        .doctor();
    assert_eq!(report.code, Some(1));
    report.says("etcd_no_auth", "warn");
    let tls = report.says("etcd_no_tls", "warn");
    assert_eq!(tls["seen"], "http://10.0.0.5:2379");
    report.says("etcd_backup", "info");
}

#[test]
fn where_io_uring_is_denied_it_is_said_and_harmless_unless_demanded() {
    let report = Desk::new().doctor_under(without_io_uring(), "sk-a-key-of-this-test");
    let found = report.says("io_uring", "info");
    let seen = found["seen"].as_str().unwrap();
    assert!(seen.contains("Operation not permitted"), "{seen}");
    assert!(seen.contains("a seccomp filter is in force"), "{seen}");
    assert!(
        found["remedy"].as_str().unwrap().contains("seccomp.json"),
        "{found}"
    );

    let proxy = json!({"addr": "127.0.0.1:3000", "workers": 1, "io_engine": "io_uring"});
    let demanded = Desk::new().with("proxy", proxy);
    let report = demanded.doctor_under(without_io_uring(), "sk-a-key-of-this-test");
    assert_eq!(report.code, Some(1));
    report.says("io_uring", "fail");
}

#[test]
fn low_limits_are_held_against_the_need() {
    let mut wrapper = vec!["prlimit".to_owned(), "--nofile=256:256".to_owned()];
    wrapper.extend(scarce_memory(64 * 1024, 64_011));
    let desk = Desk::new();
    let resources = desk.dir.path().join("resources.yaml");
    chmod(&resources, 0o644);
    let config = desk.startup_file();
    chmod(&config, 0o644);
    let args = ["doctor", "--json", "--config", config.to_str().unwrap()];
    let report = run(
        wrapper,
        &args,
        &[("CALLER_KEY", "k"), ("UPSTREAM_KEY", "u")],
    );
    assert_eq!(report.code, Some(1), "{}", report.stderr);
    let files = report.says("open_files", "warn");
    assert_eq!(
        files["seen"],
        "256; 16 connections of a worker may take 288"
    );
    let memlock = report.one("memlock");
    // Kernels that account rings elsewhere set them up all the same.
    let want = match report.one("io_uring")["severity"] == "ok" {
        true => "info",
        false => "warn",
    };
    assert_eq!(memlock["severity"], want, "{memlock}");
    assert!(
        memlock["seen"]
            .as_str()
            .unwrap()
            .starts_with("65536 bytes; 2 worker(s)"),
        "{memlock}"
    );
    report.says("identity", "ok");
}

#[test]
fn a_low_port_without_the_capability_fails() {
    let proxy = json!({"addr": "127.0.0.1:1", "workers": 1});
    let desk = Desk::new().with("proxy", proxy);
    let config = desk.startup_file();
    chmod(&config, 0o644);
    chmod(&desk.dir.path().join("resources.yaml"), 0o644);
    let args = ["doctor", "--json", "--config", config.to_str().unwrap()];
    let report = run(
        scarce_memory(1 << 20, 64_012),
        &args,
        &[("CALLER_KEY", "k"), ("UPSTREAM_KEY", "u")],
    );
    let start = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if start.is_ok_and(|text| text.trim().parse().is_ok_and(|start: u16| start <= 1)) {
        assert!(report.of("low_port").is_empty());
        return;
    }
    let found = report.says("low_port", "fail");
    assert!(
        found["remedy"]
            .as_str()
            .unwrap()
            .contains("cap_net_bind_service"),
        "{found}"
    );
}

#[test]
fn without_a_startup_file_the_host_is_looked_at_and_text_is_for_people() {
    let report = run(Vec::new(), &["doctor"], &[]);
    assert!(matches!(report.code, Some(0 | 1)), "{:?}", report.code);
    for part in [
        "info  startup_file (--config): none named",
        "io_uring (proxy.io_engine): ",
        "      why:  ",
    ] {
        assert!(report.stdout.contains(part), "{part}: {}", report.stdout);
    }
    let last = report.stdout.lines().last().unwrap();
    assert!(
        last.ends_with(" fail") && last.contains(" warn, "),
        "{last}"
    );
}

#[test]
fn checks_that_cannot_run_end_with_2() {
    let report = run(Vec::new(), &["doctor", "--config", "/not/there.yaml"], &[]);
    assert_eq!((report.code, &*report.stdout), (Some(2), ""));
    assert!(
        report
            .stderr
            .starts_with("Error: configuration /not/there.yaml: "),
        "{}",
        report.stderr
    );
    let report = run(Vec::new(), &["doctor", "--frmat"], &[]);
    assert_eq!(report.code, Some(2));
}
