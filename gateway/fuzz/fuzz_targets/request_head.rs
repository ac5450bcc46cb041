//! Request heads: no panic, the same answer byte by byte as at once, and every accessor works.
#![no_main]

use gateway::http::h1::{HeadScanner, Limits, parse_request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits {
        head_bytes_max: 512,
        uri_bytes_max: 64,
        headers_max: 8,
    };
    let whole = parse_request(bytes, &limits);
    let mut scanner = HeadScanner::new();
    let trickled = (0..=bytes.len())
        .map(|end| scanner.parse_request(&bytes[..end], &limits))
        .find(|answer| !matches!(answer, Ok(None)))
        .unwrap_or(Ok(None));
    assert_eq!(trickled, whole);

    let Ok(Some((head, used))) = whole else {
        return;
    };
    assert!(used <= bytes.len() && used <= limits.head_bytes_max);
    assert!(bytes[..used].ends_with(b"\r\n\r\n"));
    assert!(!head.target().is_empty() && head.target().len() <= limits.uri_bytes_max);
    assert!(head.target().is_ascii() && !head.path().is_empty());
    assert!(head.headers().count() <= limits.headers_max);
    for (name, value) in head.headers() {
        assert!(!name.is_empty());
        assert!(head.header_all(name).any(|other| other == value));
        assert!(!value.contains(&b'\r') && !value.contains(&b'\n') && !value.contains(&0));
    }
});
