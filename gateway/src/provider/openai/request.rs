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

// What stands between the parts of a head that differ from call to call. Edits are made in the plain
// text, so an answer must not come compressed.
const AFTER_CREDENTIAL: &str = "\r\ncontent-type: application/json\r\n\
    accept-encoding: identity\r\nx-sluice-request-id: ";
const AFTER_CREDENTIAL_OF_STREAM: &str = "\r\ncontent-type: application/json\r\n\
    accept: text/event-stream\r\naccept-encoding: identity\r\nx-sluice-request-id: ";
const AFTER_ID: &str = concat!(
    "\r\nuser-agent: sluice/",
    env!("CARGO_PKG_VERSION"),
    "\r\ncontent-length: "
);

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
    let length = length.format(changes.edited_len(body));
    out.reserve(body.len() + HEAD_BYTES_TYPICAL);
    for part in [
        "POST ",
        &*base.path,
        call.endpoint.path(),
        " HTTP/1.1\r\nhost: ",
        &*base.authority,
        "\r\nauthorization: Bearer ",
        credential,
        if call.stream {
            AFTER_CREDENTIAL_OF_STREAM
        } else {
            AFTER_CREDENTIAL
        },
        asker.request_id,
        AFTER_ID,
        length,
        "\r\n",
    ] {
        out.extend_from_slice(part.as_bytes());
    }
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
        // Without a way out of the loop, the compiler checks many bytes at a time.
        && credential.bytes().fold(true, |all, byte| all & matches!(byte, b' '..=b'~'))
}
