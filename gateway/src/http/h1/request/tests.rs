//! The corpus, whole and cut anywhere; what a head says once it is parsed.

use proptest::prelude::*;

use super::*;
use crate::http::h1::framing::{BodyLength, Version};
use crate::http::h1::head_end::HeadScanner;
use crate::http::h1::limits::Limits;

include!("../../../../tests/fixtures/h1_cases.rs");

type Parsed = Result<Option<(RequestHead, usize)>, HeadError>;

fn whole(bytes: &[u8]) -> Parsed {
    parse_request(bytes, &Limits::default())
}

/// Feeds `bytes` up to each of `cuts` in turn, as reads would, until there is an answer.
fn cut_at(bytes: &[u8], cuts: impl IntoIterator<Item = usize>) -> Parsed {
    let mut scanner = HeadScanner::new();
    for cut in cuts.into_iter().chain([bytes.len()]) {
        let answer = scanner.parse_request(&bytes[..cut], &Limits::default());
        if !matches!(answer, Ok(None)) {
            return answer;
        }
    }
    Ok(None)
}

fn head(bytes: &[u8]) -> RequestHead {
    whole(bytes).unwrap().unwrap().0
}

fn check(case: &HeadCase, got: &Parsed) {
    let name = case.name;
    match (case.want, got) {
        (Want::Refused(status, message), Err(error)) => {
            assert_eq!(
                (error.status(), error.message()),
                (status, message),
                "{name}"
            );
        }
        (Want::Accepted(body, connection), Ok(Some((head, used)))) => {
            let want = match body {
                WantBody::Absent => BodyLength::None,
                WantBody::Exact(length) => BodyLength::Exact(length),
                WantBody::Chunked => BodyLength::Chunked,
            };
            assert_eq!(head.body(), want, "{name}");
            assert_eq!(head.keep_alive(), connection == Connection::Kept, "{name}");
            assert!(case.bytes[..*used].ends_with(b"\r\n\r\n"), "{name}");
        }
        (want, got) => panic!("{name}: wanted {want:?}, got {got:?}"),
    }
}

#[test]
fn every_case_of_the_corpus_gets_its_answer() {
    let cases = head_cases();
    assert!(REFUSED.len() >= 80 && ACCEPTED.len() >= 30);
    for case in &cases {
        check(case, &whole(&case.bytes));
    }
}

#[test]
fn every_case_gets_the_same_answer_wherever_it_is_cut() {
    for case in head_cases() {
        let want = whole(&case.bytes);
        // Long ones are cut around the limits only.
        let cuts: Vec<usize> = if case.bytes.len() < 1024 {
            (0..case.bytes.len()).collect()
        } else {
            vec![
                1, 20, 16_383, 16_384, 16_395, 16_427, 16_428, 65_535, 65_536, 65_537,
            ]
        };
        for &cut in cuts.iter().filter(|&&cut| cut < case.bytes.len()) {
            assert_eq!(cut_at(&case.bytes, [cut]), want, "{} at {cut}", case.name);
        }
        let cuts = cuts.into_iter().filter(|&cut| cut < case.bytes.len());
        assert_eq!(
            cut_at(&case.bytes, cuts),
            want,
            "{} byte by byte",
            case.name
        );
    }
}

#[test]
fn no_prefix_of_a_good_head_is_refused_or_complete() {
    for case in head_cases() {
        let Ok(Some((_, used))) = whole(&case.bytes) else {
            continue;
        };
        for end in (0..used).filter(|end| *end < 1024 || used - end < 4) {
            assert_eq!(
                whole(&case.bytes[..end]),
                Ok(None),
                "{} to {end}",
                case.name
            );
        }
    }
}

#[test]
fn a_head_takes_only_its_own_bytes() {
    let bytes = b"\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\nPOST /b HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut scanner = HeadScanner::new();
    let limits = Limits::default();
    let (first, used) = scanner.parse_request(bytes, &limits).unwrap().unwrap();
    let (second, rest) = scanner
        .parse_request(&bytes[used..], &limits)
        .unwrap()
        .unwrap();
    assert_eq!((first.path(), second.path()), ("/a", "/b"));
    assert_eq!(used + rest, bytes.len());
}

#[test]
fn a_head_gives_back_what_was_sent() {
    let bytes = b"POST /v1/chat/completions?a=1&b HTTP/1.1\r\nHOST: example.com:80\r\nx-A: 1\r\n\
        Authorization:  Bearer k \r\nX-a: 2\r\nx-a:\r\nContent-Length: 2\r\n\r\n{}";
    let (head, used) = whole(bytes).unwrap().unwrap();
    assert_eq!(used, bytes.len() - 2);
    assert_eq!(head.method(), &Method::Post);
    assert_eq!(head.target(), "/v1/chat/completions?a=1&b");
    assert_eq!(
        (head.path(), head.query()),
        ("/v1/chat/completions", Some("a=1&b"))
    );
    assert_eq!(head.version(), Version::Http11);
    assert_eq!(head.authority(), Some("example.com:80"));
    let names: Vec<&str> = head.headers().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "HOST",
            "x-A",
            "Authorization",
            "X-a",
            "x-a",
            "Content-Length"
        ]
    );
    assert_eq!(head.header("authorization"), Some(&b"Bearer k"[..]));
    assert_eq!(head.header("X-A"), Some(&b"1"[..]));
    assert_eq!(
        head.header_all("x-a").collect::<Vec<_>>(),
        [&b"1"[..], b"2", b""]
    );
    assert_eq!(head.header("x-b"), None);
}

