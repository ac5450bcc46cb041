//! What an upstream may send, and what it may not; whole and cut anywhere.

use proptest::prelude::*;

use super::*;
use crate::http::h1::framing::{BodyLength, Version};
use crate::http::h1::head_end::HeadScanner;
use crate::http::h1::limits::Limits;
use crate::http::h1::request::Method;

type Parsed = Result<Option<(ResponseHead, usize)>, ResponseError>;

fn whole(bytes: &[u8], method: &Method) -> Parsed {
    parse_response(bytes, method, &Limits::default())
}

fn cut_at(bytes: &[u8], method: &Method, cuts: impl IntoIterator<Item = usize>) -> Parsed {
    let mut scanner = HeadScanner::new();
    for cut in cuts.into_iter().chain([bytes.len()]) {
        let answer = scanner.parse_response(&bytes[..cut], method, &Limits::default());
        if !matches!(answer, Ok(None)) {
            return answer;
        }
    }
    Ok(None)
}

/// Parses a response to `method`, at every cut.
fn parse(bytes: &[u8], method: &Method) -> Parsed {
    let want = whole(bytes, method);
    for cut in 0..bytes.len().min(300) {
        assert_eq!(cut_at(bytes, method, [cut]), want, "cut at {cut}");
    }
    assert_eq!(cut_at(bytes, method, 0..bytes.len()), want, "byte by byte");
    want
}

#[test]
fn body_and_reuse_follow_from_status_method_version_and_framing() {
    use BodyLength::{Chunked, Exact, None, UntilClose};
    let cases: [(&str, &str, Method, BodyLength, bool); 26] = [
        (
            "HTTP/1.1 200 OK",
            "Content-Length: 3",
            Method::Get,
            Exact(3),
            true,
        ),
        (
            "HTTP/1.1 200 OK",
            "Content-Length: 0",
            Method::Get,
            Exact(0),
            true,
        ),
        (
            "HTTP/1.1 200",
            "Content-Length: 3",
            Method::Get,
            Exact(3),
            true,
        ),
        (
            "HTTP/1.1 200 ",
            "Content-Length: 3",
            Method::Get,
            Exact(3),
            true,
        ),
        (
            "HTTP/1.1 200 \u{e9}t\u{e9}",
            "Content-Length: 3",
            Method::Get,
            Exact(3),
            true,
        ),
        (
            "HTTP/1.1 999 X",
            "Content-Length: 3",
            Method::Get,
            Exact(3),
            true,
        ),
        (
            "HTTP/1.1 200 OK",
            "Transfer-Encoding: Chunked",
            Method::Get,
            Chunked,
            true,
        ),
        ("HTTP/1.1 200 OK", "X: y", Method::Get, UntilClose, false),
        (
            "HTTP/1.1 200 OK",
            "Content-Length: 3\r\nConnection: close",
            Method::Get,
            Exact(3),
            false,
        ),
        (
            "HTTP/1.1 200 OK",
            "Transfer-Encoding: chunked\r\nConnection: x\r\nConnection: Close",
            Method::Get,
            Chunked,
            false,
        ),
        (
            "HTTP/1.1 200 OK",
            "Content-Length: 3\r\nContent-Length: 3",
            Method::Get,
            Exact(3),
            true,
        ),
        (
            "HTTP/1.1 200 OK",
            "Content-Length: 3, 3",
            Method::Get,
            Exact(3),
            true,
        ),
        (
            "HTTP/1.0 200 OK",
            "Content-Length: 3",
            Method::Get,
            Exact(3),
            false,
        ),
        (
            "HTTP/1.0 200 OK",
            "Content-Length: 3\r\nConnection: keep-alive",
            Method::Get,
            Exact(3),
            false,
        ),
        ("HTTP/1.0 200 OK", "X: y", Method::Get, UntilClose, false),
        (
            "HTTP/1.1 200 OK",
            "Content-Length: 3",
            Method::Head,
            None,
            true,
        ),
        (
            "HTTP/1.1 200 OK",
            "Transfer-Encoding: chunked",
            Method::Head,
            None,
            true,
        ),
        ("HTTP/1.1 200 OK", "X: y", Method::Head, None, true),
        ("HTTP/1.1 204 No Content", "X: y", Method::Post, None, true),
        (
            "HTTP/1.1 204 No Content",
            "Content-Length: 0",
            Method::Post,
            None,
            true,
        ),
        (
            "HTTP/1.1 204 No Content",
            "Content-Length: 3",
            Method::Post,
            None,
            false,
        ),
        (
            "HTTP/1.1 204 No Content",
            "Transfer-Encoding: chunked",
            Method::Post,
            None,
            false,
        ),
        (
            "HTTP/1.1 304 Not Modified",
            "Content-Length: 3",
            Method::Get,
            None,
            true,
        ),
        ("HTTP/1.1 100 Continue", "X: y", Method::Post, None, false),
        (
            "HTTP/1.1 103 Early Hints",
            "Link: </a>",
            Method::Post,
            None,
            false,
        ),
        (
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: x",
            Method::Get,
            None,
            false,
        ),
    ];
    for (line, headers, method, body, keep_alive) in cases {
        let name = format!("{method:?}: {line}, {headers}");
        let bytes = format!("{line}\r\n{headers}\r\n\r\nabc");
        let (head, used) = parse(bytes.as_bytes(), &method).unwrap().unwrap();
        assert_eq!(used, bytes.len() - 3, "{name}");
        assert_eq!(
            (head.body(), head.keep_alive()),
            (body, keep_alive),
            "{name}"
        );
    }
}

