//! The address of an upstream that is not a model provider, in its parts. [pure]

use std::fmt;
use std::sync::Arc;

use super::origin::{AddressClass, Authority, Parts, UrlError, is_path_byte};
use crate::secret::Secret;
use crate::tree::{Fields, Unknown};

/// A checked http(s) URL. A fragment is dropped, as it is never sent.
///
/// Prints only its scheme, host and port: the rest may hold credentials.
#[derive(Clone, Eq, PartialEq)]
pub struct HttpUrl {
    /// TLS or plain TCP.
    pub https: bool,
    /// Host name in lower case or IP address, an IPv6 address without brackets.
    pub host: Arc<str>,
    /// TCP port.
    pub port: u16,
    /// Value of the `Host` header: host and, unless it is the scheme's default, port.
    pub authority: Arc<str>,
    /// As written: empty, or starts with `/`.
    pub path: Box<str>,
    /// As written, without its `?`; may hold a credential.
    pub query: Option<Secret>,
    /// `user` or `user:password` as written; only documents of a store have it.
    pub user_info: Option<Secret>,
    is_loopback: bool,
}

impl HttpUrl {
    /// Reads an absolute URL; blanks around it are dropped.
    ///
    /// # Errors
    ///
    /// [`UrlError`]; never for a query, fragment or user name.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let parts = Parts::of(text.trim())?;
        // Some readers take `\` for `/`, and would find another host in front of the `@`.
        let user = parts.user_info.unwrap_or("");
        if !is_graphic(user) || user.contains('\\') {
            return Err(UrlError::Host);
        }
        let authority = Authority::parse(parts.host_and_port)?;
        if !parts.path.bytes().all(is_path_byte) || !is_graphic(parts.query.unwrap_or("")) {
            return Err(UrlError::Path);
        }
        Ok(Self {
            https: parts.https,
            port: authority.port(parts.https),
            authority: authority.header_value(parts.https).into(),
            is_loopback: authority.class() == AddressClass::Loopback,
            host: authority.host.into(),
            path: parts.path.into(),
            query: parts.query.map(Secret::from),
            user_info: parts.user_info.map(Secret::from),
        })
    }

    /// The path that other paths are appended to: without slashes at its end.
    pub fn base_path(&self) -> &str {
        self.path.trim_end_matches('/')
    }

    /// Whether a credential sent there could be read on the way: no TLS, and not this host itself.
    pub fn is_in_clear(&self) -> bool {
        !self.https && !self.is_loopback
    }
}

