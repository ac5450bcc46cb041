//! The whole way from a file and an environment to settings or a report.

use super::keys::{KEYS, Shape};
use super::*;
use serde_json::{Map, json};
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

type Loaded = Result<(Settings, Vec<String>), LoadError>;

fn load_text(name: &str, text: &str, env: &[(&str, &str)]) -> Loaded {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(name);
    std::fs::write(&path, text).expect("written");
    let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    load(&path, env.iter().map(owned))
}

fn load_yaml(text: &str, env: &[(&str, &str)]) -> Loaded {
    load_text("config.yaml", text, env)
}

/// The problems of the report, without its first line.
fn problems_of(loaded: Loaded) -> Vec<String> {
    match loaded {
        Ok(_) => Vec::new(),
        Err(LoadError::Invalid(_, problems)) => problems.iter().map(ToString::to_string).collect(),
        Err(other) => vec![other.to_string()],
    }
}

const MINIMAL: &str = "resources_file: /etc/sluice/resources.yaml\nproxy: {addr: '0.0.0.0:3000'}\n";

fn minimal_and(more: &str, env: &[(&str, &str)]) -> Loaded {
    load_yaml(&format!("{MINIMAL}{more}"), env)
}

fn secs(secs: u64) -> Option<Duration> {
    Some(Duration::from_secs(secs))
}

#[test]
fn every_documented_default_is_the_checked_default() {
    let (s, warnings) = load_yaml(MINIMAL, &[]).expect("valid");
    assert_eq!(warnings, [""; 0]);

    assert!(
        matches!(&s.source, SourceSettings::File(file) if file == Path::new("/etc/sluice/resources.yaml"))
    );
    assert!(!s.resources_file_watch && s.env_id.is_empty() && s.snapshot_cache.is_none());
    assert!(
        s.secrets.keyring_file.is_none() && s.bedrock_endpoint_url.is_none() && s.admin.is_none()
    );

    let proxy = &s.proxy;
    assert_eq!(proxy.addr, SocketAddr::from(([0, 0, 0, 0], 3000)));
    assert_eq!(proxy.json_body_bytes_max, Some(32 << 20));
    assert_eq!(proxy.multipart_body_bytes_max, Some(512 << 20));
    assert!(proxy.tls.is_none() && proxy.real_ip.trusted.is_empty() && !proxy.real_ip.recursive);
    assert_eq!(&*proxy.real_ip.header, "x-forwarded-for");
    assert_eq!(
        *proxy.request_id_headers,
        [Box::from("x-sluice-request-id")]
    );
    assert_eq!(
        Ok(proxy.workers),
        std::thread::available_parallelism().map_err(|_| ())
    );
    assert!(proxy.pin_cpus && proxy.io_engine == IoEngine::Auto);
    assert_eq!(proxy.max_connections_per_worker, None);
    assert_eq!(proxy.max_requests_per_worker, None);
    let memory = MemorySettings {
        mark: MemoryMark::Percent(85),
        bodies_bytes: None,
    };
    assert_eq!(proxy.memory, memory);
    assert_eq!(proxy.header_read_timeout, Duration::from_secs(10));
    assert!(proxy.rewrites.is_empty());

    let o = &s.observability;
    assert_eq!((&*o.service_name, &*o.log_filter), ("sluice", "info"));
    assert_eq!(
        (o.log_format, &o.log_output),
        (LogFormat::Text, &Output::Stderr)
    );
    assert_eq!(
        (o.access_log, &o.access_log_output),
        (true, &Output::Stdout)
    );
    assert_eq!(o.access_log_rotate_bytes.map(u64::from), Some(100 << 20));
    assert_eq!(o.access_log_keep, 5);
    assert!(o.prometheus.enabled && o.prometheus.tls.is_none());
    assert!(o.prometheus.bearer_token_file.is_none());
    assert_eq!(&*o.prometheus.path, "/metrics");
    assert_eq!(o.prometheus.addr, SocketAddr::from(([0, 0, 0, 0], 9090)));
    assert!(o.metrics_otlp.is_none() && o.tracing_otlp.is_none());
    let e2e = [
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
        420.0, 600.0,
    ];
    let ttft = [
        0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
    ];
    let guardrail = [
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    ];
    assert_eq!(*o.buckets.request_e2e_latency, e2e);
    assert_eq!(*o.buckets.request_ttft, ttft);
    assert_eq!(*o.buckets.guardrail_latency, guardrail);
    assert_eq!(*o.buckets.a2a_ttfb, ttft);

    assert!(s.cache.redis.is_none() && s.ratelimit.redis.is_none());
    assert_eq!(s.ratelimit.concurrency_ttl, Duration::from_secs(300));

    let u = &s.upstream;
    assert_eq!(
        [u.timeout, u.first_event_timeout, u.event_gap_timeout],
        [secs(600); 3]
    );
    assert_eq!((u.stream_total_timeout, u.connect_timeout), (None, secs(5)));
    let keepalive = TcpKeepalive {
        idle: Duration::from_secs(60),
        interval: secs(30),
        probes: 5,
    };
    assert_eq!(u.tcp_keepalive, Some(keepalive));
    assert_eq!(
        (u.pool_idle_timeout, u.pool_max_idle_per_host),
        (secs(30), None)
    );
    assert_eq!((u.retries, &u.tls), (2, &TrustSettings::default()));

    let downstream = DownstreamSettings {
        idle_timeout: secs(60),
        sse_keepalive_interval: secs(15),
    };
    assert_eq!(s.downstream, downstream);
    let shutdown = ShutdownSettings {
        min_drain: Duration::from_secs(30),
        max_drain: None,
        livez_during_drain: false,
    };
    assert_eq!(s.shutdown, shutdown);
}

