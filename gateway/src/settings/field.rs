//! One key at a time: its value where right, else a noted problem and the default. [boot]
//!
//! Reading never stops: a broken value reads as its default, and the problem keeps the settings
//! from being used.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use config_sync::tree::Fields;

/// Longest duration accepted, a year: adding one to a clock never overflows.
pub(super) const DURATION_SECS_MAX: u64 = 365 * 24 * 3600;

/// What readers need besides the document.
#[derive(Debug)]
pub(super) struct Context<'a> {
    /// The environment of the process.
    pub(super) variables: &'a BTreeMap<String, String>,
    warnings: RefCell<Vec<String>>,
}

impl<'a> Context<'a> {
    pub(super) fn new(variables: &'a BTreeMap<String, String>) -> Self {
        let warnings = RefCell::default();
        Self {
            variables,
            warnings,
        }
    }

    /// Notes what the operator should know and the boot survives.
    pub(super) fn warn(&self, message: impl Into<String>) {
        self.warnings.borrow_mut().push(message.into());
    }

    pub(super) fn into_warnings(self) -> Vec<String> {
        self.warnings.into_inner()
    }
}

/// A boolean.
pub(super) fn flag<'a>(block: &Fields<'a>, key: &'a str, default: bool) -> bool {
    block.take_bool(key).unwrap_or(default)
}

/// A whole number of `min` to `max`.
pub(super) fn whole<'a>(
    block: &Fields<'a>,
    key: &'a str,
    default: u64,
    (min, max): (u64, u64),
) -> u64 {
    block.take_u64_in(key, min, max).unwrap_or(default)
}

/// A `u32` of `min` to `max`.
pub(super) fn small<'a>(
    block: &Fields<'a>,
    key: &'a str,
    default: u32,
    (min, max): (u32, u32),
) -> u32 {
    let number = whole(block, key, default.into(), (min.into(), max.into()));
    number.try_into().unwrap_or(default)
}

/// A number of milliseconds; 0 is `None`.
pub(super) fn millis<'a>(block: &Fields<'a>, key: &'a str, default: u64) -> Option<Duration> {
    let number = whole(block, key, default, (0, DURATION_SECS_MAX * 1000));
    Some(Duration::from_millis(number)).filter(|duration| !duration.is_zero())
}

/// A number of seconds; 0 is `None`.
pub(super) fn secs<'a>(block: &Fields<'a>, key: &'a str, default: u64) -> Option<Duration> {
    let number = whole(block, key, default, (0, DURATION_SECS_MAX));
    Some(Duration::from_secs(number)).filter(|duration| !duration.is_zero())
}

/// A string that is not blank.
pub(super) fn text<'a>(block: &Fields<'a>, key: &'a str) -> Option<&'a str> {
    let text = block.take_str(key)?;
    if text.trim().is_empty() {
        block.problem(key, "must not be blank");
        return None;
    }
    Some(text)
}

/// A path; not blank, not looked at.
pub(super) fn path<'a>(block: &Fields<'a>, key: &'a str) -> Option<PathBuf> {
    text(block, key).map(PathBuf::from)
}

/// An address to bind: `ip:port`, no host name.
pub(super) fn addr<'a>(block: &Fields<'a>, key: &'a str) -> Option<SocketAddr> {
    let text = block.take_str(key)?;
    let addr = text.parse().ok();
    if addr.is_none() {
        block.problem(
            key,
            "must be an address and a port, such as `127.0.0.1:3000`",
        );
    }
    addr
}

/// One of several words.
pub(super) fn choice<'a, T: Copy>(
    block: &Fields<'a>,
    key: &'a str,
    default: T,
    words: &[(&str, T)],
) -> T {
    let Some(text) = block.take_str(key) else {
        return default;
    };
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return *value;
    }
    let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
    block.problem(key, format!("must be one of: {}", words.join(", ")));
    default
}

/// An `http` or `https` URL, as far as it matters here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct HttpUrl<'t> {
    pub(super) https: bool,
    /// Without brackets.
    pub(super) host: &'t str,
    pub(super) port: Option<u16>,
    /// Empty, or from the first `/` on.
    pub(super) path: &'t str,
}

/// Reads an `http` or `https` URL without credentials, query and fragment.
pub(super) fn http_url(text: &str) -> Option<HttpUrl<'_>> {
    let (https, rest) = match text.strip_prefix("https://") {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix("http://")?),
    };
    let forbidden = |c: char| matches!(c, '@' | '?' | '#' | '\\') || !c.is_ascii_graphic();
    if rest.contains(forbidden) {
        return None;
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = host_port(authority)?;
    Some(HttpUrl {
        https,
        host,
        port,
        path,
    })
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`; the host without brackets.
pub(super) fn host_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, after)
        }
        None => {
            let (host, after) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
            if host.is_empty() || !host.bytes().all(plain) {
                return None;
            }
            (host, after)
        }
    };
    if port.is_empty() {
        return Some((host, None));
    }
    let port = port.strip_prefix(':')?.parse::<u16>().ok()?;
    (port != 0).then_some((host, Some(port)))
}

/// Whether `text` can name a header (RFC 9110 §5.1).
pub(super) fn is_header_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// One reader on one document, for the tests of all readers.
#[cfg(test)]
pub(super) mod reading {
    use super::{BTreeMap, Context, Fields};
    use config_sync::tree::{Problem, Problems, Unknown, Value};

    /// What a reader returned, and what it noted.
    pub(crate) struct Read<T> {
        pub(crate) got: T,
        pub(crate) problems: Vec<String>,
        pub(crate) warnings: Vec<String>,
    }

    pub(crate) fn read<T>(
        doc: &Value,
        variables: &[(&str, &str)],
        reader: impl FnOnce(&Fields<'_>, &Problems, &Context<'_>) -> T,
    ) -> Read<T> {
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        let variables: BTreeMap<_, _> = variables.iter().map(owned).collect();
        let problems = Problems::default();
        let context = Context::new(&variables);
        let root = Fields::new(doc, "", &problems, Unknown::Refused);
        let got = reader(&root, &problems, &context);
        root.finish();
        let noted = problems.into_vec();
        Read {
            got,
            problems: noted.iter().map(Problem::to_string).collect(),
            warnings: context.into_warnings(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart_or_refused() {
        let url = |https, host, port, path| {
            Some(HttpUrl {
                https,
                host,
                port,
                path,
            })
        };
        let cases = [
            ("http://a", url(false, "a", None, "")),
            (
                "https://a.example:2379/",
                url(true, "a.example", Some(2379), "/"),
            ),
            ("http://[::1]:80/x/y", url(false, "::1", Some(80), "/x/y")),
            ("http://[::1]", url(false, "::1", None, "")),
            ("a:2379", None),
            ("ftp://a", None),
            ("http://", None),
            ("http://:80", None),
            ("http://a:", None),
            ("http://a:0", None),
            ("http://a:99999", None),
            ("http://u:p@a", None),
            ("http://a?x", None),
            ("http://a/#x", None),
            ("http://[::g]", None),
            ("http://[::1]x", None),
            ("http://a b", None),
        ];
        for (text, want) in cases {
            assert_eq!(http_url(text), want, "{text}");
        }
    }

    #[test]
    fn header_names_are_tokens() {
        for (text, want) in [
            ("x-a", true),
            ("X_a1!", true),
            ("", false),
            ("a b", false),
            ("a:", false),
        ] {
            assert_eq!(is_header_name(text), want, "{text}");
        }
    }
}
