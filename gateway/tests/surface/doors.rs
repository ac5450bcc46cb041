//! Every route there is: who is let in, and whose limit is used up.
//!
//! The typed routes are those of the router's own table, the passthrough routes those of the resources
//! file: what is added to either is asked here too, or does not compile.

use gateway::endpoint::{Endpoint, ROUTES, Served};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::on_both_engines;
use crate::support::gateway::{CALLER_KEY, chat};
use crate::support::{Engine, Gateway, Response, Setup, mock, upstream_requests, wait_for};

/// A key whose one request a day is made.
const SPENT_KEY: &str = "sk-spent-canary-1";
/// A key that is switched off.
const OFF_KEY: &str = "sk-off-canary-2";

/// What stands at a door.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Door {
    /// Nothing: anybody comes in.
    Open,
    /// A key; the route counts against no limit.
    Key,
    /// A key, and its limits.
    KeyAndLimits,
    /// No key, but the limits of the one that the route names.
    Limits,
}

/// A request that a good key would get an answer for, without its credential.
#[derive(Clone, Debug)]
struct Call {
    method: &'static str,
    path: String,
    host: String,
    body: Value,
    door: Door,
    /// The header that the key stands in; `authorization` as a bearer token.
    key_header: String,
}

impl Call {
    fn typed(method: &'static str, path: &str, body: Value, door: Door) -> Self {
        Self {
            method,
            path: path.to_owned(),
            host: "gateway".to_owned(),
            body,
            door,
            key_header: "authorization".to_owned(),
        }
    }

    /// The header line of `key`.
    fn with(&self, key: &str) -> String {
        match &*self.key_header {
            "authorization" => format!("authorization: Bearer {key}\r\n"),
            other => format!("{other}: {key}\r\n"),
        }
    }

    /// The answer with these header lines.
    fn ask(&self, gateway: &Gateway, lines: &str) -> Response {
        let Self {
            method,
            path,
            host,
            body,
            ..
        } = self;
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\n{lines}content-length: {length}\r\n\r\n"
        );
        let mut raw = gateway.connect();
        raw.send(head.as_bytes());
        raw.send(body.as_bytes());
        match *method {
            "HEAD" => raw.head(),
            _ => raw.response(),
        }
    }
}

/// The calls of one typed route. Without a default: a new endpoint says here what it lets in.
fn typed(served: &Served) -> Vec<Call> {
    let path = served.path;
    let post = |bodies: Vec<Value>| -> Vec<Call> {
        let call = |body| Call::typed("POST", path, body, Door::KeyAndLimits);
        bodies.into_iter().map(call).collect()
    };
    let read = |path: &str, door| -> Vec<Call> {
        let call = |method| Call::typed(method, path, Value::Null, door);
        ["GET", "HEAD"].into_iter().map(call).collect()
    };
    let said = json!([{"role": "user", "content": "Hello"}]);
    let both = |one: Value| {
        let mut stream = one.clone();
        stream["stream"] = json!(true);
        vec![one, stream]
    };
    match served.endpoint {
        Endpoint::ChatCompletions => post(vec![chat("m", false), chat("m", true)]),
        Endpoint::Completions => post(both(json!({"model": "m", "prompt": "x"}))),
        Endpoint::Embeddings => post(vec![json!({"model": "m", "input": "x"})]),
        Endpoint::Messages => post(both(
            json!({"model": "m", "max_tokens": 9, "messages": said}),
        )),
        Endpoint::CountTokens => post(vec![json!({"model": "m", "messages": said})]),
        Endpoint::Responses => post(both(json!({"model": "m", "input": "x"}))),
        Endpoint::Models => read(path, Door::Key),
        Endpoint::Model => read(&format!("{path}m"), Door::Key),
        Endpoint::Livez | Endpoint::Readyz => read(path, Door::Open),
    }
}

/// Passthrough routes of each kind: by path, by host, by both; each way to be known.
fn passages(upstream: &str) -> Value {
    let route = |name: &str, extra: Value| {
        let mut route = json!({"name": name, "target_url": format!("http://{upstream}"),
            "provider_key": "up"});
        let extra = extra.as_object().unwrap().clone();
        route.as_object_mut().unwrap().extend(extra);
        route
    };
    let theirs = json!({"path_prefix": "/theirs", "credential_mode": "forward_client",
        "provider_key": null, "auth_mode": "header_key", "auth_header_name": "x-team-key"});
    let mut theirs = route("theirs", theirs);
    theirs
        .as_object_mut()
        .unwrap()
        .retain(|_, value| !value.is_null());
    json!([
        route("by-path", json!({"path_prefix": "/by-path"})),
        route("by-host", json!({"hosts": ["by-host.example"]})),
        route(
            "by-both",
            json!({"hosts": ["by-both.example"], "path_prefix": "/p"})
        ),
        route("by-pattern", json!({"hosts": ["*.wild.example"]})),
        route(
            "own-header",
            json!({"path_prefix": "/own-header", "auth_mode": "header_key",
            "auth_header_name": "x-team-key"})
        ),
        route(
            "host-header",
            json!({"hosts": ["host-header.example"], "auth_mode": "header_key",
            "auth_header_name": "x-team-key"})
        ),
        theirs,
        route(
            "nobody",
            json!({"path_prefix": "/nobody", "auth_mode": "anonymous",
            "anonymous_key": "spent", "source_cidrs": ["127.0.0.0/8"]})
        ),
    ])
}