#[test]
fn the_annotated_example_states_the_defaults() {
    let example = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/sluice.annotated.yaml"
    );
    let (stated, warnings) = load(Path::new(example), std::iter::empty()).expect("valid");
    // All that it sets to something else, or that has no default.
    let own = "resources_file: /etc/sluice/resources.yaml\nproxy: {addr: '127.0.0.1:3000'}\n\
        observability: {metrics: {prometheus: {addr: '127.0.0.1:9090'}}}\n";
    let (settings, _) = load_yaml(own, &[]).expect("valid");
    assert_eq!(format!("{stated:#?}"), format!("{settings:#?}"));
    assert_eq!(warnings, [""; 0]);
}

#[test]
fn an_absent_block_reads_like_an_empty_and_a_null_one() {
    let blocks = [
        "observability",
        "cache",
        "ratelimit",
        "upstream",
        "downstream",
        "shutdown",
        "managed",
        "secrets",
        "etcd",
    ];
    let absent = format!("{:?}", load_yaml(MINIMAL, &[]).expect("valid").0);
    for value in ["{}", "null"] {
        let more: String = blocks
            .iter()
            .map(|block| format!("{block}: {value}\n"))
            .collect();
        let (settings, warnings) = minimal_and(&more, &[]).expect("valid");
        assert_eq!(format!("{settings:?}"), absent, "{value}");
        assert_eq!(warnings, [""; 0]);
    }
}

const BROKEN: &str = r#"
resources_file: /etc/sluice/resources.yaml
etcd:
  endpoints: ["10.0.0.5:2379", "http://10.0.0.6"]
  user: root
proxy:
  adress: 0.0.0.0:3000
  workers: 0
  real_ip: {trusted_proxies: [10.0.0.0/8, nowhere]}
  request_id:
    accept_headers: [x-id, Authorization]
  url_rewrites:
    - {match: "^/a(", rewrite: /b}
    - {match: "^/a", rewrite: "/$2", also: 1}
observability:
  log_level: inof
  metrics:
    prometheus: {path: /status/config}
    buckets: {request_ttft: [1, 1]}
cache:
  backend: redis
upstream:
  timeout_ms: "60000"
  retries: ${RETRIES}
shutdown: 30
colour: ${UNSET}
"#;

