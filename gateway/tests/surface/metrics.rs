//! The metrics and status listener: what a known set of requests leaves there.

use serde_json::{Value, json};

use crate::on_both_engines;
use crate::support::gateway::{chat, post};
use crate::support::{Engine, Gateway, Raw, Setup, mock, wait_for};

/// One sample of a scrape.
#[derive(Clone, Debug)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Sample {
    fn label(&self, name: &str) -> Option<&str> {
        let mut found = self.labels.iter();
        found
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels
            .iter()
            .all(|(name, value)| self.label(name) == Some(*value))
    }
}

/// A family without its prefix, labels, and the sum of the series that have them.
type Expected<'a> = (&'a str, &'a [(&'a str, &'a str)], f64);

/// A scrape, read strictly.
struct Scrape {
    samples: Vec<Sample>,
    types: Vec<(String, String)>,
}

impl Scrape {
    fn of(gateway: &Gateway) -> Self {
        let page = gateway.status_page("/metrics");
        assert_eq!(page.status, 200);
        Self::read(page.text())
    }

    fn read(text: &str) -> Self {
        let mut scrape = Self {
            samples: Vec::new(),
            types: Vec::new(),
        };
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("name and type");
                assert!(
                    scrape.types.iter().all(|(known, _)| known != name),
                    "{name} twice"
                );
                scrape.types.push((name.to_owned(), kind.to_owned()));
            } else if !line.starts_with("# HELP ") {
                scrape.samples.push(sample(line));
            }
        }
        scrape
    }

    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let found = self.samples.iter();
        found
            .filter(|sample| sample.name == name && sample.has(labels))
            .map(|sample| sample.value)
            .fold(0.0, |sum, value| sum + value)
    }

    /// The label names of a family's samples: the same for all.
    fn label_names(&self, name: &str) -> Vec<&str> {
        let mut found = self.samples.iter().filter(|sample| sample.name == name);
        let names = |sample: &'_ Sample| -> Vec<String> {
            sample.labels.iter().map(|(name, _)| name.clone()).collect()
        };
        let first = found
            .next()
            .unwrap_or_else(|| panic!("no sample of {name}"));
        for other in found {
            assert_eq!(names(other), names(first), "{name}");
        }
        first.labels.iter().map(|(name, _)| name.as_str()).collect()
    }
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let (name, labels) = match series.split_once('{') {
        None => (series, ""),
        Some((name, rest)) => (name, rest.strip_suffix('}').expect("a closing brace")),
    };
    // No label value of these tests holds a comma.
    let labels = labels
        .split(',')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').expect("a pair");
            let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
            (name.to_owned(), value.expect("a quoted value").to_owned())
        });
    Sample {
        name: name.to_owned(),
        labels: labels.collect(),
        value: value.parse().expect("a number"),
    }
}

/// Seven requests of every kind; the count of each is asserted below.
fn traffic(gateway: &Gateway) {
    for _ in 0..3 {
        let answer = gateway.post("/v1/chat/completions", &chat("m", false));
        assert_eq!(answer.status, 200);
    }
    for _ in 0..2 {
        let mut raw = gateway.connect();
        raw.send(&post(
            "/v1/chat/completions",
            &chat("script/events=4", true),
        ));
        assert_eq!(raw.response().status, 200);
    }
    let mut body = json!({"model": "embed", "input": "text"});
    assert_eq!(gateway.post("/v1/embeddings", &body).status, 200);
    body["model"] = "nobody".into();
    assert_eq!(gateway.post("/v1/embeddings", &body).status, 404);
    let denied = gateway.post("/v1/chat/completions", &chat("other", false));
    assert_eq!(denied.status, 403);
    let failed = gateway.post("/v1/chat/completions", &chat("script/status=500", false));
    assert_eq!(failed.status, 502, "{}", failed.text());
    let limited = gateway.post("/v1/chat/completions", &chat("script/status=429", false));
    assert_eq!(limited.status, 429, "{}", limited.text());
    assert_eq!(gateway.get("/v1/models").status, 200);
    assert_eq!(gateway.get("/v1/nothing").status, 404);
    for (key, count) in [("authorization: Bearer wrong\r\n", 2), ("", 1)] {
        for _ in 0..count {
            let mut raw = gateway.connect();
            raw.send(format!("GET /v1/models HTTP/1.1\r\nhost: g\r\n{key}\r\n").as_bytes());
            assert_eq!(raw.response().status, 401);
        }
    }
    gateway.access_lines(15);
}

