use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::*;
use crate::bridge::histogram::BucketSettings;
use crate::bridge::record::tests::record;
use crate::bridge::{WorkerBridge, build};
use crate::cold::metrics::{BusyRatios, DetailedLabels, MetricsOptions};
use crate::cold::own;
use config_sync::publish::Publisher;
use config_sync::snapshot::Snapshot;
use config_sync::status::Loaded;

/// A listener on a port of the kernel's choice, served by a thread of its own.
fn start(metrics_path: Option<&str>) -> (SocketAddr, Vec<WorkerBridge>, ConfigStatus) {
    let buckets = BucketSettings::default();
    let (workers, cold) = build(1, &buckets).unwrap();
    let options = MetricsOptions {
        buckets,
        detailed: DetailedLabels::ALL,
        version: "1.2.3",
        commit: "",
        io_engine: "epoll",
        start_unix_ms: 1_000,
        tls: Vec::new(),
        memory: Arc::new(Memory::new(None, None, 1)),
        upstream_trust: Arc::new(UpstreamTrust::new(
            true,
            Publisher::new(Snapshot::empty()).1,
        )),
    };
    let config = ConfigStatus::new("file");
    let busy: BusyRatios = std::iter::empty().collect();
    let scrape = Scrape::new(options, cold.workers, config.clone(), busy, cold.health);
    let status = Status::new(
        metrics_path.map(str::to_owned),
        scrape,
        own::install(),
        "epoll",
    );
    let listener = StdTcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(status.serve(listener, None, std::future::pending()))
    });
    (addr, workers, config)
}

/// Status, head and body of one answer.
fn ask(addr: SocketAddr, method: &str, target: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), body.to_owned())
}

fn load(config: &ConfigStatus) {
    config.loaded(
        Loaded {
            hash: "aa".into(),
            counts: vec![("models", 1)],
            models: Vec::new(),
        },
        1,
    );
}

#[test]
fn readiness_waits_for_the_first_configuration() {
    let (addr, _workers, config) = start(Some("/metrics"));
    let (status, _, body) = ask(addr, "GET", "/status/ready");
    assert_eq!((status, body.as_str()), (503, "no configuration available"));
    load(&config);
    let (status, _, body) = ask(addr, "GET", "/status/ready");
    assert_eq!((status, body.as_str()), (200, "ok"));
    let (_, _, body) = ask(addr, "GET", "/status/ready?verbose");
    assert!(
        body.contains("io_engine epoll") && body.contains("worker 0 not started"),
        "{body}"
    );
}

#[test]
fn a_scrape_holds_the_workers_and_our_own_families_without_duplicates() {
    let (addr, workers, _config) = start(Some("/metrics"));
    workers[0].shard.request(&record());
    ask(addr, "GET", "/metrics"); // so that the second one finds the first counted
    let (status, head, body) = ask(addr, "GET", "/metrics");
    assert_eq!(status, 200);
    assert!(
        head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    for name in [
        "sluice_requests_total{",
        "sluice_scrapes_total ",
        "process_threads ",
    ] {
        assert!(body.contains(&format!("\n{name}")), "{name}");
    }
    let mut types: Vec<_> = body
        .lines()
        .filter(|line| line.starts_with("# TYPE"))
        .collect();
    let all = types.len();
    types.sort_unstable();
    types.dedup();
    assert_eq!(types.len(), all);
}

#[test]
fn only_reading_is_allowed_and_everything_else_is_unknown() {
    let (addr, _workers, config) = start(Some("/scrape/{x}"));
    load(&config);
    let cases = [
        ("GET", "/scrape/{x}", 200),
        ("HEAD", "/scrape/{x}", 200),
        ("POST", "/scrape/{x}", 405),
        ("GET", "/status/config", 200),
        ("HEAD", "/status/models", 200),
        ("DELETE", "/status/ready", 405),
        ("GET", "/metrics", 404),
        ("GET", "/", 404),
        ("POST", "/nothing", 404),
        ("GET", "/status/ready/", 404),
    ];
    for (method, target, want) in cases {
        let (status, head, body) = ask(addr, method, target);
        assert_eq!(status, want, "{method} {target}");
        assert_eq!(head.contains("allow: get, head"), want == 405, "{head}");
        assert!(method != "HEAD" || body.is_empty());
    }
}

#[test]
fn status_pages_stay_when_metrics_are_switched_off() {
    let (addr, _workers, config) = start(None);
    load(&config);
    assert_eq!(ask(addr, "GET", "/metrics").0, 404);
    let (status, head, body) = ask(addr, "GET", "/status/config");
    assert_eq!(status, 200);
    assert!(head.contains("content-type: application/json"));
    let document: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(document["state"], "synced");
    assert_eq!(ask(addr, "GET", "/status/models").2, "[]");
}
