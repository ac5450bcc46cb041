//! Which headers pass a route, and the heads made of them. [pure]

use config_sync::model::passthrough_route::RouteAuth;

use super::credential::Credential;
use super::route::Route;
use super::target::write_target;
use crate::http::h1::{BodyLength, Method, RequestHead, ResponseHead, write};

/// For one hop, or the gateway's own: never relayed upstream.
const NOT_RELAYED: [&str; 14] = [
    "host",
    "content-length",
    "connection",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "traceparent",
    "tracestate",
];

/// Credentials of callers, which the gateway's own one replaces.
const CREDENTIALS: [&str; 5] = [
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "cookie",
];

/// Headers that a gateway key may stand in, wherever it was looked for.
const KEY_PLACES: [&str; 4] = ["authorization", "x-api-key", "api-key", "x-goog-api-key"];

/// For one hop, or written by the gateway itself: never relayed to the caller.
const NOT_ANSWERED: [&str; 13] = [
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "server",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
];

/// Answers about the gateway's own credential, not the caller's.
const NOT_ANSWERED_INJECTED: [&str; 2] = ["set-cookie", "alt-svc"];

/// The gateway's own family of headers.
const OWN_PREFIX: &str = "x-sluice-";
/// The family of headers that sign a request to AWS.
const AWS_PREFIX: &str = "x-amz-";

/// One request on its way to a route's upstream.
pub struct Outgoing<'a> {
    pub route: &'a Route,
    pub head: &'a RequestHead,
    /// The path that matched: the caller's, or after rewrites.
    pub path: &'a str,
    /// Value of the upstream's `Host`.
    pub authority: &'a str,
    pub request_id: &'a str,
    /// The gateway's credential, where the upstream gets it.
    pub credential: Option<Credential<'a>>,
    pub body_len: usize,
}

/// Appends the head of the upstream request. `is_gateway_key` tells whether a value is the key of a
/// caller of this gateway, raw or as a bearer token; no such value is relayed, in the query neither.
pub fn write_request(
    outgoing: &Outgoing<'_>,
    is_gateway_key: impl Fn(&[u8]) -> bool,
    out: &mut Vec<u8>,
) {
    let head = outgoing.head;
    let document = &outgoing.route.document;
    let prefix = document.path_prefix.as_ref();
    let rest = prefix.map_or(Some(outgoing.path), |prefix| prefix.strip(outgoing.path));
    let rest = rest.unwrap_or(outgoing.path);
    out.extend_from_slice(head.method().as_str().as_bytes());
    out.push(b' ');
    let path = (outgoing.path, rest);
    write_target(&document.target, path, head.query(), &is_gateway_key, out);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    write::header(out, "host", outgoing.authority.as_bytes());
    if let Some(credential) = &outgoing.credential {
        credential.write(out);
    }
    write::header(out, "x-sluice-request-id", outgoing.request_id.as_bytes());
    if announces_length(head, outgoing.body_len) {
        write::header_u64(out, "content-length", outgoing.body_len as u64);
    }
    for (name, value) in head.headers() {
        let lower = name.to_ascii_lowercase();
        let dropped = is_kept_back(outgoing, &lower)
            || head.is_connection_option(name)
            || (KEY_PLACES.contains(&&*lower) && is_gateway_key(value));
        if !dropped {
            write::header(out, name, value);
        }
    }
    write::end(out);
}

/// A body that is empty is announced where the caller did, or where the method leads one to expect it.
fn announces_length(head: &RequestHead, body_len: usize) -> bool {
    let expects_body = matches!(head.method(), Method::Post | Method::Put | Method::Patch);
    body_len > 0 || expects_body || head.body() != BodyLength::None
}

/// Whether a caller's header stays here, judged by its name.
fn is_kept_back(outgoing: &Outgoing<'_>, name: &str) -> bool {
    let document = &outgoing.route.document;
    if NOT_RELAYED.contains(&name)
        || name.starts_with(OWN_PREFIX)
        || document.identity_header.as_deref() == Some(name)
    {
        return true;
    }
    let is_key_header =
        matches!(&document.auth, RouteAuth::HeaderKey { header } if **header == *name);
    let Some(credential) = &outgoing.credential else {
        return match document.auth {
            RouteAuth::GatewayKey => matches!(name, "authorization" | "x-api-key"),
            RouteAuth::HeaderKey { .. } => is_key_header,
            RouteAuth::Anonymous { .. } => false,
        };
    };
    is_key_header
        || CREDENTIALS.contains(&name)
        || name.starts_with(AWS_PREFIX)
        || credential.sets(name)
        || credential.strip.iter().any(|strip| **strip == *name)
}

/// Appends the header lines of an upstream's response that the caller gets. `injected`: the upstream
/// saw the gateway's credential.
pub fn write_response(head: &ResponseHead, injected: bool, out: &mut Vec<u8>) {
    for (name, value) in head.headers() {
        let lower = name.to_ascii_lowercase();
        let dropped = NOT_ANSWERED.contains(&&*lower)
            || (injected && NOT_ANSWERED_INJECTED.contains(&&*lower))
            || lower.starts_with(OWN_PREFIX)
            || is_connection_option(head, name);
        if !dropped {
            write::header(out, name, value);
        }
    }
}

/// Whether a `Connection` line names `name`.
fn is_connection_option(head: &ResponseHead, name: &str) -> bool {
    let mut options = head
        .header_all("connection")
        .flat_map(|value| value.split(|&byte| byte == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
}

#[cfg(test)]
mod tests;