on_both_engines! {
    fn every_request_is_counted_exactly_once_in_each_family_it_belongs_to(engine) {
        let gateway = Setup::new(engine, mock()).with("proxy.workers", 2).start();
        traffic(&gateway);
        let scrape = Scrape::of(&gateway);
        let chat = ("endpoint", "/v1/chat/completions");
        let embeddings = ("endpoint", "/v1/embeddings");
        let cases: &[Expected<'_>] = &[
            ("requests_total", &[], 15.0),
            ("requests_total", &[("status", "200")], 7.0),
            ("requests_total", &[("status", "401"), ("outcome", "client_error"), ("model", "unknown")], 3.0),
            ("requests_total", &[("model", "m"), ("provider", "openai"), ("status", "200"), ("outcome", "success")], 3.0),
            ("requests_total", &[("model", "script/*")], 4.0),
            ("requests_total", &[("model", "unresolved"), ("status", "404")], 1.0),
            ("requests_total", &[("outcome", "rate_limited"), ("status", "429")], 1.0),
            ("requests_total", &[("outcome", "upstream_error"), ("status", "502")], 1.0),
            ("proxy_requests_total", &[("endpoint", "/v1/models"), ("status", "200")], 1.0),
            ("proxy_requests_total", &[("status", "401")], 0.0),
            ("proxy_requests_total", &[chat], 8.0),
            ("proxy_requests_total", &[chat, ("stream", "true")], 2.0),
            ("proxy_requests_total", &[chat, ("upstream_model", "gpt-up"), ("provider_key_name", "up")], 3.0),
            ("proxy_failed_requests_total", &[chat], 3.0),
            ("proxy_failed_requests_total", &[embeddings, ("status", "404")], 1.0),
            ("llm_requests_total", &[], 10.0),
            ("llm_requests_total", &[("endpoint", "/v1/models")], 0.0),
            ("request_e2e_latency_seconds_count", &[chat, ("status_class", "2xx"), ("streaming", "false")], 3.0),
            ("request_e2e_latency_seconds_count", &[chat, ("status_class", "2xx"), ("streaming", "true")], 2.0),
            ("request_ttft_seconds_count", &[("streaming", "true")], 2.0),
            ("request_ttft_seconds_count", &[], 2.0),
            ("llm_time_to_first_token_seconds_count", &[chat], 2.0),
            ("proxy_in_flight_requests", &[], 0.0),
            ("proxy_client_cancelled_requests_total", &[], 0.0),
            // The mock reports 10 and 5 tokens for an answer, 10 and 4 for these streams.
            ("llm_input_tokens_total", &[chat], 50.0),
            ("llm_output_tokens_total", &[chat], 3.0 * 5.0 + 2.0 * 4.0),
            ("llm_total_tokens_total", &[chat], 73.0),
            ("tokens_consumed_total", &[("model", "m")], 45.0),
            ("llm_estimated_tokens_total", &[], 0.0),
            ("deployment_requests_total", &[("upstream_model", "gpt-up")], 3.0),
            ("deployment_requests_total", &[], 8.0),
            ("deployment_success_responses_total", &[], 6.0),
            ("deployment_failure_responses_total", &[], 2.0),
            ("auth_decisions_total", &[("method", "api_key"), ("result", "allowed"), ("reason", "none")], 11.0),
            ("auth_decisions_total", &[("method", "api_key"), ("result", "denied"), ("reason", "unknown_key")], 2.0),
            ("auth_decisions_total", &[("method", "none"), ("reason", "missing_credentials")], 1.0),
            ("config_last_reload_successful", &[], 1.0),
            ("config_reloads_total", &[], 1.0),
            ("config_resources", &[("kind", "models")], 4.0),
            ("config_hash_info", &[], 1.0),
            ("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0),
            ("runtime_core_panics_total", &[], 0.0),
            ("runtime_core_dropped_total", &[], 0.0),
            ("runtime_core_connections_opened_total", &[("side", "downstream")], 15.0),
            ("runtime_core_connections", &[("core", "2")], 0.0),
        ];
        let mut wrong = Vec::new();
        for (name, labels, want) in cases {
            let got = scrape.sum(&format!("sluice_{name}"), labels);
            if (got - want).abs() > f64::EPSILON {
                wrong.push(format!("{name}{labels:?}: {got} instead of {want}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        for cores in ["runtime_core_busy_ratio", "runtime_core_last_turn_timestamp_seconds"] {
            let name = format!("sluice_{cores}");
            assert_eq!(scrape.samples.iter().filter(|sample| sample.name == name).count(), 2, "{name}");
        }
    }
}

#[test]
fn families_have_their_documented_labels_and_histograms_add_up() {
    let gateway = Setup::new(Engine::IoUring, mock())
        .with(
            "observability.metrics.buckets",
            json!({"request_ttft": [0.5, 30]}),
        )
        .start();
    traffic(&gateway);
    let scrape = Scrape::of(&gateway);
    let detailed = [
        "endpoint",
        "inbound_protocol",
        "provider",
        "model",
        "upstream_model",
        "provider_key_id",
        "provider_key_name",
        "api_key_id",
        "team_id",
        "user_id",
        "user_name",
    ];
    let with = |more: &[&'static str]| [&detailed[..], more].concat();
    let latency = [
        "env_id",
        "endpoint",
        "model",
        "provider",
        "status_class",
        "streaming",
    ];
    let cases = [
        (
            "requests_total",
            vec!["provider", "model", "status", "outcome"],
        ),
        (
            "request_duration_seconds_count",
            vec!["provider", "model", "status"],
        ),
        (
            "proxy_requests_total",
            with(&["stream", "is_fallback", "status", "outcome"]),
        ),
        (
            "proxy_failed_requests_total",
            with(&["stream", "is_fallback", "status", "outcome"]),
        ),
        (
            "proxy_request_duration_seconds_sum",
            with(&["stream", "status", "outcome"]),
        ),
        (
            "llm_requests_total",
            with(&["stream", "is_fallback", "status", "outcome"]),
        ),
        ("llm_input_tokens_total", with(&[])),
        ("llm_spend_micro_usd_total", with(&[])),
        ("request_e2e_latency_seconds_sum", latency.to_vec()),
        ("request_ttft_seconds_sum", latency.to_vec()),
        (
            "proxy_in_flight_requests",
            vec!["endpoint", "inbound_protocol"],
        ),
        ("tokens_consumed_total", vec!["provider", "model"]),
        (
            "deployment_requests_total",
            vec!["provider", "model", "upstream_model", "provider_key_id"],
        ),
        ("auth_decisions_total", vec!["method", "result", "reason"]),
        (
            "usage_events_emitted_total",
            vec![
                "handler",
                "status_code",
                "inbound_protocol",
                "model",
                "provider_key_id",
                "provider_key_name",
            ],
        ),
        (
            "llm_tokens_by_client_total",
            vec!["client_type", "model", "token_type"],
        ),
        ("runtime_core_connections", vec!["core", "side"]),
    ];
    for (name, mut want) in cases {
        let name = format!("sluice_{name}");
        let mut got = scrape.label_names(&name);
        got.sort_unstable();
        want.sort_unstable();
        assert_eq!(got, want, "{name}");
    }
    let histograms = scrape.types.iter().filter(|(_, kind)| kind == "histogram");
    for (name, _) in histograms {
        histogram_adds_up(&scrape, name);
    }
    let edges = scrape
        .samples
        .iter()
        .filter(|sample| sample.name == "sluice_request_ttft_seconds_bucket");
    let edges: Vec<_> = edges.filter_map(|sample| sample.label("le")).collect();
    assert_eq!(edges, ["0.5", "30", "+Inf"], "the configured edges");
}

/// Buckets rise to the count, and the sum lies where they say.
fn histogram_adds_up(scrape: &Scrape, name: &str) {
    let counts = scrape
        .samples
        .iter()
        .filter(|sample| sample.name == format!("{name}_count"));
    for count in counts {
        let same: Vec<(&str, &str)> = count
            .labels
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        let buckets = scrape.samples.iter().filter(|sample| {
            sample.name == format!("{name}_bucket")
                && sample.labels.len() == same.len() + 1
                && sample.has(&same)
        });
        let buckets: Vec<(f64, f64)> = buckets
            .map(|sample| {
                (
                    sample
                        .label("le")
                        .unwrap()
                        .replace("+Inf", "inf")
                        .parse()
                        .unwrap(),
                    sample.value,
                )
            })
            .collect();
        assert!(
            buckets.is_sorted_by(|low, high| low.0 < high.0 && low.1 <= high.1),
            "{name} {buckets:?}"
        );
        assert_eq!(
            buckets.last(),
            Some(&(f64::INFINITY, count.value)),
            "{name} {same:?}"
        );
        assert!(count.value > 0.0, "{name} {same:?}");
        let sum = scrape.sum(&format!("{name}_sum"), &same);
        let lowest = buckets.iter().find(|(_, below)| *below > 0.0).unwrap().0;
        assert!(
            sum >= 0.0 && (lowest.is_infinite() || sum <= 3600.0),
            "{name} {sum}"
        );
    }
}

#[test]
fn a_stream_in_flight_is_shown_and_a_caller_who_leaves_is_counted() {
    let gateway = Setup::new(Engine::IoUring, mock()).start();
    let mut raw = gateway.connect();
    raw.send(&post(
        "/v1/chat/completions",
        &chat("script/events=2,gap_ms=60000", true),
    ));
    raw.until(b"e0 ");
    let chat_endpoint = ["endpoint=\"/v1/chat/completions\""];
    assert_eq!(
        gateway.metric("sluice_proxy_in_flight_requests", &chat_endpoint),
        1.0
    );
    assert_eq!(
        gateway.metric("sluice_runtime_core_connections", &["side=\"upstream\""]),
        1.0
    );
    drop(raw);
    wait_for("the stream to be given up", || {
        (gateway.metric("sluice_proxy_in_flight_requests", &chat_endpoint) < 0.5).then_some(())
    });
    assert_eq!(gateway.access_lines(1)[0]["end"], "client_gone");
    assert_eq!(
        gateway.metric("sluice_proxy_client_cancelled_requests_total", &[]),
        0.0,
        "it had the head"
    );

    let mut raw = gateway.connect();
    raw.send(&post(
        "/v1/chat/completions",
        &chat("script/head_ms=60000", true),
    ));
    wait_for("the request to be under way", || {
        (gateway.metric("sluice_proxy_in_flight_requests", &chat_endpoint) > 0.5).then_some(())
    });
    drop(raw);
    wait_for("the caller to be missed", || {
        let gone = gateway.metric(
            "sluice_proxy_client_cancelled_requests_total",
            &chat_endpoint,
        );
        (gone > 0.5).then_some(())
    });
    assert_eq!(gateway.access_lines(2)[1]["status"], 499);
    wait_for("the upstream connections to go", || {
        (gateway.metric("sluice_runtime_core_connections", &["side=\"upstream\""]) < 0.5)
            .then_some(())
    });
}

#[test]
fn kinds_of_clients_are_told_apart_by_the_operators_rules_first() {
    let rules = json!([{"pattern": "my-agent/\\d+", "client": "mine"}]);
    let gateway = Setup::new(Engine::IoUring, mock())
        .with("observability.metrics.client_type_rules", rules)
        .start();
    for agent in [
        "user-agent: MY-AGENT/7 curl\r\n",
        "user-agent: curl/8\r\n",
        "user-agent: q\r\n",
        "",
    ] {
        let mut raw = gateway.connect();
        let request = String::from_utf8(post("/v1/chat/completions", &chat("m", false))).unwrap();
        raw.send(
            request
                .replacen("host:", &format!("{agent}host:"), 1)
                .as_bytes(),
        );
        assert_eq!(raw.response().status, 200);
    }
    gateway.access_lines(4);
    for client in ["mine", "curl", "other", "unknown"] {
        let label = format!("client_type=\"{client}\"");
        let total = [label.as_str(), "token_type=\"total\""];
        assert_eq!(
            gateway.metric("sluice_llm_tokens_by_client_total", &total),
            15.0,
            "{client}"
        );
    }
}

/// Status, headers and body of one request to the status listener.
fn ask(gateway: &Gateway, method: &str, path: &str) -> (u16, Option<String>, Option<String>) {
    let mut raw = Raw::connect(gateway.status_addr);
    raw.send(
        format!("{method} {path} HTTP/1.1\r\nhost: s\r\nconnection: close\r\n\r\n").as_bytes(),
    );
    let head = raw.head();
    let header = |name: &str| head.header(name).map(str::to_owned);
    (head.status, header("content-type"), header("allow"))
}

#[test]
fn the_status_listener_answers_reading_of_its_four_pages_and_nothing_else() {
    let gateway = Setup::new(Engine::IoUring, mock()).start();
    let pages = [
        ("/metrics", "text/plain; version=0.0.4"),
        ("/status/ready", "text/plain; charset=utf-8"),
        ("/status/config", "application/json"),
        ("/status/models", "application/json"),
    ];
    for (path, kind) in pages {
        assert_eq!(
            ask(&gateway, "GET", path),
            (200, Some(kind.into()), None),
            "{path}"
        );
        assert_eq!(ask(&gateway, "HEAD", path).0, 200, "{path}");
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let (status, _, allow) = ask(&gateway, method, path);
            assert_eq!(
                (status, allow.as_deref()),
                (405, Some("GET, HEAD")),
                "{method} {path}"
            );
        }
        // Callers get none of it.
        assert_eq!(
            gateway.get(path).status,
            404,
            "{path} on the proxy listener"
        );
    }
    for path in [
        "/",
        "/status",
        "/status/",
        "/metrics/",
        "/livez",
        "/v1/models",
    ] {
        assert_eq!(ask(&gateway, "GET", path).0, 404, "{path}");
    }
}

#[test]
fn metrics_move_to_another_path_or_away_and_the_status_pages_stay() {
    let prometheus = "observability.metrics.prometheus";
    let moved = Setup::new(Engine::IoUring, mock())
        .with(&format!("{prometheus}.path"), "scrape")
        .start();
    assert_eq!(
        (
            ask(&moved, "GET", "/scrape").0,
            ask(&moved, "GET", "/metrics").0
        ),
        (200, 404)
    );
    let off = Setup::new(Engine::IoUring, mock())
        .with(&format!("{prometheus}.enabled"), false)
        .start();
    assert_eq!(
        (
            ask(&off, "GET", "/metrics").0,
            ask(&off, "GET", "/status/ready").0
        ),
        (404, 200)
    );
}

#[test]
fn the_status_pages_show_what_was_loaded_and_what_went_wrong_since() {
    let gateway = Setup::new(Engine::IoUring, mock()).start();
    let page = |path: &str| -> Value { gateway.status_page(path).json() };
    let config = page("/status/config");
    assert_eq!(config["state"], "synced");
    assert_eq!(config["source"]["type"], "file");
    let hash = config["applied"]["config_hash"]
        .as_str()
        .expect("a hash")
        .to_owned();
    assert!(
        hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()),
        "{hash}"
    );
    assert_eq!(config["source"]["source_hash"], hash.as_str());
    assert_eq!(config["applied"]["apply_seq"], 1);
    let counts = json!({"provider_keys": 1, "models": 4, "api_keys": 1});
    assert_eq!(config["applied"]["resource_counts"], counts);
    assert_eq!(config["last_reload"]["successful"], true);
    assert_eq!(config["last_failure"], Value::Null);
    assert_eq!(
        (&config["rejected"], &config["partially_compatible"]),
        (&json!([]), &json!([]))
    );
    for absent in ["connected", "observed_revision"] {
        assert_eq!(config["source"].get(absent), None, "{absent}");
    }
    let at = config["applied"]["applied_at"].as_str().expect("a time");
    assert!(at.len() == 20 && at.ends_with('Z'), "{at}");
    let models = page("/status/models");
    let models = models.as_array().expect("a list");
    assert_eq!(models.len(), 4);
    let ids: Vec<&str> = models
        .iter()
        .map(|model| model["id"].as_str().unwrap())
        .collect();
    assert!(ids.is_sorted(), "{ids:?}");
    let m = models
        .iter()
        .find(|model| model["display_name"] == "m")
        .expect("model m");
    assert_eq!(
        (&m["kind"], &m["status"]),
        (&json!("direct"), &json!("healthy"))
    );

    gateway.write_resources("_format_version: \"1\"\nmodles: []\n");
    gateway.signal(rustix::process::Signal::HUP);
    let config = wait_for("the failed reload", || {
        let config = page("/status/config");
        (config["last_reload"]["successful"] == false).then_some(config)
    });
    assert_eq!(config["state"], "out_of_sync");
    assert_eq!(
        config["applied"]["config_hash"],
        hash.as_str(),
        "the old one serves on"
    );
    assert_eq!(config["last_failure"]["last_error_kind"], "schema_failed");
    let error = config["last_failure"]["last_error"]
        .as_str()
        .expect("a report");
    assert!(error.contains("modles"), "{error}");
    assert_eq!(
        gateway.metric("sluice_config_last_reload_successful", &[]),
        0.0
    );
    assert_eq!(
        gateway.metric(
            "sluice_config_reload_failures_total",
            &["reason=\"validate\""]
        ),
        1.0
    );
    assert_eq!(gateway.metric("sluice_config_reloads_total", &[]), 2.0);

    gateway.write_resources("_format_version: \"1\"\n");
    gateway.signal(rustix::process::Signal::HUP);
    let config = wait_for("the good reload", || {
        let config = page("/status/config");
        (config["last_reload"]["successful"] == true).then_some(config)
    });
    assert_eq!(
        (&config["state"], &config["applied"]["apply_seq"]),
        (&json!("empty"), &json!(2))
    );
    assert!(
        config["last_failure"].is_object(),
        "stays until the restart"
    );
    assert_eq!(gateway.status_page("/status/models").text(), "[]");
    assert_eq!(gateway.metric("sluice_config_hash_info", &[]), 1.0);
    assert_eq!(gateway.metric("sluice_config_hash_info", &[&hash]), 0.0);
}
