//! The paths and hosts that a passthrough route serves. [pure]

use std::net::Ipv6Addr;

use super::super::origin::is_segment_byte;

/// First segments of paths that are the gateway's own, or could be.
const RESERVED_SEGMENTS: [&str; 10] = [
    "v1",
    "mcp",
    "a2a",
    "admin",
    "livez",
    "readyz",
    "metrics",
    "status",
    "playground",
    ".well-known",
];

/// Longest host name (RFC 1035).
const HOST_BYTES_MAX: usize = 253;

/// A prefix of paths, on the boundaries of their segments.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct PathPrefix(Box<str>);

impl PathPrefix {
    /// Reads a prefix; slashes at its end mean nothing. With `any_host` it must not start with a
    /// segment that is the gateway's own, however it is encoded.
    ///
    /// # Errors
    ///
    /// What is accepted, for the operator.
    pub fn parse(text: &str, any_host: bool) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err("must start with `/`".to_owned());
        };
        let first = rest.split('/').next().unwrap_or("");
        if any_host
            && RESERVED_SEGMENTS
                .iter()
                .any(|reserved| decodes_to(first, reserved))
        {
            let reserved = RESERVED_SEGMENTS.join(", ");
            return Err(format!(
                "must not start with one of {reserved}, unless there are `hosts`"
            ));
        }
        Ok(Self(text.trim_end_matches('/').into()))
    }

    /// The same for new documents, which must be paths that a request can have.
    ///
    /// # Errors
    ///
    /// What is accepted, for the operator.
    pub fn parse_strictly(text: &str, any_host: bool) -> Result<Self, String> {
        let prefix = Self::parse(text, any_host)?;
        let mut segments = prefix.0.split('/').skip(1);
        let is_segment = |segment: &str| {
            !segment.is_empty()
                && !decodes_to(segment, ".")
                && !decodes_to(segment, "..")
                && segment.bytes().all(is_segment_byte)
        };
        if segments.all(is_segment) {
            return Ok(prefix);
        }
        Err("must be a path, without empty, `.` and `..` segments, `?`, `#` and blanks".to_owned())
    }

    /// The prefix: empty, or starts with `/` and does not end with one.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows the prefix in `path`: empty, or starts with `/`. `None` where it does not match.
    pub fn strip<'p>(&self, path: &'p str) -> Option<&'p str> {
        let rest = path.strip_prefix(&*self.0)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }
}

/// Whether `segment` is `plain`, or is it once percent-encoded bytes are decoded.
fn decodes_to(segment: &str, plain: &str) -> bool {
    let mut rest = segment.as_bytes();
    for &want in plain.as_bytes() {
        let (byte, tail) = match *rest {
            [b'%', high, low, ref tail @ ..] => match (hex_digit(high), hex_digit(low)) {
                (Some(high), Some(low)) => (high << 4 | low, tail),
                _ => return false,
            },
            [byte, ref tail @ ..] => (byte, tail),
            [] => return false,
        };
        if byte != want {
            return false;
        }
        rest = tail;
    }
    rest.is_empty()
}

fn hex_digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

/// A host, or all hosts of one more label.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct HostPattern {
    /// In lower case, without port and dot at its end; an IPv6 address in brackets. Of a wildcard:
    /// what follows `*.`.
    pub name: Box<str>,
    /// Whether one more label comes first.
    pub wildcard: bool,
}