fn is_graphic(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}/***", self.authority)
    }
}

/// A required URL; what is none is a problem.
pub(crate) fn read_required<'a>(fields: &Fields<'a>, key: &'a str) -> Option<HttpUrl> {
    fields.take_required_str(key)?;
    read(fields, key)
}

/// A URL if there is one; what is none is a problem. Strict reading refuses user names too, as they
/// are credentials that are not kept like one.
pub(crate) fn read<'a>(fields: &Fields<'a>, key: &'a str) -> Option<HttpUrl> {
    let error = match HttpUrl::parse(fields.take_nonempty_str(key)?) {
        Ok(url) if url.user_info.is_none() || fields.unknown() == Unknown::Ignored => {
            return Some(url);
        }
        Ok(_) => UrlError::UserInfo,
        Err(error) => error,
    };
    fields.problem(key, error.to_string());
    None
}

/// A required URL, of which lenient reading only asks that there is a text: where that is no URL,
/// it is noted as passed over.
pub(crate) fn read_loose<'a>(fields: &Fields<'a>, key: &'a str) -> Option<HttpUrl> {
    let text = fields.take_required_str(key)?;
    if fields.unknown() == Unknown::Refused {
        return read(fields, key);
    }
    let url = HttpUrl::parse(text).ok();
    if url.is_none() {
        fields.problems().ignore(&fields.path_of(key));
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Problems;
    use serde_json::json;

    #[test]
    fn urls_are_taken_apart_and_their_paths_kept_as_written() {
        let cases = [
            (
                "https://H.example/mcp/",
                (true, "h.example", 443, "h.example", "/mcp/", None),
            ),
            (" http://h:8080 ", (false, "h", 8080, "h:8080", "", None)),
            (
                "HTTPS://h:443/v1/messages",
                (true, "h", 443, "h", "/v1/messages", None),
            ),
            (
                "http://[::1]/a//b#frag?x",
                (false, "::1", 80, "[::1]", "/a//b", None),
            ),
            ("https://h?k=v#f", (true, "h", 443, "h", "", Some("k=v"))),
            (
                "https://h/p?a=/b@c",
                (true, "h", 443, "h", "/p", Some("a=/b@c")),
            ),
        ];
        for (text, want) in cases {
            let url = HttpUrl::parse(text).unwrap();
            let query = url.query.as_ref().map(Secret::expose);
            let found = (
                url.https,
                &*url.host,
                url.port,
                &*url.authority,
                &*url.path,
                query,
            );
            assert_eq!(found, want, "{text}");
            assert_eq!(url.user_info, None, "{text}");
        }
        let url = HttpUrl::parse("https://u:p@ss@h/x//").unwrap();
        assert_eq!(url.user_info.as_ref().map(Secret::expose), Some("u:p@ss"));
        assert_eq!((&*url.host, url.base_path()), ("h", "/x"));
    }

    #[test]
    fn what_is_no_url_says_why() {
        let long = format!("https://h/{}", "a".repeat(3000));
        let cases = [
            ("", UrlError::Scheme),
            ("h/path", UrlError::Scheme),
            ("ftp://h", UrlError::Scheme),
            ("https://", UrlError::Host),
            ("https:///path", UrlError::Host),
            ("https://a b/", UrlError::Host),
            ("https://é.example", UrlError::Host),
            ("https://h\\@evil", UrlError::Host),
            ("https://a@b c/", UrlError::Host),
            ("https://h:0/", UrlError::Port),
            ("https://h:x/", UrlError::Port),
            ("https://h/a b", UrlError::Path),
            ("https://h/\\..", UrlError::Path),
            ("https://h/?a b", UrlError::Path),
            (&long, UrlError::TooLong),
        ];
        for (text, want) in cases {
            assert_eq!(HttpUrl::parse(text), Err(want), "{text}");
        }
    }

    #[test]
    fn credentials_in_a_url_are_not_printed() {
        let url = HttpUrl::parse("http://u:canary@h:81/canary?k=canary").unwrap();
        assert_eq!(format!("{url:?}"), "http://h:81/***");
    }

    #[test]
    fn only_plain_http_to_another_host_is_in_clear() {
        let cases = [
            ("http://h/", true),
            ("http://10.0.0.1/", true),
            ("http://localhost.example/", true),
            ("https://h/", false),
            ("http://localhost/", false),
            ("http://a.localhost/", true),
            ("http://127.8.0.1/", false),
            ("http://[::1]:1/", false),
        ];
        for (text, want) in cases {
            assert_eq!(HttpUrl::parse(text).unwrap().is_in_clear(), want, "{text}");
        }
    }

    #[test]
    fn a_loose_field_loads_without_a_url_and_a_strict_one_takes_no_user_name() {
        type Reader = for<'a> fn(&Fields<'a>, &'a str) -> Option<HttpUrl>;
        let readers: [(&str, Reader); 3] = [
            ("required", read_required),
            ("loose", read_loose),
            ("optional", read),
        ];
        let cases: [(_, [&str; 6]); 4] = [
            (json!("https://h"), ["ok", "ok", "ok", "ok", "ok", "ok"]),
            (json!("canary"), ["no", "no", "no", "skip", "no", "no"]),
            (
                json!("https://canary@h"),
                ["no", "ok", "no", "ok", "no", "ok"],
            ),
            (json!(null), ["no", "no", "no", "no", "none", "none"]),
        ];
        for (value, wants) in cases {
            let modes = [Unknown::Refused, Unknown::Ignored];
            let runs = readers.iter().flat_map(|r| modes.map(|mode| (r, mode)));
            for (((name, reader), mode), want) in runs.zip(wants) {
                let doc = json!({ "u": value });
                let problems = Problems::default();
                let url = reader(&Fields::new(&doc, "", &problems, mode), "u");
                let skipped = !problems.ignored().is_empty();
                let said = problems.into_vec();
                let found = match (&url, said.as_slice(), skipped) {
                    (Some(_), [], false) => "ok",
                    (None, [], true) => "skip",
                    (None, [], false) => "none",
                    (None, [_], false) => "no",
                    _ => "?",
                };
                assert_eq!(found, want, "{name} {mode:?} {value}");
                assert!(
                    said.iter().all(|p| !p.to_string().contains("canary")),
                    "{said:?}"
                );
            }
        }
    }
}
