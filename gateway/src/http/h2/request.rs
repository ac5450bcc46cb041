//! A request head of HTTP/2, written as one of HTTP/1.1. [pure]

use ::http::header::{CONTENT_LENGTH, COOKIE, EXPECT, HOST, TE};
use ::http::request::Parts;
use ::http::{HeaderName, HeaderValue, Method};
use memchr::memchr3;

/// A sentence for the 400 that answers a head with two readings.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refused(pub &'static str);

/// Header lines that speak of a connection, which HTTP/2 forbids (RFC 9113 8.2.2).
const OF_A_CONNECTION: [&str; 5] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];

/// Appends the head of `parts` to `out`, in the form that the parser of [`crate::http::h1`] reads.
///
/// `has_body` tells whether DATA frames follow; without a `content-length` they are announced as
/// chunks. `:authority` becomes `host`, cookies become one line (RFC 9113 8.2.3), names are
/// lower-case already. What the parser checks in any head (target, length, `host`, sizes) is left
/// to it.
///
/// # Errors
///
/// [`Refused`]: a head that two parties could read in two ways, or that names what only a connection
/// of HTTP/1.1 has. Nothing useful is in `out` then.
pub fn write_head(parts: &Parts, has_body: bool, out: &mut Vec<u8>) -> Result<(), Refused> {
    let scheme = parts.uri.scheme_str();
    if parts.method == Method::CONNECT || scheme.is_none() {
        return Err(Refused("CONNECT is not served"));
    }
    if !matches!(scheme, Some("http" | "https")) {
        return Err(Refused("the scheme must be http or https"));
    }
    let target = parts.uri.path_and_query().map_or("", |path| path.as_str());
    out.extend_from_slice(parts.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if let Some(host) = authority(parts)? {
        line(out, &HOST, host.as_bytes())?;
    }
    let mut cookies: Vec<u8> = Vec::new();
    for (name, value) in &parts.headers {
        check(name, value)?;
        if name == HOST || name == TE {
            // Written above; and of `te` only `trailers` passed, which nobody here sends.
        } else if name == COOKIE {
            if !cookies.is_empty() {
                cookies.extend_from_slice(b"; ");
            }
            cookies.extend_from_slice(value.as_bytes());
        } else {
            line(out, name, value.as_bytes())?;
        }
    }
    if !cookies.is_empty() {
        line(out, &COOKIE, &cookies)?;
    }
    if has_body && !parts.headers.contains_key(CONTENT_LENGTH) {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Whom the request addresses: `:authority`, or `host` where there is none; both only if they agree.
fn authority(parts: &Parts) -> Result<Option<&str>, Refused> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Refused("`host` stands twice"));
    }
    let host = host.map(HeaderValue::to_str).transpose();
    let host = host.map_err(|_| Refused("malformed `host`"))?;
    let authority = parts.uri.authority().map(|authority| authority.as_str());
    match (authority, host) {
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            Err(Refused("`host` and `:authority` differ"))
        }
        (authority, host) => Ok(authority.or(host)),
    }
}

fn check(name: &HeaderName, value: &HeaderValue) -> Result<(), Refused> {
    if OF_A_CONNECTION.contains(&name.as_str()) {
        return Err(Refused("a header line of HTTP/1.1 connections"));
    }
    if name == TE && value.as_bytes() != b"trailers" {
        return Err(Refused("`te` may only be `trailers`"));
    }
    // The one expectation there is; what else it may say is refused by the parser.
    if name == EXPECT && value.is_empty() {
        return Err(Refused("empty `expect`"));
    }
    Ok(())
}

/// Appends one line. The `http` crate lets no line break into a value; this holds without it too.
fn line(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) -> Result<(), Refused> {
    if memchr3(b'\r', b'\n', b'\0', value).is_some() {
        return Err(Refused("a line break in a header value"));
    }
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use ::http::Request;

    use super::*;
    use crate::http::h1::{BodyLength, Limits, parse_request};

    fn written(uri: &str, headers: &[(&str, &str)], has_body: bool) -> Result<String, Refused> {
        let mut request = Request::post(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let mut out = Vec::new();
        write_head(&parts, has_body, &mut out)?;
        let (head, used) = parse_request(&out, &Limits::default()).unwrap().unwrap();
        assert_eq!(used, out.len());
        let chunked = has_body && !headers.iter().any(|(name, _)| *name == "content-length");
        assert_eq!(chunked, head.body() == BodyLength::Chunked);
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_head_is_what_the_parser_of_http_1_reads() {
        let got = written(
            "http://a:80/v1/x?y=z",
            &[
                ("cookie", "a=b"),
                ("x-Y", "1"),
                ("cookie", "c=d"),
                ("te", "trailers"),
            ],
            true,
        );
        let want = "POST /v1/x?y=z HTTP/1.1\r\nhost: a:80\r\nx-y: 1\r\ncookie: a=b; c=d\r\n\
                    transfer-encoding: chunked\r\n\r\n";
        assert_eq!(got, Ok(want.to_owned()));
        let got = written(
            "https://a/",
            &[("content-length", "3"), ("host", "A")],
            true,
        );
        let want = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n";
        assert_eq!(got, Ok(want.to_owned()));
        let got = written("http://a/", &[], false);
        assert_eq!(got, Ok("POST / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned()));
    }

    #[test]
    fn what_has_two_readings_is_refused() {
        let cases: [(&str, &[(&str, &str)]); 11] = [
            ("http://a/", &[("host", "b")]),
            ("http://a/", &[("host", "a"), ("host", "a")]),
            ("http://a/", &[("host", "\u{e9}")]),
            ("http://a/", &[("connection", "close")]),
            ("http://a/", &[("keep-alive", "1")]),
            ("http://a/", &[("proxy-connection", "close")]),
            ("http://a/", &[("transfer-encoding", "chunked")]),
            ("http://a/", &[("upgrade", "h2c")]),
            ("http://a/", &[("te", "gzip")]),
            ("ftp://a/", &[]),
            ("/no/scheme", &[]),
        ];
        for (uri, headers) in cases {
            assert!(written(uri, headers, false).is_err(), "{uri} {headers:?}");
        }
    }
}
