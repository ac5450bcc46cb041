//! The upstream request: the caller's own body, or one that was written for it. [pure]

#[cfg(test)]
pub(super) mod tests;

use config_sync::model::template::is_header_value;

use super::caching;
use crate::endpoint::Endpoint;
use crate::json::{Edits, Span, Text};
use crate::provider::policy::Plan;
use crate::provider::{Outbound, head};
use crate::rejection::Rejection;

/// The version of the API that is asked for where the caller names none.
pub(super) const VERSION: &[u8] = b"2023-06-01";

/// Room made for the head and the edits, so that one allocation does; longer ones just grow.
const HEAD_BYTES_TYPICAL: usize = 768;

/// Appends a complete HTTP/1.1 request with the caller's `body` to `out`. Where it fails, `out` is
/// as before.
///
/// # Errors
///
/// As [`crate::provider::Adapter::forward`].
pub(super) fn write(
    outbound: &Outbound<'_>,
    body: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Rejection> {
    let Outbound { route, call, asker } = *outbound;
    let mut changes = Edits::default();
    if *route.upstream_model != *call.model {
        let inside = Span {
            start: call.model_span.start + 1,
            end: call.model_span.end - 1,
        };
        changes.replace(inside, Text::Escaped(&route.upstream_model));
    }
    let usable = |value: &&[u8]| !value.trim_ascii().is_empty() && is_header_value(value);
    let version = asker.head.header_all("anthropic-version").find(usable);
    let betas = asker.head.header_all("anthropic-beta").filter(usable);
    let own = Versions {
        version: version.unwrap_or(VERSION),
        betas: if operator_names_betas(outbound) {
            Vec::new()
        } else {
            listed(betas)
        },
    };
    send(outbound, &own, (body, changes), out)
}

/// What of the API is asked for.
pub(super) struct Versions<'a> {
    pub(super) version: &'a [u8],
    /// The value of `anthropic-beta` in parts; empty where it is not sent.
    pub(super) betas: Vec<&'a [u8]>,
}

/// The lines of a list as one value.
fn listed<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    for line in lines {
        if !parts.is_empty() {
            parts.push(&b", "[..]);
        }
        parts.push(line);
    }
    parts
}

/// Whether the operator sets the beta flags, which then are not the caller's to choose.
fn operator_names_betas(outbound: &Outbound<'_>) -> bool {
    let defaults = &outbound.route.provider_key.headers.defaults;
    defaults.iter().any(|(name, _)| &**name == "anthropic-beta")
}

/// Appends the request whose body is `body` with these changes, those of the operator and, where the
/// model asks for them, cache markers.
///
/// # Errors
///
/// As [`crate::provider::Adapter::forward`].
pub(super) fn send(
    outbound: &Outbound<'_>,
    versions: &Versions<'_>,
    (mut body, mut changes): (&[u8], Edits<'_>),
    out: &mut Vec<u8>,
) -> Result<(), Rejection> {
    let (base, credential) = head::destination(outbound)?;
    let Outbound { route, call, .. } = *outbound;
    let plan = Plan::of(&route.provider_key.body, body);
    if let Some(plan) = &plan {
        plan.apply(&mut changes);
    }
    let mut edited = Vec::new();
    if let Some(marker) = caching::marker(&route.target)
        && call.endpoint != Endpoint::CountTokens
    {
        edited.reserve(changes.edited_len(body));
        changes.apply(body, &mut edited);
        (body, changes) = (edited.as_slice(), caching::edits(&edited, marker));
    }
    let own: [head::Line<'_>; 3] = [
        ("x-api-key", &[credential.as_bytes()]),
        ("anthropic-version", &[versions.version]),
        ("anthropic-beta", &versions.betas[..]),
    ];
    let own = if versions.betas.is_empty() {
        &own[..2]
    } else {
        &own[..]
    };
    let path = match call.endpoint {
        Endpoint::CountTokens => "/v1/messages/count_tokens",
        _ => "/v1/messages",
    };
    out.reserve(body.len() + HEAD_BYTES_TYPICAL);
    head::write(outbound, (base, path), own, changes.edited_len(body), out);
    changes.apply(body, out);
    Ok(())
}
