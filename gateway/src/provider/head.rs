//! The head of an upstream request. [pure]

use config_sync::model::base_url::BaseUrl;

use super::Outbound;
use super::headers::{self, Sources};
use crate::rejection::Rejection;

const USER_AGENT: &str = concat!("sluice/", env!("CARGO_PKG_VERSION"));

/// A header line of the adapter's own: name, and its value in parts.
pub(super) type Line<'a> = (&'a str, &'a [&'a [u8]]);

/// Appends the head of a `POST` of `body_len` bytes to `path` below the base of the target.
///
/// `own` are the lines of the adapter, its credential among them. They precede what the operator and
/// the caller add, and so cannot be overwritten.
pub(super) fn write(
    outbound: &Outbound<'_>,
    (base, path): (&BaseUrl, &str),
    own: &[Line<'_>],
    body_len: usize,
    out: &mut Vec<u8>,
) {
    let stream = outbound.call.stream;
    let mut length = itoa::Buffer::new();
    let length = length.format(body_len).as_bytes();
    for part in ["POST ", &*base.path, path, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    headers::line("host", base.authority.as_bytes(), out);
    for (name, value) in own {
        headers::line_of(name, value, out);
    }
    headers::line("content-type", b"application/json", out);
    if stream {
        headers::line("accept", b"text/event-stream", out);
    }
    // Edits are made in the plain text, so it must not come compressed.
    headers::line("accept-encoding", b"identity", out);
    let request_id = outbound.asker.request_id.as_bytes();
    headers::line("x-sluice-request-id", request_id, out);
    headers::line("user-agent", USER_AGENT.as_bytes(), out);
    headers::line("content-length", length, out);
    let sources = Sources {
        route: outbound.route,
        asker: outbound.asker,
        stream,
        own,
    };
    headers::extra(&sources, out);
    out.extend_from_slice(b"\r\n");
}

/// Where `outbound` goes, and with which credential.
///
/// # Errors
///
/// [`Rejection::UpstreamUnusable`] without a base URL, [`Rejection::CredentialUnusable`] for a
/// credential that is no header value.
pub(super) fn destination<'a>(
    outbound: &Outbound<'a>,
) -> Result<(&'a BaseUrl, &'a str), Rejection> {
    let key = &outbound.route.provider_key;
    let Some(base) = &key.base else {
        return Err(Rejection::UpstreamUnusable(
            "the provider key of this model needs an api_base",
        ));
    };
    let credential = key.api_key.expose();
    if !is_token_text(credential) {
        return Err(Rejection::CredentialUnusable);
    }
    Ok((base, credential))
}

/// Whether a credential may stand in a header: printable, not empty, no blank at its ends.
pub(super) fn is_token_text(credential: &str) -> bool {
    !credential.is_empty()
        && credential.trim() == credential
        && credential.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}