impl HostPattern {
    /// Reads a host, or `*.` and a host of two labels or more; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, wildcard) = match text.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        if let Some(address) = name.strip_prefix('[') {
            let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
            let name = format!("[{address}]").into();
            return (!wildcard).then_some(Self { name, wildcard });
        }
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_label = |label: &str| !label.is_empty() && label.bytes().all(legal);
        let enough_labels = !wildcard || name.contains('.');
        (name.len() <= HOST_BYTES_MAX && name.split('.').all(is_label) && enough_labels).then_some(
            Self {
                name: name.into(),
                wildcard,
            },
        )
    }

    /// Whether `host` matches: in lower case, without port and dot at its end.
    pub fn matches(&self, host: &str) -> bool {
        if !self.wildcard {
            return *self.name == *host;
        }
        host.split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && *self.name == *rest)
    }

    /// Whether whatever matches is a name of two labels or more, and can be no IP address.
    pub(super) fn is_public_name(&self) -> bool {
        let last = self.name.rsplit('.').next().unwrap_or("");
        // Resolvers take names that end in a number for IPv4 addresses: `127.1`, `1.0x7f`.
        let is_number = last.starts_with("0x") || last.bytes().all(|byte| byte.is_ascii_digit());
        let has_labels = self.wildcard || self.name.contains('.');
        has_labels && !is_number && !self.name.starts_with('[')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_match_on_the_boundaries_of_segments() {
        let cases = [
            ("/a", "/a", Some("")),
            ("/a", "/a/b", Some("/b")),
            ("/a", "/a/", Some("/")),
            ("/a", "/ab", None),
            ("/a/", "/a", Some("")),
            ("/a/b", "/a", None),
            ("/A", "/a", None),
            ("/", "/", Some("/")),
            ("/", "/x/y", Some("/x/y")),
        ];
        for (prefix, path, want) in cases {
            let prefix = PathPrefix::parse(prefix, true).unwrap();
            assert_eq!(prefix.strip(path), want, "{prefix:?} {path}");
        }
    }

    #[test]
    fn paths_of_the_gateway_are_refused_however_they_are_written() {
        let cases = [
            ("/v1", false),
            ("/v1/chat", false),
            ("/%761/x", false),
            ("/%2Ewell-known", false),
            ("/status", false),
            ("/playground/x", false),
            ("/metrics/", false),
            ("/v1x", true),
            ("/V1", true),
            ("/x/v1", true),
            ("/v%", true),
            ("/%zz1", true),
            ("/", true),
            ("v2", false),
            ("", false),
        ];
        for (text, accepted) in cases {
            assert_eq!(PathPrefix::parse(text, true).is_ok(), accepted, "{text}");
            let with_hosts = PathPrefix::parse(text, false).is_ok();
            assert_eq!(with_hosts, text.starts_with('/'), "{text}");
        }
    }

    #[test]
    fn new_prefixes_are_paths() {
        for text in ["/", "/a", "/a/b/", "/a%20b", "/a:b@c", "/.hidden", "/..."] {
            assert!(PathPrefix::parse_strictly(text, true).is_ok(), "{text}");
        }
        for text in [
            "//a",
            "/a//b",
            "/a/../b",
            "/%2e%2E/b",
            "/.",
            "/a?b",
            "/a#b",
            "/a b",
            "/é",
        ] {
            assert!(PathPrefix::parse_strictly(text, true).is_err(), "{text}");
            assert!(PathPrefix::parse(text, true).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_wildcard_stands_for_exactly_one_label() {
        let cases = [
            ("API.Example.com", "api.example.com", true),
            ("api.example.com.", "api.example.com", true),
            ("example.com", "api.example.com", false),
            ("*.example.com", "api.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "a.b.example.com", false),
            ("*.example.com", ".example.com", false),
            ("localhost", "localhost", true),
            ("[::0:1]", "[::1]", true),
        ];
        for (pattern, host, want) in cases {
            assert_eq!(
                HostPattern::parse(pattern).unwrap().matches(host),
                want,
                "{pattern} {host}"
            );
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long = "a.".repeat(127) + "com";
        for text in [
            "",
            "*",
            "*.",
            "*.com",
            "*.com.",
            "a.*.com",
            "*a.example.com",
            "h:80",
            "a..b",
            ".a",
            "a b",
            "é.com",
            "a/b",
            "[::1",
            "[x]",
            "*.[::1]",
            &long,
        ] {
            assert_eq!(HostPattern::parse(text), None, "{text}");
        }
    }

    #[test]
    fn addresses_and_single_labels_are_no_public_names() {
        for (text, want) in [
            ("api.example.com", true),
            ("*.example.com", true),
            ("a.0xample", false),
            ("localhost", false),
            ("127.0.0.1", false),
            ("127.1", false),
            ("*.0.0.1", false),
            ("[::1]", false),
        ] {
            assert_eq!(
                HostPattern::parse(text).unwrap().is_public_name(),
                want,
                "{text}"
            );
        }
    }
}
