//! Where an absolute http or https URL leads, and how far away that is. [pure]

use std::net::{IpAddr, Ipv6Addr};

/// Longest URL, in bytes.
const URL_BYTES_MAX: usize = 2048;
/// Query keys whose values are credentials.
const CREDENTIAL_KEYS: [&str; 6] = [
    "access_token",
    "token",
    "client_secret",
    "password",
    "api_key",
    "apikey",
];

/// What stands between the scheme and the path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Authority {
    /// Lower-case name or address, an IPv6 address without brackets.
    pub(super) host: String,
    /// The host, where it is an address.
    pub(super) address: Option<IpAddr>,
    /// The port, where one is written; not 0.
    pub(super) port: Option<u16>,
}

/// Where a host is, as far as its text says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum AddressClass {
    /// This machine: a loopback address or `localhost`.
    Loopback,
    /// An address of a private network (RFC 1918, RFC 4193).
    Private,
    /// Another address, or a name.
    Other,
}

impl Authority {
    /// Reads `host` or `host:port`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port, address) = if let Some(rest) = text.strip_prefix('[') {
            let (address, rest) = rest.split_once(']')?;
            let address: Ipv6Addr = address.parse().ok()?;
            let port = match rest.strip_prefix(':') {
                Some(port) => Some(port),
                None if rest.is_empty() => None,
                None => return None,
            };
            (address.to_string(), port, Some(IpAddr::V6(address)))
        } else {
            let (host, port) = match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            };
            let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            let is_host = !host.is_empty() && host.len() <= 253 && host.bytes().all(legal);
            if !is_host || host.starts_with(['.', '-']) || host.contains("..") {
                return None;
            }
            (host.to_ascii_lowercase(), port, host.parse().ok())
        };
        let port = match port {
            None => None,
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(port.parse().ok().filter(|&port| port > 0)?)
            }
            Some(_) => return None,
        };
        Some(Self {
            host,
            address,
            port,
        })
    }

    /// Where the host is.
    pub(super) fn class(&self) -> AddressClass {
        match self.address.map(|address| address.to_canonical()) {
            Some(address) if address.is_loopback() => AddressClass::Loopback,
            Some(IpAddr::V4(address)) if address.is_private() => AddressClass::Private,
            Some(IpAddr::V6(address)) if address.is_unique_local() => AddressClass::Private,
            None if self.host == "localhost" => AddressClass::Loopback,
            Some(_) | None => AddressClass::Other,
        }
    }
}

/// What an absolute URL says before its path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Origin {
    pub(super) https: bool,
    pub(super) authority: Authority,
    pub(super) has_userinfo: bool,
}

impl Origin {
    /// Reads a URL; `None` for what is none, is of another scheme, or holds blanks or other
    /// characters that must be escaped.
    pub(super) fn parse(url: &str) -> Option<Self> {
        // Some readers take `\` for `/`, and would find another host in front of an `@`.
        let legal = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
        if url.len() > URL_BYTES_MAX || !url.bytes().all(legal) {
            return None;
        }
        let (scheme, rest) = url.split_once("://")?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let (authority, _) = split_authority(rest);
        let (userinfo, authority) = match authority.rsplit_once('@') {
            Some((userinfo, authority)) => (Some(userinfo), authority),
            None => (None, authority),
        };
        Some(Self {
            https,
            authority: Authority::parse(authority)?,
            has_userinfo: userinfo.is_some(),
        })
    }

    /// The port that is dialled.
    pub(super) fn port(&self) -> u16 {
        let default = if self.https { 443 } else { 80 };
        self.authority.port.unwrap_or(default)
    }
}

/// Whether a text, be it no URL, carries a user or password, or a query value that is a credential.
pub(super) fn embeds_credentials(text: &str) -> bool {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let (authority, tail) = split_authority(rest);
    let query = tail.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('#').next().unwrap_or("");
    let names_credential = |pair: &str| {
        let name = pair.split('=').next().unwrap_or("").to_ascii_lowercase();
        CREDENTIAL_KEYS.contains(&name.as_str())
    };
    authority.contains('@') || query.split(['&', ';']).any(names_credential)
}

fn split_authority(rest: &str) -> (&str, &str) {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    rest.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_by_their_class() {
        use AddressClass::{Loopback, Other, Private};
        let cases = [
            ("http://localhost:4318/v1/traces", Some(Loopback)),
            ("HTTP://LocalHost", Some(Loopback)),
            ("http://127.9.9.9", Some(Loopback)),
            ("http://[::1]:80/x", Some(Loopback)),
            ("http://[::ffff:127.0.0.1]", Some(Loopback)),
            ("http://10.0.0.1", Some(Private)),
            ("http://172.31.0.1?x", Some(Private)),
            ("http://[fd00::1]", Some(Private)),
            ("http://169.254.169.254", Some(Other)),
            ("http://0.0.0.0", Some(Other)),
            ("http://127.1", Some(Other)),
            ("http://localhost.example.net", Some(Other)),
            ("https://u:p@127.0.0.1@example.net", Some(Other)),
            ("http://127.0.0.1@example.net", Some(Other)),
            ("http://example.net#@127.0.0.1", Some(Other)),
            ("ftp://localhost", None),
            ("localhost", None),
            ("http://", None),
            ("http:///x", None),
            ("http://a b", None),
            ("http://a\\b", None),
            ("http://example.net\\@127.0.0.1", None),
            ("http://a:0", None),
            ("http://a:65536", None),
            ("http://a:+1", None),
            ("http://[::1", None),
            ("http://[::1]x", None),
            ("http://é", None),
        ];
        for (url, want) in cases {
            let got = Origin::parse(url).map(|url| url.authority.class());
            assert_eq!(got, want, "{url}");
        }
        assert_eq!(Origin::parse("https://a").unwrap().port(), 443);
        assert_eq!(Origin::parse("http://a:8080").unwrap().port(), 8080);
        assert!(Origin::parse(&format!("https://a/{}", "x".repeat(URL_BYTES_MAX))).is_none());
    }

    #[test]
    fn embedded_credentials_are_found() {
        let cases = [
            ("https://sso.example.net/realms/ai?x=1", false),
            ("https://sso.example.net/@user", false),
            ("https://user@sso.example.net/", true),
            ("user:password@sso", true),
            ("https://sso.example.net/?a=1&Client_Secret=x", true),
            ("https://sso.example.net?apikey", true),
            ("https://sso.example.net/?tokens=1#token=2", false),
        ];
        for (text, want) in cases {
            assert_eq!(embeds_credentials(text), want, "{text}");
        }
    }
}
