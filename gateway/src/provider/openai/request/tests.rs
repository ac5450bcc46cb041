//! Upstream requests as exact bytes, against the golden files. [pure]

use serde_json::{Value, json};

use super::*;
use crate::endpoint::{Endpoint, parse};
use crate::http::h1::{Limits, parse_request};
use crate::provider::Asker;
use crate::provider::head::is_token_text;
use crate::route::{fixture, resolve};

/// What is sent for a caller's `body` with caller header `fields`.
fn sent(key: Value, endpoint: Endpoint, fields: &str, body: &[u8]) -> Result<Vec<u8>, Rejection> {
    let key = fixture::provider_key(key);
    let exact = fixture::model("team", json!({}));
    let wild = fixture::model("w/*", json!({"model_name": "*"}));
    let caller = json!({"allowed_models": ["*"], "team_id": "t-7"});
    let snapshot = fixture::snapshot(vec![exact, wild], &[&key], &[("sk-caller-canary", caller)]);
    let caller = snapshot.api_keys().next().unwrap();
    let call = parse(endpoint, body).unwrap();
    let route = resolve(&snapshot, caller, &call.model, [192, 0, 2, 1].into()).unwrap();
    let head = format!(
        "POST /v1{} HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer sk-caller-canary\r\nCookie: c\r\n{fields}\r\n",
        endpoint.path()
    );
    let head = parse_request(head.as_bytes(), &Limits::default())
        .unwrap()
        .unwrap()
        .0;
    let asker = Asker {
        head: &head,
        key: caller,
        request_id: "req-1",
    };
    let mut out = Vec::new();
    let outbound = Outbound {
        route: &route,
        call: &call,
        asker: &asker,
    };
    write(&outbound, body, &mut out).map(|()| out)
}

