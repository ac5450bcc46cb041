//! The endpoints of other protocols from outside: who may ask, how refusals look, what is recorded, what
//! comes while nothing comes.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::on_both_engines;
use crate::support::gateway::{CALLER_KEY, UPSTREAM_KEY, get, named, post};
use crate::support::{Engine, Gateway, Response, Setup, mock, upstream_requests};

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
const COUNT: &str = "/v1/messages/count_tokens";
const RESPONSES: &str = "/v1/responses";

/// Endpoint, and model prefix of the kind of upstream: every way from a protocol to another, or to
/// itself.
pub(crate) const WAYS: [(&str, &str); 9] = [
    (CHAT, "plain"),
    (CHAT, "openai"),
    (CHAT, "claude"),
    (MESSAGES, "plain"),
    (MESSAGES, "openai"),
    (MESSAGES, "claude"),
    (RESPONSES, "plain"),
    (RESPONSES, "openai"),
    (RESPONSES, "claude"),
];

/// Upstreams of three kinds behind `mock`: OpenAI's protocol without `/responses`, with it, and
/// Anthropic's. Models `plain/*`, `openai/*`, `claude/*`; the rest is the script.
pub(crate) fn setup(engine: Engine, mock: SocketAddr) -> Setup {
    with_upstreams(Setup::new(engine, mock), mock)
}

/// Adds the three kinds of upstreams.
pub(crate) fn with_upstreams(setup: Setup, mock: SocketAddr) -> Setup {
    let kinds = [
        ("plain", "groq", "openai", "/v1"),
        ("openai", "openai", "openai", "/v1"),
        ("claude", "anthropic", "anthropic", ""),
    ];
    setup.resources(|resources| {
        let mut add = |kind: &str, row: Value| {
            resources[kind].as_array_mut().unwrap().push(row);
        };
        for (name, vendor, adapter, prefix) in kinds {
            add(
                "provider_keys",
                json!({"display_name": name, "provider": vendor, "adapter": adapter,
                    "api_key": "${UPSTREAM_KEY}", "api_base": format!("http://{mock}{prefix}")}),
            );
            add(
                "models",
                json!({"display_name": format!("{name}/*"), "provider": vendor,
                    "model_name": "*", "provider_key": name}),
            );
        }
        let allowed = ["m", "embed", "script/*", "plain/*", "openai/*", "claude/*"];
        resources["api_keys"][0]["allowed_models"] = json!(allowed);
    })
}

/// What is asked at `path`.
pub(crate) fn body(path: &str, model: &str, stream: bool) -> Value {
    let messages = json!([{"role": "user", "content": "Hello"}]);
    match path {
        RESPONSES => json!({"model": model, "input": "Hello", "stream": stream}),
        MESSAGES => json!({"model": model, "max_tokens": 9, "messages": messages,
            "stream": stream}),
        COUNT => json!({"model": model, "messages": messages}),
        _ => json!({"model": model, "messages": messages, "stream": stream}),
    }
}

fn send(gateway: &Gateway, request: &[u8]) -> Response {
    let mut raw = gateway.connect();
    raw.send(request);
    raw.response()
}

/// The `type` of an error envelope, which must be that of the endpoint's protocol.
fn kind_at(path: &str, answer: &Response) -> String {
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let json = answer.json();
    let anthropic = path.starts_with(MESSAGES);
    assert_eq!(json["type"] == "error", anthropic, "{json}");
    let id = answer.header("x-sluice-request-id").unwrap();
    let shown = if anthropic {
        &json["request_id"]
    } else {
        &json["error"]["request_id"]
    };
    assert_eq!(shown, id, "{json}");
    assert!(json["error"]["message"].is_string(), "{json}");
    json["error"]["type"].as_str().unwrap().to_owned()
}

/// The request without, or with another, credential.
fn with_key(request: &[u8], header: &str) -> Vec<u8> {
    let given = format!("authorization: Bearer {CALLER_KEY}\r\n");
    let request = String::from_utf8(request.to_vec()).unwrap();
    assert!(request.contains(&given));
    request.replace(&given, header).into_bytes()
}

