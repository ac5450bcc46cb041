//! Header lines that an operator adds or lets through from the caller. [pure]

use config_sync::model::template::{Var, is_header_value};

use super::Asker;
use super::head::Line;
use crate::route::Route;

/// Set by the gateway on every request, or part of how the message is framed: nobody else's.
const OWN: [&str; 13] = [
    "accept-encoding",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-sluice-request-id",
    "proxy-connection",
];

/// Credentials and the host: never settable, never forwarded.
const RESERVED: [&str; 10] = [
    "authorization",
    "x-api-key",
    "x-goog-api-key",
    "api-key",
    "x-amz-security-token",
    "x-amz-date",
    "x-amz-content-sha256",
    "proxy-authorization",
    "cookie",
    "host",
];

/// Never forwarded from a caller, whatever the operator's patterns say.
const CALLERS_OWN: [&str; 9] = [
    "accept",
    "content-encoding",
    "proxy-authenticate",
    "set-cookie",
    "traceparent",
    "tracestate",
    "forwarded",
    "x-real-ip",
    "via",
];

/// Families of names never forwarded.
const CALLERS_OWN_PREFIXES: [&str; 6] = [
    "x-sluice-",
    "x-stainless-",
    "x-aisix-",
    "x-forwarded-",
    "x-amz-",
    "x-goog-",
];

/// Headers whose repeated lines are one list; of others the first line counts.
const LISTS: [&str; 2] = ["anthropic-beta", "openai-beta"];

/// Longest header name that is forwarded, in bytes; known names are far shorter.
const NAME_BYTES_MAX: usize = 128;

/// What header values are made of.
pub(super) struct Sources<'a> {
    pub(super) route: &'a Route,
    pub(super) asker: &'a Asker<'a>,
    /// Whether the gateway sent its own `accept`.
    pub(super) stream: bool,
    /// The lines that the adapter has sent.
    pub(super) own: &'a [Line<'a>],
}

impl<'a> Sources<'a> {
    fn sent_own(&self, name: &str) -> bool {
        self.own
            .iter()
            .any(|(own, _)| own.eq_ignore_ascii_case(name))
    }

    fn variable(&self, var: Var) -> Option<&'a str> {
        let key = self.asker.key;
        match var {
            Var::RequestId => Some(self.asker.request_id),
            Var::ApiKeyId => Some(&key.id),
            Var::ApiKeyName => key.name.as_deref(),
            Var::ApiKeyTeamId => key.team_id.as_deref(),
            Var::ApiKeyUserId => key.user_id.as_deref(),
            Var::ModelId => Some(&self.route.target.id),
            Var::ModelName => Some(&self.route.target.display_name),
            Var::ProviderKeyId => Some(&self.route.provider_key.id),
            Var::ProviderKeyName => Some(&self.route.provider_key.name),
        }
    }
}

/// Appends one header line.
fn line(name: &str, value: &[u8], out: &mut Vec<u8>) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// Appends the operator's headers, then the caller's that match the operator's patterns.
///
/// A header that came earlier is never overwritten: the gateway's precede the operator's, which
/// precede the caller's.
pub(super) fn extra(sources: &Sources<'_>, out: &mut Vec<u8>) {
    let policy = &sources.route.provider_key.headers;
    if policy.defaults.is_empty() && policy.forward.is_empty() {
        return;
    }
    let start = out.len();
    for (name, template) in &policy.defaults {
        let own = is_one_of(&OWN, name) || (sources.stream && name.eq_ignore_ascii_case("accept"));
        if own || sources.sent_own(name) || is_one_of(&RESERVED, name) || sent(out, start, name) {
            continue;
        }
        let undo = out.len();
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        if template.render(&|var| sources.variable(var), out) {
            out.extend_from_slice(b"\r\n");
        } else {
            out.truncate(undo);
        }
    }
    if policy.forward.is_empty() {
        return;
    }
    for (name, value) in sources.asker.head.headers() {
        forward(sources, name, value, start, out);
    }
}

/// Appends a caller's header where it may be forwarded and was not sent yet.
fn forward(sources: &Sources<'_>, name: &str, value: &[u8], start: usize, out: &mut Vec<u8>) {
    let mut lower = [0; NAME_BYTES_MAX];
    let Some(lower) = lower.get_mut(..name.len()) else {
        return;
    };
    lower.copy_from_slice(name.as_bytes());
    lower.make_ascii_lowercase();
    let Ok(lower) = std::str::from_utf8(lower) else {
        return;
    };
    let kept = is_one_of(&OWN, lower)
        || sources.sent_own(lower)
        || is_one_of(&RESERVED, lower)
        || is_one_of(&CALLERS_OWN, lower)
        || CALLERS_OWN_PREFIXES
            .iter()
            .any(|prefix| lower.starts_with(prefix))
        || sources.asker.head.is_connection_option(lower);
    let wanted = &sources.route.provider_key.headers.forward;
    if kept || !wanted.iter().any(|glob| glob.matches(lower)) {
        return;
    }
    if !is_header_value(value) || sent(out, start, lower) {
        return;
    }
    if is_one_of(&LISTS, lower) {
        let mut values = sources.asker.head.header_all(lower);
        let first = values.next().unwrap_or_default();
        out.extend_from_slice(lower.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(first);
        for more in values.filter(|value| is_header_value(value)) {
            out.extend_from_slice(b", ");
            out.extend_from_slice(more);
        }
        out.extend_from_slice(b"\r\n");
    } else {
        line(lower, value, out);
    }
}

fn is_one_of(names: &[&str], name: &str) -> bool {
    names.iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// Whether a line for `name` was appended since `start`.
fn sent(out: &[u8], start: usize, name: &str) -> bool {
    let lines = out.get(start..).unwrap_or_default().split(|&b| b == b'\n');
    let mut names = lines.filter_map(|line| line.split_at_checked(name.len()));
    names.any(|(sent, rest)| {
        sent.eq_ignore_ascii_case(name.as_bytes()) && rest.first() == Some(&b':')
    })
}
