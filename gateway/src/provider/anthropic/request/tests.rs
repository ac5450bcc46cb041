//! Upstream requests as exact bytes, against the golden files. [pure]

use serde_json::{Value, json};

use super::*;
use crate::endpoint::{Call, parse};
use crate::http::h1::{Limits, parse_request};
use crate::provider::Asker;
use crate::route::{Route, fixture, resolve};

#[expect(clippy::needless_pass_by_value, reason = "called with literals")]
/// A route to `claude-up` for the name `requested`, from members of the key and of the model.
pub(in crate::provider::anthropic) fn route(key: Value, model: Value, requested: &str) -> Route {
    let mut members = json!({"provider": "anthropic", "api_base": "http://up.test:8080"});
    members
        .as_object_mut()
        .unwrap()
        .extend(key.as_object().unwrap().clone());
    let key = fixture::provider_key(members);
    let mut exact = json!({"provider": "anthropic", "model_name": "claude-up"});
    exact
        .as_object_mut()
        .unwrap()
        .extend(model.as_object().unwrap().clone());
    let exact = fixture::model("team", exact);
    let wild = json!({"provider": "anthropic", "model_name": "*"});
    let wild = fixture::model("w/*", wild);
    let caller = json!({"allowed_models": ["*"]});
    let snapshot = fixture::snapshot(vec![exact, wild], &[&key], &[("sk-caller-canary", caller)]);
    let caller = snapshot.api_keys().next().unwrap();
    resolve(&snapshot, caller, requested, [192, 0, 2, 1].into()).unwrap()
}

/// The head and the body of what `write` sends to `route` for a caller with header `fields`.
pub(in crate::provider::anthropic) fn sent(
    route: &Route,
    call: &Call,
    fields: &str,
    write: impl FnOnce(&Outbound<'_>, &mut Vec<u8>) -> Result<(), Rejection>,
) -> Result<(String, String), Rejection> {
    let caller = json!({"allowed_models": ["*"], "team_id": "t-7"});
    let snapshot = fixture::snapshot(Vec::new(), &[], &[("sk-caller-canary", caller)]);
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: gw\r\nX-Api-Key: sk-caller-canary\r\nCookie: c\r\n{fields}\r\n",
        call.endpoint.label()
    );
    let head = parse_request(head.as_bytes(), &Limits::default())
        .unwrap()
        .unwrap()
        .0;
    let asker = Asker {
        head: &head,
        key: snapshot.api_keys().next().unwrap(),
        request_id: "req-1",
    };
    let outbound = Outbound {
        route,
        call,
        asker: &asker,
    };
    let mut out = Vec::new();
    if let Err(rejection) = write(&outbound, &mut out) {
        assert!(out.is_empty(), "a refused request leaves nothing behind");
        return Err(rejection);
    }
    let text = String::from_utf8(out).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let length = format!("\r\ncontent-length: {}", body.len());
    assert!(head.contains(&length), "{head} for {} bytes", body.len());
    assert!(!head.contains("caller-canary"));
    Ok((head.replace(&length, ""), body.to_owned()))
}

fn forwarded(
    endpoint: Endpoint,
    key: Value,
    model: Value,
    fields: &str,
    body: &str,
) -> (String, String) {
    let call = parse(endpoint, body.as_bytes()).unwrap();
    let route = route(key, model, &call.model);
    let write = |outbound: &Outbound<'_>, out: &mut Vec<u8>| write(outbound, body.as_bytes(), out);
    sent(&route, &call, fields, write).unwrap()
}

const BODY: &str = r#"{"model":"team","messages":[{"role":"user","content":"hi"}]}"#;

#[test]
fn bodies_go_upstream_as_the_golden_file_says() {
    let text = include_str!("../../../../tests/fixtures/anthropic/messages_requests.txt");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(lines.len() >= 8 && lines.len().is_multiple_of(2));
    for endpoint in [Endpoint::Messages, Endpoint::CountTokens] {
        for pair in lines.chunks(2) {
            assert_eq!(
                forwarded(endpoint, json!({}), json!({}), "", pair[0]).1,
                pair[1]
            );
        }
    }
}

