//! Messages requests and answers, as clients write and read them. [pure]

#[path = "../../../../tests/support/validate/messages.rs"]
#[allow(unreachable_pub, reason = "shared with the black-box tests")]
mod validate;

mod answers;
mod broken;
mod requests;

use super::*;
use crate::endpoint::{Endpoint, parse};

const SEED: Seed = Seed {
    created_unix_s: 0,
    hex: *b"0123456789abcdef0123456789abcdef",
};

fn call(body: &str) -> Call {
    parse(Endpoint::Messages, body.as_bytes()).unwrap()
}

/// What shows the answer to a request with these members beside the required ones.
fn renderer(more: &str) -> Box<dyn Renderer> {
    let body = format!(r#"{{"model":"team","messages":[{{"role":"user","content":"x"}}]{more}}}"#);
    open(&call(&body), body.as_bytes(), SEED).unwrap().1
}