const REPORT: &str = r#"
  - resources_file: and `etcd.endpoints` are mutually exclusive
  - etcd.endpoints[0]: must be `http://host:port` or `https://host:port`
  - etcd.password_env: required with `user`
  - proxy.adress: unknown key `adress` (known here: addr, header_read_timeout_secs, http2, io_engine, max_connections_per_worker, max_requests_per_worker, memory, pin_cpus, real_ip, request_body_limit_bytes, request_id, thread_per_core, tls, url_rewrites, workers)
  - proxy.workers: must be 1 to 1024
  - proxy.real_ip.trusted_proxies[1]: must be a CIDR block or an IP address
  - proxy.request_id.accept_headers[1]: must not be a header of credentials, routing or tracing
  - proxy.url_rewrites[0].match: is no valid regular expression: unclosed group
  - proxy.url_rewrites[1].rewrite: refers to the group `2`, which `match` does not have
  - proxy.url_rewrites[1].also: unknown key `also` (known here: match, name, rewrite)
  - proxy.addr: required
  - observability.log_level: must be a level (off, error, warn, info, debug, trace), or `target=level` by commas
  - observability.metrics.prometheus.path: must not lie below `/status`
  - observability.metrics.buckets.request_ttft: must be 1 to 64 numbers above 0, strictly ascending, without infinity
  - cache.redis: required with `backend: redis`
  - upstream.timeout_ms: must be a whole number, 0 or more, not a string
  - upstream.retries: must be a whole number, 0 or more
  - shutdown: must be a mapping, not a number
  - colour: unknown key `colour` (known here: admin, bedrock_endpoint_url, cache, downstream, etcd, managed, observability, proxy, ratelimit, resources_file, resources_file_watch, secrets, shutdown, upstream)
  - downstream.idle_timeout_secs: must be a whole number, 0 or more (set by SLUICE_DOWNSTREAM__IDLE_TIMEOUT_SECS)
  - SLUICE_PROXY__WORKER: there is no key `proxy.worker` (known at proxy: addr, header_read_timeout_secs, http2, io_engine, max_connections_per_worker, max_requests_per_worker, memory, pin_cpus, real_ip, request_body_limit_bytes, request_id, thread_per_core, tls, url_rewrites, workers)
"#;

#[test]
fn one_report_names_every_problem_in_the_order_of_the_file() {
    let env = [
        ("SLUICE_DOWNSTREAM__IDLE_TIMEOUT_SECS", "1m"),
        ("SLUICE_PROXY__WORKER", "4"),
        ("RETRIES", "many"),
    ];
    let error = load_yaml(BROKEN, &env).expect_err("broken").to_string();
    let (first, rest) = error.split_once('\n').expect("several lines");
    assert!(first.starts_with("configuration /"), "{first}");
    assert!(first.ends_with("/config.yaml: 21 error(s):"), "{first}");
    assert_eq!(rest, REPORT.trim_matches('\n'));
}

#[test]
fn features_of_later_versions_are_refused_only_when_switched_on() {
    let on = [
        (
            "observability: {metrics: {otlp: {enabled: true}}}",
            "observability.metrics.otlp.enabled",
        ),
        (
            "observability: {tracing: {otlp: {enabled: true, endpoint: x}}}",
            "observability.tracing.otlp.enabled",
        ),
        ("cache: {redis: {url: 'redis://h'}}", "cache.redis"),
    ];
    for (text, path) in on {
        let got = problems_of(load_yaml(&format!("{MINIMAL}{text}\n"), &[]));
        assert_eq!(
            got,
            [format!("{path}: not supported by this version")],
            "{text}"
        );
    }
    let proxy = "proxy: {addr: '0.0.0.0:1'}\n";
    let managed = "managed: {enabled: true, cp_base_url: 'https://a'}";
    let managed = problems_of(load_yaml(&format!("{proxy}{managed}"), &[]));
    assert_eq!(managed, ["managed.enabled: not supported by this version"]);

    let off = "resources_file_watch: false\nsecrets: {}\nobservability: {metrics: {otlp: {enabled: false}}, \
        tracing: {otlp: {endpoint: x}}}\nratelimit: {redis: {url: 'redis://h'}}\nmanaged: {enabled: false}\n\
        etcd: {prefix: /aisix, env_id: blue}\n";
    let (settings, warnings) = minimal_and(off, &[]).expect("valid");
    assert_eq!((warnings.len(), &*settings.env_id), (0, "blue"));
}

#[test]
fn counters_in_redis_are_switched_on_by_the_backend() {
    let on = "ratelimit: {backend: redis, redis: {url: 'redis://h'}, on_redis_failure: closed}\n";
    let (settings, warnings) = minimal_and(on, &[]).expect("valid");
    assert!(settings.ratelimit.redis.is_some() && warnings.is_empty());
    assert_eq!(settings.ratelimit.on_redis_failure, OnRedisFailure::Closed);
}

#[test]
fn keys_without_an_effect_are_warned_about_once_where_they_are_written() {
    let unread = "upstream: {retries: 2, timeout_ms: 5}\n\
        observability: {metrics: {buckets: {a2a_ttfb: [1], guardrail_latency: null}}}\n";
    let (_, warnings) = minimal_and(unread, &[]).expect("valid");
    let want = ["observability.metrics.buckets.a2a_ttfb has no effect in this version"];
    assert_eq!(warnings, want);
}

