//! Who may call what: keys, their lists, addresses.

use std::net::SocketAddr;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::on_both_engines;
use crate::support::gateway::{CALLER_KEY, chat};
use crate::support::{Engine, Gateway, Response, Setup, mock, upstream_requests};

const CHAT: &str = "/v1/chat/completions";

/// Sends a request with these header lines, each ended by CRLF, and none other of its caller.
fn call(gateway: &Gateway, (method, path, body): &(&str, &str, Value), fields: &str) -> Response {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let mut raw = gateway.connect();
    raw.send(
        format!(
            "{method} {path} HTTP/1.1\r\nhost: g\r\n{fields}content-length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    );
    if *method == "HEAD" {
        raw.head()
    } else {
        raw.response()
    }
}

fn ask(gateway: &Gateway, model: &str, fields: &str) -> Response {
    call(gateway, &("POST", CHAT, chat(model, false)), fields)
}

fn bearer(key: &str) -> String {
    format!("authorization: Bearer {key}\r\n")
}

/// A caller key for all models unless `more` says otherwise.
fn key(plaintext: &str, more: &Value) -> Value {
    let digest = Sha256::digest(plaintext.as_bytes());
    let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut key = json!({"key_hash": hash, "display_name": plaintext, "allowed_models": ["*"]});
    key.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    key
}

fn start(engine: Engine, keys: Vec<Value>) -> (Gateway, SocketAddr) {
    let mock = mock();
    let mut setup = Setup::new(engine, mock);
    setup.resources["api_keys"]
        .as_array_mut()
        .unwrap()
        .extend(keys);
    (setup.start(), mock)
}

fn assert_denied(answer: &Response, code: &str, message: &str, what: &str) {
    assert_eq!(answer.status, 401, "{what}");
    let error = answer.error();
    assert_eq!(error["type"], "invalid_api_key", "{what}: {error}");
    assert_eq!(error["code"], code, "{what}: {error}");
    assert_eq!(error["message"], message, "{what}: {error}");
}

const MISSING: &str = "missing or malformed Authorization header";
const UNKNOWN: &str = "invalid API key";

on_both_engines! {
    fn a_key_is_a_bearer_token_or_an_api_key(engine) {
        let (gateway, mock) = start(engine, Vec::new());
        let good = [
            format!("authorization: Bearer {CALLER_KEY}\r\n"),
            format!("Authorization: bearer {CALLER_KEY}\r\n"),
            format!("AUTHORIZATION: BEARER    {CALLER_KEY}  \r\n"),
            format!("x-api-key: {CALLER_KEY}\r\n"),
            format!("X-API-Key:  {CALLER_KEY} \r\n"),
            // The bearer token decides.
            format!("x-api-key: sk-nobody\r\nauthorization: Bearer {CALLER_KEY}\r\n"),
        ];
        for fields in &good {
            assert_eq!(ask(&gateway, "m", fields).status, 200, "{fields}");
        }
        let malformed = [
            String::new(),
            "x-api-key: \r\n".into(),
            format!("authorization: {CALLER_KEY}\r\n"),
            format!("authorization: Bearer{CALLER_KEY}\r\n"),
            "authorization: Bearer\r\n".into(),
            "authorization: Bearer  \r\n".into(),
            // A broken bearer token is not made up for.
            format!("authorization: Basic c2s=\r\nx-api-key: {CALLER_KEY}\r\n"),
            format!("authorization: \r\nx-api-key: {CALLER_KEY}\r\n"),
            // Which one counts would be a guess.
            format!("authorization: Bearer {CALLER_KEY}\r\nauthorization: Bearer {CALLER_KEY}\r\n"),
            format!("x-api-key: {CALLER_KEY}\r\nx-api-key: {CALLER_KEY}\r\n"),
            format!("proxy-authorization: Bearer {CALLER_KEY}\r\n"),
            format!("api-key: {CALLER_KEY}\r\n"),
            format!("cookie: key={CALLER_KEY}\r\n"),
        ];
        for fields in &malformed {
            assert_denied(&ask(&gateway, "m", fields), "invalid_api_key", MISSING, fields);
        }
        let unknown = [
            bearer("sk-nobody"),
            bearer(&CALLER_KEY.to_uppercase()),
            bearer(&format!("{CALLER_KEY}x")),
            bearer(&format!("Bearer {CALLER_KEY}")),
            bearer(&CALLER_KEY[..CALLER_KEY.len() - 1]),
            format!("x-api-key: Bearer {CALLER_KEY}\r\n"),
            format!("authorization: Bearer sk-nobody\r\nx-api-key: {CALLER_KEY}\r\n"),
            "authorization: Bearer \u{e9}\r\n".into(),
        ];
        for fields in &unknown {
            assert_denied(&ask(&gateway, "m", fields), "invalid_api_key", UNKNOWN, fields);
        }
        // In the query it is no key.
        let in_query = format!("{CHAT}?api_key={CALLER_KEY}&key={CALLER_KEY}");
        let answer = call(&gateway, &("POST", &in_query, chat("m", false)), "");
        assert_denied(&answer, "invalid_api_key", MISSING, "query");
        assert_eq!(upstream_requests(mock).len(), good.len());
    }

    fn disabled_and_expired_keys_are_told_so(engine) {
        let (gateway, mock) = start(engine, vec![
            key("off", &json!({"disabled": true})),
            key("old", &json!({"expires_at": "2020-01-01T00:00:00Z"})),
            key("off-and-old", &json!({"disabled": true, "expires_at": "2020-01-01T00:00:00Z"})),
            key("young", &json!({"expires_at": "2999-01-01T00:00:00+02:00"})),
            key("on", &json!({"disabled": false})),
        ]);
        for fields in [bearer, |key: &str| format!("x-api-key: {key}\r\n")] {
            assert_denied(&ask(&gateway, "m", &fields("off")), "api_key_disabled", "key is disabled", "off");
            assert_denied(&ask(&gateway, "m", &fields("old")), "api_key_expired", "key has expired", "old");
            assert_denied(&ask(&gateway, "m", &fields("off-and-old")), "api_key_disabled", "key is disabled", "both");
            assert_eq!(ask(&gateway, "m", &fields("young")).status, 200);
            assert_eq!(ask(&gateway, "m", &fields("on")).status, 200);
        }
        assert_eq!(upstream_requests(mock).len(), 4);
    }

    fn a_key_may_use_the_models_on_its_list_and_no_others(engine) {
        let (gateway, mock) = start(engine, vec![
            key("none", &json!({"allowed_models": []})),
            key("one", &json!({"allowed_models": ["m"]})),
            key("glob", &json!({"allowed_models": ["o*r", "script/events=*"]})),
            key("all", &json!({})),
        ]);
        // (key, model, whether it may, whether there is such a model)
        for (key, model, status) in [
            ("none", "m", 403),
            ("one", "m", 200),
            ("one", "other", 403),
            ("one", "script/n=1", 403),
            ("glob", "other", 200),
            ("glob", "m", 403),
            ("glob", "script/events=3", 200),
            ("glob", "script/n=1", 403),
            ("all", "m", 200),
            ("all", "embed", 200),
            ("all", "script/n=1", 200),
            ("all", "M", 404),
            ("all", "m ", 404),
            ("all", "gpt-up", 404),
            ("all", "nope\"\\\n", 404),
            ("none", "nope", 404),
        ] {
            let answer = ask(&gateway, model, &bearer(key));
            assert_eq!(answer.status, status, "{key} {model}: {}", answer.text());
            let (kind, message) = match status {
                403 => ("permission_denied", format!("this API key may not use model \"{model}\"")),
                404 => ("model_not_found", format!("model \"{model}\" not found")),
                _ => continue,
            };
            let error = answer.error();
            assert_eq!((&error["type"], &error["code"]), (&json!(kind), &json!(kind)), "{key} {model}");
            assert_eq!(error["message"], message, "{key} {model}");
            assert_eq!(error["param"], "model", "{key} {model}");
        }
        assert_eq!(upstream_requests(mock).len(), 6);
        // The other endpoints ask the same list.
        for (path, body) in [
            ("/v1/completions", json!({"model": "other", "prompt": "x"})),
            ("/v1/embeddings", json!({"model": "other", "input": "x"})),
        ] {
            assert_eq!(call(&gateway, &("POST", path, body), &bearer("one")).status, 403, "{path}");
        }
        for (key, want) in [("none", vec![]), ("one", vec!["m"]), ("all", vec!["embed", "m", "other"])] {
            let list = call(&gateway, &("GET", "/v1/models", Value::Null), &bearer(key)).json();
            let ids: Vec<&str> = list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
            assert_eq!(ids, want, "{key}");
        }
    }

    fn a_model_may_be_for_some_addresses_only(engine) {
        let mock = mock();
        let mut setup = Setup::new(engine, mock)
            .with("proxy.real_ip.trusted_proxies", json!(["127.0.0.0/8"]))
            .with("proxy.real_ip.recursive", true);
        setup.resources["models"][0]["allowed_cidrs"] = json!(["10.1.0.0/16", "192.0.2.7/32", "2001:db8::/32"]);
        let gateway = setup.start();
        let from = |forwarded: &str| ask(&gateway, "m", &format!("{}{forwarded}", bearer(CALLER_KEY)));
        let cases = [
            ("", 403, "127.0.0.1"),
            ("x-forwarded-for: 10.1.2.3\r\n", 200, "10.1.2.3"),
            ("X-Forwarded-For: 10.1.2.3:4444\r\n", 200, "10.1.2.3"),
            ("x-forwarded-for: 192.0.2.7\r\n", 200, "192.0.2.7"),
            ("x-forwarded-for: [2001:db8::1]:443\r\n", 200, "2001:db8::1"),
            ("x-forwarded-for: ::ffff:10.1.2.3\r\n", 200, "10.1.2.3"),
            ("x-forwarded-for: 10.2.0.1\r\n", 403, "10.2.0.1"),
            ("x-forwarded-for: 192.0.2.8\r\n", 403, "192.0.2.8"),
            // What the client itself put in front does not count.
            ("x-forwarded-for: 10.1.2.3, 203.0.113.9\r\n", 403, "203.0.113.9"),
            ("x-forwarded-for: 10.1.2.3\r\nx-forwarded-for: 203.0.113.9\r\n", 403, "203.0.113.9"),
            // Trusted hops on the right are stepped over.
            ("x-forwarded-for: 203.0.113.9, 10.1.2.3, 127.0.0.2\r\n", 200, "10.1.2.3"),
            ("x-real-ip: 10.1.2.3\r\nforwarded: for=10.1.2.3\r\n", 403, "127.0.0.1"),
            ("x-forwarded-for: 10.1.2.3, unknown\r\n", 403, "127.0.0.1"),
        ];
        for (round, (fields, status, address)) in cases.iter().enumerate() {
            let answer = from(fields);
            assert_eq!(answer.status, *status, "{fields}: {}", answer.text());
            if *status == 403 {
                let error = answer.error();
                assert_eq!((&error["type"], &error["code"]), (&json!("permission_denied"), &json!("ip_restricted")));
                assert!(!answer.text().contains("10.1"), "the list stays unnamed: {}", answer.text());
            }
            let line = gateway.access_lines(round + 1)[round].clone();
            assert_eq!(line["client_ip"], *address, "{fields}");
        }
        // Other models have no list.
        assert_eq!(ask(&gateway, "embed", &bearer(CALLER_KEY)).status, 200);
        let allowed = cases.iter().filter(|(_, status, _)| *status == 200).count();
        assert_eq!(upstream_requests(mock).len(), allowed + 1);
    }

    fn an_address_is_not_taken_from_a_peer_nobody_trusts(engine) {
        let mut setup = Setup::new(engine, mock());
        setup.resources["models"][0]["allowed_cidrs"] = json!(["10.1.0.0/16"]);
        setup.resources["models"][1]["allowed_cidrs"] = json!(["127.0.0.1"]);
        setup.resources["api_keys"][0]["allowed_models"] = json!(["*"]);
        let gateway = setup.start();
        let fields = format!("{}x-forwarded-for: 10.1.2.3\r\n", bearer(CALLER_KEY));
        assert_eq!(ask(&gateway, "m", &fields).status, 403);
        assert_eq!(ask(&gateway, "other", &fields).status, 200);
        let lines = gateway.access_lines(2);
        assert!(lines.iter().all(|line| line["client_ip"] == "127.0.0.1"), "{lines:?}");
    }

    fn denials_are_counted_and_logged_without_the_key(engine) {
        let (gateway, _) = start(engine, vec![key("off-canary-1", &json!({"disabled": true}))]);
        for fields in [bearer("canary-2"), bearer("off-canary-1"), "authorization: canary-3\r\n".into(), String::new()] {
            assert_eq!(ask(&gateway, "m", &fields).status, 401);
        }
        let lines = gateway.access_lines(4);
        for line in &lines {
            assert_eq!((&line["status"], &line["error_kind"]), (&json!(401), &json!("invalid_api_key")));
        }
        let log = format!("{lines:?}{}", gateway.stderr());
        assert!(!log.contains("canary-2") && !log.contains("canary-3"), "{log}");
        let page = gateway.status_page("/metrics").text().to_owned();
        let denied: f64 = page
            .lines()
            .filter(|line| !line.starts_with('#') && line.contains("denied"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum();
        assert_eq!(denied, 4.0, "{page}");
    }
}
