//! The upstream request: head and edited body, ready to be sent. [pure]

#[cfg(test)]
mod tests;

use super::super::policy::Plan;
use super::super::{Outbound, head};
use crate::endpoint::Endpoint;
use crate::json::Edits;
use crate::rejection::Rejection;

/// Room made for the head and the edits, so that one allocation does; longer ones just grow.
const HEAD_BYTES_TYPICAL: usize = 768;

/// Appends a complete HTTP/1.1 request to `out`. Where it fails, `out` is as before.
///
/// # Errors
///
/// As [`crate::provider::Adapter::forward`].
pub(super) fn write(
    outbound: &Outbound<'_>,
    body: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Rejection> {
    let (base, credential) = head::destination(outbound)?;
    let Outbound { route, call, .. } = *outbound;
    let plan = Plan::of(&route.provider_key.body, body);
    let mut changes = Edits::default();
    super::body::edits(route, call, &mut changes);
    if let Some(plan) = &plan {
        plan.apply(&mut changes);
    }
    out.reserve(body.len() + HEAD_BYTES_TYPICAL);
    let own: [head::Line<'_>; 1] = [("authorization", &[b"Bearer ", credential.as_bytes()])];
    let path = path(call.endpoint, &base.path);
    head::write(outbound, (base, path), &own, changes.edited_len(body), out);
    changes.apply(body, out);
    Ok(())
}

/// What follows the base path. OpenAI's newer endpoints exist below a version only.
fn path(endpoint: Endpoint, base_path: &str) -> &'static str {
    match endpoint {
        Endpoint::Responses if base_path.is_empty() => "/v1/responses",
        endpoint => endpoint.path(),
    }
}
