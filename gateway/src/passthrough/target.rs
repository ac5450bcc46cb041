//! Where on the upstream a request goes. [pure]

use std::borrow::Cow;
use std::net::Ipv6Addr;

use config_sync::model::passthrough_route::RouteTarget;

use super::query;

/// The version segment that bases and callers' paths both tend to have.
const VERSION: &str = "/v1";

/// Appends the request target: `rest`, what follows the route's prefix, below the base of `target`,
/// or the whole `path` where the caller names the host; then the query, without the parts in which
/// `is_gateway_key` finds a caller's key.
pub fn write_target(
    target: &RouteTarget,
    (path, rest): (&str, &str),
    query: Option<&str>,
    is_gateway_key: impl Fn(&[u8]) -> bool,
    out: &mut Vec<u8>,
) {
    let (base, below, own_query) = match target {
        RouteTarget::RequestedHost => ("", path, None),
        RouteTarget::Url(url) => {
            let base = url.base_path();
            let own_query = url.query.as_ref().map(|query| query.expose());
            (base, without_double_version(base, rest), own_query)
        }
    };
    if base.is_empty() && below.is_empty() {
        out.push(b'/');
    }
    out.extend_from_slice(base.as_bytes());
    out.extend_from_slice(below.as_bytes());
    if let Some(own) = own_query {
        out.push(b'?');
        out.extend_from_slice(own.as_bytes());
    }
    if let Some(query) = query {
        let sign = if own_query.is_some() { b'&' } else { b'?' };
        query::write(query, is_gateway_key, sign, out);
    }
}

/// `rest` without the version that `base` ends in already.
fn without_double_version<'r>(base: &str, rest: &'r str) -> &'r str {
    if !base.ends_with(VERSION) {
        return rest;
    }
    match rest.strip_prefix(VERSION) {
        Some(below) if below.is_empty() || below.starts_with('/') => below,
        _ => rest,
    }
}

/// The host of an authority: lower case, without port and the dot at its end, an IPv6 address in
/// brackets and in its shortest form.
pub fn host_of(authority: &str) -> Cow<'_, str> {
    if let Some(rest) = authority.strip_prefix('[') {
        let address = rest.split(']').next().unwrap_or_default();
        return match address.parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]").into(),
            Err(_) => authority.into(),
        };
    }
    let host = authority.split(':').next().unwrap_or_default();
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return host.to_ascii_lowercase().into();
    }
    host.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use config_sync::model::http_url::HttpUrl;

    #[test]
    fn the_rest_is_appended_to_the_base_and_the_query_is_kept() {
        let cases = [
            ("https://h", "", None, "/"),
            ("https://h/", "", Some("a=b"), "/?a=b"),
            ("https://h", "/", None, "/"),
            ("https://h", "/x/y", Some("a=b?c"), "/x/y?a=b?c"),
            ("https://h", "/x", Some(""), "/x?"),
            ("https://h/api", "", None, "/api"),
            ("https://h/api/", "/x", None, "/api/x"),
            ("https://h/api//", "/x/", None, "/api/x/"),
            ("https://h/v1", "/v1/chat", None, "/v1/chat"),
            ("https://h/a/v1/", "/v1/chat", None, "/a/v1/chat"),
            ("https://h/v1", "/v1", None, "/v1"),
            ("https://h/v1", "/v1x/chat", None, "/v1/v1x/chat"),
            ("https://h/v1", "/v2/chat", None, "/v1/v2/chat"),
            ("https://h/v1", "/v1/v1/chat", None, "/v1/v1/chat"),
            ("https://h/xv1", "/v1/chat", None, "/xv1/v1/chat"),
            ("https://h/v10", "/v1/chat", None, "/v10/v1/chat"),
            ("https://h", "/v1/chat", None, "/v1/chat"),
            ("https://h/a?own=1", "/x", Some("b=2"), "/a/x?own=1&b=2"),
            ("https://h/a?own=1", "/x", None, "/a/x?own=1"),
            ("https://h", "/a%2fb%20c", None, "/a%2fb%20c"),
        ];
        for (url, rest, query, want) in cases {
            let target = RouteTarget::Url(HttpUrl::parse(url).unwrap());
            let mut out = Vec::new();
            let path = ("/prefix/ignored", rest);
            write_target(&target, path, query, |_| false, &mut out);
            let got = String::from_utf8(out).unwrap();
            assert_eq!(got, want, "{url} {rest} {query:?}");
        }
        let mut out = Vec::new();
        write_target(
            &RouteTarget::RequestedHost,
            ("/p/x", "/x"),
            Some("q"),
            |_| false,
            &mut out,
        );
        assert_eq!(out, b"/p/x?q");
    }

    #[test]
    fn hosts_lose_their_port_their_case_and_their_last_dot() {
        for (authority, want) in [
            ("h.example", "h.example"),
            ("H.Example.:8443", "h.example"),
            ("h.example:443", "h.example"),
            ("10.0.0.1:80", "10.0.0.1"),
            ("[::1]:80", "[::1]"),
            ("[0:0::1]", "[::1]"),
            ("[zz]", "[zz]"),
            ("", ""),
        ] {
            assert_eq!(host_of(authority), want, "{authority}");
        }
    }
}
