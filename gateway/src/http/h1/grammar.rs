//! The small grammar of RFC 9110 that heads and trailers share. [pure]

use std::net::Ipv6Addr;

/// `tchar` of RFC 9110 5.6.2.
const TOKEN: [bool; 256] = alphanumeric_and(b"!#$%&'*+-.^_`|~");
/// `unreserved` and the percent sign of RFC 3986, for host names.
const NAME: [bool; 256] = alphanumeric_and(b"-._~%");

const fn alphanumeric_and(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut other = 0;
    while other < others.len() {
        table[others[other] as usize] = true;
        other += 1;
    }
    table
}

#[inline]
pub(super) fn is_token_byte(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_token_byte(byte))
}

/// What a field value may hold: HTAB, SP, VCHAR, obs-text.
pub(super) fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Members of a comma-separated value, trimmed. An empty member is kept: callers refuse it or skip it.
pub(super) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim)
}

/// `value` without optional white space (SP, HTAB) around it.
pub(super) fn trim(value: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let from = value.iter().position(|byte| !is_space(byte));
    let to = value.iter().rposition(|byte| !is_space(byte));
    match (from, to) {
        (Some(from), Some(to)) => value.get(from..=to).unwrap_or_default(),
        _ => &[],
    }
}

/// `1*DIGIT` as a number; `None` for anything else: signs, spaces, nothing, more than 64 bits.
pub(super) fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// Whether `text` is `host [":" port]`, as in `Host` and in an absolute-form target.
///
/// Stricter than the grammar where no name that resolves needs it: no empty host, no user info, no
/// sub-delims. A comma in particular is what two joined `Host` lines look like.
pub(super) fn is_authority(text: &[u8]) -> bool {
    let (is_host, port) = if let Some(rest) = text.strip_prefix(b"[") {
        let Some(close) = rest.iter().position(|&byte| byte == b']') else {
            return false;
        };
        let (literal, port) = rest.split_at(close);
        (is_ipv6(literal), port.get(1..).unwrap_or_default())
    } else {
        let end = text.iter().position(|&byte| byte == b':');
        let (name, port) = text.split_at(end.unwrap_or(text.len()));
        (is_name(name), port)
    };
    is_host && (port.is_empty() || port.strip_prefix(b":").is_some_and(is_port))
}

fn is_ipv6(literal: &[u8]) -> bool {
    str::from_utf8(literal).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&byte| NAME[usize::from(byte)])
}

/// An empty port is legal after the colon (RFC 3986 3.2.3) and means the default one.
fn is_port(port: &[u8]) -> bool {
    port.is_empty() || (port.len() <= 5 && digits(port).is_some_and(|n| n <= 65_535))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_a_host_and_perhaps_a_port() {
        for good in [
            "a",
            "example.com",
            "example.com:",
            "example.com:80",
            "a_b.c",
            "127.0.0.1:65535",
            "[::1]",
            "[::1]:8080",
            "[fe80::1]:",
            "xn--bcher-kva.example",
            "%41.example",
        ] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            ":80",
            "a:b",
            "a:80:80",
            "a:65536",
            "a:000080",
            "a b",
            "a,b",
            "user@a",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "[::1",
            "::1",
            "[]",
            "[::1]80",
            "[::1]x",
            "[g::]",
            "[1.2.3.4]",
            "[fe80::1%eth0]",
            "a:+80",
            "a:-1",
            "b\u{fc}cher",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn digits_are_digits_only_and_fit_64_bits() {
        let cases: [(&str, Option<u64>); 11] = [
            ("0", Some(0)),
            ("42", Some(42)),
            ("007", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("+1", None),
            ("-1", None),
            ("1 ", None),
            ("0x10", None),
            ("\u{661}", None),
        ];
        for (text, want) in cases {
            assert_eq!(digits(text.as_bytes()), want, "{text:?}");
        }
    }

    #[test]
    fn members_are_trimmed_and_empty_ones_stay_visible() {
        let got: Vec<&[u8]> = members(b" a,\tb c ,, d").collect();
        assert_eq!(got, [&b"a"[..], b"b c", b"", b"d"]);
        assert_eq!(members(b"").collect::<Vec<_>>(), [&b""[..]]);
    }

    #[test]
    fn tokens_are_the_tchars_of_the_rfc() {
        let tokens: Vec<u8> = (0..=255).filter(|&byte| is_token_byte(byte)).collect();
        let want = b"!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~";
        assert_eq!(tokens, want);
        assert!(!is_token(b"") && !is_token(b"a b") && is_token(b"X-1"));
    }
}
