//! A typical request, event and record, for the tests of what they cost.

use std::net::{IpAddr, Ipv4Addr};
use std::time::SystemTime;

use config_sync::snapshot::Snapshot;
use config_sync::source::load_file;

use gateway::auth;
use gateway::bridge::record::{End, RequestRecord, Usage};
use gateway::dialect::Seed;
use gateway::endpoint::{self, Call, Routed};
use gateway::http::h1::{self, Limits, RequestHead};
use gateway::provider::{Asker, Exchange, Outbound};
use gateway::route::{Asking, Route, Rows};

pub(crate) const CHAT: &str = "/v1/chat/completions";
/// What an upstream answers.
pub(crate) const ANSWER: &[u8] = br#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant","content":"Hello there"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}"#;

const RESOURCES: &str = r#"
_format_version: "1"
provider_keys:
  - {display_name: main, provider: openai, adapter: openai, api_key: sk-up, api_base: "http://up.test/v1"}
  - {display_name: other, provider: anthropic, api_key: sk-up, api_base: "http://up.test"}
models:
  - {display_name: fast, provider: openai, model_name: gpt, provider_key: main}
  - {display_name: claude, provider: anthropic, model_name: claude-up, provider_key: other}
api_keys:
  - {display_name: bot, key_env: KEY, allowed_models: ["fast", "claude"]}
"#;

pub(crate) const LIMITED: &str = r#"
_format_version: "1"
provider_keys:
  - {display_name: main, provider: openai, adapter: openai, api_key: sk-up, api_base: "http://up.test/v1"}
models:
  - {display_name: fast, provider: openai, model_name: gpt, provider_key: main, rate_limit: {rpm: 100000, concurrency: 9}}
api_keys:
  - {display_name: bot, key_env: KEY, allowed_models: ["fast"], team_id: t, user_id: u, rate_limit: {rps: 3, tpm: 100000}}
rate_limit_policies:
  - {name: team, scope: team, scope_ref: t, window: day, max_requests: 100000}
  - name: users
    limits: {rpd: 100000, concurrency: 9}
    group_by: [member, model]
    conditions: [{dimension: model_name, operator: "~~", value: "^fa"}]
    schedules: [{timezone: Europe/Berlin, days_of_week: [sat], start_time: "00:00", end_time: "24:00"}]
"#;

pub(crate) fn snapshot() -> Snapshot {
    load(RESOURCES)
}

pub(crate) fn load(resources: &str) -> Snapshot {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.yaml");
    std::fs::write(&path, resources).unwrap();
    let env = |_: &str| Some("sk-caller".to_owned());
    load_file(&path, &env, 1, SystemTime::now())
        .unwrap()
        .snapshot
}

pub(crate) fn body(stream: bool) -> Vec<u8> {
    let content = "word ".repeat(200);
    serde_json::json!({"model": "fast", "stream": stream, "messages": [{"role": "user", "content": content}]})
        .to_string()
        .into_bytes()
}

pub(crate) fn head(path: &str, body: &[u8]) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: gateway.test\r\nuser-agent: OpenAI/Python 1.99.1\r\n\
         accept: application/json\r\naccept-encoding: gzip, deflate\r\nauthorization: Bearer sk-caller\r\n\
         x-stainless-lang: python\r\nx-stainless-os: Linux\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes()
}

/// Every phase before the upstream; `out` gets the upstream request.
pub(crate) fn admit(
    (snapshot, rows): (&Snapshot, &Rows),
    head: &[u8],
    body: &[u8],
    out: &mut Vec<u8>,
) -> (RequestHead, Call, Route, Exchange) {
    let parsed = h1::parse_request(head, &Limits::default()).expect("a head");
    let (head, _) = parsed.expect("a whole head");
    let Routed::Endpoint(endpoint, _) = endpoint::route(head.method(), head.path()) else {
        panic!("an endpoint");
    };
    let key = auth::identify(snapshot, &head, 0).expect("a caller");
    let call = endpoint::parse(endpoint, body).expect("a call");
    let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let asking = Asking {
        key,
        client_ip: client,
        head: &head,
        now_ms: 0,
    };
    let candidates = rows.resolve(snapshot, &asking, &call.model);
    let route = candidates.expect("candidates").take_next();
    let route = route.expect("a target").expect("a route");
    let asker = Asker {
        head: &head,
        key,
        request_id: "0123456789",
    };
    let outbound = Outbound {
        route: &route,
        call: &call,
        asker: &asker,
    };
    let seed = || Seed {
        created_unix_s: 1,
        hex: [b'0'; 32],
    };
    let exchange = Exchange::begin(&outbound, body, seed, out).expect("a request");
    (head, call, route, exchange)
}

/// The content event `number` of a stream.
pub(crate) fn event(number: usize) -> String {
    let chunk = serde_json::json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1,
        "model": "gpt-4o-2024-08-06", "choices": [{"index": 0, "delta": {"content": format!("w{number:04}\n\"")},
        "finish_reason": null}], "usage": null});
    format!("data: {chunk}\n\n")
}

/// What a typical request leaves behind.
pub(crate) fn record(id: &str, now: i64) -> RequestRecord {
    RequestRecord {
        request_id: id.into(),
        trace_id: None,
        finished_unix_ms: now,
        worker: 0,
        method: "POST",
        path: "/v1/chat/completions".into(),
        endpoint: "/v1/chat/completions",
        inbound_protocol: "openai",
        status: 200,
        error_kind: None,
        error: None,
        end: End::Completed,
        caller: None,
        target: None,
        requested_model: "fast".into(),
        stream: false,
        client_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        user_agent: "OpenAI/Python 1.99.1".into(),
        usage: Usage::default(),
        cost_micro_usd: 4,
        total_us: 900,
        head_us: Some(900),
        ttft_us: None,
        upstream_us: Some(700),
        bytes_in: 1_400,
        bytes_out: 600,
        events: 0,
        provider_request_id: Some("chatcmpl-9nYk0mP2qX7sT4vB1cD6eF8gH3jK5".into()),
        upstream_request_id: Some("req_0123456789abcdef0123456789abcdef".into()),
        finish_reason: Some("stop".into()),
        attempts: 1,
        tried: Vec::new(),
        group: None,
        fallbacks: 0,
        limit: None,
        upstream_model: "gpt-4o-2024-08-06".into(),
        passthrough_route: None,
        client_identity: None,
    }
}
