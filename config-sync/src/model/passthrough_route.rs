//! Paths and hosts relayed to an upstream without a model. [pure]

mod matching;

use std::sync::Arc;

use ipnet::IpNet;

pub use matching::{HostPattern, PathPrefix};

use super::http_url::{self, HttpUrl};
use super::{cidr, field, header};
use crate::tree::{Fields, Problems, Unknown, Value};

/// Header names that hold credentials of another kind, and so name neither a key nor an identity.
const TAKEN_HEADERS: [&str; 5] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
];

/// A relayed path or host, as read from its document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PassthroughRoute {
    /// Appears in metrics, and in what keys may use.
    pub name: Arc<str>,
    /// The paths it serves; `None`: all.
    pub path_prefix: Option<PathPrefix>,
    /// The hosts it serves; none: all. With a prefix as well, both must match.
    pub hosts: Vec<HostPattern>,
    /// Where requests go.
    pub target: RouteTarget,
    /// How callers are known.
    pub auth: RouteAuth,
    /// Where callers must come from, never empty; `None`: anywhere.
    pub source_cidrs: Option<Vec<IpNet>>,
    /// Whose credential the upstream sees.
    pub credential: RouteCredential,
    /// A header, in lower case, whose value is recorded and not relayed.
    pub identity_header: Option<Box<str>>,
    /// Deadline of headers and of bodies that are no event streams; never 0. `None`: as for any
    /// other request.
    pub timeout_ms: Option<u64>,
    /// Whether it is matched.
    pub enabled: bool,
}

/// Where a route's requests go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RouteTarget {
    /// Below [`HttpUrl::base_path`], without the route's prefix.
    Url(HttpUrl),
    /// `https` to the host that the caller named, with the whole path. The route has hosts, and none
    /// of them is a single label or an IP address.
    RequestedHost,
}

/// How a route's callers are known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RouteAuth {
    /// By a gateway key in its usual place.
    GatewayKey,
    /// By a gateway key in this header, in lower case.
    HeaderKey {
        /// Its name.
        header: Box<str>,
    },
    /// Not at all: requests run as one key. The route has `source_cidrs`.
    Anonymous {
        /// Id of that key.
        api_key_id: Arc<str>,
    },
}

/// Whose credential a route's upstream sees.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RouteCredential {
    /// The gateway's.
    Inject {
        /// Id of the provider key.
        provider_key_id: Arc<str>,
    },
    /// Whatever the caller sent.
    ForwardClient,
}

#[derive(Clone, Copy, PartialEq)]
enum AuthWord {
    GatewayKey,
    HeaderKey,
    Anonymous,
}

const AUTHS: [(&str, AuthWord); 3] = [
    ("gateway_key", AuthWord::GatewayKey),
    ("header_key", AuthWord::HeaderKey),
    ("anonymous", AuthWord::Anonymous),
];

#[derive(Clone, Copy, PartialEq)]
enum CredentialWord {
    Inject,
    ForwardClient,
}

const CREDENTIALS: [(&str, CredentialWord); 2] = [
    ("inject", CredentialWord::Inject),
    ("forward_client", CredentialWord::ForwardClient),
];

impl PassthroughRoute {
    /// Reads a document. The result is usable only if no problem was noted.
    pub fn read(value: &Value, problems: &Problems, unknown: Unknown) -> Self {
        let fields = Fields::new(value, "", problems, unknown);
        fields.refuse_null(&[
            "path_prefix",
            "hosts",
            "target_url",
            "preserve_host",
            "auth_mode",
            "auth_header_name",
            "anonymous_key_id",
            "credential_mode",
            "provider_key_id",
            "identity_header",
            "enabled",
        ]);
        let name = field::name(&fields).into();
        let (path_prefix, hosts) = read_match(&fields);
        let target = read_target(&fields);
        let auth = read_auth(&fields);
        let source_cidrs = read_source_cidrs(&fields, &auth);
        let credential = read_credential(&fields);
        let identity_header = read_identity_header(&fields, &auth);
        let timeout_ms = fields.take_u64_in("timeout_ms", 1, u64::MAX);
        let enabled = fields.take_bool("enabled").unwrap_or(true);
        fields.finish();
        Self {
            name,
            path_prefix,
            hosts,
            target,
            auth,
            source_cidrs,
            credential,
            identity_header,
            timeout_ms,
            enabled,
        }
    }
}

fn read_match(fields: &Fields<'_>) -> (Option<PathPrefix>, Vec<HostPattern>) {
    if !fields.has("path_prefix") && !fields.has("hosts") {
        fields.problem("path_prefix", "is required where there are no `hosts`");
    }
    let prefix = fields.take_str("path_prefix").and_then(|text| {
        let any_host = !fields.has("hosts");
        let parsed = match fields.unknown() {
            Unknown::Refused => PathPrefix::parse_strictly(text, any_host),
            Unknown::Ignored => PathPrefix::parse(text, any_host),
        };
        parsed
            .map_err(|message| fields.problem("path_prefix", message))
            .ok()
    });
    let items = fields.take_list("hosts");
    if items.as_ref().is_some_and(Vec::is_empty) {
        fields.problem("hosts", "must not be empty");
    }
    let items = items.unwrap_or_default().into_iter();
    let hosts = items.filter_map(|(path, item)| {
        let host = item.as_str().and_then(HostPattern::parse);
        if host.is_none() {
            fields.problems().push(
                path,
                "must be a host without port, or `*.` and a host of two labels or more",
            );
        }
        host
    });
    let hosts = hosts.collect();
    (prefix, hosts)
}