#[test]
fn tls_of_a_listener_is_refused_until_it_is_served() {
    let dir = tempfile::tempdir().expect("a directory");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let tls = format!(
        "{{cert_file: '{}', key_file: '{}'}}",
        cert.display(),
        key.display()
    );
    let admin = format!("admin: {{admin_keys: [sk-admin-0123456789], tls: {tls}}}");
    let got = problems_of(minimal_and(&admin, &[]));
    assert_eq!(got, ["admin.tls: not supported by this version"]);
    let metrics = format!("observability: {{metrics: {{prometheus: {{tls: {tls}}}}}}}");
    let (settings, _) = minimal_and(&metrics, &[]).expect("valid");
    assert!(settings.observability.prometheus.tls.is_some());
}

#[test]
fn a_token_for_metrics_is_refused_until_it_is_asked_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let token = dir.path().join("token");
    std::fs::write(&token, "sk-metrics").expect("written");
    let file = format!("{{bearer_token_file: '{}'}}", token.display());
    let got = problems_of(minimal_and(
        &format!("observability: {{metrics: {{prometheus: {file}}}}}"),
        &[],
    ));
    let want = "observability.metrics.prometheus.bearer_token_file: not supported by this version";
    assert_eq!(got, [want]);
}

#[test]
fn sources_exclude_each_other_and_one_is_needed() {
    let proxy = "proxy: {addr: '0.0.0.0:1'}\n";
    let cases = [
        ("", "resources_file: required (or `etcd.endpoints`)"),
        (
            "etcd: {endpoints: []}",
            "resources_file: required (or `etcd.endpoints`)",
        ),
        ("resources_file: ' '", "resources_file: must not be blank"),
        (
            "resources_file: /r\netcd: {endpoints: ['http://a']}",
            "resources_file: and `etcd.endpoints` are mutually exclusive",
        ),
        (
            "resources_file: /r\nmanaged: {enabled: true, cp_base_url: 'https://a'}",
            "resources_file: must not be set with `managed.enabled: true`",
        ),
    ];
    for (text, want) in cases {
        let got = problems_of(load_yaml(&format!("{proxy}{text}"), &[]));
        assert_eq!(got.first().map(String::as_str), Some(want), "{text}");
    }
}

#[test]
fn the_admin_block_warns_and_its_absence_does_not() {
    let key = "sk-admin-0123456789";
    let warning = "the admin API is not served by this version";
    let (_, warnings) =
        minimal_and(&format!("admin: {{admin_keys: [{key}]}}"), &[]).expect("valid");
    assert_eq!(warnings, [warning]);
    let (_, warnings) = minimal_and("", &[("SLUICE_ADMIN__ADMIN_KEYS", key)]).expect("valid");
    assert_eq!(warnings, [warning]);
    for off in ["admin: null", "admin: {enabled: false}"] {
        assert_eq!(minimal_and(off, &[]).expect("valid").1, [""; 0], "{off}");
    }
    let got = problems_of(minimal_and("admin: {}", &[]));
    assert_eq!(
        got,
        ["admin.admin_keys: needs at least one key (or set `admin.enabled: false`)"]
    );
}

#[test]
fn an_explicit_body_limit_of_0_is_unlimited() {
    let limits = |text: &str| {
        let env = [("SLUICE_PROXY__REQUEST_BODY_LIMIT_BYTES", text)];
        let proxy = load_yaml(MINIMAL, &env).expect("valid").0.proxy;
        (proxy.json_body_bytes_max, proxy.multipart_body_bytes_max)
    };
    assert_eq!(limits("0"), (None, None));
    assert_eq!(limits("1000"), (Some(1000), Some(1000)));
}

#[test]
fn stream_timeouts_fall_back_from_the_special_to_the_general() {
    let read = |text: &str| {
        let u = minimal_and(&format!("upstream: {{{text}}}"), &[])
            .expect("valid")
            .0
            .upstream;
        [
            u.timeout,
            u.first_event_timeout,
            u.event_gap_timeout,
            u.stream_total_timeout,
        ]
        .map(|timeout| timeout.map(|timeout| timeout.as_secs()))
    };
    assert_eq!(read("timeout_ms: 0"), [None; 4]);
    assert_eq!(read("timeout_ms: 9000"), [Some(9), Some(9), Some(9), None]);
    assert_eq!(
        read("stream_timeout_ms: 7000"),
        [Some(600), Some(7), Some(7), None]
    );
    let all = "stream_timeout_ms: 7000, ttft_timeout_ms: 5000, stream_idle_timeout_ms: 3000, \
        stream_total_timeout_ms: 90000";
    assert_eq!(read(all), [Some(600), Some(5), Some(3), Some(90)]);
}