#[test]
fn ambiguous_or_broken_heads_are_refused() {
    use ResponseError::*;
    let cases: [(&[u8], ResponseError); 37] = [
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
            ConflictingContentLength,
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 3,4\r\n\r\n",
            ConflictingContentLength,
        ),
        (
            b"HTTP/1.1 304 X\r\nContent-Length: 3,4\r\n\r\n",
            ConflictingContentLength,
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\n",
            ContentLength,
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            ContentLength,
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", ContentLength),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 3,\r\n\r\n",
            ContentLength,
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n",
            ContentLength,
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            CodingAndLength,
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
            CodingAndLength,
        ),
        (
            b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            CodingInHttp10,
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            TransferEncoding,
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
            TransferEncoding,
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            TransferEncoding,
        ),
        (b"HTTP/1.1 200 OK\nContent-Length: 3\n\n", BareLf),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\n\r\n", BareLf),
        (b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n", Header),
        (b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", Header),
        (b"HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\n", Header),
        (b"HTTP/1.1 200 OK\r\nX: \0\r\n\r\n", Header),
        (b"HTTP/1.1 200 OK\r\nX\r\n\r\n", Header),
        (b"HTTP/1.1 200 OK\r\n: y\r\n\r\n", Header),
        (b"HTTP/1.2 200 OK\r\n\r\n", StatusLine),
        (b"HTTP/2 200 OK\r\n\r\n", StatusLine),
        (b"http/1.1 200 OK\r\n\r\n", StatusLine),
        (b"HTTP/1.1 20 OK\r\n\r\n", StatusLine),
        (b"HTTP/1.1 2000 OK\r\n\r\n", StatusLine),
        (b"HTTP/1.1 099 OK\r\n\r\n", StatusLine),
        (b"HTTP/1.1 2x0 OK\r\n\r\n", StatusLine),
        (b"HTTP/1.1  200 OK\r\n\r\n", StatusLine),
        (b"HTTP/1.1\t200 OK\r\n\r\n", StatusLine),
        (b"HTTP/1.1 200 O\0K\r\n\r\n", StatusLine),
        (b"HTTP/1.1 200 O\rK\r\n\r\n", StatusLine),
        (b"\r\nHTTP/1.1 200 OK\r\n\r\n", StatusLine),
        (b"abcHTTP/1.1 200 OK\r\n\r\n", StatusLine),
        (b"<html>", StatusLine),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", StatusLine),
    ];
    for (bytes, want) in cases {
        let got = parse(bytes, &Method::Get);
        assert_eq!(got, Err(want), "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn response_heads_are_bounded() {
    let head = |bytes: usize| format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(bytes - 24));
    let method = Method::Get;
    assert!(
        whole(head(64 * 1024).as_bytes(), &method)
            .unwrap()
            .is_some()
    );
    let long = whole(head(64 * 1024 + 1).as_bytes(), &method);
    assert_eq!(long, Err(ResponseError::HeadTooLong));
    let reason = format!("HTTP/1.1 200 {}", "x".repeat(70_000));
    assert_eq!(
        whole(reason.as_bytes(), &method),
        Err(ResponseError::HeadTooLong)
    );
    let lines = |count| format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(count));
    assert!(whole(lines(100).as_bytes(), &method).unwrap().is_some());
    let many = whole(lines(101).as_bytes(), &method);
    assert_eq!(many, Err(ResponseError::TooManyHeaders));
}

#[test]
fn interim_heads_are_told_from_final_ones_and_take_only_their_bytes() {
    let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n\
        HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    let (mut scanner, mut used, mut statuses) = (HeadScanner::new(), 0, Vec::new());
    loop {
        let parsed = scanner.parse_response(&bytes[used..], &Method::Post, &Limits::default());
        let (head, taken) = parsed.unwrap().unwrap();
        used += taken;
        statuses.push(head.status());
        if !head.is_interim() {
            break;
        }
    }
    assert_eq!(
        (statuses, &bytes[used..]),
        (vec![100, 103, 200], &b"{}"[..])
    );
    let switching = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
    assert!(
        !whole(switching, &Method::Get)
            .unwrap()
            .unwrap()
            .0
            .is_interim()
    );
}

#[test]
fn a_head_gives_back_what_was_sent() {
    let bytes = b"HTTP/1.0 429 Slow Down\r\nRetry-After: 3\r\nx-A: 1\r\nX-a: 2\r\n\r\n";
    let (head, _) = whole(bytes, &Method::Get).unwrap().unwrap();
    assert_eq!((head.status(), head.version()), (429, Version::Http10));
    assert_eq!(head.header("retry-after"), Some(&b"3"[..]));
    assert_eq!(head.header_all("x-a").collect::<Vec<_>>(), [b"1", b"2"]);
    let names: Vec<&str> = head.headers().map(|(name, _)| name).collect();
    assert_eq!(names, ["Retry-After", "x-A", "X-a"]);
    assert!(
        !format!("{head:?}").contains("\"3\""),
        "no values in debug output"
    );
}

proptest! {
    #[test]
    fn random_heads_are_answered_alike_however_cut(
        parts in prop::collection::vec(prop::sample::select(FRAGMENTS), 0..14),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let bytes = [b"HTTP/1.1 200", &parts.concat()[..]].concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.sort_unstable();
        prop_assert_eq!(cut_at(&bytes, &Method::Get, cuts), whole(&bytes, &Method::Get));
    }
}

const FRAGMENTS: &[&[u8]] = &[
    b" OK\r\n",
    b"\r\n",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"X: y\r\n",
    b"\r",
    b"\n",
    b" ",
    b":",
    b"a",
    b"\0",
    b"\xff",
];
