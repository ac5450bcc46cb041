//! From the startup file to a gateway that serves, and what is left where that fails.

use std::net::TcpListener;

use serde_json::json;

use crate::on_both_engines;
use crate::support::gateway::{chat, get};
use crate::support::{Engine, Gateway, Raw, Setup, mock, wait_for};

fn serves(gateway: &Gateway) {
    let answer = gateway.post("/v1/chat/completions", &chat("m", false));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn said(gateway: &Gateway, text: &str) {
    wait_for(text, || gateway.stderr().contains(text).then_some(()));
}

#[test]
fn a_startup_file_of_each_format_serves() {
    let yaml = "proxy: {addr: '127.0.0.1:0', workers: 1}\nresources_file: '{dir}/resources.yaml'\n\
        observability:\n  log_format: json\n  access_log: false\n  metrics: {prometheus: {addr: '127.0.0.1:0'}}\n";
    let toml = "resources_file = '{dir}/resources.yaml'\n[proxy]\naddr = '127.0.0.1:0'\nworkers = 1\n\
        [observability]\nlog_format = 'json'\naccess_log = false\n\
        [observability.metrics.prometheus]\naddr = '127.0.0.1:0'\n";
    let json = r#"{"resources_file": "{dir}/resources.yaml", "proxy": {"addr": "127.0.0.1:0", "workers": 1},
        "observability": {"log_format": "json", "access_log": false,
        "metrics": {"prometheus": {"addr": "127.0.0.1:0"}}}}"#;
    for file in [
        ("c.yaml", yaml),
        ("c.yml", yaml),
        ("c.toml", toml),
        ("c.json", json),
    ] {
        let mut setup = Setup::new(Engine::Epoll, mock());
        setup.config_text = Some(file);
        serves(&setup.start());
    }
}

#[test]
fn variables_win_over_the_file_and_keep_their_spelling() {
    let mut setup = Setup::new(Engine::Epoll, mock())
        .with("observability.service_name", "from-the-file")
        .with("proxy.workers", 1);
    for (name, value) in [
        ("SLUICE_OBSERVABILITY__SERVICE_NAME", "0123"),
        ("SLUICE_PROXY__WORKERS", "2"),
        (
            "SLUICE_PROXY__REQUEST_ID__ACCEPT_HEADERS",
            "x-mine, x-yours",
        ),
        (
            "SLUICE_PROXY__URL_REWRITES",
            r#"[{"match": "^/llm/", "rewrite": "/v1/"}]"#,
        ),
        ("SLUICE_SERVICE_HOST", "10.0.0.1"),
    ] {
        setup.env.push((name.to_owned(), value.to_owned()));
    }
    let gateway = setup.start();
    let line = gateway.logged("serving").unwrap();
    assert_eq!(line["service"], "0123");
    assert_eq!(line["workers"], 2);
    let warning = "no key of the configuration belongs to: SLUICE_SERVICE_HOST; ignored";
    assert_eq!(gateway.logged(warning).expect("a warning")["level"], "WARN");
    let mut raw = gateway.connect();
    let request = String::from_utf8(get("/llm/models")).unwrap();
    raw.send(
        request
            .replace("host: ", "x-yours: my-id\r\nhost: ")
            .as_bytes(),
    );
    let answer = raw.response();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-sluice-request-id"), Some("my-id"));
}

#[test]
fn an_absent_observability_block_behaves_as_an_empty_one() {
    let mut setup = Setup::new(Engine::Epoll, mock());
    setup.config_text = Some((
        "c.yaml",
        "proxy: {addr: '127.0.0.1:0', workers: 1}\nresources_file: '{dir}/resources.yaml'\n",
    ));
    // The one key without which tests would collide.
    setup.env.push((
        "SLUICE_OBSERVABILITY__METRICS__PROMETHEUS__ADDR".into(),
        "127.0.0.1:0".into(),
    ));
    let mut gateway = setup.spawn();
    let stdout = gateway.child.stdout.take().expect("piped");
    let line = wait_for("the text line", || {
        let text = gateway.stderr();
        text.lines()
            .find(|line| line.contains(": serving "))
            .map(str::to_owned)
    });
    assert!(
        line.contains(" INFO ") && line.contains("service=\"sluice\""),
        "{line}"
    );
    assert!(!line.contains('\u{1b}'), "no colour in a pipe: {line}");
    let addr = line
        .split(" addr=")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let mut raw = Raw::connect(addr.and_then(|addr| addr.parse().ok()).expect("an address"));
    raw.send(&get("/v1/models"));
    assert_eq!(raw.response().status, 200);
    // Access lines go to stdout where nothing else is said.
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stdout));
    let line: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(line["message"], "proxy request completed");
}