#[test]
fn the_head_names_the_version_and_the_callers_beta_flags() {
    let version = env!("CARGO_PKG_VERSION");
    let head = |own: &str, path: &str, accept: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: up.test:8080\r\nx-api-key: sk-up-canary\r\n{own}\r\n\
             content-type: application/json\r\n{accept}accept-encoding: identity\r\n\
             x-sluice-request-id: req-1\r\nuser-agent: sluice/{version}"
        )
    };
    let fields = "Anthropic-Version: 2024-10-22\r\nanthropic-beta: a-1,b-2\r\nX-App: cli\r\n\
        User-Agent: sdk\r\nAnthropic-Beta: c-3\r\nanthropic-beta: \r\nanthropic-dangerous: x\r\n";
    let flags = "anthropic-version: 2024-10-22\r\nanthropic-beta: a-1,b-2, c-3";
    for (endpoint, path) in [
        (Endpoint::Messages, "/v1/messages"),
        (Endpoint::CountTokens, "/v1/messages/count_tokens"),
    ] {
        let (got, _) = forwarded(endpoint, json!({}), json!({}), "", BODY);
        assert_eq!(got, head("anthropic-version: 2023-06-01", path, ""));
        let (got, _) = forwarded(endpoint, json!({}), json!({}), fields, BODY);
        assert_eq!(got, head(flags, path, ""));
    }
    let stream =
        BODY.replace('{', r#"{"stream":true,"#)
            .replacen("{\"stream\":true,\"role", "{\"role", 1);
    let mounted = json!({"api_base": "http://up.test:8080/anthropic/v1/messages"});
    let (got, _) = forwarded(Endpoint::Messages, mounted, json!({}), "", &stream);
    let accept = "accept: text/event-stream\r\n";
    assert_eq!(
        got,
        head(
            "anthropic-version: 2023-06-01",
            "/anthropic/v1/messages",
            accept
        )
    );
}

#[test]
fn the_operators_headers_and_body_policy_apply() {
    let key = json!({"request": {
        "default_headers": {"anthropic-beta": "operator-1", "anthropic-version": "no", "x-a": "1"},
        "forward_client_headers": ["x-b", "anthropic-*"],
        "param_renames": {"top_k": "k"},
        "param_constraints": {"temperature_max": 0.5},
        "default_body_fields": {"service_tier": "standard_only", "model": "no"},
    }});
    let body = BODY.replace(r#""messages""#, r#""top_k":5,"temperature":1,"messages""#);
    let fields = "anthropic-beta: caller-1\r\nX-B: 2\r\nX-C: 3\r\n";
    let (head, body) = forwarded(Endpoint::Messages, key, json!({}), fields, &body);
    let extra = head
        .split_once("sluice/")
        .unwrap()
        .1
        .split_once("\r\n")
        .unwrap()
        .1;
    assert_eq!(extra, "anthropic-beta: operator-1\r\nx-a: 1\r\nx-b: 2");
    assert!(head.contains("\r\nanthropic-version: 2023-06-01\r\n"));
    assert_eq!(
        body,
        r#"{"model":"claude-up","k":5,"temperature":0.5,"messages":[{"role":"user","content":"hi"}],"service_tier":"standard_only"}"#
    );
}

#[test]
fn a_model_may_set_cache_markers_on_messages_but_not_on_counts() {
    let model = json!({"auto_prompt_caching": {"enabled": true}});
    let (_, body) = forwarded(Endpoint::Messages, json!({}), model.clone(), "", BODY);
    assert_eq!(
        body,
        r#"{"model":"claude-up","messages":[{"role":"user","content":[{"type":"text","text":"hi","cache_control":{"type":"ephemeral"}}]}]}"#
    );
    let (_, body) = forwarded(Endpoint::CountTokens, json!({}), model, "", BODY);
    assert_eq!(body, BODY.replace("team", "claude-up"));
}

#[test]
fn a_target_without_a_base_is_refused_before_anything_is_written() {
    let key = json!({"provider": "relay", "adapter": "anthropic", "api_base": null});
    let call = parse(Endpoint::Messages, BODY.as_bytes()).unwrap();
    let route = route(key, json!({}), "team");
    let write = |outbound: &Outbound<'_>, out: &mut Vec<u8>| write(outbound, BODY.as_bytes(), out);
    let rejection = sent(&route, &call, "", write).unwrap_err();
    assert_eq!(
        (rejection.status(), rejection.kind()),
        (400, "invalid_request_error")
    );
}