#[test]
fn an_absolute_target_replaces_host() {
    let head = head(b"GET http://a:1?q HTTP/1.1\r\nHost: b\r\n\r\n");
    assert_eq!(head.authority(), Some("a:1"));
    assert_eq!((head.path(), head.query()), ("/", Some("q")));
    assert_eq!(head.header("host"), Some(&b"b"[..]));
}

#[test]
fn continue_is_owed_only_where_a_body_waits_for_it() {
    let cases = [
        ("HTTP/1.1", "Content-Length: 3\r\n", true),
        ("HTTP/1.1", "Transfer-Encoding: chunked\r\n", true),
        ("HTTP/1.1", "Content-Length: 0\r\n", false),
        ("HTTP/1.1", "", false),
        ("HTTP/1.0", "Content-Length: 3\r\n", false),
    ];
    for (version, framing, want) in cases {
        let bytes = format!("POST / {version}\r\nHost: a\r\n{framing}Expect: 100-Continue\r\n\r\n");
        assert_eq!(head(bytes.as_bytes()).expects_continue(), want, "{bytes}");
    }
}

#[test]
fn upgrades_and_connection_options_are_visible() {
    let head = head(
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: X-Hop\r\nConnection: Upgrade\r\n\r\n",
    );
    assert!(head.is_upgrade());
    assert!(head.is_connection_option("x-hop") && head.is_connection_option("UPGRADE"));
    assert!(!head.is_connection_option("x-other"));
}

#[test]
fn debug_output_holds_no_header_value() {
    let head = head(b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer canary\r\n\r\n");
    assert!(!format!("{head:?}").contains("canary"));
}

#[test]
fn method_names_are_case_sensitive_and_labels_are_bounded() {
    let cases = [
        ("GET", Method::Get, "GET"),
        ("get", Method::Other("get".into()), "OTHER"),
    ];
    for (name, want, label) in cases {
        let method = head(format!("{name} / HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
            .method()
            .clone();
        assert_eq!(
            (&method, method.as_str(), method.label()),
            (&want, name, label)
        );
    }
}

#[test]
fn limits_are_settings_within_their_ceilings() {
    let limits = Limits {
        head_bytes_max: 40,
        uri_bytes_max: 8,
        headers_max: 1,
    };
    let parse = |bytes: &[u8]| parse_request(bytes, &limits).map(|head| head.is_some());
    assert_eq!(parse(b"GET /2345678 HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(true));
    assert_eq!(
        parse(b"GET /23456789 HTTP/1.1\r\nHost: a\r\n\r\n"),
        Err(HeadError::TargetTooLong)
    );
    assert_eq!(
        parse(b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"),
        Err(HeadError::TooManyHeaders)
    );
    assert_eq!(
        parse(b"GET / HTTP/1.1\r\nHost: abcdefghijklmnop\r\n\r\n"),
        Err(HeadError::HeadTooLong)
    );
    let huge = Limits {
        head_bytes_max: usize::MAX,
        uri_bytes_max: usize::MAX,
        headers_max: usize::MAX,
    };
    let line = "X: y\r\n";
    let head = |count| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", line.repeat(count));
    assert!(
        parse_request(head(127).as_bytes(), &huge)
            .unwrap()
            .is_some()
    );
    assert_eq!(
        parse_request(head(128).as_bytes(), &huge),
        Err(HeadError::TooManyHeaders)
    );
}

proptest! {
    /// Heads put together from fragments that matter to a parser, cut at random.
    #[test]
    fn random_heads_are_answered_alike_however_cut(
        parts in prop::collection::vec(prop::sample::select(FRAGMENTS), 0..14),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut bytes = b"GET / HTTP/1.1\r\n".to_vec();
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.sort_unstable();
        prop_assert_eq!(cut_at(&bytes, cuts), whole(&bytes));
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = whole(&bytes);
        let _ = whole(&[b"GET / HTTP/1.1\r\nHost: a\r\n", &bytes[..], b"\r\n\r\n"].concat());
    }
}

const FRAGMENTS: &[&[u8]] = &[
    b"Host: a\r\n",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n",
    b"X: y\r\n",
    b"\r\n",
    b"\r",
    b"\n",
    b" ",
    b":",
    b"a",
    b"\0",
    b"\xff",
];
