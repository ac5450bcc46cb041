//! Where an absolute http or https URL leads, and how far away that is. [pure]

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// Longest URL, in bytes.
pub(super) const URL_BYTES_MAX: usize = 2048;
/// Query keys whose values are credentials.
const CREDENTIAL_KEYS: [&str; 6] = [
    "access_token",
    "token",
    "client_secret",
    "password",
    "api_key",
    "apikey",
];

/// Why a text is no URL of an upstream. Holds nothing of the text, which may carry a credential.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UrlError {
    /// Neither `http://` nor `https://`.
    Scheme,
    /// `user@` or `user:password@`.
    UserInfo,
    /// A `?` or `#`.
    QueryOrFragment,
    /// No host, or characters that no host has.
    Host,
    /// Not 1 to 65535.
    Port,
    /// Characters that a path must percent-encode.
    Path,
    /// Over the length limit.
    TooLong,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "must start with http:// or https://",
            Self::UserInfo => "must not hold a user name or password",
            Self::QueryOrFragment => "must not hold a query or fragment",
            Self::Host => "must hold a host name or IP address (international names in punycode)",
            Self::Port => "must hold a port of 1 to 65535, or none",
            Self::Path => "must percent-encode blanks and other special characters of its path",
            Self::TooLong => "must be at most 2048 bytes",
        })
    }
}

/// An absolute URL, taken apart. Its parts are as written, and only the scheme and the length are
/// checked.
pub(super) struct Parts<'u> {
    pub(super) https: bool,
    pub(super) user_info: Option<&'u str>,
    /// Host and port, for [`Authority::parse`].
    pub(super) host_and_port: &'u str,
    /// Empty, or starts with `/`.
    pub(super) path: &'u str,
    /// Without its `?`.
    pub(super) query: Option<&'u str>,
    /// Without its `#`.
    pub(super) fragment: Option<&'u str>,
}

impl<'u> Parts<'u> {
    /// Takes `url` apart.
    ///
    /// # Errors
    ///
    /// [`UrlError::TooLong`] and [`UrlError::Scheme`].
    pub(super) fn of(url: &'u str) -> Result<Self, UrlError> {
        if url.len() > URL_BYTES_MAX {
            return Err(UrlError::TooLong);
        }
        let (scheme, rest) = url.split_once("://").ok_or(UrlError::Scheme)?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(UrlError::Scheme),
        };
        let (rest, fragment) = split_at_sign(rest, '#');
        let (rest, query) = split_at_sign(rest, '?');
        let (authority, path) = split_authority(rest);
        let (user_info, host_and_port) = match authority.rsplit_once('@') {
            Some((user_info, host)) => (Some(user_info), host),
            None => (None, authority),
        };
        Ok(Self {
            https,
            user_info,
            host_and_port,
            path,
            query,
            fragment,
        })
    }
}

fn split_at_sign(text: &str, sign: char) -> (&str, Option<&str>) {
    match text.split_once(sign) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// Host and port of a URL.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Authority {
    /// Lower-case name or address, an IPv6 address without brackets.
    pub(super) host: String,
    /// The host, where it is an address.
    address: Option<IpAddr>,
    /// The port, where one is written; not 0.
    port: Option<u16>,
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
    ///
    /// # Errors
    ///
    /// [`UrlError::Host`] and [`UrlError::Port`].
    pub(super) fn parse(text: &str) -> Result<Self, UrlError> {
        if let Some(bracketed) = text.strip_prefix('[') {
            let (address, rest) = bracketed.split_once(']').ok_or(UrlError::Host)?;
            let address: Ipv6Addr = address.parse().map_err(|_| UrlError::Host)?;
            let port = match rest.strip_prefix(':') {
                Some(port) => Some(parse_port(port)?),
                None if rest.is_empty() => None,
                None => return Err(UrlError::Host),
            };
            return Ok(Self {
                host: address.to_string(),
                address: Some(address.into()),
                port,
            });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(parse_port(port)?)),
            None => (text, None),
        };
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let starts_well =
            host.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_');
        if !starts_well || !host.bytes().all(legal) || host.contains("..") || host.len() > 253 {
            return Err(UrlError::Host);
        }
        Ok(Self {
            host: host.to_ascii_lowercase(),
            address: host.parse().ok(),
            port,
        })
    }

    /// A host name without a port.
    pub(super) fn of_name(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            address: None,
            port: None,
        }
    }

    /// The port that is dialled.
    pub(super) fn port(&self, https: bool) -> u16 {
        self.port.unwrap_or(default_port(https))
    }

    /// Value of the `Host` header: host and, unless it is the scheme's default, port.
    pub(super) fn header_value(&self, https: bool) -> String {
        let mut text = match self.address {
            Some(IpAddr::V6(address)) => format!("[{address}]"),
            Some(IpAddr::V4(_)) | None => self.host.clone(),
        };
        let port = self.port(https);
        if port != default_port(https) {
            text.push_str(&format!(":{port}"));
        }
        text
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

fn parse_port(text: &str) -> Result<u16, UrlError> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(UrlError::Port);
    }
    match text.parse() {
        Ok(0) | Err(_) => Err(UrlError::Port),
        Ok(port) => Ok(port),
    }
}

fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

/// Whether `byte` may stand in a path, its slashes and percent signs included (RFC 3986, 3.3).
pub(super) fn is_path_byte(byte: u8) -> bool {
    byte == b'/' || is_segment_byte(byte)
}

/// The same for one segment of a path.
pub(super) fn is_segment_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:@".contains(&byte)
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
        let parts = Parts::of(url).ok().filter(|_| url.bytes().all(legal))?;
        Some(Self {
            https: parts.https,
            authority: Authority::parse(parts.host_and_port).ok()?,
            has_userinfo: parts.user_info.is_some(),
        })
    }

    /// The port that is dialled.
    pub(super) fn port(&self) -> u16 {
        self.authority.port(self.https)
    }
}

/// Whether a text, be it no URL, carries a user or password, or a query value that is a credential.
pub(crate) fn embeds_credentials(text: &str) -> bool {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let (rest, _) = split_at_sign(rest, '#');
    let (rest, query) = split_at_sign(rest, '?');
    let (authority, _) = split_authority(rest);
    let names_credential = |pair: &str| {
        let name = pair.split('=').next().unwrap_or("").to_ascii_lowercase();
        CREDENTIAL_KEYS.contains(&name.as_str())
    };
    let mut pairs = query.unwrap_or("").split(['&', ';']);
    authority.contains('@') || pairs.any(names_credential)
}

/// Neither query nor fragment is left in `rest`.
fn split_authority(rest: &str) -> (&str, &str) {
    let end = rest.find('/').unwrap_or(rest.len());
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
            ("https://h/#?token=1", false),
            ("https://h?a#token=x", false),
            ("https://h?a=b&Access_Token=x", true),
        ];
        for (text, want) in cases {
            assert_eq!(embeds_credentials(text), want, "{text}");
        }
    }
}
