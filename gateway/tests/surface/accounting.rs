//! One record for each request, whatever its end; tokens, cost, and totals that agree with it.

use serde_json::{Value, json};

use crate::on_both_engines;
use crate::support::gateway::{CALLER_KEY, chat, get, named, post};
use crate::support::{Engine, Gateway, Setup, mock, upstream_request, wait_for};

const CHAT: &str = "/v1/chat/completions";
const BODY_BYTES_MAX: usize = 100_000;

/// What the record of an ending says.
struct Ending {
    id: &'static str,
    status: u16,
    end: &'static str,
    /// Empty where there is none.
    error_kind: &'static str,
    usage: &'static str,
}

const fn ending(
    id: &'static str,
    (status, end): (u16, &'static str),
    error_kind: &'static str,
    usage: &'static str,
) -> Ending {
    Ending {
        id,
        status,
        end,
        error_kind,
        usage,
    }
}

const COMPLETED: (u16, &str) = (200, "completed");
const GONE: (u16, &str) = (499, "client_gone");
const LEFT: &str = "client_disconnected";
const INVALID: &str = "invalid_request_error";
const UPSTREAM: &str = "upstream_error";

/// In the order in which [`drive`] brings them about.
const ENDINGS: [Ending; 28] = [
    ending("unary", COMPLETED, "", "reported"),
    ending("stream", COMPLETED, "", "reported"),
    ending("unary-without-usage", COMPLETED, "", "estimated"),
    ending("stream-without-usage", COMPLETED, "", "estimated"),
    ending("completions", COMPLETED, "", "reported"),
    ending("embeddings", COMPLETED, "", "reported"),
    ending("models", COMPLETED, "", "absent"),
    ending("no-key", (401, "rejected"), "invalid_api_key", "absent"),
    ending(
        "forbidden",
        (403, "rejected"),
        "permission_denied",
        "absent",
    ),
    ending("no-model", (404, "rejected"), "model_not_found", "absent"),
    ending("no-url", (404, "rejected"), INVALID, "absent"),
    ending("wrong-method", (405, "rejected"), INVALID, "absent"),
    ending("no-json", (400, "rejected"), INVALID, "absent"),
    ending("no-messages", (400, "rejected"), INVALID, "absent"),
    ending("bad-chunks", (400, "rejected"), INVALID, "absent"),
    ending("too-long", (413, "rejected"), INVALID, "absent"),
    ending("upstream-400", (400, "upstream_failed"), UPSTREAM, "absent"),
    ending("upstream-429", (429, "upstream_failed"), UPSTREAM, "absent"),
    ending("upstream-500", (502, "upstream_failed"), UPSTREAM, "absent"),
    ending(
        "cut-head",
        (502, "upstream_failed"),
        "transport_error",
        "absent",
    ),
    ending(
        "cut-json",
        (502, "upstream_failed"),
        "upstream_decode_error",
        "absent",
    ),
    ending("silent", (504, "upstream_failed"), "timeout", "absent"),
    ending(
        "cut-stream",
        (502, "upstream_failed"),
        "transport_error",
        "estimated",
    ),
    ending(
        "error-event",
        (502, "upstream_failed"),
        UPSTREAM,
        "estimated",
    ),
    ending("stalled", (504, "upstream_failed"), "timeout", "estimated"),
    ending("left-body", GONE, LEFT, "absent"),
    ending("left-head", GONE, LEFT, "absent"),
    ending("left-stream", GONE, LEFT, "estimated"),
];

/// Brings about every ending once.
fn drive(gateway: &Gateway, mock: std::net::SocketAddr) {
    let answered = |id: &str, request: Vec<u8>| {
        let mut raw = gateway.connect();
        raw.send(&named(id, &request));
        raw.response();
    };
    let scripted = |id: &str, script: &str, stream: bool| {
        let body = chat(&format!("script/{script}"), stream);
        answered(id, post(CHAT, &body));
    };
    scripted("unary", "usage_in=7,usage_out=9", false);
    scripted("stream", "usage_in=7,usage_out=9", true);
    scripted("unary-without-usage", "usage=no", false);
    scripted("stream-without-usage", "usage=no", true);
    let prompt = json!({"model": "m", "prompt": "Hello"});
    answered("completions", post("/v1/completions", &prompt));
    let input = json!({"model": "embed", "input": "Hello"});
    answered("embeddings", post("/v1/embeddings", &input));
    answered("models", get("/v1/models"));
    let body = String::from_utf8(post(CHAT, &chat("m", false))).unwrap();
    answered("no-key", body.replace(CALLER_KEY, "sk-nobody").into());
    answered("forbidden", post(CHAT, &chat("other", false)));
    answered("no-model", post(CHAT, &chat("ghost-1", false)));
    answered("no-url", post("/v1/nowhere", &json!({})));
    answered("wrong-method", get(CHAT));
    answered("no-json", post(CHAT, &json!("text")));
    answered("no-messages", post(CHAT, &json!({"model": "m"})));
    answered("bad-chunks", head_of_chunks(b"zz\r\n"));
    answered(
        "too-long",
        post(CHAT, &json!("x".repeat(BODY_BYTES_MAX + 1))),
    );
    for status in ["upstream-400", "upstream-429", "upstream-500"] {
        scripted(status, &status.replace("upstream-", "status="), false);
    }
    scripted("cut-head", "cut_at=head", false);
    scripted("cut-json", "bad=json", false);
    scripted("silent", "head_ms=60000", false);
    scripted("cut-stream", "gap_ms=20,cut_at=2", true);
    scripted("error-event", "error_at=2", true);
    scripted("stalled", "stall_at=2", true);
    let mut raw = gateway.connect();
    let mut request = named("left-body", &post(CHAT, &chat("m", false)));
    request.pop();
    raw.send(&request);
    wait_for("the head to be read", || {
        (gateway.in_flight() > 0.0).then_some(())
    });
    drop(raw);
    gateway.access_line("left-body");
    let mut raw = gateway.connect();
    raw.send(&named(
        "left-head",
        &post(CHAT, &chat("script/head_ms=300", false)),
    ));
    wait_for("the upstream to be asked", || {
        upstream_request(mock, "left-head")
    });
    drop(raw);
    gateway.access_line("left-head");
    let mut raw = gateway.connect();
    raw.send(&named(
        "left-stream",
        &post(CHAT, &chat("script/gap_ms=300", true)),
    ));
    raw.until(b"\"e0 ");
    drop(raw);
    gateway.access_line("left-stream");
}

fn head_of_chunks(rest: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {CALLER_KEY}\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    [head.as_bytes(), rest].concat()
}

fn start(engine: Engine, mock: std::net::SocketAddr) -> Gateway {
    let setup = Setup::new(engine, mock)
        .with("proxy.request_body_limit_bytes", BODY_BYTES_MAX)
        .with("upstream.timeout_ms", 400)
        .resources(|resources| {
            for model in resources["models"].as_array_mut().unwrap() {
                model["cost"] = json!({"input_per_1k": 0.5, "output_per_1k": 1.5});
            }
            resources["api_keys"][0]["allowed_models"] =
                json!(["m", "embed", "script/*", "ghost-*"]);
        });
    setup.start()
}

fn check_record(ending: &Ending, line: &Value) {
    assert_eq!(line["status"], ending.status, "{line}");
    assert_eq!(line["end"], ending.end, "{line}");
    let kind = line["error_kind"].as_str().unwrap_or_default();
    assert_eq!(kind, ending.error_kind, "{line}");
    assert_eq!(line["usage_source"], ending.usage, "{line}");
    for key in ["prompt_tokens", "completion_tokens", "total_tokens"] {
        assert_eq!(
            line[key].is_null(),
            ending.usage == "absent",
            "{key}: {line}"
        );
    }
    let estimated = (ending.usage == "estimated").then_some(true);
    assert_eq!(line["usage_estimated"].as_bool(), estimated, "{line}");
}

/// The sum of a figure over access lines.
fn sum(lines: &[Value], key: &str, wanted: impl Fn(&Value) -> bool) -> f64 {
    let lines = lines.iter().filter(|line| wanted(line));
    lines.filter_map(|line| line[key].as_f64()).sum()
}

fn check_totals(gateway: &Gateway, lines: &[Value]) {
    let all = |_: &Value| true;
    let count =
        |wanted: &dyn Fn(&Value) -> bool| lines.iter().filter(|line| wanted(line)).count() as f64;
    let requests = "sluice_requests_total";
    assert_eq!(gateway.metric(requests, &[]), lines.len() as f64);
    for line in lines {
        let label = format!("status=\"{}\"", line["status"]);
        let same = count(&|other| other["status"] == line["status"]);
        assert_eq!(gateway.metric(requests, &[&label]), same, "{label}");
    }
    let authenticated = count(&|line| !line["api_key_id"].is_null());
    assert_eq!(
        gateway.metric("sluice_proxy_requests_total", &[]),
        authenticated
    );
    let [input, output, total] =
        ["prompt_tokens", "completion_tokens", "total_tokens"].map(|key| sum(lines, key, all));
    assert!(input > 0.0 && output > 0.0);
    assert_eq!(gateway.metric("sluice_llm_input_tokens_total", &[]), input);
    assert_eq!(
        gateway.metric("sluice_llm_output_tokens_total", &[]),
        output
    );
    assert_eq!(gateway.metric("sluice_llm_total_tokens_total", &[]), total);
    assert_eq!(
        gateway.metric("sluice_tokens_consumed_total", &[]),
        input + output
    );
    let spent = sum(lines, "cost_micro_usd", all);
    assert!(spent > 0.0);
    assert_eq!(
        gateway.metric("sluice_llm_spend_micro_usd_total", &[]),
        spent
    );
    let early = count(&|line| line["status"] == 499 && line["head_ms"].is_null());
    let cancelled = "sluice_proxy_client_cancelled_requests_total";
    assert_eq!(gateway.metric(cancelled, &[]), early);
    let events = sum(lines, "events", all);
    assert_eq!(
        gateway.metric("sluice_runtime_core_stream_events_total", &[]),
        events
    );
    let attempts = sum(lines, "attempts", all);
    let counted = |family: &str| gateway.metric(&format!("sluice_deployment_{family}_total"), &[]);
    assert_eq!(counted("requests"), attempts);
    let left_before_an_answer = 1.0;
    let ended = counted("success_responses") + counted("failure_responses");
    assert_eq!(ended, attempts - left_before_an_answer);
    assert_eq!(gateway.in_flight(), 0.0);
}

on_both_engines! {
    fn every_ending_leaves_one_record_that_the_totals_agree_with(engine) {
        let mock = mock();
        let gateway = start(engine, mock);
        drive(&gateway, mock);
        assert_eq!(gateway.get("/livez").status, 200);
        let lines = gateway.access_lines(ENDINGS.len());
        let ids: Vec<_> = lines.iter().map(|line| line["request_id"].as_str()).collect();
        let wanted: Vec<_> = ENDINGS.iter().map(|ending| Some(ending.id)).collect();
        assert_eq!(ids, wanted);
        for (ending, line) in ENDINGS.iter().zip(&lines) {
            check_record(ending, line);
        }
        check_totals(&gateway, &lines);
    }

    fn a_stream_counts_and_costs_what_the_whole_answer_does(engine) {
        let gateway = start(engine, mock());
        let script = "script/usage_in=70,usage_out=9,usage_cached=30,usage_reasoning=4";
        let prompt = json!({"model": script, "prompt": "Hello"});
        let streamed_prompt = json!({"model": script, "prompt": "Hello", "stream": true});
        let mut asks = chat(script, true);
        asks["stream_options"] = json!({"include_usage": true});
        let requests = [
            ("unary", post(CHAT, &chat(script, false))),
            ("stream", post(CHAT, &chat(script, true))),
            ("stream-that-asks", post(CHAT, &asks)),
            ("completions", post("/v1/completions", &prompt)),
            ("completions-stream", post("/v1/completions", &streamed_prompt)),
        ];
        for (id, request) in requests {
            let mut raw = gateway.connect();
            raw.send(&named(id, &request));
            let answer = raw.response();
            assert_eq!(answer.status, 200, "{}", answer.text());
            let line = gateway.access_line(id);
            let figures = [
                ("prompt_tokens", 70),
                ("completion_tokens", 9),
                ("total_tokens", 79),
                ("cached_prompt_tokens", 30),
                ("reasoning_tokens", 4),
                // 70 at 0.5 and 9 at 1.5 dollars a thousand.
                ("cost_micro_usd", 48_500),
            ];
            for (key, figure) in figures {
                assert_eq!(line[key], figure, "{key}: {line}");
            }
            assert_eq!(line["usage_source"], "reported", "{line}");
        }
    }
}
