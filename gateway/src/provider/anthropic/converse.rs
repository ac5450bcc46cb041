//! A conversation as a Messages request. [pure]

mod blocks;
mod messages;
mod params;
mod tools;

#[cfg(test)]
mod tests;

use super::request::{VERSION, Versions, send};
use crate::canonical::Conversation;
use crate::json::{Edits, text};
use crate::provider::Outbound;
use crate::rejection::Rejection;

/// Room made for a body, so that few allocations do; longer ones just grow.
const BODY_BYTES_TYPICAL: usize = 4096;

/// Appends the complete request to `out`. Where it fails, `out` is as before.
///
/// # Errors
///
/// As [`crate::provider::Adapter::converse`].
pub(super) fn write(
    outbound: &Outbound<'_>,
    conversation: &Conversation<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Rejection> {
    let mut body = Vec::with_capacity(BODY_BYTES_TYPICAL);
    body.extend_from_slice(b"{\"model\":");
    string(&outbound.route.upstream_model, &mut body);
    let budget = params::thinking_budget(conversation);
    params::write_max_tokens(conversation, budget, &mut body);
    messages::write(&conversation.turns, &mut body)?;
    tools::write(conversation, budget.is_some(), &mut body);
    params::write(conversation, budget, &mut body)?;
    body.push(b'}');
    // The caller speaks another protocol: it chooses neither the version nor beta flags of this one.
    let versions = Versions {
        version: VERSION,
        betas: Vec::new(),
    };
    send(outbound, &versions, (&body, Edits::default()), out)
}

/// Appends `text` as a JSON string.
fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    text::write_escaped(text, out);
    out.push(b'"');
}

/// Begins a further member of an object.
fn member(name: &str, out: &mut Vec<u8>) {
    out.push(b',');
    string(name, out);
    out.push(b':');
}

/// Appends a further member whose value is JSON text.
fn raw_member(name: &str, json: &str, out: &mut Vec<u8>) {
    member(name, out);
    out.extend_from_slice(json.as_bytes());
}

/// Whether a text is empty or whitespace, which no block may be.
fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}