/// The calls of one passthrough route of the resources file: one by path or host, with each method.
fn relayed(route: &Value) -> Vec<Call> {
    let text = |key: &str| route[key].as_str();
    let host = route["hosts"][0].as_str().unwrap_or("gateway");
    let call = |method| Call {
        method,
        path: format!("{}/v1/embeddings", text("path_prefix").unwrap_or_default()),
        host: host.replace('*', "some"),
        body: json!({"model": "x", "input": "x"}),
        door: match text("auth_mode") {
            Some("anonymous") => Door::Limits,
            _ => Door::KeyAndLimits,
        },
        key_header: text("auth_header_name")
            .unwrap_or("authorization")
            .to_owned(),
    };
    ["POST", "PUT"].into_iter().map(call).collect()
}

fn key(name: &str, plaintext: &str, extra: &Value) -> Value {
    let digest = Sha256::digest(plaintext.as_bytes());
    let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut key = json!({"key_hash": hash, "display_name": name, "allowed_models": ["*"],
        "allowed_routes": ["*"]});
    let extra = extra.as_object().unwrap().clone();
    key.as_object_mut().unwrap().extend(extra);
    key
}

/// The gateway, the upstream, and every call that there is.
fn start(engine: Engine) -> (Gateway, std::net::SocketAddr, Vec<Call>) {
    let upstream = mock();
    let mut calls: Vec<Call> = ROUTES.iter().flat_map(typed).collect();
    let setup = Setup::new(engine, upstream).resources(|file| {
        file["passthrough_routes"] = passages(&upstream.to_string());
        let routes = file["passthrough_routes"].as_array().unwrap().clone();
        calls.extend(routes.iter().flat_map(relayed));
        file["api_keys"][0]["allowed_routes"] = json!(["*"]);
        let keys = file["api_keys"].as_array_mut().unwrap();
        keys.push(key("spent", SPENT_KEY, &json!({"rate_limit": {"rpd": 1}})));
        keys.push(key("off", OFF_KEY, &json!({"disabled": true})));
    });
    (setup.start_ready(), upstream, calls)
}

on_both_engines! {
    fn no_route_lets_a_stranger_in(engine) {
        let (gateway, upstream, calls) = start(engine);
        for call in &calls {
            let strangers = [
                String::new(),
                call.with("sk-nobody"),
                call.with(OFF_KEY),
                format!("cookie: key={CALLER_KEY}\r\nproxy-authorization: Bearer {CALLER_KEY}\r\n"),
                format!("x-other: {CALLER_KEY}\r\n"),
            ];
            for lines in &strangers {
                let status = call.ask(&gateway, lines).status;
                match call.door {
                    Door::Open => assert_eq!(status, 200, "{call:?}"),
                    // Its key was not used up so far.
                    Door::Limits => {}
                    Door::Key | Door::KeyAndLimits => assert_eq!(status, 401, "{call:?} with {lines:?}"),
                }
            }
            if matches!(call.door, Door::Key | Door::KeyAndLimits) {
                let path = format!("{}?key={CALLER_KEY}&api_key={CALLER_KEY}", call.path);
                let in_query = Call { path, ..call.clone() };
                assert_eq!(in_query.ask(&gateway, "").status, 401, "{in_query:?}");
            }
        }
        let asked = upstream_requests(upstream);
        assert!(asked.len() <= 1, "nobody unknown reaches an upstream: {asked:?}");
        for call in &calls {
            if call.door == Door::Limits || (call.method == "PUT") {
                continue;
            }
            let answer = call.ask(&gateway, &call.with(CALLER_KEY));
            assert_eq!(answer.status, 200, "{call:?}: {}", answer.text());
        }
        // What is nobody's door.
        for (path, status) in [("/nowhere", 404), ("/passthrough/x", 410)] {
            let call = Call::typed("GET", path, Value::Null, Door::Open);
            assert_eq!(call.ask(&gateway, "").status, status, "{path}");
        }
    }

    fn no_route_serves_a_key_whose_limit_is_used_up(engine) {
        let (gateway, upstream, calls) = start(engine);
        let first = Call::typed("POST", "/v1/embeddings", json!({"model": "m", "input": "x"}), Door::KeyAndLimits);
        assert_eq!(first.ask(&gateway, &first.with(SPENT_KEY)).status, 200);
        let mut refused = 0.0;
        for call in &calls {
            let answer = call.ask(&gateway, &call.with(SPENT_KEY));
            if matches!(call.door, Door::Open | Door::Key) {
                assert_eq!(answer.status, 200, "{call:?}");
                continue;
            }
            refused += 1.0;
            assert_eq!(answer.status, 429, "{call:?}: {}", answer.text());
            let error = answer.json()["error"].clone();
            let kind = error["type"].as_str().unwrap();
            assert!(["rate_limit_exceeded", "rate_limit_error"].contains(&kind), "{call:?}: {error}");
            let message = error["message"].as_str().unwrap();
            assert!(message.contains("request limit exceeded (requests)"), "{call:?}: {error}");
            let retry_after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=86_400).contains(&retry_after), "{call:?}");
            assert_eq!(answer.header("x-ratelimit-limit-requests"), Some("1"), "{call:?}");
            assert_eq!(answer.header("x-ratelimit-remaining-requests"), Some("0"), "{call:?}");
        }
        assert_eq!(upstream_requests(upstream).len(), 1);
        let labels = ["scope=\"requests\"", "layer=\"api_key\""];
        // A caller has its answer before it is counted.
        wait_for(&format!("{refused} refusals to be counted"), || {
            let counted = gateway.metric("sluice_ratelimit_rejections_total", &labels);
            assert!(counted <= refused, "{counted}");
            (counted == refused).then_some(())
        });
    }
}