fn read_target(fields: &Fields<'_>) -> RouteTarget {
    let preserve_host = fields.take_bool("preserve_host").unwrap_or(false);
    match (fields.has("target_url"), preserve_host) {
        (true, true) => fields.problem("target_url", "has no use with `preserve_host: true`"),
        (false, false) => fields.problem("target_url", "is required without `preserve_host: true`"),
        (false, true) => refuse_open_hosts(fields),
        (true, false) => {}
    }
    let Some(url) = http_url::read(fields, "target_url") else {
        return RouteTarget::RequestedHost;
    };
    if url.query.is_some() && fields.unknown() == Unknown::Refused {
        fields.problem("target_url", "must not hold a query");
    }
    RouteTarget::Url(url)
}

/// With `preserve_host` the hosts say where requests may go: never into the gateway's own network.
fn refuse_open_hosts(fields: &Fields<'_>) {
    if !fields.has("hosts") {
        fields.problem("hosts", "is required with `preserve_host: true`");
    }
    let items = fields.take("hosts").and_then(Value::as_array);
    for (index, item) in items.into_iter().flatten().enumerate() {
        let host = item.as_str().and_then(HostPattern::parse);
        if host.is_some_and(|host| !host.is_public_name()) {
            fields.problems().push(
                format!("hosts[{index}]"),
                "must be a name of two labels or more, and no IP address, with `preserve_host: true`",
            );
        }
    }
}

fn read_auth(fields: &Fields<'_>) -> RouteAuth {
    let auth = fields
        .take_choice("auth_mode", &AUTHS)
        .unwrap_or(AuthWord::GatewayKey);
    let header = read_header(fields, "auth_header_name");
    let key_id = fields.take_nonempty_str("anonymous_key_id");
    for (key, owner, mode) in [
        ("auth_header_name", AuthWord::HeaderKey, "header_key"),
        ("anonymous_key_id", AuthWord::Anonymous, "anonymous"),
    ] {
        // A `null` counts as written, and has its problem already.
        match (fields.has(key), auth == owner) {
            (true, false) if fields.take(key).is_some() => {
                fields.problem(key, format!("is for `auth_mode: {mode}` only"));
            }
            (false, true) => fields.problem(key, format!("is required for `auth_mode: {mode}`")),
            (true, _) | (false, false) => {}
        }
    }
    match auth {
        AuthWord::GatewayKey => RouteAuth::GatewayKey,
        AuthWord::HeaderKey => RouteAuth::HeaderKey {
            header: header.unwrap_or("").into(),
        },
        AuthWord::Anonymous => RouteAuth::Anonymous {
            api_key_id: key_id.unwrap_or("").into(),
        },
    }
}

/// A header name in lower case that holds no other credential.
fn read_header<'a>(fields: &Fields<'a>, key: &'a str) -> Option<&'a str> {
    let name = fields.take_str(key)?;
    if !header::is_name(name) || name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        fields.problem(key, "must be a legal header name in lower case");
        return None;
    }
    if TAKEN_HEADERS.contains(&name) {
        let taken = TAKEN_HEADERS.join(", ");
        fields.problem(key, format!("must not be one of {taken}"));
        return None;
    }
    Some(name)
}

/// An empty list would keep everybody out of an anonymous route, and nobody out of any other.
fn read_source_cidrs(fields: &Fields<'_>, auth: &RouteAuth) -> Option<Vec<IpNet>> {
    let anonymous = matches!(auth, RouteAuth::Anonymous { .. });
    let strict = fields.unknown() == Unknown::Refused;
    if anonymous || (strict && fields.take("source_cidrs").is_some()) {
        return Some(cidr::read_required(fields, "source_cidrs"));
    }
    cidr::read(fields, "source_cidrs").filter(|networks| !networks.is_empty())
}

fn read_credential(fields: &Fields<'_>) -> RouteCredential {
    let mode = fields.take_choice("credential_mode", &CREDENTIALS);
    let id = fields.take_nonempty_str("provider_key_id");
    let written = fields.has("provider_key_id");
    match mode.unwrap_or(CredentialWord::Inject) {
        CredentialWord::Inject => {
            if !written {
                fields.problem(
                    "provider_key_id",
                    "is required for `credential_mode: inject`",
                );
            }
            RouteCredential::Inject {
                provider_key_id: id.unwrap_or("").into(),
            }
        }
        CredentialWord::ForwardClient => {
            if id.is_some() {
                fields.problem("provider_key_id", "is for `credential_mode: inject` only");
            }
            RouteCredential::ForwardClient
        }
    }
}

/// The header of the caller's key is no identity: it would be recorded.
fn read_identity_header(fields: &Fields<'_>, auth: &RouteAuth) -> Option<Box<str>> {
    let name = read_header(fields, "identity_header")?;
    if !matches!(auth, RouteAuth::HeaderKey { header } if **header == *name) {
        return Some(name.into());
    }
    match fields.unknown() {
        Unknown::Refused => fields.problem("identity_header", "must not be `auth_header_name`"),
        Unknown::Ignored => fields.problems().ignore("inapplicable:identity_header"),
    }
    None
}

#[cfg(test)]
mod tests;