fn split(request: &[u8]) -> (String, String) {
    let text = String::from_utf8(request.to_vec()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let length = format!("\r\ncontent-length: {}", body.len());
    assert!(head.contains(&length), "{head} for {} bytes", body.len());
    (head.replace(&length, ""), body.to_owned())
}

fn body_of(key: Value, endpoint: Endpoint, body: &str) -> String {
    split(&sent(key, endpoint, "", body.as_bytes()).unwrap()).1
}

/// Golden files hold pairs of bodies, one a line: as sent by the caller, as sent upstream.
#[test]
fn bodies_go_upstream_as_the_golden_files_say() {
    let files = [
        (
            Endpoint::ChatCompletions,
            include_str!("../../../../tests/fixtures/openai/chat_requests.txt"),
        ),
        (
            Endpoint::Completions,
            include_str!("../../../../tests/fixtures/openai/completion_requests.txt"),
        ),
        (
            Endpoint::Embeddings,
            include_str!("../../../../tests/fixtures/openai/embedding_requests.txt"),
        ),
    ];
    for (endpoint, text) in files {
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(lines.len() >= 4 && lines.len().is_multiple_of(2));
        for pair in lines.chunks(2) {
            assert_eq!(body_of(json!({}), endpoint, pair[0]), pair[1]);
        }
    }
}

#[test]
fn the_head_is_built_from_nothing() {
    let body = br#"{"model":"team","input":"x"}"#;
    let fields = "User-Agent: sdk\r\nX-Trace: 1\r\nx-sluice-request-id: spoofed\r\n";
    let (head, body) = split(&sent(json!({}), Endpoint::Embeddings, fields, body).unwrap());
    let version = env!("CARGO_PKG_VERSION");
    let want = [
        "POST /v1/embeddings HTTP/1.1",
        "host: up.test:8080",
        "authorization: Bearer sk-up-canary",
        "content-type: application/json",
        "accept-encoding: identity",
        "x-sluice-request-id: req-1",
        &format!("user-agent: sluice/{version}"),
    ];
    assert_eq!(head, want.join("\r\n"));
    assert_eq!(body, r#"{"model":"gpt-up","input":"x"}"#);
    let stream = br#"{"model":"team","messages":[{"role":"user"}],"stream":true}"#;
    let (head, _) = split(&sent(json!({}), Endpoint::ChatCompletions, "", stream).unwrap());
    assert!(head.contains("\r\naccept: text/event-stream\r\n"), "{head}");
}

#[test]
fn operators_and_callers_headers_follow_and_overwrite_nothing() {
    let key = json!({"request": {
        "default_headers": {"x-team": "${request.api_key.team_id}", "x-none": "${request.api_key.name}", "x-a": "operator"},
        "forward_client_headers": ["*"],
    }});
    let fields = "X-A: caller\r\nX-B: one\r\nx-b: two\r\nOpenAI-Beta: p\r\nOPENAI-BETA: q\r\n\
        X-Api-Key: k\r\nTraceparent: t\r\nX-Stainless-Os: l\r\nX-Forwarded-For: f\r\nX-Hop: h\r\n\
        Connection: x-hop\r\nAccept: a/b\r\nAccept-Encoding: gzip\r\nUser-Agent: sdk\r\nTE: trailers\r\n";
    let body = br#"{"model":"team","input":"x"}"#;
    let (head, _) = split(&sent(key, Endpoint::Embeddings, fields, body).unwrap());
    let extra = head
        .split_once("sluice/")
        .unwrap()
        .1
        .split_once("\r\n")
        .unwrap()
        .1;
    assert_eq!(
        extra,
        "x-team: t-7\r\nx-a: operator\r\nx-b: one\r\nopenai-beta: p, q"
    );
    assert!(!head.contains("caller-canary"));
}

#[test]
fn a_target_without_a_base_and_an_unsendable_credential_are_refused_before_anything_is_written() {
    let body = br#"{"model":"team","input":"x"}"#;
    let key = json!({"provider": "groq", "adapter": "openai", "api_base": null});
    let rejection = sent(key, Endpoint::Embeddings, "", body).unwrap_err();
    assert_eq!(
        (rejection.status(), rejection.kind()),
        (400, "invalid_request_error")
    );
    for (credential, fine) in [
        ("sk-1", true),
        ("a b", true),
        ("", false),
        ("a\r\nb: c", false),
        ("é", false),
        (" a", false),
        ("a\u{7f}", false),
    ] {
        assert_eq!(is_token_text(credential), fine, "{credential:?}");
    }
}

#[test]
fn a_provider_keys_body_policy_applies_in_its_order() {
    let chat = |policy: Value, members: &str| {
        let body = format!(r#"{{"model":"team","messages":[{{"role":"user"}}]{members}}}"#);
        let out = body_of(policy, Endpoint::ChatCompletions, &body);
        let start = r#"{"model":"gpt-up","messages":[{"role":"user"}]"#;
        let rest = out.strip_prefix(start).unwrap();
        serde_json::from_str::<Value>(&out).unwrap();
        rest.strip_suffix('}').unwrap().to_owned()
    };
    let renames = |map: Value| json!({"request": {"param_renames": map}});
    let clamp = |min: Value, max: Value| json!({"request": {"param_constraints": {"temperature_min": min, "temperature_max": max}}});
    let defaults = |map: Value| json!({"request": {"default_body_fields": map}});
    for (policy, before, after) in [
        (
            renames(json!({"max_tokens": "max_completion_tokens"})),
            r#", "max_tokens" : 5"#,
            r#", "max_completion_tokens" : 5"#,
        ),
        (renames(json!({"a": "b"})), r#","b":1,"a":2"#, r#","b":2"#),
        (
            renames(json!({"a": "b"})),
            r#","a":2 , "b":1,"c":3"#,
            r#","b":2 , "c":3"#,
        ),
        (
            renames(json!({"a": "c", "b": "d"})),
            r#","a":1,"b":2,"c":3,"d":4"#,
            r#","c":1,"d":2"#,
        ),
        (
            renames(json!({"a": "a", "x": "y"})),
            r#","a":1,"y":2"#,
            r#","a":1,"y":2"#,
        ),
        (renames(json!({"a": "b"})), r#","\u0061":1"#, r#","b":1"#),
        (
            clamp(json!(0.1), json!(1.0)),
            r#","temperature":1.50"#,
            r#","temperature":1"#,
        ),
        (
            clamp(json!(0.25), json!(null)),
            r#","temperature":0 ,"x":1"#,
            r#","temperature":0.25 ,"x":1"#,
        ),
        (
            clamp(json!(0.1), json!(1.0)),
            r#","temperature":0.70"#,
            r#","temperature":0.70"#,
        ),
        (
            clamp(json!(0.1), json!(1.0)),
            r#","temperature":null"#,
            r#","temperature":null"#,
        ),
        (
            clamp(json!(0.1), json!(1.0)),
            r#","temperature":9,"temperature":8"#,
            r#","temperature":1,"temperature":1"#,
        ),
        (
            defaults(json!({"top_k": 5, "user": "u\"x"})),
            r#","user":"me""#,
            r#","user":"me","top_k":5"#,
        ),
        (
            defaults(json!({"x": {"b": 1, "a": [2]}})),
            "",
            r#","x":{"b":1,"a":[2]}"#,
        ),
    ] {
        assert_eq!(chat(policy, before), after, "{before}");
    }
    let all = json!({"request": {
        "param_renames": {"temperature": "temp", "x": "temperature"},
        "param_constraints": {"temperature_max": 1},
        "default_body_fields": {"temp": 3, "x": 4, "temperature": 5},
    }});
    assert_eq!(
        chat(all, r#","temperature":7"#),
        r#","temp":1,"x":4,"temperature":5"#
    );
}

#[test]
fn content_lists_become_one_string_where_the_server_takes_only_text() {
    let policy = json!({"response": {"content_list_to_string": true}});
    let body = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a\n"},{"type":"image_url","image_url":{}},{"text":"\u00e9","type":"text"}]},{"role":"user","content":[{"type":"image_url"}]},{"role":"user","content":"s"},{"role":"tool","content":[ {"type":"text","text":""} ]}],"model":"team"}"#;
    let want = r#"{"messages":[{"role":"user","content":"a\n\u00e9"},{"role":"user","content":[{"type":"image_url"}]},{"role":"user","content":"s"},{"role":"tool","content":""}],"model":"gpt-up"}"#;
    assert_eq!(body_of(policy, Endpoint::ChatCompletions, body), want);
}
