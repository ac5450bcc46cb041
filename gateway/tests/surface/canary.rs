//! Secrets stay where they belong: a unique canary in every slot, every endpoint and error path
//! driven with the log at its loudest, and no canary anywhere an operator or another caller looks.

use std::fmt::Write;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::gateway::{CALLER_KEY, UPSTREAM_KEY};
use crate::support::{Engine, Gateway, Setup, mock, upstream_requests, wait_for};
use crate::{on_both_engines, protocols};

const WRONG_KEY: &str = "sk-wrong-canary-0d41";
pub(crate) const DISABLED_KEY: &str = "sk-disabled-canary-66f2";
pub(crate) const HEADER: &str = "default-header-canary-3b90";
pub(crate) const FIELD: &str = "default-field-canary-a1c7";
const COOKIE: &str = "cookie-canary-58e2";
const QUERY: &str = "query-canary-f00b";
const PROMPT: &str = "prompt-canary-77aa";
const ADMIN_KEY: &str = "sk-admin-canary-c4c4";
const PROXY_AUTH: &str = "cHJveHktY2FuYXJ5";
const GENERATED: &str = "generated-canary-e5d3";

/// Never in anything that the gateway says to anybody but the upstream.
pub(crate) const CREDENTIALS: [&str; 8] = [
    CALLER_KEY,
    UPSTREAM_KEY,
    WRONG_KEY,
    DISABLED_KEY,
    HEADER,
    FIELD,
    ADMIN_KEY,
    PROXY_AUTH,
];
/// Never in anything for operators; a caller gets back what is his own.
const PRIVATE: [&str; 4] = [COOKIE, QUERY, PROMPT, GENERATED];

pub(crate) fn setup(engine: Engine, mock: SocketAddr) -> Setup {
    let mut setup = Setup::new(engine, mock)
        .with("observability.log_level", "trace")
        .with("proxy.request_body_limit_bytes", 4096)
        .with("admin", json!({"admin_keys": [ADMIN_KEY]}));
    setup.resources["provider_keys"][0]["request"] = json!({
        "default_headers": {"x-tenant-secret": HEADER},
        "default_body_fields": {"safety_identifier": FIELD},
    });
    let keys = setup.resources["api_keys"].as_array_mut().unwrap();
    keys.push(
        json!({"display_name": "off", "key_env": "DISABLED_KEY", "disabled": true,
        "allowed_models": ["*"]}),
    );
    setup.env.push(("DISABLED_KEY".into(), DISABLED_KEY.into()));
    // Nobody listens there.
    let mut dead = setup.resources["provider_keys"][0].clone();
    dead["display_name"] = "dead".into();
    dead["api_base"] = "http://127.0.0.1:1/v1".into();
    setup.resources["provider_keys"]
        .as_array_mut()
        .unwrap()
        .push(dead);
    setup.resources["models"]
        .as_array_mut()
        .unwrap()
        .push(json!({"display_name": "dead",
        "provider": "openai", "model_name": "d", "provider_key": "dead"}));
    setup.resources["api_keys"][0]["allowed_models"] = json!(["m", "embed", "dead", "script/*"]);
    setup
}

