//! Requests read, answers and streams rendered. [pure]

mod broken;
mod render;
mod request;
#[path = "../../../tests/support/validate/responses.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the black-box tests")]
mod validate;

use serde_json::Value;

use super::open;
use crate::canonical::{Conversation, Renderer};
use crate::dialect::{Dialect, Seed};
use crate::endpoint::{Endpoint, parse};
use crate::rejection::Rejection;

const SEED: Seed = Seed {
    created_unix_s: 1_767_000_000,
    hex: *b"0123456789abcdef0123456789abcdef",
};

type Opened<'b> = (Conversation<'b>, Box<dyn Renderer>);

fn opened(body: &str) -> Result<Opened<'_>, Rejection> {
    let call = parse(Endpoint::Responses, body.as_bytes())?;
    open(&call, body.as_bytes(), SEED)
}

fn renderer(body: &str) -> Box<dyn Renderer> {
    opened(body).unwrap().1
}

/// The message and `param` of a refusal.
fn refused(body: &str) -> (String, String) {
    let rejection = opened(body).map(|_| ()).unwrap_err();
    assert_eq!(rejection.status(), 400, "{body}");
    let mut out = Vec::new();
    rejection.write_envelope(Dialect::Responses, "r", &mut out);
    let envelope: Value = serde_json::from_slice(&out).unwrap();
    let text = |member: &str| envelope["error"][member].as_str().unwrap_or("").to_owned();
    let message = text("message");
    let problem = message.strip_prefix("request payload is invalid: ");
    (problem.unwrap_or(&message).to_owned(), text("param"))
}
