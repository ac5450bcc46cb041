//! Text out of JSON strings, and into them. [pure]

use std::borrow::Cow;

use super::value::{Kind, Value};

/// The text of a string value of `document`.
///
/// Borrowed unless the string holds escapes. `None` where the value is not a string, holds half of a
/// surrogate pair, or is not UTF-8.
pub fn of<'d>(document: &'d [u8], value: &Value) -> Option<Cow<'d, str>> {
    if value.kind != Kind::String {
        return None;
    }
    let raw = value.inner().of(document);
    if !value.escaped {
        return std::str::from_utf8(raw).ok().map(Cow::Borrowed);
    }
    String::from_utf8(unescape(raw)?).ok().map(Cow::Owned)
}

/// The text of a string value of `document`, U+FFFD in place of what is no text. Empty for other kinds.
pub fn lossy<'d>(document: &'d [u8], value: &Value) -> Cow<'d, str> {
    if value.kind != Kind::String {
        return Cow::Borrowed("");
    }
    if let Some(text) = of(document, value) {
        return text;
    }
    let raw = value.inner().of(document);
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain);
        let half = if code_unit(escape).is_some() { 6 } else { 2 };
        let replacement = (char::REPLACEMENT_CHARACTER, half);
        let (character, length) = one_escape(escape).unwrap_or(replacement);
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        rest = escape.get(length..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// The bytes that `raw`, the inside of a JSON string, stands for.
///
/// `None` for a malformed escape and for half of a surrogate pair, which stands for no character.
pub fn unescape(raw: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain);
        let (character, length) = one_escape(escape)?;
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        rest = escape.get(length..)?;
    }
    out.extend_from_slice(rest);
    Some(out)
}

/// The character of the escape that `bytes` starts with, and the escape's length in bytes.
fn one_escape(bytes: &[u8]) -> Option<(char, usize)> {
    let character = match bytes.get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode_escape(bytes),
        _ => return None,
    };
    Some((character, 2))
}

fn unicode_escape(bytes: &[u8]) -> Option<(char, usize)> {
    let first = code_unit(bytes)?;
    if !(0xd800..0xdc00).contains(&first) {
        return char::from_u32(first).map(|character| (character, 6));
    }
    let second = code_unit(bytes.get(6..)?)?;
    let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
    let code = 0x10000 + ((first - 0xd800) << 10) + low;
    char::from_u32(code).map(|character| (character, 12))
}

/// The value of a `\uXXXX` that `bytes` starts with.
fn code_unit(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.get(..6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |code, &digit| {
        char::from(digit)
            .to_digit(16)
            .map(|nibble| code << 4 | nibble)
    })
}

/// The UTF-8 bytes a string value stands for, counted without decoding it. 0 for other kinds.
pub fn decoded_len(document: &[u8], value: &Value) -> u64 {
    if value.kind != Kind::String {
        return 0;
    }
    let raw = value.inner().of(document);
    let mut length = raw.len();
    if value.escaped {
        let mut rest = raw;
        while let Some(at) = memchr::memchr(b'\\', rest) {
            let escape = rest.get(at..).unwrap_or_default();
            let (decoded, taken) = one_escape(escape)
                .map_or((1, 2), |(character, taken)| (character.len_utf8(), taken));
            length = length.saturating_sub(taken.saturating_sub(decoded));
            rest = escape.get(taken..).unwrap_or_default();
        }
    }
    length as u64
}

/// Appends `text` as the inside of a JSON string.
pub fn write_escaped(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let (plain, special) = rest.split_at(super::plain::run(rest));
        out.extend_from_slice(plain);
        let Some((&byte, after)) = special.split_first() else {
            return;
        };
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            control => {
                let hex = |nibble: u8| b"0123456789abcdef"[usize::from(nibble & 0xf)];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(control >> 4), hex(control)]);
                rest = after;
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
        rest = after;
    }
}

/// The bytes [`write_escaped`] appends for `text`.
pub fn escaped_len(text: &str) -> usize {
    let extra = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 1,
        0x00..0x20 => 5,
        _ => 0,
    };
    text.bytes().map(|byte| 1 + extra(byte)).sum()
}

/// A count: a number value, fractions cut off; 0 for everything that is no count.
pub fn count(document: &[u8], value: &Value) -> u64 {
    if value.kind != Kind::Number {
        return 0;
    }
    let raw = std::str::from_utf8(value.span.of(document)).unwrap_or_default();
    raw.parse().unwrap_or_else(|_| {
        // `as` saturates: negative numbers give 0, huge ones the largest count.
        raw.parse::<f64>().map_or(0, |number| number as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Cursor;

    fn value_of(document: &str) -> Value {
        Cursor::lenient(document.as_bytes()).value().unwrap()
    }

    #[test]
    fn escapes_decode_as_serde_json_decodes_them() {
        for document in [
            r#""""#,
            r#""plain""#,
            r#""a\"\\\/\b\f\n\r\tz""#,
            r#""\u006dodel""#,
            r#""\ud83d\ude00 grin""#,
            r#""\u00e9\u20ac\u0000""#,
            "\"é€😀\"",
        ] {
            let value = value_of(document);
            let text = of(document.as_bytes(), &value).unwrap();
            let want: String = serde_json::from_str(document).unwrap();
            assert_eq!(text, want);
            let length = decoded_len(document.as_bytes(), &value);
            assert_eq!(length, want.len() as u64, "{document}");
        }
    }

    #[test]
    fn half_of_a_surrogate_pair_is_no_text_but_has_a_length() {
        for document in [
            r#""\ud83d""#,
            r#""\ude00""#,
            r#""\ud83dx""#,
            r#""\ud83d\u0041""#,
            r#""\ud83d\n""#,
        ] {
            let value = value_of(document);
            assert_eq!(of(document.as_bytes(), &value), None, "{document}");
            assert!(decoded_len(document.as_bytes(), &value) > 0);
        }
    }

    #[test]
    fn what_is_no_text_is_replaced_where_the_rest_matters() {
        for (document, want) in [
            (&br#""plain \u00e9""#[..], "plain é"),
            (br#""a\ud83db\n""#, "a\u{fffd}b\n"),
            (br#""\ude00\ud83d\ude00""#, "\u{fffd}😀"),
            (br#""\q\uzz""#, "\u{fffd}\u{fffd}zz"),
            (b"\"a\xffb\"", "a\u{fffd}b"),
            (b"null", ""),
        ] {
            let value = Cursor::lenient(document).value().unwrap();
            assert_eq!(lossy(document, &value), want);
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for text in ["", "plain", "a\"b\\c/d\n\r\t\u{0}\u{1f}\u{7f}é😀", "\""] {
            let mut out = b"\"".to_vec();
            write_escaped(text, &mut out);
            assert_eq!(out.len(), 1 + escaped_len(text));
            out.push(b'"');
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn counts_never_fail() {
        for (document, want) in [
            ("0", 0),
            ("17", 17),
            ("12.0", 12),
            ("1e3", 1000),
            ("-4", 0),
            ("18446744073709551615", u64::MAX),
            ("99999999999999999999", u64::MAX),
            ("null", 0),
            ("\"5\"", 0),
            ("NaN", 0),
        ] {
            assert_eq!(count(document.as_bytes(), &value_of(document)), want);
        }
    }
}