/// A script that answers with exactly these bytes.
fn raw_script(head: &str, body: &str) -> String {
    let text = format!(
        "HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let hex = text.bytes().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    format!("script/raw={hex}")
}

/// Error answers of upstreams that repeat what they were given.
fn echoing_scripts() -> Vec<String> {
    let mut scripts = Vec::new();
    let said = format!(
        "Incorrect API key provided: {UPSTREAM_KEY}. Sent: Authorization: Bearer {UPSTREAM_KEY}, x-tenant-secret: {HEADER}, {FIELD}"
    );
    for status in [
        "400 Bad",
        "401 No",
        "403 No",
        "404 No",
        "409 No",
        "422 No",
        "429 Slow",
        "500 Oh",
        "503 Oh",
        "302 There",
    ] {
        let error = json!({"error": {"message": said, "type": said, "code": said, "param": said}});
        let kind = "content-type: application/json";
        scripts.push(raw_script(
            &format!("{status}\r\n{kind}"),
            &error.to_string(),
        ));
        scripts.push(raw_script(
            &format!("{status}\r\ncontent-type: text/plain\r\nretry-after: {UPSTREAM_KEY}"),
            &said,
        ));
        let flat = json!({"message": said, "error": said, "detail": said}).to_string();
        scripts.push(raw_script(
            &format!("{status}\r\n{kind}\r\nwww-authenticate: {UPSTREAM_KEY}"),
            &flat,
        ));
    }
    // Malformed successes, in-band errors.
    scripts.push(raw_script(
        "200 OK\r\ncontent-type: application/json",
        &format!("{{\"oops\": {said}"),
    ));
    scripts.push(raw_script(
        &format!("200 {UPSTREAM_KEY}\r\n: {UPSTREAM_KEY}"),
        "",
    ));
    let event = format!(
        "data: {}\n\n",
        json!({"error": {"message": said, "type": said, "code": said}})
    );
    let stream = "200 OK\r\ncontent-type: text/event-stream";
    scripts.push(raw_script(stream, &event));
    scripts.push(raw_script(stream, &late_error(&said)));
    scripts
}

/// An error of Responses and Messages after an event that was good.
fn late_error(said: &str) -> String {
    let event = |kind: &str, data: Value| format!("event: {kind}\ndata: {data}\n\n");
    let created = json!({"type": "response.created", "sequence_number": 0,
        "response": {"id": "r", "output": []}});
    let error = json!({"type": "error", "message": said, "code": said, "param": said,
        "error": {"type": said, "message": said}});
    event("response.created", created) + &event("error", error)
}

/// One request with a canary in every slot; returns all that comes back.
fn ask(gateway: &Gateway, key: &str, method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let mut raw = gateway.connect();
    let mut request = format!("{method} {path}?key={QUERY}&api_key={QUERY} HTTP/1.1\r\nhost: g\r\n{key}\r\n\
        cookie: session={COOKIE}\r\nproxy-authorization: Basic {PROXY_AUTH}\r\nconnection: close\r\n\
        content-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    request.extend_from_slice(body);
    // A refusal may come, and the connection go, before all of it is taken.
    let _ = raw.try_send(&request);
    raw.rest()
}

fn bodies(model: &str) -> Vec<Vec<u8>> {
    let messages = json!([{"role": "user", "content": PROMPT}]);
    let mut bodies = Vec::new();
    for stream in [false, true] {
        bodies.push(json!({"model": model, "stream": stream, "messages": messages, "prompt": PROMPT, "input": PROMPT}));
    }
    bodies
        .into_iter()
        .map(|body| body.to_string().into_bytes())
        .collect()
}

fn broken_bodies() -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> = [
        json!({"model": "m", "messages": PROMPT, "prompt": {"a": PROMPT}, "input": {"a": PROMPT}}),
        json!({"model": [PROMPT], "messages": []}),
        json!({"model": "m", "stream": PROMPT, "messages": [PROMPT]}),
        json!({"model": "m", "messages": [{"role": PROMPT, "content": {"x": PROMPT}}]}),
        json!([PROMPT]),
        json!({"model": "m", "messages": [], "padding": PROMPT.repeat(1000)}),
        json!(PROMPT),
    ]
    .map(|body| body.to_string().into_bytes())
    .into();
    bodies.push(format!("{{\"model\": \"m\", {PROMPT}").into_bytes());
    bodies.push(format!("\"{PROMPT}").into_bytes());
    bodies.push([PROMPT.as_bytes(), &[0xff, 0xfe]].concat());
    bodies
}

const PATHS: [&str; 3] = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"];

/// Drives every path there is; returns what callers were told.
pub(crate) fn drive(gateway: &Gateway) -> Vec<Vec<u8>> {
    let mut told = Vec::new();
    let bearer = bearer();
    let good = [bearer.clone(), format!("x-api-key: {CALLER_KEY}")];
    let bad = bad_keys();
    for path in PATHS {
        for key in &good {
            for model in [
                "m",
                "embed",
                "dead",
                "nobody",
                "other",
                "script/status=503",
                "script/bad=json",
                "script/cut_at=1",
            ] {
                told.extend(
                    bodies(model)
                        .iter()
                        .map(|body| ask(gateway, key, "POST", path, body)),
                );
            }
        }
        for key in &bad {
            told.push(ask(gateway, key, "POST", path, &bodies("m")[0]));
        }
        told.extend(
            broken_bodies()
                .iter()
                .map(|body| ask(gateway, &bearer, "POST", path, body)),
        );
        told.push(ask(gateway, &bearer, "GET", path, b""));
    }
    for script in echoing_scripts() {
        for body in bodies(&script) {
            told.push(ask(gateway, &bearer, "POST", PATHS[0], &body));
        }
        told.push(ask(gateway, &bearer, "POST", PATHS[2], &bodies(&script)[0]));
    }
    for path in [
        "/v1/models",
        "/v1/models/m",
        "/v1/models/nobody",
        "/v1/nothing",
        "/",
        "/livez",
        "/readyz",
        "/metrics",
    ] {
        for key in good.iter().chain(&bad) {
            told.push(ask(gateway, key, "GET", path, b""));
        }
        told.push(ask(gateway, &bearer, "DELETE", path, b""));
    }
    told
}

fn bearer() -> String {
    format!("authorization: Bearer {CALLER_KEY}")
}

/// Header lines that let nobody in.
fn bad_keys() -> [String; 13] {
    [
        format!("authorization: Bearer {WRONG_KEY}"),
        format!("authorization: {WRONG_KEY}"),
        format!("authorization: Basic {WRONG_KEY}"),
        format!("x-api-key: {WRONG_KEY}"),
        format!("authorization: Bearer {DISABLED_KEY}"),
        format!("authorization: Bearer {CALLER_KEY}\r\nauthorization: Bearer {WRONG_KEY}"),
        format!("api-key: {CALLER_KEY}"),
        // Heads that are no heads.
        format!("authorization : Bearer {CALLER_KEY}"),
        format!("authorization: Bearer {CALLER_KEY}\r\n folded {COOKIE}"),
        format!("authorization: Bearer {CALLER_KEY}\u{0}"),
        format!("authorization: Bearer {CALLER_KEY}\r\ntransfer-encoding: {WRONG_KEY}"),
        format!("authorization: Bearer {CALLER_KEY}\r\nexpect: {WRONG_KEY}"),
        format!("authorization: Bearer {}", WRONG_KEY.repeat(5000)),
    ]
}

/// Drives every way from protocol to protocol; returns what callers were told.
fn drive_protocols(gateway: &Gateway) -> Vec<Vec<u8>> {
    let mut told = Vec::new();
    let ask = |key: &str, path: &str, body: &Value| {
        ask(gateway, key, "POST", path, body.to_string().as_bytes())
    };
    let mut scripts: Vec<String> = ["tag=x", "status=503", "bad=json", "cut_at=1", "error_at=1"]
        .map(str::to_owned)
        .into();
    let echoing = echoing_scripts().into_iter();
    scripts.extend(echoing.map(|script| script.replace("script/", "")));
    for (path, upstream) in protocols::WAYS {
        for script in &scripts {
            for stream in [false, true] {
                let mut body = protocols::body(path, &format!("{upstream}/{script}"), stream);
                body["user"] = PROMPT.into();
                body["instructions"] = PROMPT.into();
                body["system"] = PROMPT.into();
                told.push(ask(&bearer(), path, &body));
            }
        }
        for key in bad_keys() {
            let body = protocols::body(path, &format!("{upstream}/tag=x"), false);
            told.push(ask(&key, path, &body));
        }
    }
    for path in ["/v1/messages", "/v1/messages/count_tokens", "/v1/responses"] {
        for body in broken_bodies() {
            let text = String::from_utf8_lossy(&body).replace("\"m\"", "\"claude/tag=x\"");
            told.push(self::ask(gateway, &bearer(), "POST", path, text.as_bytes()));
        }
        told.push(self::ask(gateway, &bearer(), "GET", path, b""));
    }
    told
}

pub(crate) fn holds(text: &str, canary: &str) -> bool {
    text.to_ascii_lowercase()
        .contains(&canary.to_ascii_lowercase())
}

/// Everything that operators and their tools read.
pub(crate) fn operators_see(gateway: &Gateway) -> Vec<(&'static str, String)> {
    let page = |path: &str| gateway.status_page(path).text().to_owned();
    let read = |path: String| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    let pid = gateway.child.id();
    let mut seen = vec![
        ("stderr", gateway.stderr()),
        (
            "access log",
            read(gateway.access_log().to_str().unwrap().to_owned()),
        ),
        ("command line", read(format!("/proc/{pid}/cmdline"))),
    ];
    for path in [
        "/metrics",
        "/status/config",
        "/status/models",
        "/status/ready?verbose",
    ] {
        seen.push((path, page(path)));
    }
    seen
}

pub(crate) fn no_canary(gateway: &Gateway) {
    for (place, text) in operators_see(gateway) {
        assert!(!text.is_empty(), "{place}");
        for canary in CREDENTIALS.iter().chain(&PRIVATE) {
            let lines: Vec<&str> = text
                .split(['\n', '\0'])
                .filter(|line| holds(line, canary))
                .collect();
            assert!(lines.is_empty(), "{canary} in {place}: {lines:#?}");
        }
    }
}

/// Nothing secret is in what callers were `told`, in what operators see, or at the upstream, but for
/// what is meant for it.
fn check_kept(gateway: &Gateway, upstream: SocketAddr, told: &[Vec<u8>]) {
    // The canaries are live: the upstream got the ones that are meant for it.
    let requests = Value::from(upstream_requests(upstream)).to_string();
    for canary in [UPSTREAM_KEY, HEADER, FIELD, PROMPT] {
        assert!(
            requests.contains(canary),
            "{canary} never reached the upstream"
        );
    }
    for canary in [
        CALLER_KEY,
        WRONG_KEY,
        DISABLED_KEY,
        COOKIE,
        QUERY,
        ADMIN_KEY,
        PROXY_AUTH,
    ] {
        assert!(!requests.contains(canary), "{canary} reached the upstream");
    }
    for answer in told {
        let answer = String::from_utf8_lossy(answer);
        for canary in CREDENTIALS.iter().chain(&[COOKIE, QUERY]) {
            assert!(!holds(&answer, canary), "{canary} told: {answer}");
        }
    }
    let answered = told
        .iter()
        .filter(|answer| answer.starts_with(b"HTTP/1.1 "));
    assert!(
        answered.count() > told.len() * 9 / 10,
        "nearly all were answered"
    );
    // Heads that are no heads leave no line.
    gateway.access_lines(told.len() / 2);
    no_canary(gateway);
}

on_both_engines! {
    fn no_secret_leaves_the_gateway_but_to_the_upstream_it_is_meant_for(engine) {
        let upstream = mock();
        let gateway = setup(engine, upstream).start();
        let told = drive(&gateway);
        check_kept(&gateway, upstream, &told);
    }

    fn no_secret_leaves_by_the_endpoints_of_other_protocols(engine) {
        let upstream = mock();
        let mut setup = protocols::with_upstreams(setup(engine, upstream), upstream);
        for key in setup.resources["provider_keys"].as_array_mut().unwrap() {
            key["request"] = json!({
                "default_headers": {"x-tenant-secret": HEADER},
                "default_body_fields": {"safety_identifier": FIELD},
            });
        }
        let gateway = setup.start();
        let told = drive_protocols(&gateway);
        check_kept(&gateway, upstream, &told);
    }
}

#[test]
fn what_a_model_says_is_for_its_caller_alone() {
    let gateway = setup(Engine::IoUring, mock()).start();
    let body = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "x",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": GENERATED},
            "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}});
    let script = raw_script(
        "200 OK\r\ncontent-type: application/json",
        &body.to_string(),
    );
    let bearer = format!("authorization: Bearer {CALLER_KEY}");
    let answer = ask(&gateway, &bearer, "POST", PATHS[0], &bodies(&script)[0]);
    assert!(String::from_utf8_lossy(&answer).contains(GENERATED));
    gateway.access_lines(1);
    no_canary(&gateway);
}

#[test]
fn resources_that_are_refused_show_no_value_in_log_and_status() {
    let gateway = setup(Engine::IoUring, mock()).start();
    let documents = [
        // A credential where a mapping belongs, an unknown key beside it, broken YAML, a bad hash.
        format!("_format_version: \"1\"\nprovider_keys:\n  - {UPSTREAM_KEY}\n"),
        format!(
            "_format_version: \"1\"\nprovider_keys:\n  - {{display_name: a, api_key: {UPSTREAM_KEY}, adapter: {HEADER}, x: {FIELD}}}\n"
        ),
        format!("_format_version: \"1\"\nprovider_keys: [{{api_key: \"{UPSTREAM_KEY}\n"),
        format!("_format_version: {UPSTREAM_KEY}\n"),
        format!(
            "_format_version: \"1\"\napi_keys:\n  - {{display_name: a, key_hash: {CALLER_KEY}, allowed_models: {FIELD}}}\n"
        ),
        format!("_format_version: \"1\"\napi_keys:\n  - {{display_name: a, key: {CALLER_KEY}}}\n"),
        format!(
            "_format_version: \"1\"\nprovider_keys:\n  - {{display_name: a, provider: openai, adapter: openai, api_key: 1, api_base: \"https://u:{HEADER}@h/v1?api_key={UPSTREAM_KEY}\", tls: {{ca_cert: {FIELD}}}}}\n"
        ),
        format!(
            "_format_version: \"1\"\nprovider_keys:\n  - {{display_name: a, provider: openai, adapter: openai, api_key: k, api_base: \"{UPSTREAM_KEY}\", request: {{default_headers: {{\"a b\": {HEADER}, x: [{HEADER}]}}, default_body_fields: {FIELD}}}}}\n"
        ),
    ];
    for (count, document) in documents.iter().enumerate() {
        gateway.write_resources(document);
        gateway.signal(rustix::process::Signal::HUP);
        wait_for("the refusal", || {
            let failures = gateway.metric("sluice_config_reload_failures_total", &[]);
            (failures > count as f64 + 0.5).then_some(())
        });
        let error =
            gateway.status_page("/status/config").json()["last_failure"]["last_error"].clone();
        assert!(
            error.as_str().is_some_and(|error| !error.is_empty()),
            "{document}"
        );
    }
    gateway.access_lines(0);
    std::fs::write(gateway.access_log(), "none\n").unwrap();
    no_canary(&gateway);
}