#[test]
fn warnings_of_both_files_are_logged_once() {
    let mut setup = Setup::new(Engine::Epoll, mock())
        .with("admin", json!({"admin_keys": ["short"]}))
        .with("proxy.thread_per_core", false);
    setup.resources["provider_keys"][0]["tls"] = json!({"verify": false});
    let gateway = setup.start();
    serves(&gateway);
    let stderr = gateway.stderr();
    for part in [
        "the admin API is not served by this version",
        "admin.admin_keys holds a key shorter than 16 characters",
        "thread_per_core",
        "verify",
    ] {
        let lines: Vec<&str> = stderr.lines().filter(|line| line.contains(part)).collect();
        assert_eq!(lines.len(), 1, "{part}: {stderr}");
        assert!(lines[0].contains(r#""level":"WARN""#), "{}", lines[0]);
    }
}

on_both_engines! {
    fn metrics_that_are_open_to_every_network_are_warned_about(engine) {
        let said = "metrics and status pages are open to every network (docs/deployment.md, \"metrics_exposed\")";
        for (addr, want) in [("0.0.0.0:0", Some("WARN")), ("127.0.0.1:0", None)] {
            let mut gateway = Setup::new(engine, mock())
                .with("observability.metrics.prometheus.addr", addr)
                .with("shutdown.min_drain_secs", 0)
                .start();
            gateway.signal(rustix::process::Signal::TERM);
            gateway.ended();
            wait_for("the last line", || gateway.logged("stopped"));
            let line = gateway.logged(said);
            assert_eq!(line.as_ref().and_then(|line| line["level"].as_str()), want, "{addr}");
        }
    }
}

#[test]
fn a_failed_boot_leaves_nothing_bound() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let free_addr = free.local_addr().unwrap();
    drop(free);
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy_addr = busy.local_addr().unwrap().to_string();
    let setup = || Setup::new(Engine::Epoll, mock()).with("proxy.addr", free_addr.to_string());
    let mut bad_resources = setup();
    bad_resources.resources["models"][0]["provider_key"] = "nobody".into();
    let cases = [
        ("unknown key", setup().with("proxy.tpyo", 1), "proxy.tpyo"),
        ("bad resources", bad_resources, "models[0]"),
        (
            "busy status port",
            setup().with("observability.metrics.prometheus.addr", busy_addr.as_str()),
            "observability.metrics.prometheus.addr",
        ),
        (
            "log that cannot be opened",
            setup().with("observability.access_log_output", "/not/there/access.log"),
            "observability.access_log_output",
        ),
        (
            "trust that cannot be read",
            setup().with("upstream.tls", json!({"ca_file": "/not/there.pem"})),
            "upstream.tls.ca_file",
        ),
    ];
    for (what, setup, named) in cases {
        let mut gateway = setup.spawn();
        assert_eq!(gateway.ended().code(), Some(1), "{what}");
        said(&gateway, named);
        let stderr = gateway.stderr();
        assert!(
            stderr.contains("Error: ") && !stderr.contains("serving"),
            "{what}: {stderr}"
        );
        TcpListener::bind(free_addr).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
}

#[test]
fn redis_need_not_be_there_and_its_address_is_never_shown() {
    let with_redis = |url: &str| {
        let setup = Setup::new(Engine::Epoll, mock());
        let setup = setup.with("ratelimit.backend", "redis");
        setup.with("ratelimit.redis.url", url)
    };
    let gateway = with_redis("redis://user:hunter2@127.0.0.1:1").start();
    serves(&gateway);
    said(&gateway, "redis does not count limits");
    assert!(
        !gateway.stderr().contains("hunter2"),
        "{}",
        gateway.stderr()
    );

    let mut gateway = with_redis("redis://user:hunter2@host:port").spawn();
    assert_eq!(gateway.ended().code(), Some(1));
    said(&gateway, "ratelimit.redis.url: is no address of redis");
    assert!(
        !gateway.stderr().contains("hunter2"),
        "{}",
        gateway.stderr()
    );
}
