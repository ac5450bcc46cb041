//! The head of an upstream request. [pure]

use config_sync::model::base_url::BaseUrl;

use super::Outbound;
use super::headers::{self, Sources};
use crate::rejection::Rejection;

// What stands between the parts of a head that differ from call to call. Edits are made in the plain
// text, so an answer must not come compressed.
const AFTER_OWN: &str = "\r\ncontent-type: application/json\r\n\
    accept-encoding: identity\r\nx-sluice-request-id: ";
const AFTER_OWN_OF_STREAM: &str = "\r\ncontent-type: application/json\r\n\
    accept: text/event-stream\r\naccept-encoding: identity\r\nx-sluice-request-id: ";
const AFTER_ID: &str = concat!(
    "\r\nuser-agent: sluice/",
    env!("CARGO_PKG_VERSION"),
    "\r\ncontent-length: "
);

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
    let target = [
        "POST ",
        &*base.path,
        path,
        " HTTP/1.1\r\nhost: ",
        &*base.authority,
    ];
    for part in target {
        out.extend_from_slice(part.as_bytes());
    }
    for (name, value) in own {
        for part in ["\r\n", name, ": "] {
            out.extend_from_slice(part.as_bytes());
        }
        value.iter().for_each(|part| out.extend_from_slice(part));
    }
    let after_own = if stream {
        AFTER_OWN_OF_STREAM
    } else {
        AFTER_OWN
    };
    let mut length = itoa::Buffer::new();
    for part in [
        after_own,
        outbound.asker.request_id,
        AFTER_ID,
        length.format(body_len),
        "\r\n",
    ] {
        out.extend_from_slice(part.as_bytes());
    }
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
        // Without a way out of the loop, the compiler checks many bytes at a time.
        && credential.bytes().fold(true, |all, byte| all & matches!(byte, b' '..=b'~'))
}
