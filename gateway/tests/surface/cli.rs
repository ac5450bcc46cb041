//! The command line: what each form prints, where, and with which exit code.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// How a run ended.
#[derive(Debug)]
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

/// Files of a test, and the binary run beside them with nothing in its environment but `env`.
struct Desk {
    dir: TempDir,
    env: Vec<(&'static str, &'static str)>,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let env = Vec::new();
        Self { dir, env }
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.env.push((name, value));
        self
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn run(&self, args: &[&str]) -> Ended {
        let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .envs(self.env.iter().copied())
            .output()
            .expect("the binary runs");
        let text = |bytes| String::from_utf8(bytes).expect("output is text");
        Ended {
            code: output.status.code().expect("an exit code"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

const MINIMAL: &str = "proxy: {addr: '127.0.0.1:0'}\nresources_file: r.yaml\n";
const RESOURCES: &str = r#"
_format_version: "1"
provider_keys:
  - {display_name: main, provider: openai, adapter: openai, api_key: "${KEY_OF_MAIN}"}
models:
  - {display_name: fast, provider: openai, model_name: gpt, provider_key: main}
api_keys:
  - {display_name: bot, key_env: KEY_OF_BOT, allowed_models: ["fast"]}
"#;

#[test]
fn help_and_version_go_to_stdout_and_end_with_0() {
    let desk = Desk::new();
    let version = desk.run(&["--version"]);
    assert_eq!((version.code, version.stderr.as_str()), (0, ""));
    assert_eq!(
        version.stdout,
        format!("sluice {}\n", env!("CARGO_PKG_VERSION"))
    );
    for args in [
        &["--help"][..],
        &["-h"],
        &["check", "--help"],
        &["validate", "--help"],
    ] {
        let help = desk.run(args);
        assert_eq!((help.code, help.stderr.as_str()), (0, ""), "{args:?}");
        assert!(
            help.stdout.contains("Usage: sluice"),
            "{args:?}: {}",
            help.stdout
        );
    }
    let help = desk.run(&["--help"]).stdout;
    for word in [
        "--config",
        "SLUICE_CONFIG",
        "check",
        "validate",
        "--version",
        "Exit codes",
    ] {
        assert!(help.contains(word), "{word} in {help}");
    }
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_wrong_on_stderr() {
    let desk = Desk::new();
    let cases = [
        (&[][..], "--config"),
        (&["--config"], "--config"),
        (&["--cofnig", "c.yaml"], "--cofnig"),
        (&["serve"], "serve"),
        (&["check"], "--config"),
        (&["validate"], "--resources"),
        (
            &["validate", "--resources", "r.yaml", "--format", "xml"],
            "xml",
        ),
    ];
    for (args, word) in cases {
        let ended = desk.run(args);
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{args:?}");
        assert!(ended.stderr.contains(word), "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn check_binds_nothing_and_tells_right_from_wrong() {
    let desk = Desk::new();
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = busy.local_addr().unwrap();
    let text = format!("proxy: {{addr: '{addr}'}}\nresources_file: not-there.yaml\n");
    let path = desk.file("c.yaml", &text);
    let path = path.to_str().unwrap();
    for args in [&["check", "--config", path][..], &["check", "-c", path]] {
        let ended = desk.run(args);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert_eq!(ended.stdout, format!("OK: {path}\n"));
        assert_eq!(ended.stderr, "");
    }
    desk.file(
        "bad.yaml",
        "proxy: {addr: nowhere}\nresources_file: r.yaml\n",
    );
    let ended = desk.run(&["check", "-c", "bad.yaml"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    let report = "configuration bad.yaml: 1 error(s):\n  - proxy.addr: must be an address and a \
                  port, such as `127.0.0.1:3000`\n";
    assert_eq!(ended.stderr, report);
}

#[test]
fn the_startup_file_may_be_named_by_the_environment() {
    let desk = Desk::new().with("SLUICE_CONFIG", "c.yaml");
    desk.file("c.yaml", MINIMAL);
    assert_eq!(desk.run(&["check"]).stdout, "OK: c.yaml\n");
    desk.file("other.yaml", "proxy: {}\n");
    assert_eq!(
        desk.run(&["check", "-c", "other.yaml"]).code,
        1,
        "the argument wins"
    );
}

#[test]
fn a_run_and_a_check_report_every_problem_at_once_with_its_path_in_the_files_order() {
    let text = r#"
resources_file: ""
proxy:
  addr: nowhere
  workers: 0
  request_body_limit_bytes: many
  request_id: {accept_headers: [authorization]}
  url_rewrites: [{match: "(", rewrite: /}]
  tpyo: 1
observability:
  log_level: "gateway=loud"
  metrics:
    prometheus: {addr: "x", path: /status/config}
    buckets: {request_ttft: [2, 1]}
upstream: {tls: {client_cert_file: /not/there}}
downstream: []
unknown_key: 3
"#;
    let paths = [
        "resources_file",
        "proxy.addr",
        "proxy.workers",
        "proxy.request_body_limit_bytes",
        "proxy.request_id.accept_headers[0]",
        "proxy.url_rewrites[0].match",
        "proxy.tpyo",
        "observability.log_level",
        "observability.metrics.prometheus.addr",
        "observability.metrics.prometheus.path",
        "observability.metrics.buckets.request_ttft",
        "upstream.tls.client_cert_file",
        "upstream.tls.client_key_file",
        "downstream",
        "unknown_key",
    ];
    let desk = Desk::new();
    desk.file("bad.yaml", text);
    let check = desk.run(&["check", "-c", "bad.yaml"]);
    let run = desk.run(&["-c", "bad.yaml"]);
    assert_eq!((check.code, run.code), (1, 1));
    assert_eq!((check.stdout.as_str(), run.stdout.as_str()), ("", ""));
    assert_eq!(run.stderr, format!("Error: {}", check.stderr));
    let mut lines = check.stderr.lines();
    let head = format!("configuration bad.yaml: {} error(s):", paths.len());
    assert_eq!(lines.next(), Some(head.as_str()), "{}", check.stderr);
    let found: Vec<&str> = lines
        .map(|line| line.strip_prefix("  - ").expect("an item"))
        .map(|line| line.split_once(": ").expect("path and message").0)
        .collect();
    assert_eq!(found, paths);
}

#[test]
fn a_file_that_cannot_be_read_or_parsed_ends_with_1_and_shows_none_of_its_text() {
    let desk = Desk::new();
    desk.file("c.conf", MINIMAL);
    desk.file("twice.yaml", "proxy: {}\nproxy: {}\n");
    desk.file("bad.yaml", "proxy: {addr: sk-canary-secret\n");
    desk.file("bad.toml", "[proxy\naddr = 'sk-canary-secret'\n");
    desk.file("bad.json", r#"{"proxy": sk-canary-secret}"#);
    let cases = [
        (
            "not-there.yaml",
            "cannot be read: No such file or directory",
        ),
        ("c.conf", "the name must end in .yaml, .yml, .toml or .json"),
        ("twice.yaml", "duplicate mapping key: proxy"),
        ("bad.yaml", "no valid YAML: "),
        ("bad.toml", "no valid TOML: "),
        ("bad.json", "no valid JSON: "),
    ];
    for (file, message) in cases {
        for args in [&["-c", file][..], &["check", "-c", file]] {
            let ended = desk.run(args);
            assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{file}");
            let found = ended.stderr.contains(&format!("configuration {file}: "));
            assert!(found && ended.stderr.contains(message), "{}", ended.stderr);
            assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
        }
    }
}

#[test]
fn what_this_version_does_not_do_is_refused_by_name() {
    let cases = [
        (
            "managed: {enabled: true, cp_base_url: 'https://cp'}",
            "managed.enabled",
        ),
        (
            "observability: {tracing: {otlp: {enabled: true, endpoint: 'http://o'}}}",
            "observability.tracing.otlp.enabled",
        ),
        (
            "observability: {metrics: {otlp: {enabled: true, endpoint: 'http://o'}}}",
            "observability.metrics.otlp.enabled",
        ),
        (
            "observability: {metrics: {prometheus: {bearer_token_file: r.yaml}}}",
            "observability.metrics.prometheus.bearer_token_file",
        ),
        ("cache: {redis: {url: 'redis://r'}}", "cache.redis"),
    ];
    let desk = Desk::new();
    desk.file("r.yaml", RESOURCES);
    for (text, path) in cases {
        let proxy = "proxy: {addr: '127.0.0.1:0'}\n";
        let own_source = text.starts_with("etcd") || text.starts_with("managed");
        let source = if own_source {
            ""
        } else {
            "resources_file: r.yaml\n"
        };
        desk.file("c.yaml", &format!("{proxy}{source}{text}\n"));
        let ended = desk.run(&["-c", "c.yaml"]);
        assert_eq!(ended.code, 1, "{path}: {}", ended.stderr);
        let line = format!("  - {path}: not supported by this version\n");
        assert!(ended.stderr.contains(&line), "{path}: {}", ended.stderr);
    }
}

#[test]
fn variables_override_keys_and_take_the_blame_for_their_values() {
    let desk = Desk::new()
        .with("SLUICE_PROXY__ADDR", "nowhere")
        .with("SLUICE_PROXY__TPYO", "1")
        .with(
            "SLUICE_OBSERVABILITY__METRICS__BUCKETS__REQUEST_TTFT",
            "0.5",
        )
        .with("SLUICE_SHUTDOWN__MIN_DRAIN_SECS", "sk-canary-secret")
        .with("SLUICE_SERVICE_HOST", "10.0.0.1")
        .with("SLUICE_PORT_3000_TCP", "tcp://10.0.0.1:3000");
    desk.file("c.yaml", MINIMAL);
    let ended = desk.run(&["check", "-c", "c.yaml"]);
    assert_eq!(ended.code, 1);
    let items: Vec<&str> = ended.stderr.lines().skip(1).collect();
    assert_eq!(items.len(), 3, "{items:#?}");
    assert!(
        items[0].starts_with("  - proxy.addr: ")
            && items[0].ends_with("(set by SLUICE_PROXY__ADDR)"),
        "{items:#?}"
    );
    let has = |start: &str| items.iter().any(|item| item.starts_with(start));
    assert!(
        has("  - shutdown.min_drain_secs: must be a whole number"),
        "{items:#?}"
    );
    assert!(
        has("  - SLUICE_PROXY__TPYO: there is no key `proxy.tpyo`"),
        "{items:#?}"
    );
    assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
}

#[test]
fn variables_that_others_inject_and_settings_without_effect_are_warned_about() {
    let desk = Desk::new()
        .with("SLUICE_SERVICE_HOST", "10.0.0.1")
        .with("SLUICE_PORT_3000_TCP", "tcp://10.0.0.1:3000")
        .with("SLUICE_CONTROL_TOKEN", "theirs");
    let more = "admin: {admin_keys: [short]}\nbedrock_endpoint_url: 'http://b'\n\
                managed: {snapshot_cache_path: /tmp/x}\n";
    desk.file("c.yaml", &format!("{MINIMAL}{more}"));
    let ended = desk.run(&["check", "-c", "c.yaml"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let mut lines: Vec<&str> = ended.stderr.lines().collect();
    lines.sort_unstable();
    let want = [
        "warning: admin.admin_keys holds a key shorter than 16 characters",
        "warning: bedrock_endpoint_url has no effect: this version has no guardrails",
        "warning: managed.snapshot_cache_path has no effect: a resources file is its own copy",
        "warning: no key of the configuration belongs to: SLUICE_PORT_3000_TCP, \
         SLUICE_SERVICE_HOST; ignored",
        "warning: the admin API is not served by this version",
    ];
    assert_eq!(lines, want);
}

#[test]
fn names_in_the_file_stand_for_variables_that_must_be_set() {
    let desk = Desk::new().with("WHERE", "127.0.0.1");
    desk.file(
        "c.yaml",
        "proxy: {addr: '${WHERE}:0'}\nresources_file: '$${WHERE}.yaml'\n",
    );
    assert_eq!(desk.run(&["check", "-c", "c.yaml"]).code, 0);
    desk.file(
        "c.yaml",
        "proxy: {addr: '${NOWHERE}:0'}\nresources_file: r.yaml\n",
    );
    let ended = desk.run(&["check", "-c", "c.yaml"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("proxy.addr: "), "{}", ended.stderr);
    assert!(ended.stderr.contains("NOWHERE"), "{}", ended.stderr);
}

#[test]
fn validate_reads_a_resources_file_with_the_callers_environment() {
    let desk = Desk::new()
        .with("KEY_OF_MAIN", "sk-1")
        .with("KEY_OF_BOT", "sk-2");
    desk.file("r.yaml", RESOURCES);
    let ended = desk.run(&["validate", "--resources", "r.yaml"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(ended.stdout, "OK: r.yaml loaded 3 resource(s)\n");
    let ended = desk.run(&["validate", "--resources", "r.yaml", "--format", "json"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "[]\n"));
}

const BROKEN: &str = r#"
_format_version: "1"
modles: []
provider_keys:
  - {display_name: main, provider: openai, adapter: openai, api_key: "${KEY_OF_MAIN}"}
models:
  - {display_name: fast, provider: openai, model_name: gpt, provider_key: mian}
api_keys:
  - {display_name: bot, key_env: KEY_OF_BOT, allowed_models: ["slow"]}
"#;

#[test]
fn validate_and_boot_give_the_same_whole_report() {
    let desk = Desk::new()
        .with("KEY_OF_MAIN", "sk-canary-1")
        .with("KEY_OF_BOT", "sk-canary-2");
    desk.file("r.yaml", BROKEN);
    let ended = desk.run(&["validate", "--resources", "r.yaml"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    let want = [
        "resources file r.yaml: 3 error(s):",
        "  - (file): unknown top-level key `modles` ",
        "  - models[0] (\"fast\"): `provider_key` references unknown provider key \"mian\" \
         (defined provider_keys: main)",
        "  - api_keys[0] (\"bot\"): `allowed_models` references unknown model \"slow\" (defined models: fast)",
    ];
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), want.len(), "{}", ended.stderr);
    for (line, want) in lines.iter().zip(want) {
        assert!(line.starts_with(want), "{line} instead of {want}");
    }
    assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);

    desk.file("c.yaml", MINIMAL);
    let boot = desk.run(&["-c", "c.yaml"]);
    assert_eq!(boot.code, 1);
    assert_eq!(boot.stderr, format!("Error: {}", ended.stderr));

    let json = desk.run(&["validate", "--resources", "r.yaml", "--format", "json"]);
    assert_eq!(json.code, 1);
    let problems: serde_json::Value = serde_json::from_str(&json.stdout).expect("a document");
    let problems = problems.as_array().expect("a list");
    let of = |at: usize| {
        (
            problems[at]["scope"].as_str(),
            problems[at]["path"].as_str(),
        )
    };
    assert_eq!(problems.len(), 3, "{}", json.stdout);
    assert_eq!(of(0).0, Some("(file)"));
    assert_eq!(of(1), (Some("models[0] (\"fast\")"), Some("provider_key")));
    assert_eq!(
        of(2),
        (Some("api_keys[0] (\"bot\")"), Some("allowed_models"))
    );
    for (problem, line) in problems.iter().zip(&lines[1..]) {
        let message = problem["message"].as_str().expect("a message");
        assert!(line.ends_with(message), "{line} and {message}");
    }
}

#[test]
fn a_resources_file_that_refers_to_what_is_not_set_names_the_variable_only() {
    let desk = Desk::new();
    desk.file("r.yaml", RESOURCES);
    let ended = desk.run(&["validate", "--resources", "r.yaml"]);
    assert_eq!(ended.code, 1);
    for name in ["KEY_OF_MAIN", "KEY_OF_BOT"] {
        assert!(ended.stderr.contains(name), "{}", ended.stderr);
    }
}
