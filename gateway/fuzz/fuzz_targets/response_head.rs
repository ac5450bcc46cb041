//! Response heads: no panic, and the same answer byte by byte as at once.
#![no_main]

use gateway::http::h1::{BodyLength, HeadScanner, Limits, Method, Version, parse_response};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits {
        head_bytes_max: 512,
        uri_bytes_max: 64,
        headers_max: 8,
    };
    let (selector, bytes) = bytes.split_first().unwrap_or((&0, &[]));
    let method = if selector % 4 == 0 {
        Method::Head
    } else {
        Method::Post
    };
    let whole = parse_response(bytes, &method, &limits);
    let mut scanner = HeadScanner::new();
    let trickled = (0..=bytes.len())
        .map(|end| scanner.parse_response(&bytes[..end], &method, &limits))
        .find(|answer| !matches!(answer, Ok(None)))
        .unwrap_or(Ok(None));
    assert_eq!(trickled, whole);

    let Ok(Some((head, used))) = whole else {
        return;
    };
    assert!(bytes[..used].ends_with(b"\r\n\r\n"));
    assert!((100..1000).contains(&head.status()));
    assert!(head.headers().count() <= limits.headers_max);
    if head.keep_alive() {
        assert!(!head.is_interim() && head.version() == Version::Http11);
        assert!(head.body() != BodyLength::UntilClose);
    }
    if method == Method::Head {
        assert_eq!(head.body(), BodyLength::None);
    }
});
