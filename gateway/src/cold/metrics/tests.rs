use super::*;
use crate::bridge::domain::{AuthDecision, Side};
use crate::bridge::record::tests::{caller, record, target};
use crate::bridge::record::{RequestRecord, Usage, UsageSource};
use crate::bridge::{WorkerBridge, build};
use config_sync::publish::Publisher;
use config_sync::snapshot::Snapshot;

fn scrape(workers: u16) -> (Vec<WorkerBridge>, Scrape) {
    let buckets = BucketSettings::default();
    let (ours, cold) = build(workers, &buckets).unwrap();
    let options = MetricsOptions {
        buckets,
        detailed: DetailedLabels::ALL,
        version: "1.2.3",
        commit: "abc",
        io_engine: "epoll",
        start_unix_ms: 1_000,
        tls: Vec::new(),
        memory: Arc::new(Memory::new(None, None, 1)),
        upstream_trust: Arc::new(UpstreamTrust::new(
            true,
            Publisher::new(Snapshot::empty()).1,
        )),
    };
    let busy: BusyRatios = (0..workers).map(|_| AtomicU64::new(0)).collect();
    (
        ours,
        Scrape::new(
            options,
            cold.workers,
            ConfigStatus::new("file"),
            busy,
            cold.health,
        ),
    )
}

fn text(scrape: &mut Scrape) -> String {
    String::from_utf8(scrape.render()).unwrap()
}

/// The lines of one family, histogram suffixes included.
fn family<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    let full = format!("sluice_{name}");
    text.lines()
        .filter(|line| line.starts_with(&full))
        .collect()
}

fn chat() -> RequestRecord {
    let usage = Usage {
        source: UsageSource::Reported,
        prompt: 8,
        completion: 2,
        total: 10,
        ..Usage::default()
    };
    RequestRecord {
        caller: Some(caller("k1")),
        target: Some(target("fast")),
        requested_model: "fast".into(),
        usage,
        cost_micro_usd: 7,
        ..record()
    }
}

const D: &str = "endpoint=\"/v1/chat/completions\",inbound_protocol=\"openai\",provider=\"openai\",\
    model=\"fast\",upstream_model=\"gpt-4o\",provider_key_id=\"pk1\",provider_key_name=\"prod\",\
    api_key_id=\"k1\",team_id=\"team\",user_id=\"user\",user_name=\"Ann\"";

#[test]
fn one_chat_request_moves_each_family_once_whichever_worker_served_it() {
    let (workers, mut scrape) = scrape(2);
    workers[0].shard.request(&chat());
    workers[1].shard.request(&chat());
    let text = text(&mut scrape);
    let result =
        format!("{D},stream=\"false\",is_fallback=\"false\",status=\"200\",outcome=\"success\"");
    let duration = format!("{D},stream=\"false\",status=\"200\",outcome=\"success\"");
    let latency = "env_id=\"\",endpoint=\"/v1/chat/completions\",model=\"fast\",\
        provider=\"openai\",status_class=\"2xx\",streaming=\"false\"";
    for line in [
        "requests_total{provider=\"openai\",model=\"fast\",status=\"200\",outcome=\"success\"} 2",
        "request_duration_seconds_sum{provider=\"openai\",model=\"fast\",status=\"200\"} 0.024",
        &format!("proxy_requests_total{{{result}}} 2"),
        &format!("llm_requests_total{{{result}}} 2"),
        &format!("llm_request_duration_seconds_count{{{duration}}} 2"),
        &format!("proxy_request_duration_seconds_bucket{{{duration},le=\"0.05\"}} 2"),
        &format!("request_e2e_latency_seconds_bucket{{{latency},le=\"0.01\"}} 0"),
        &format!("request_e2e_latency_seconds_bucket{{{latency},le=\"0.025\"}} 2"),
        "tokens_consumed_total{provider=\"openai\",model=\"fast\"} 20",
        &format!("llm_input_tokens_total{{{D}}} 16"),
        &format!("llm_output_tokens_total{{{D}}} 4"),
        &format!("llm_total_tokens_total{{{D}}} 20"),
        &format!("llm_spend_micro_usd_total{{{D}}} 14"),
        "llm_estimated_tokens_total 0",
        "usage_events_emitted_total{handler=\"/v1/chat/completions\",status_code=\"2xx\",\
            inbound_protocol=\"openai\",model=\"fast\",provider_key_id=\"pk1\",\
            provider_key_name=\"prod\"} 2",
    ] {
        let line = format!("sluice_{line}");
        assert!(
            text.lines().any(|have| have == line),
            "{line}\nmissing in\n{text}"
        );
    }
    assert!(family(&text, "proxy_failed_requests_total").is_empty());
    assert!(
        family(&text, "request_ttft_seconds").is_empty(),
        "not a stream"
    );
}