#[test]
fn thread_per_core_false_warns_and_means_one_worker() {
    let env = [
        ("SLUICE_PROXY__THREAD_PER_CORE", "false"),
        ("SLUICE_PROXY__WORKERS", "8"),
    ];
    let (settings, warnings) = load_yaml(MINIMAL, &env).expect("valid");
    assert_eq!(settings.proxy.workers, NonZeroUsize::MIN);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

#[test]
fn the_log_filter_comes_from_the_first_variable_that_is_set() {
    let filter = |env: &[(&str, &str)]| {
        let text = "observability: {log_level: warn}";
        minimal_and(text, env)
            .expect("valid")
            .0
            .observability
            .log_filter
    };
    assert_eq!(&*filter(&[]), "warn");
    assert_eq!(&*filter(&[("RUST_LOG", "hyper=debug")]), "hyper=debug");
    assert_eq!(
        &*filter(&[("RUST_LOG", "debug"), ("SLUICE_LOG", "trace")]),
        "trace"
    );
    assert_eq!(
        &*filter(&[("RUST_LOG", "debug"), ("SLUICE_LOG", " ")]),
        "debug"
    );
    let bad = problems_of(load_yaml(MINIMAL, &[("SLUICE_LOG", "a=b=c")]));
    assert_eq!(bad, ["SLUICE_LOG: is no valid log filter"]);
    for level in ["WARN", "warn,gateway=debug", "info, h2=off"] {
        let text = format!("observability: {{log_level: '{level}'}}");
        assert_eq!(problems_of(minimal_and(&text, &[])), [""; 0], "{level}");
    }
}

/// A variable for the key at `path`.
fn variable(path: &str) -> String {
    format!("SLUICE_{}", path.to_uppercase().replace('.', "__"))
}

#[test]
fn every_sequence_key_is_settable_from_the_environment() {
    let samples: HashMap<&str, (&str, &str)> = [
        (
            "etcd.endpoints",
            ("http://one:1, http://two:2", "host: \"two\""),
        ),
        (
            "proxy.real_ip.trusted_proxies",
            ("10.0.0.0/8, 192.168.7.7", "192.168.7.7/32"),
        ),
        (
            "proxy.request_id.accept_headers",
            ("x-one, x-two", "\"x-two\""),
        ),
        (
            "proxy.url_rewrites",
            (r#"[{"name":"two","match":"^/a","rewrite":""}]"#, "\"two\""),
        ),
        (
            "admin.admin_keys",
            (
                "sk-0123456789abcdef, sk-abcdef0123456789",
                "keys: [***, ***]",
            ),
        ),
        (
            "admin.read_only_keys",
            ("one, two", "read_only_keys: [***, ***]"),
        ),
        (
            "observability.metrics.client_type_rules",
            (r#"[{"pattern":"x","client":"two"}]"#, "\"two\""),
        ),
        (
            "observability.metrics.buckets.request_e2e_latency",
            ("7, 77", "[7.0, 77.0]"),
        ),
        ("observability.metrics.buckets.request_ttft", ("7", "[7.0]")),
        (
            "observability.metrics.buckets.guardrail_latency",
            ("7, 77", "[7.0, 77.0]"),
        ),
        (
            "observability.metrics.buckets.a2a_ttfb",
            ("7, 77", "[7.0, 77.0]"),
        ),
        (
            "cache.redis.nodes",
            ("redis://a, redis://b", "nodes: [***, ***]"),
        ),
        ("cache.redis.sentinels", ("s, t", "sentinels: [***, ***]")),
        (
            "secrets.master_key_files",
            (
                "a=/a, b=/b",
                r#"master_key_files: [("a", "/a"), ("b", "/b")]"#,
            ),
        ),
        (
            "ratelimit.redis.nodes",
            ("redis://a, redis://b", "nodes: [***, ***]"),
        ),
        (
            "ratelimit.redis.sentinels",
            ("s, t", "sentinels: [***, ***]"),
        ),
    ]
    .into();
    let dir = tempfile::tempdir().expect("a directory");
    let pair = crate::tls::files::tests::write(dir.path(), "listed", &["a.test"]);
    let pairs = json!([{"cert_file": pair.cert_file, "key_file": pair.key_file}]).to_string();
    let sequence = |shape| !env::is_scalar(shape);
    for (path, _) in KEYS.iter().filter(|(_, shape)| sequence(*shape)) {
        let (text, want) = match path.ends_with(".tls.certificates") {
            true => (pairs.as_str(), "listed.crt"),
            false => *samples
                .get(path)
                .unwrap_or_else(|| panic!("a sample for {path}")),
        };
        // What the key needs beside it, to show up in the settings.
        let beside = match path.rsplit_once('.') {
            Some((block, "nodes")) => vec![(format!("{block}.mode"), "cluster")],
            Some((block, "sentinels")) => vec![
                (format!("{block}.mode"), "sentinel"),
                (format!("{block}.master_name"), "m"),
            ],
            Some((block, "read_only_keys")) => vec![(format!("{block}.admin_keys"), "sk")],
            _ => Vec::new(),
        };
        let mut env: BTreeMap<String, String> = beside
            .into_iter()
            .map(|(path, text)| (variable(&path), text.to_owned()))
            .collect();
        env.insert(variable("ratelimit.backend"), "redis".into());
        env.insert(variable("proxy.addr"), "0.0.0.0:1".into());
        env.insert(variable(path), text.to_owned());
        let problems = Problems::default();
        let mut tree = Value::Null;
        merge(&mut tree, &env, &problems);
        let settings = checked::settings(&tree, &problems, &Context::new(&env));
        let about: Vec<_> = problems.into_vec();
        assert!(
            about.iter().all(|problem| !problem.path.starts_with(path)),
            "{about:?}"
        );
        assert!(
            format!("{settings:?}").contains(want),
            "{path}: {settings:?}"
        );
    }
}

#[test]
fn the_key_table_and_the_readers_know_the_same_keys() {
    // A key that nobody knows, in every block: its problem lists what the readers took.
    let mut tree = json!({});
    let mut blocks: BTreeSet<&str> = BTreeSet::from([""]);
    for (path, _) in KEYS {
        blocks.extend(path.match_indices('.').map(|(end, _)| &path[..end]));
    }
    for block in &blocks {
        let mut at = &mut tree;
        for step in block.split('.').filter(|step| !step.is_empty()) {
            let map = at.as_object_mut().expect("a mapping");
            at = map.entry(step).or_insert_with(|| Value::Object(Map::new()));
        }
        at["zzz"] = json!(1);
    }
    let problems = Problems::default();
    let variables = BTreeMap::new();
    checked::settings(&tree, &problems, &Context::new(&variables));
    let mut seen = BTreeSet::new();
    for problem in problems.into_vec() {
        let Some(known) = problem
            .message
            .strip_prefix("unknown key `zzz` (known here: ")
        else {
            continue;
        };
        let block = problem
            .path
            .trim_end_matches("zzz")
            .trim_end_matches('.')
            .to_owned();
        assert_eq!(
            known.trim_end_matches(')'),
            keys::names_in(&block).join(", "),
            "{block}"
        );
        seen.insert(block);
    }
    assert!(seen.iter().map(String::as_str).eq(blocks));
}

#[test]
fn every_key_has_the_shape_that_its_reader_wants() {
    let of_shape = |shape| match shape {
        Shape::Text => json!("x"),
        Shape::Bool => json!(true),
        Shape::Whole => json!(1),
        Shape::Number => json!(1.0),
        Shape::Texts => json!(["x"]),
        Shape::Numbers => json!([1.0]),
        Shape::Objects => json!([{}]),
    };
    for (path, shape) in KEYS {
        let nested = path
            .rsplit('.')
            .fold(of_shape(*shape), |value, step| json!({ step: value }));
        let problems = Problems::default();
        let variables = BTreeMap::new();
        checked::settings(&nested, &problems, &Context::new(&variables));
        for problem in problems.into_vec() {
            let of_type = problem.path == *path && problem.message.contains(", not a");
            assert!(!of_type, "{problem}");
        }
    }
}

#[test]
fn the_environment_wins_over_the_file_and_is_named_in_problems() {
    let file = "resources_file: ${NOWHERE}\nproxy: {addr: 127.0.0.1:1, workers: 3}\n";
    let env = [
        ("SLUICE_RESOURCES_FILE", "/r.yaml"),
        ("SLUICE_PROXY__ADDR", "127.0.0.1:2"),
    ];
    let (settings, _) = load_yaml(file, &env).expect("valid");
    assert_eq!(settings.proxy.addr.port(), 2);
    assert_eq!(settings.proxy.workers.get(), 3);
    let env = [
        ("SLUICE_PROXY__ADDR", "localhost:80"),
        ("SLUICE_PROXY__WORKERS", "many"),
    ];
    assert_eq!(
        problems_of(load_yaml(MINIMAL, &env)),
        [
            "proxy.addr: must be an address and a port, such as `127.0.0.1:3000` (set by SLUICE_PROXY__ADDR)",
            "proxy.workers: must be a whole number, 0 or more (set by SLUICE_PROXY__WORKERS)",
        ]
    );
}

#[test]
fn variables_that_the_files_name_are_no_overrides() {
    let dir = tempfile::tempdir().expect("a directory");
    let resources = dir.path().join("resources.yaml");
    std::fs::write(&resources, "api_keys: [{key_env: SLUICE_BOT__KEY}]\n").expect("written");
    let file = format!(
        "resources_file: {}\nproxy: {{addr: '${{SLUICE_MY__ADDR}}'}}\netcd: {{user: u, password_env: SLUICE_ETCD__PW}}",
        resources.display()
    );
    let env = [
        ("SLUICE_BOT__KEY", "sk"),
        ("SLUICE_MY__ADDR", "127.0.0.1:1"),
        ("SLUICE_ETCD__PW", "pw"),
    ];
    let (settings, warnings) = load_yaml(&file, &env).expect("valid");
    assert_eq!((settings.proxy.addr.port(), warnings.len()), (1, 0));
}

#[test]
fn service_links_of_an_orchestrator_warn_once() {
    let env = [
        ("SLUICE_SERVICE_HOST", "10.0.0.1"),
        ("SLUICE_PORT", "tcp://10.0.0.1:80"),
    ];
    let (_, warnings) = load_yaml(MINIMAL, &env).expect("valid");
    let want = "no key of the configuration belongs to: SLUICE_PORT, SLUICE_SERVICE_HOST; ignored";
    assert_eq!(warnings, [want]);
}

#[test]
fn no_report_and_no_debug_text_holds_a_secret() {
    let canary = "c4n4ry";
    let secrets = [
        "admin.admin_keys",
        "admin.read_only_keys",
        "cache.redis.url",
        "cache.redis.password",
        "cache.redis.nodes",
        "cache.redis.sentinels",
        "ratelimit.redis.url",
        "ratelimit.redis.password",
        "managed.cp_key_pem",
        "managed.enrollment_token",
    ];
    let env: BTreeMap<String, String> = secrets
        .iter()
        .map(|path| (variable(path), canary.to_owned()))
        .collect();
    let problems = Problems::default();
    let mut tree = Value::Null;
    merge(&mut tree, &env, &problems);
    let settings = checked::settings(&tree, &problems, &Context::new(&env));
    assert!(!format!("{settings:?}").contains(canary));
    assert!(!format!("{problems:?}").contains(canary));

    // The same text where it has no business.
    for (path, _) in KEYS {
        let env = [(variable(path), canary.to_owned())].into();
        let problems = Problems::default();
        let mut tree = Value::Null;
        merge(&mut tree, &env, &problems);
        checked::settings(&tree, &problems, &Context::new(&env));
        let said = format!("{problems:?}");
        // Paths are named in full: they are no secrets, and nothing helps more.
        let names_path = path.ends_with("_file") || *path == "resources_file";
        assert!(names_path || !said.contains(canary), "{path}: {said}");
    }
}

#[test]
fn toml_and_json_files_say_the_same() {
    let yaml = format!("{:?}", load_yaml(MINIMAL, &[]).expect("valid").0);
    let toml = "resources_file = '/etc/sluice/resources.yaml'\n[proxy]\naddr = '0.0.0.0:3000'\n";
    let json =
        r#"{"resources_file": "/etc/sluice/resources.yaml", "proxy": {"addr": "0.0.0.0:3000"}}"#;
    for (name, text) in [("c.toml", toml), ("c.json", json)] {
        let got = load_text(name, text, &[]).expect(name).0;
        assert_eq!(format!("{got:?}"), yaml, "{name}");
    }
}
