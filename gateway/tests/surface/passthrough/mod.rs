//! Passthrough routes: whose requests they relay, how, and what they keep back.

mod callers;
mod failures;
mod matching;
mod relay;

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::gateway::CALLER_KEY;
use crate::support::{Engine, Gateway, Response, Scripted, Setup};

/// A key of a caller that may use no route.
const LOCKED_OUT_KEY: &str = "sk-locked-out-canary-55ab";

/// A route at `/<name>` to the upstream at `addr` with the gateway's credential; members of `extra`
/// replace, and `null` removes.
fn route(name: &str, addr: SocketAddr, extra: Value) -> Value {
    let mut route = json!({"name": name, "path_prefix": format!("/{name}"),
        "target_url": format!("http://{addr}"), "provider_key": "up"});
    let Value::Object(extra) = extra else {
        panic!("documents are objects");
    };
    let members = route.as_object_mut().unwrap();
    members.extend(extra);
    members.retain(|_, value| !value.is_null());
    route
}

/// Members of a route that relays the caller's own credential.
fn forward_client() -> Value {
    json!({"credential_mode": "forward_client", "provider_key": null})
}

/// `one` with the members of `other`.
fn and(mut one: Value, other: Value) -> Value {
    let Value::Object(other) = other else {
        panic!("documents are objects");
    };
    one.as_object_mut().unwrap().extend(other);
    one
}

fn setup(engine: Engine, upstream: &Scripted, routes: Vec<Value>) -> Setup {
    let setup = Setup::new(engine, upstream.addr()).resources(|resources| {
        resources["api_keys"][0]["allowed_routes"] = json!(["*"]);
        let locked_out = json!({"display_name": "locked-out", "key_env": "LOCKED_OUT_KEY",
            "allowed_models": ["*"], "allowed_routes": ["other-*"]});
        let keys = resources["api_keys"].as_array_mut().unwrap();
        keys.push(locked_out);
        resources["passthrough_routes"] = routes.into();
    });
    Setup {
        env: vec![("LOCKED_OUT_KEY".to_owned(), LOCKED_OUT_KEY.to_owned())],
        ..setup
    }
}

/// The answer to a request with these header lines and this body, on a connection of its own.
fn ask(gateway: &Gateway, line: &str, headers: &str, body: &[u8]) -> Response {
    let mut raw = gateway.connect();
    let host = if headers.contains("host:") {
        ""
    } else {
        "host: gateway\r\n"
    };
    let head = format!(
        "{line} HTTP/1.1\r\n{host}{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    raw.send(head.as_bytes());
    raw.send(body);
    raw.response()
}

/// The same with the caller's key.
fn ask_known(gateway: &Gateway, line: &str, body: &[u8]) -> Response {
    ask(gateway, line, &bearer(CALLER_KEY), body)
}

fn bearer(key: &str) -> String {
    format!("authorization: Bearer {key}\r\n")
}
