//! The upstream request: head and edited body, ready to be sent. [pure]

#[cfg(test)]
mod tests;

use config_sync::model::api_key::ApiKey;

use super::headers::{self, Sources};
use super::policy::Plan;
use crate::endpoint::Call;
use crate::http::h1::RequestHead;
use crate::json::Edits;
use crate::rejection::Rejection;
use crate::route::Route;

const USER_AGENT: &str = concat!("sluice/", env!("CARGO_PKG_VERSION"));

/// Room made for the head and the edits, so that one allocation does; longer ones just grow.
const HEAD_BYTES_TYPICAL: usize = 768;

/// Who asks, beyond the body.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    pub head: &'a RequestHead,
    pub key: &'a ApiKey,
    pub request_id: &'a str,
}

/// Appends a complete HTTP/1.1 request to `out`. Where it fails, `out` is as before.
///
/// # Errors
///
/// [`Rejection::UpstreamUnusable`] without a base URL, [`Rejection::CredentialUnusable`] for a
/// credential that is no header value. Nothing of the credential is said.
pub fn write(
    route: &Route,
    call: &Call,
    body: &[u8],
    asker: &Asker<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Rejection> {
    let upstream = &route.provider_key;
    let Some(base) = &upstream.base else {
        return Err(Rejection::UpstreamUnusable(
            "the provider key of this model needs an api_base",
        ));
    };
    let credential = upstream.api_key.expose();
    if !is_token_text(credential) {
        return Err(Rejection::CredentialUnusable);
    }
    let plan = Plan::of(&upstream.body, body);
    let mut changes = Edits::default();
    super::body::edits(route, call, &mut changes);
    if let Some(plan) = &plan {
        plan.apply(&mut changes);
    }

    let mut length = itoa::Buffer::new();
    let length = length.format(changes.edited_len(body)).as_bytes();
    out.reserve(body.len() + HEAD_BYTES_TYPICAL);
    for part in ["POST ", &*base.path, call.endpoint.path(), " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    headers::line("host", base.authority.as_bytes(), out);
    headers::line_of("authorization", &[b"Bearer ", credential.as_bytes()], out);
    headers::line("content-type", b"application/json", out);
    if call.stream {
        headers::line("accept", b"text/event-stream", out);
    }
    // Edits are made in the plain text, so it must not come compressed.
    headers::line("accept-encoding", b"identity", out);
    headers::line("x-sluice-request-id", asker.request_id.as_bytes(), out);
    headers::line("user-agent", USER_AGENT.as_bytes(), out);
    headers::line("content-length", length, out);
    let sources = Sources {
        route,
        asker,
        stream: call.stream,
    };
    headers::extra(&sources, out);
    out.extend_from_slice(b"\r\n");
    changes.apply(body, out);
    Ok(())
}

/// Whether a credential may stand in a header: printable, not empty, no blank at its ends.
fn is_token_text(credential: &str) -> bool {
    !credential.is_empty()
        && credential.trim() == credential
        && credential.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}
