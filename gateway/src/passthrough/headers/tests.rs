use config_sync::model::ProviderKey;
use config_sync::tree::Value;
use serde_json::json;
use std::sync::Arc;

use super::*;
use crate::http::h1::{Limits, parse_request, parse_response};
use crate::passthrough::fixture;
use crate::route::fixture::provider_key;

fn head(line: &str, fields: &str) -> RequestHead {
    let text = format!("{line} HTTP/1.1\r\nhost: caller.example\r\n{fields}\r\n");
    let parsed = parse_request(text.as_bytes(), &Limits::default());
    parsed.unwrap().unwrap().0
}

fn sent_with(
    route: Value,
    key: Option<&Arc<ProviderKey>>,
    head: &RequestHead,
    body: usize,
) -> String {
    let route = fixture::route(route, key);
    let outgoing = Outgoing {
        route: &route,
        head,
        path: head.path(),
        authority: &route.base.as_ref().unwrap().authority,
        request_id: "req-1",
        credential: route.credential().unwrap(),
        body_len: body,
    };
    let mut out = Vec::new();
    let known = |value: &[u8]| value.strip_prefix(b"Bearer ").unwrap_or(value) == b"gw-key";
    write_request(&outgoing, known, &mut out);
    String::from_utf8(out).unwrap()
}

/// Names of the relayed headers, in order.
fn names(sent: &str) -> Vec<&str> {
    let lines = sent.trim_end().split("\r\n").skip(1);
    lines.map(|line| line.split(':').next().unwrap()).collect()
}

const FORWARD: fn() -> Value =
    || json!({"credential_mode": "forward_client", "provider_key_id": null});

fn with(mut route: Value, extra: &Value) -> Value {
    let extra = extra.as_object().unwrap().clone();
    route.as_object_mut().unwrap().extend(extra);
    route
}

#[test]
fn an_injected_request_reads_as_the_gateways_own() {
    let key = provider_key(json!({}));
    let head = head(
        "POST /r/v1/x?a=b",
        "content-type: text/plain\r\nAccept: a\r\naccept: b\r\nX-Custom: 1\r\ncontent-length: 2\r\n",
    );
    assert_eq!(
        sent_with(
            json!({"target_url": "http://up.example:81/v1"}),
            Some(&key),
            &head,
            2
        ),
        "POST /v1/x?a=b HTTP/1.1\r\nhost: up.example:81\r\nauthorization: Bearer sk-up-canary\r\n\
         x-sluice-request-id: req-1\r\ncontent-length: 2\r\n\
         content-type: text/plain\r\nAccept: a\r\naccept: b\r\nX-Custom: 1\r\n\r\n"
    );
}

#[test]
fn anthropic_gets_its_own_two_headers() {
    let key = provider_key(json!({"provider": "anthropic"}));
    let head = head(
        "GET /r/x",
        "anthropic-version: 1999-01-01\r\nanthropic-beta: b\r\n",
    );
    assert_eq!(
        sent_with(json!({}), Some(&key), &head, 0),
        "GET /x HTTP/1.1\r\nhost: up.example\r\nx-api-key: sk-up-canary\r\n\
         anthropic-version: 2023-06-01\r\nx-sluice-request-id: req-1\r\nanthropic-beta: b\r\n\r\n"
    );
}

/// One line of every header that is looked at.
const EVERYTHING: &str = "connection: keep-alive, X-Hop\r\nx-hop: 1\r\nkeep-alive: 1\r\nproxy-authenticate: 1\r\n\
    Proxy-Authorization: 1\r\nproxy-connection: 1\r\nte: trailers\r\ntrailer: x\r\nupgrade: h2c\r\n\
    traceparent: 1\r\ntracestate: 1\r\nX-Sluice-Request-Id: 1\r\nx-sluice-routing-tags: 1\r\nx-identity: ann\r\n\
    authorization: Basic eA==\r\nx-api-key: other\r\napi-key: 1\r\nx-goog-api-key: 1\r\nx-amz-date: 1\r\n\
    X-Amz-Security-Token: 1\r\ncookie: 1\r\nset-cookie: 1\r\nx-key: 1\r\nx-kept: 1\r\nforwarded: 1\r\n";

