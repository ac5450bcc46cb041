//! Who may use a route, and whose credential the upstream sees.

use serde_json::{Value, json};

use super::{LOCKED_OUT_KEY, and, ask, ask_known, bearer, forward_client, route, setup};
use crate::on_both_engines;
use crate::support::Scripted;
use crate::support::gateway::{CALLER_KEY, UPSTREAM_KEY};

fn header_key() -> Value {
    json!({"auth_mode": "header_key", "auth_header_name": "x-team-key"})
}

fn anonymous() -> Value {
    json!({"auth_mode": "anonymous", "anonymous_key": "caller", "source_cidrs": ["127.0.0.0/8"]})
}

const THEIRS: &str = "sk-their-own-canary-31d0";

on_both_engines! {
    fn each_way_to_be_known_meets_each_credential(engine) {
        let upstream = Scripted::plain();
        let addr = upstream.addr();
        let gateway = setup(engine, &upstream, vec![
            route("gk", addr, json!({})),
            route("gk-fwd", addr, forward_client()),
            route("hk", addr, header_key()),
            route("hk-fwd", addr, and(forward_client(), header_key())),
            route("an", addr, anonymous()),
            route("an-fwd", addr, and(forward_client(), anonymous())),
        ]).start_ready();
        let known = bearer(CALLER_KEY);
        let theirs = bearer(THEIRS);
        let in_header = |value: &str| format!("x-team-key: {value}\r\n");
        // Path, headers; status, values of authorization upstream.
        let cases: [(&str, String, u16, &[&str]); 21] = [
            ("/gk/x", known.clone(), 200, &["up"]),
            ("/gk/x", format!("authorization: bearer {CALLER_KEY}\r\n"), 200, &["up"]),
            ("/gk/x", format!("x-api-key: {CALLER_KEY}\r\n"), 200, &["up"]),
            ("/gk/x", String::new(), 401, &[]),
            ("/gk/x", theirs.clone(), 401, &[]),
            ("/gk/x", in_header(CALLER_KEY), 401, &[]),
            ("/gk/x", bearer(LOCKED_OUT_KEY), 403, &[]),
            ("/gk-fwd/x", known.clone(), 200, &[]),
            ("/gk-fwd/x", theirs.clone(), 401, &[]),
            ("/hk/x", in_header(CALLER_KEY), 200, &["up"]),
            ("/hk/x", in_header(&format!("Bearer {CALLER_KEY}")), 200, &["up"]),
            ("/hk/x", format!("{}{theirs}", in_header(CALLER_KEY)), 200, &["up"]),
            ("/hk/x", known.clone(), 401, &[]),
            ("/hk/x", in_header("wrong"), 401, &[]),
            ("/hk/x", in_header(LOCKED_OUT_KEY), 403, &[]),
            ("/hk-fwd/x", format!("{}{theirs}", in_header(CALLER_KEY)), 200, &["theirs"]),
            ("/hk-fwd/x", theirs.clone(), 401, &[]),
            ("/an/x", String::new(), 200, &["up"]),
            ("/an/x", theirs.clone(), 200, &["up"]),
            ("/an-fwd/x", theirs.clone(), 200, &["theirs"]),
            ("/an-fwd/x", known, 200, &[]),
        ];
        for (path, headers, status, credentials) in cases {
            let before = upstream.asked().len();
            let answer = ask(&gateway, &format!("POST {path}"), &headers, b"x");
            assert_eq!(answer.status, status, "{path} {headers}");
            if status != 200 {
                assert_eq!(upstream.asked().len(), before, "{path}: nothing was sent");
                let kind = if status == 401 { "invalid_api_key" } else { "permission_denied" };
                assert_eq!(answer.error()["type"], kind);
                continue;
            }
            assert_eq!(answer.text(), "fine", "{path}");
            let asked = upstream.last();
            let want: Vec<String> = credentials.iter().map(|whose| match *whose {
                "up" => format!("Bearer {UPSTREAM_KEY}"),
                _ => format!("Bearer {THEIRS}"),
            }).collect();
            assert_eq!(asked.values("authorization"), want, "{path} {headers}");
            assert!(!asked.holds(CALLER_KEY), "{path}: {}", asked.head);
            assert!(asked.values("x-team-key").is_empty(), "{path}");
        }
        let named = ask(&gateway, "GET /hk", "", b"");
        assert!(named.error()["message"].as_str().unwrap().contains("x-team-key"));
        let refused = ask(&gateway, "GET /gk", &bearer(LOCKED_OUT_KEY), b"");
        assert!(refused.error()["message"].as_str().unwrap().contains("\"gk\""));
        for (method, result, reason, count) in [
            ("api_key", "denied", "unknown_key", 3.0),
            ("none", "denied", "missing_credentials", 5.0),
            ("anonymous", "allowed", "none", 4.0),
        ] {
            let labels = [method, result, reason].map(|value| format!("=\"{value}\""));
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            let found = gateway.metric("sluice_auth_decisions_total", &labels);
            assert_eq!(found, count, "{method} {reason}");
        }
    }

    fn addresses_and_keys_that_are_gone_are_refused_in_order(engine) {
        let upstream = Scripted::plain();
        let addr = upstream.addr();
        let elsewhere = json!({"source_cidrs": ["10.0.0.0/8"]});
        let gateway = setup(engine, &upstream, vec![
            route("far", addr, elsewhere.clone()),
            route("far-an", addr, and(anonymous(), elsewhere)),
            route("near", addr, json!({"source_cidrs": ["127.0.0.1"]})),
            route("dead", addr, and(anonymous(), json!({"anonymous_key": "retired"}))),
            route("no-header", addr, json!({"provider_key": "odd"})),
        ]).resources(|resources| {
            let retired = json!({"display_name": "retired", "key_env": "CALLER_KEY_2",
                "allowed_models": [], "allowed_routes": ["*"], "disabled": true});
            resources["api_keys"].as_array_mut().unwrap().push(retired);
            let odd = json!({"display_name": "odd", "provider": "openai", "api_key": "sk-é"});
            resources["provider_keys"].as_array_mut().unwrap().push(odd);
        });
        let mut gateway = gateway;
        gateway.env.push(("CALLER_KEY_2".to_owned(), "sk-retired".to_owned()));
        let gateway = gateway.start_ready();
        // The address is looked at ahead of the key.
        for headers in [String::new(), bearer(CALLER_KEY)] {
            let answer = ask(&gateway, "GET /far", &headers, b"");
            assert_eq!((answer.status, &answer.error()["code"]), (403, &json!("ip_restricted")));
        }
        assert_eq!(ask(&gateway, "GET /far-an", "", b"").status, 403);
        assert_eq!(ask_known(&gateway, "GET /near", b"").status, 200);
        let dead = ask(&gateway, "GET /dead", "", b"");
        assert_eq!((dead.status, &dead.error()["code"]), (401, &json!("api_key_disabled")));
        let odd = ask_known(&gateway, "GET /no-header", b"");
        assert_eq!((odd.status, &odd.error()["type"]), (400, &json!("invalid_request_error")));
        assert!(!odd.text().contains("sk-é"));
        assert_eq!(upstream.asked().len(), 1);
    }

    fn no_credential_of_a_caller_reaches_the_upstream_or_a_log(engine) {
        let upstream = Scripted::plain();
        let canary = "canary-of-the-caller";
        let gateway = setup(engine, &upstream, vec![
            route("gk", upstream.addr(), json!({"identity_header": "x-identity"})),
        ]).start_ready();
        let headers = format!(
            "x-sluice-request-id: leak\r\n{}x-api-key: {canary}-1\r\napi-key: {canary}-2\r\nX-Goog-Api-Key: {canary}-3\r\n\
             cookie: session={canary}-4\r\nproxy-authorization: Basic {canary}-5\r\n\
             x-amz-security-token: {canary}-6\r\nX-Amz-Date: {canary}-7\r\nx-sluice-routing-key: {canary}-8\r\n\
             connection: x-secret-hop\r\nx-secret-hop: {canary}-9\r\nset-cookie: {canary}-10\r\nx-identity: ann\r\n",
            bearer(CALLER_KEY));
        let query = format!("key={CALLER_KEY}&a=b&token=Bearer%20{CALLER_KEY}&{CALLER_KEY}&c");
        let answer = ask(&gateway, &format!("POST /gk/x?{query}"), &headers, b"body");
        assert_eq!(answer.status, 200);
        let asked = upstream.last();
        assert_eq!(asked.line(), "POST /x?a=b&c HTTP/1.1");
        assert!(!asked.holds(canary) && !asked.holds(CALLER_KEY), "{}", asked.head);
        assert!(!asked.holds("ann"), "{}", asked.head);
        assert_eq!(asked.values("x-sluice-request-id"), ["leak"]);
        assert_eq!(asked.body, b"body");
        let line = gateway.access_line("leak").to_string();
        assert!(line.contains("\"client_identity\":\"ann\""), "{line}");
        for secret in [canary, CALLER_KEY, UPSTREAM_KEY] {
            assert!(!line.contains(secret), "{line}");
            assert!(!gateway.stderr().contains(secret));
            assert!(!format!("{answer:?}").contains(secret));
        }
    }

    fn a_gateway_key_goes_nowhere_on_a_route_that_relays_the_callers_own_credential(engine) {
        let upstream = Scripted::plain();
        let addr = upstream.addr();
        let gateway = setup(engine, &upstream, vec![
            route("gk-fwd", addr, forward_client()),
            route("hk-fwd", addr, and(forward_client(), header_key())),
            route("an-fwd", addr, and(forward_client(), anonymous())),
        ]).start_ready();
        for (path, own, theirs) in [
            // The header of the gateway key; where their own credential may stand beside it.
            ("/gk-fwd", bearer(CALLER_KEY), "api-key"),
            ("/gk-fwd", format!("x-api-key: {CALLER_KEY}\r\n"), "x-goog-api-key"),
            ("/hk-fwd", format!("x-team-key: {CALLER_KEY}\r\n"), "authorization"),
            ("/an-fwd", bearer(CALLER_KEY), "x-api-key"),
        ] {
            let query = format!("key={CALLER_KEY}&own={THEIRS}");
            let headers = format!("{own}{theirs}: {THEIRS}\r\ncookie: session={THEIRS}\r\n\
                proxy-authorization: Basic {THEIRS}\r\n");
            assert_eq!(ask(&gateway, &format!("POST {path}/x?{query}"), &headers, b"x").status, 200, "{path}");
            let asked = upstream.last();
            assert!(!asked.holds(CALLER_KEY), "{path}: {}", asked.head);
            assert_eq!(asked.line(), format!("POST /x?own={THEIRS} HTTP/1.1"), "{path}");
            assert_eq!(asked.values(theirs), [THEIRS], "{path}");
            assert_eq!(asked.values("cookie"), [format!("session={THEIRS}")], "{path}");
            assert!(asked.values("proxy-authorization").is_empty(), "{path}");
        }
    }

    fn anthropic_is_asked_in_its_own_way(engine) {
        let upstream = Scripted::plain();
        let gateway = setup(engine, &upstream, vec![
            route("claude", upstream.addr(), json!({"provider_key": "claude"})),
        ]).resources(|resources| {
            let key = json!({"display_name": "claude", "provider": "anthropic",
                "api_key": "sk-ant-canary", "strip_headers": ["X-Stripped"]});
            resources["provider_keys"].as_array_mut().unwrap().push(key);
        }).start_ready();
        let headers = format!("{}x-stripped: 1\r\nX-Kept: 1\r\nanthropic-beta: b\r\n", bearer(CALLER_KEY));
        assert_eq!(ask(&gateway, "POST /claude/v1/messages", &headers, b"{}").status, 200);
        let asked = upstream.last();
        assert_eq!(asked.line(), "POST /v1/messages HTTP/1.1");
        assert_eq!(asked.values("x-api-key"), ["sk-ant-canary"]);
        assert_eq!(asked.values("anthropic-version"), ["2023-06-01"]);
        assert_eq!(asked.values("anthropic-beta"), ["b"]);
        assert_eq!(asked.values("x-kept"), ["1"]);
        assert!(asked.values("authorization").is_empty() && asked.values("x-stripped").is_empty());
    }
}
