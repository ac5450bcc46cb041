//! What of a caller's query reaches a route's upstream. [pure]

use std::borrow::Cow;

/// Appends the parts of `query` that hold no gateway key, each behind `sign`, `&` from the second on.
/// A part is a key where its value is, or its whole text where it has none, as it stands or with its
/// percent-encoding undone. A query without keys is appended byte for byte.
///
/// Asks `is_gateway_key` once or twice per part, of which a request target of 16 KiB holds 8192 at most.
pub(super) fn write(
    query: &str,
    is_gateway_key: impl Fn(&[u8]) -> bool,
    mut sign: u8,
    out: &mut Vec<u8>,
) {
    for part in query.split('&') {
        let value = part.split_once('=').map_or(part, |(_, value)| value);
        if !value.is_empty() && holds_key(value, &is_gateway_key) {
            continue;
        }
        out.push(sign);
        out.extend_from_slice(part.as_bytes());
        sign = b'&';
    }
}

fn holds_key(value: &str, is_gateway_key: &impl Fn(&[u8]) -> bool) -> bool {
    match decoded(value.as_bytes()) {
        Cow::Borrowed(plain) => is_gateway_key(plain),
        Cow::Owned(decoded) => is_gateway_key(value.as_bytes()) || is_gateway_key(&decoded),
    }
}

/// `value` without its percent-encoding, and with `+` as the blank that it stands for. What is no
/// encoding stays.
fn decoded(value: &[u8]) -> Cow<'_, [u8]> {
    if !value.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return value.into();
    }
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&byte, tail)) = rest.split_first() {
        let digit = |at: usize| char::from(*tail.get(at)?).to_digit(16);
        rest = match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                // Two digits make a byte.
                out.push((high << 4 | low) as u8);
                &tail[2..]
            }
            (b'+', ..) => {
                out.push(b' ');
                tail
            }
            _ => {
                out.push(byte);
                tail
            }
        };
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_hold_a_gateway_key_stay_here_and_all_others_go_on_as_they_are() {
        for (query, want) in [
            ("", "?"),
            ("a=b&c", "?a=b&c"),
            ("a=b?c&&d=%20+", "?a=b?c&&d=%20+"),
            ("key=gw-key", ""),
            ("gw-key", ""),
            ("a=1&key=gw-key&b=2", "?a=1&b=2"),
            ("key=gw%2Dkey&alt=sse", "?alt=sse"),
            ("key=g%77-key", ""),
            ("token=Bearer+gw-key&a", "?a"),
            ("token=Bearer%20gw-key", ""),
            ("key=gw-keys&key=%zz&key=%", "?key=gw-keys&key=%zz&key=%"),
            ("gw-key=1&=gw-key", "?gw-key=1"),
        ] {
            let known = |value: &[u8]| value.strip_prefix(b"Bearer ").unwrap_or(value) == b"gw-key";
            let mut out = Vec::new();
            write(query, known, b'?', &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), want, "{query}");
        }
    }
}