on_both_engines! {
    fn nobody_is_served_without_a_key_and_hears_it_in_his_protocol(engine) {
        let mock = mock();
        let gateway = setup(engine, mock).start();
        for path in [MESSAGES, COUNT, RESPONSES] {
            let kind = if path == RESPONSES { "invalid_api_key" } else { "authentication_error" };
            for header in ["", "authorization: Bearer sk-wrong\r\n", "x-api-key: sk-wrong\r\n"] {
                let request = post(path, &body(path, "claude/tag=a", false));
                let answer = send(&gateway, &with_key(&request, header));
                assert_eq!(answer.status, 401, "{path} {header}");
                assert_eq!(kind_at(path, &answer), kind);
                assert!(!answer.text().contains("sk-wrong"));
            }
        }
        assert_eq!(upstream_requests(mock).len(), 0);
        let key = format!("x-api-key: {CALLER_KEY}\r\n");
        for (path, upstream) in WAYS {
            let request = post(path, &body(path, &format!("{upstream}/tag=a"), false));
            let answer = send(&gateway, &with_key(&request, &key));
            assert_eq!(answer.status, 200, "{path} {upstream}: {}", answer.text());
        }
    }

    fn refusals_have_the_envelope_of_their_endpoint(engine) {
        let limit = 5000;
        let setup = setup(engine, mock()).with("proxy.request_body_limit_bytes", limit);
        let gateway = setup.start();
        let long = json!({"model": "claude/tag=a", "x": "x".repeat(limit)});
        for path in [MESSAGES, COUNT, RESPONSES] {
            let ask = |model: &str| post(path, &body(path, model, false));
            let cases = [
                (get(path), 405, "invalid_request_error", "api_error"),
                (post(path, &long), 413, "invalid_request_error", "request_too_large"),
                (post(path, &json!([])), 400, "invalid_request_error", "invalid_request_error"),
                (post(path, &json!({})), 400, "invalid_request_error", "invalid_request_error"),
                (ask("nowhere"), 404, "model_not_found", "not_found_error"),
                (ask("other"), 403, "permission_denied", "permission_error"),
            ];
            for (request, status, openai, anthropic) in cases {
                let answer = send(&gateway, &request);
                assert_eq!(answer.status, status, "{path}: {}", answer.text());
                let want = if path == RESPONSES { openai } else { anthropic };
                assert_eq!(kind_at(path, &answer), want, "{path} {status}");
            }
        }
        // No endpoint, so no protocol but OpenAI's.
        let answer = send(&gateway, &post("/v1/messages/batches", &json!({})));
        assert_eq!(answer.status, 404);
        assert_eq!(answer.error()["code"], "unknown_url");
    }

    fn failures_of_upstreams_have_the_envelope_of_their_endpoint(engine) {
        let gateway = setup(engine, mock()).start();
        for (path, upstream) in WAYS {
            for (status, seen, anthropic) in [
                (400, 400, "invalid_request_error"),
                (429, 429, "rate_limit_error"),
                (500, 502, "api_error"),
                (529, 503, "overloaded_error"),
            ] {
                let model = format!("{upstream}/status={status},retry_after=7");
                let answer = gateway.post(path, &body(path, &model, true));
                assert_eq!(answer.status, seen, "{path} {upstream}: {}", answer.text());
                let want = if path == MESSAGES { anthropic } else { "upstream_error" };
                let kind = kind_at(path, &answer);
                assert!(kind == want || seen == 503, "{path} {upstream}: {kind}");
                let retry_after = matches!(seen, 429 | 503).then_some("7");
                assert_eq!(answer.header("retry-after"), retry_after, "{path} {upstream}");
            }
        }
    }

    fn each_request_leaves_one_record_with_its_tokens(engine) {
        let gateway = setup(engine, mock()).start();
        let mut ids = Vec::new();
        for (path, upstream) in WAYS {
            for stream in [false, true] {
                let id = format!("{path}-{upstream}-{stream}");
                let script = "usage_in=70,usage_out=9,usage_cached=30,usage_cache_write=4";
                let request = post(path, &body(path, &format!("{upstream}/{script}"), stream));
                let answer = send(&gateway, &named(&id, &request));
                assert_eq!(answer.status, 200, "{id}: {}", answer.text());
                let line = gateway.access_line(&id);
                let anthropic = upstream == "claude";
                assert_eq!(line["usage_source"], "reported", "{line}");
                assert_eq!([&line["prompt_tokens"], &line["completion_tokens"]], [70, 9], "{line}");
                let caches = ["cache_read_tokens", "cache_creation_tokens"];
                if anthropic {
                    assert_eq!(caches.map(|key| &line[key]), [30, 4], "{line}");
                    // Beside the prompt, not among it.
                    assert_eq!(line["total_tokens"], 70 + 9 + 30 + 4, "{line}");
                } else {
                    assert_eq!(line["cached_prompt_tokens"], 30, "{line}");
                    assert_eq!(line["total_tokens"], 79, "{line}");
                }
                assert_eq!(line["end"], "completed", "{line}");
                ids.push(id);
            }
        }
        let lines = gateway.access_lines(ids.len());
        let logged: Vec<_> = lines.iter().map(|line| line["request_id"].as_str()).collect();
        assert_eq!(logged, ids.iter().map(|id| Some(&**id)).collect::<Vec<_>>());
        assert_eq!(gateway.in_flight(), 0.0);
    }

    fn tokens_are_counted_by_anthropic_or_estimated(engine) {
        let gateway = setup(engine, mock()).start();
        let answer = gateway.post(COUNT, &body(COUNT, "claude/usage_in=77", false));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["input_tokens"], 77);
        assert_eq!(answer.header("x-sluice-estimated"), None);
        for upstream in ["plain", "openai"] {
            let answer = gateway.post(COUNT, &body(COUNT, &format!("{upstream}/tag=a"), false));
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert!(answer.json()["input_tokens"].as_u64() > Some(0));
            assert_eq!(answer.header("x-sluice-estimated"), Some("true"));
        }
    }

    fn silence_is_filled_with_comments(engine) {
        let setup = setup(engine, mock()).with("downstream.sse_keepalive_interval_secs", 1);
        let gateway = setup.start();
        std::thread::scope(|scope| {
            for (path, upstream) in WAYS {
                let gateway = &gateway;
                scope.spawn(move || {
                    let model = format!("{upstream}/first_ms=1500,events=2,gap_ms=1300");
                    let answer = gateway.post(path, &body(path, &model, true));
                    let text = answer.text();
                    assert_eq!(answer.status, 200, "{path} {upstream}: {text}");
                    let comments = text.split("\n\n").filter(|event| *event == ":").count();
                    assert!(comments >= 2, "{path} {upstream}: {comments} in {text}");
                });
            }
        });
    }

    fn a_stream_that_breaks_off_ends_in_an_error_event_of_its_protocol(engine) {
        let gateway = setup(engine, mock()).start();
        for (path, upstream) in WAYS {
            for fault in ["cut_at=2", "error_at=2", "bad=event_json", "cut_at=2,cut=fin,te=close"] {
                let model = format!("{upstream}/events=5,gap_ms=5,{fault}");
                let answer = gateway.post(path, &body(path, &model, true));
                let text = answer.text();
                assert_eq!(answer.status, 200, "{path} {upstream} {fault}: {text}");
                let (sign, end): (&[&str], _) = match path {
                    CHAT => (&["event: error\ndata: {\"error\":"], "[DONE]"),
                    MESSAGES => (&["event: error\ndata: {\"type\":\"error\""], "message_stop"),
                    _ => (&["event: error\n", "event: response.failed\n"], "response.completed"),
                };
                let signs = sign.iter().filter(|sign| text.contains(**sign)).count();
                assert!(signs > 0, "{path} {upstream} {fault}: {text}");
                assert!(!text.contains(end), "{path} {upstream} {fault}: {text}");
                assert!(!text.contains(UPSTREAM_KEY));
            }
        }
    }
}
