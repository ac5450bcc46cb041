//! The four forms of a request target, of which two and a half are served. [pure]

use super::error::HeadError;
use crate::http::h1::grammar::is_authority;

/// A target taken apart; all parts are slices of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Target<'t> {
    /// The authority of an absolute-form target, which replaces `Host` (RFC 9112 3.2.2).
    pub(super) authority: Option<&'t str>,
    /// Empty when an absolute-form target has none.
    pub(super) path: &'t str,
    pub(super) query: Option<&'t str>,
}

/// Takes `target` apart, which has no space or control byte.
pub(super) fn parse<'t>(method: &str, target: &'t str) -> Result<Target<'t>, HeadError> {
    if !target.is_ascii() || target.bytes().any(|byte| byte == b'#') {
        return Err(HeadError::Target);
    }
    if method == "CONNECT" {
        return Err(HeadError::TargetForm);
    }
    if target.starts_with('/') {
        return Ok(split(None, target));
    }
    if target == "*" && method == "OPTIONS" {
        return Ok(split(None, target));
    }
    absolute(target)
}

fn absolute(target: &str) -> Result<Target<'_>, HeadError> {
    let (scheme, rest) = target.split_once("://").ok_or(HeadError::TargetForm)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(HeadError::TargetForm);
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if !is_authority(authority.as_bytes()) {
        return Err(HeadError::Target);
    }
    Ok(split(Some(authority), rest))
}

fn split<'t>(authority: Option<&'t str>, rest: &'t str) -> Target<'t> {
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    Target {
        authority,
        path,
        query,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_taken_apart_or_refused() {
        type Parts = (Option<&'static str>, &'static str, Option<&'static str>);
        let cases: [(&str, &str, Result<Parts, HeadError>); 24] = [
            ("GET", "/", Ok((None, "/", None))),
            (
                "GET",
                "/v1/models?a=b?c",
                Ok((None, "/v1/models", Some("a=b?c"))),
            ),
            ("GET", "/?", Ok((None, "/", Some("")))),
            ("GET", "//evil/x", Ok((None, "//evil/x", None))),
            ("GET", "/a://b", Ok((None, "/a://b", None))),
            ("OPTIONS", "*", Ok((None, "*", None))),
            ("GET", "http://a/b", Ok((Some("a"), "/b", None))),
            (
                "GET",
                "HTTPS://a:443/b?c",
                Ok((Some("a:443"), "/b", Some("c"))),
            ),
            ("GET", "http://a", Ok((Some("a"), "", None))),
            ("GET", "http://a?c", Ok((Some("a"), "", Some("c")))),
            ("GET", "http://[::1]:80/", Ok((Some("[::1]:80"), "/", None))),
            ("OPTIONS", "http://a", Ok((Some("a"), "", None))),
            ("GET", "*", Err(HeadError::TargetForm)),
            ("OPTIONS", "*/x", Err(HeadError::TargetForm)),
            ("CONNECT", "a:443", Err(HeadError::TargetForm)),
            ("CONNECT", "/", Err(HeadError::TargetForm)),
            ("GET", "a:443", Err(HeadError::TargetForm)),
            ("GET", "v1/models", Err(HeadError::TargetForm)),
            ("GET", "ftp://a/b", Err(HeadError::TargetForm)),
            ("GET", "http:///b", Err(HeadError::Target)),
            ("GET", "http://user:pw@a/b", Err(HeadError::Target)),
            ("GET", "http://a\\b/", Err(HeadError::Target)),
            ("GET", "/a#b", Err(HeadError::Target)),
            ("GET", "/b\u{fc}cher", Err(HeadError::Target)),
        ];
        for (method, target, want) in cases {
            let got = parse(method, target).map(|t| (t.authority, t.path, t.query));
            assert_eq!(got, want, "{method} {target}");
        }
    }
}