#[test]
fn a_denied_request_moves_only_requests_and_the_auth_counter() {
    let (workers, mut scrape) = scrape(1);
    workers[0].shard.auth(AuthDecision::ApiKeyUnknown);
    workers[0].shard.request(&RequestRecord {
        status: 401,
        ..record()
    });
    let text = text(&mut scrape);
    assert_eq!(
        family(&text, "requests_total"),
        [
            "sluice_requests_total{provider=\"unknown\",model=\"unknown\",status=\"401\",outcome=\"client_error\"} 1"
        ]
    );
    for name in [
        "proxy_requests_total",
        "llm_",
        "request_e2e",
        "usage_events",
    ] {
        let moved = family(&text, name)
            .into_iter()
            .filter(|line| !line.ends_with(" 0"))
            .count();
        assert_eq!(moved, 0, "{name}");
    }
    let denied = "sluice_auth_decisions_total{method=\"api_key\",result=\"denied\",reason=\"unknown_key\"} 1";
    assert!(text.contains(denied));
}

#[test]
fn a_model_list_is_a_proxy_request_but_no_llm_request_and_no_usage() {
    let (workers, mut scrape) = scrape(1);
    let list = RequestRecord {
        endpoint: "/v1/models",
        caller: Some(caller("k1")),
        ..record()
    };
    workers[0].shard.request(&list);
    let text = text(&mut scrape);
    assert_eq!(family(&text, "proxy_requests_total").len(), 1);
    for name in [
        "llm_requests_total",
        "llm_input",
        "usage_events",
        "llm_request_duration",
    ] {
        assert!(family(&text, name).is_empty(), "{name}");
    }
}

#[test]
fn a_stream_has_a_first_token_and_failures_have_their_own_family() {
    let (workers, mut scrape) = scrape(1);
    let stream = RequestRecord {
        stream: true,
        ttft_us: Some(300_000),
        ..chat()
    };
    workers[0].shard.request(&stream);
    workers[0].shard.request(&RequestRecord {
        status: 502,
        ..chat()
    });
    let text = text(&mut scrape);
    assert!(text.contains(&format!(
        "sluice_llm_time_to_first_token_seconds_sum{{{D}}} 0.3\n"
    )));
    assert!(
        family(&text, "request_ttft_seconds_bucket")
            .iter()
            .any(|line| { line.contains("streaming=\"true\"") && line.ends_with("le=\"0.5\"} 1") })
    );
    let failed = family(&text, "proxy_failed_requests_total");
    assert_eq!(failed.len(), 1);
    assert!(failed[0].contains("status=\"502\",outcome=\"upstream_error\""));
}

#[test]
fn scraping_twice_counts_nothing_twice_and_finds_new_series() {
    let (workers, mut scrape) = scrape(1);
    workers[0].shard.request(&chat());
    let first = text(&mut scrape);
    assert_eq!(
        family(&first, "proxy_requests_total"),
        family(&text(&mut scrape), "proxy_requests_total")
    );
    workers[0].shard.request(&RequestRecord {
        caller: Some(caller("k2")),
        ..chat()
    });
    assert_eq!(family(&text(&mut scrape), "proxy_requests_total").len(), 2);
}

#[test]
fn attempts_connections_and_levels_are_rendered() {
    let (workers, mut scrape) = scrape(1);
    let shard = &workers[0].shard;
    let fast = target("fast");
    shard.attempt(&fast, true);
    shard.attempt(&fast, false);
    shard.connections(Side::Downstream, 1);
    shard.in_flight("/v1/chat/completions", 1);
    shard.panic();
    let text = text(&mut scrape);
    let labels =
        "provider=\"openai\",model=\"fast\",upstream_model=\"gpt-4o\",provider_key_id=\"pk1\"";
    for line in [
        &format!("deployment_requests_total{{{labels}}} 2"),
        &format!("deployment_success_responses_total{{{labels}}} 1"),
        "runtime_core_connections{core=\"0\",side=\"downstream\"} 1",
        "proxy_in_flight_requests{endpoint=\"/v1/chat/completions\",inbound_protocol=\"openai\"} 1",
        "runtime_core_panics_total{core=\"0\"} 1",
        "runtime_io_engine_info{engine=\"epoll\"} 1",
        "build_info{version=\"1.2.3\",commit=\"abc\"} 1",
        "config_last_reload_successful 0",
    ] {
        assert!(
            text.contains(&format!("sluice_{line}\n")),
            "{line} in {text}"
        );
    }
}

#[test]
fn every_line_is_well_formed_and_every_family_is_declared_once() {
    let (workers, mut scrape) = scrape(2);
    workers[1].shard.request(&RequestRecord {
        caller: Some(caller("q\"\\\n")),
        ..chat()
    });
    let text = text(&mut scrape);
    let mut types = std::collections::HashSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(types.insert(rest.to_owned()), "{rest} twice");
        } else if !line.starts_with("# HELP ") {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(series.ends_with('}') || !series.contains('{'), "{line}");
            assert!(
                series.starts_with("sluice_") || series.starts_with("process_"),
                "{line}"
            );
        }
    }
    assert!(text.ends_with('\n'));
    assert!(text.contains(r#"api_key_id="q\"\\\n""#));
}