#[test]
fn each_mode_keeps_back_what_it_must_and_nothing_else() {
    let key = provider_key(json!({}));
    let lists = provider_key(json!({"strip_headers": ["X-Kept"]}));
    let none = provider_key(json!({"strip_headers": []}));
    let head = head("GET /r", EVERYTHING);
    let identity = || json!({"identity_header": "x-identity"});
    let header_key = || json!({"auth_mode": "header_key", "auth_header_name": "x-key"});
    let anonymous =
        || json!({"auth_mode": "anonymous", "anonymous_key_id": "a", "source_cidrs": ["::/0"]});
    let own = ["host", "x-sluice-request-id"];
    let injected = ["host", "authorization", "x-sluice-request-id"];
    let always = [
        "authorization",
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "x-amz-date",
        "X-Amz-Security-Token",
        "cookie",
        "set-cookie",
        "x-key",
        "x-kept",
        "forwarded",
    ];
    let without = |names: &[&'static str]| -> Vec<&'static str> {
        let kept = always.iter().filter(|name| !names.contains(name));
        own.iter().chain(kept).copied().collect()
    };
    let forward = with(identity(), &FORWARD());
    let more = |names: &[&'static str]| -> Vec<&'static str> { [&injected[..], names].concat() };
    type Case<'c> = (Value, Option<&'c Arc<ProviderKey>>, Vec<&'static str>);
    let cases: [Case<'_>; 7] = [
        (
            identity(),
            Some(&key),
            more(&["x-key", "x-kept", "forwarded"]),
        ),
        (
            identity(),
            Some(&lists),
            more(&["set-cookie", "x-key", "forwarded"]),
        ),
        (
            identity(),
            Some(&none),
            more(&["set-cookie", "x-key", "x-kept", "forwarded"]),
        ),
        (
            with(identity(), &header_key()),
            Some(&key),
            more(&["x-kept", "forwarded"]),
        ),
        (
            forward.clone(),
            None,
            without(&["authorization", "x-api-key"]),
        ),
        (
            with(forward.clone(), &header_key()),
            None,
            without(&["x-key"]),
        ),
        (with(forward, &anonymous()), None, without(&[])),
    ];
    for (route, key, want) in cases {
        let sent = sent_with(route.clone(), key, &head, 0);
        assert_eq!(names(&sent), want, "{route}");
    }
}

#[test]
fn a_gateway_key_is_relayed_from_no_place_and_in_no_mode() {
    let places = "authorization: Bearer gw-key\r\nx-api-key: gw-key\r\napi-key: gw-key\r\n\
                  x-goog-api-key: gw-key\r\nauthorization: Bearer theirs\r\n";
    let head = head("GET /r", places);
    let anonymous =
        json!({"auth_mode": "anonymous", "anonymous_key_id": "a", "source_cidrs": ["::/0"]});
    let header_key = json!({"auth_mode": "header_key", "auth_header_name": "x-key"});
    for mode in [anonymous, header_key] {
        let sent = sent_with(with(FORWARD(), &mode), None, &head, 0);
        assert!(!sent.contains("gw-key"), "{mode}: {sent}");
        assert!(
            sent.contains("authorization: Bearer theirs"),
            "{mode}: {sent}"
        );
    }
    let sent = sent_with(FORWARD(), None, &head, 0);
    assert_eq!(names(&sent), ["host", "x-sluice-request-id"]);
}

#[test]
fn lengths_are_announced_where_a_body_is_or_could_be() {
    let key = provider_key(json!({}));
    let cases = [
        ("GET /r", "", 0, false),
        ("DELETE /r", "", 0, false),
        ("HEAD /r", "", 0, false),
        ("POST /r", "", 0, true),
        ("PUT /r", "", 0, true),
        ("PATCH /r", "", 0, true),
        ("DELETE /r", "content-length: 0\r\n", 0, true),
        ("GET /r", "transfer-encoding: chunked\r\n", 3, true),
        ("QUERY /r", "content-length: 3\r\n", 3, true),
    ];
    for (line, fields, body, want) in cases {
        let sent = sent_with(json!({}), Some(&key), &head(line, fields), body);
        let line_of = format!("content-length: {body}\r\n");
        assert_eq!(sent.contains(&line_of), want, "{line} {fields}");
        assert!(!sent.contains("transfer-encoding"), "{sent}");
    }
}

#[test]
fn responses_lose_what_is_for_one_hop_and_what_is_about_the_gateways_credential() {
    let text = "HTTP/1.1 418 x\r\nServer: up\r\ndate: now\r\nconnection: close, x-hop\r\nX-Hop: 1\r\n\
        keep-alive: 1\r\nproxy-authenticate: 1\r\nproxy-authorization: 1\r\nte: 1\r\ntrailers: 1\r\n\
        trailer: 1\r\nupgrade: 1\r\ntransfer-encoding: chunked\r\nX-Sluice-Request-Id: 1\r\nset-cookie: a\r\n\
        Set-Cookie: b\r\nalt-svc: h3\r\nX-Kept: 1\r\nContent-Type: text/plain\r\nretry-after: 3\r\n\r\n";
    let parsed = parse_response(text.as_bytes(), &Method::Get, &Limits::default());
    let head = parsed.unwrap().unwrap().0;
    let kept = "X-Kept: 1\r\nContent-Type: text/plain\r\nretry-after: 3\r\n";
    let mut out = Vec::new();
    write_response(&head, true, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), kept);
    let mut out = Vec::new();
    write_response(&head, false, &mut out);
    let cookies = "set-cookie: a\r\nSet-Cookie: b\r\nalt-svc: h3\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), format!("{cookies}{kept}"));
}
