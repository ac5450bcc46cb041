//! Where an exporter sends to, and where it may do so in plain HTTP. [pure]

use std::sync::Arc;

use super::super::origin::{AddressClass, Authority, Origin};
use crate::secret::Secret;
use crate::tree::{Fields, Unknown};

/// A URL to send to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    /// TLS or plain TCP.
    pub https: bool,
    /// Host name in lower case or IP address, an IPv6 address without brackets.
    pub host: Arc<str>,
    /// TCP port.
    pub port: u16,
    /// The whole URL: its query may hold a credential.
    pub url: Secret,
}

/// Whom a document may send to without TLS.
pub(super) struct PlainHosts {
    private: bool,
    /// Stand-ins in tests of older rows.
    names: &'static [&'static str],
}

impl PlainHosts {
    /// Loopback addresses; private ones if `allow_plaintext` says so; lenient: `names` too.
    pub(super) fn read(fields: &Fields<'_>, names: &'static [&'static str]) -> Self {
        Self {
            private: fields.take_bool("allow_plaintext").unwrap_or(false),
            names: match fields.unknown() {
                Unknown::Refused => &[],
                Unknown::Ignored => names,
            },
        }
    }

    fn admits(&self, authority: &Authority) -> bool {
        match authority.class() {
            AddressClass::Loopback => true,
            AddressClass::Private => self.private,
            AddressClass::Other => self.names.contains(&authority.host.as_str()),
        }
    }

    /// Whether `text` is such a host, with or without a port.
    pub(super) fn admits_text(&self, text: &str) -> bool {
        Authority::parse(text).is_ok_and(|authority| self.admits(&authority))
    }
}

impl Endpoint {
    /// Reads a URL: https, or http to one of `plain`.
    pub(super) fn read<'a>(fields: &Fields<'a>, key: &'a str, plain: &PlainHosts) -> Option<Self> {
        let text = fields.take_nonempty_str(key)?;
        let url = parse(fields, key, text)?;
        if !url.https && !plain.admits(&url.authority) {
            let message = "must use https (http only to loopback addresses, and to private ones with \
                           `allow_plaintext: true`)";
            fields.problem(key, message);
            return None;
        }
        Some(Self::new(&url, text))
    }

    /// Reads a host or https URL whose host ends with `suffix`, or an http URL to one of `plain`.
    pub(super) fn read_within<'a>(
        fields: &Fields<'a>,
        key: &'a str,
        plain: &PlainHosts,
        suffix: &str,
    ) -> Option<Self> {
        let text = fields.take_nonempty_str(key)?;
        let with_scheme = if text.contains("://") {
            text.to_owned()
        } else {
            format!("https://{text}")
        };
        let url = parse(fields, key, &with_scheme)?;
        let is_admitted = if url.https {
            let before = url.authority.host.strip_suffix(suffix);
            before.is_some_and(|label| !label.is_empty())
        } else {
            plain.admits(&url.authority)
        };
        if !is_admitted {
            let message = format!(
                "must be a host that ends with {suffix} (or http to loopback addresses, and to private \
                 ones with `allow_plaintext: true`)"
            );
            fields.problem(key, message);
            return None;
        }
        Some(Self::new(&url, &with_scheme))
    }

    fn new(url: &Origin, text: &str) -> Self {
        Self {
            https: url.https,
            host: url.authority.host.as_str().into(),
            port: url.port(),
            url: text.into(),
        }
    }
}

/// Strict: a URL with a user name or password is a problem too.
fn parse<'a>(fields: &Fields<'a>, key: &'a str, text: &str) -> Option<Origin> {
    let url = Origin::parse(text);
    match &url {
        None => fields.problem(key, "must be an absolute URL with an http or https scheme"),
        Some(url) if url.has_userinfo && fields.unknown() == Unknown::Refused => {
            fields.problem(key, "must not hold a user name or password");
        }
        Some(_) => {}
    }
    url
}
