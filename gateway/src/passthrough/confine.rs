//! Whether a path stays below where it is appended. [pure]
//!
//! What is sent is the path as it came; what counts is how anybody behind it could read it. So each
//! reading is looked at: as written, and decoded as often as decoding changes it.

/// Times that a path is decoded. One that is still encoded afterwards has no honest reading.
const DECODINGS_MAX: usize = 4;

/// Spellings of dots and slashes that are no UTF-8 of theirs, or that some decoder folds to them.
const DISGUISES: [(&[u8], &[u8]); 12] = [
    // Overlong UTF-8.
    (b"\xc0\xae", b"."),
    (b"\xc0\xaf", b"/"),
    (b"\xc1\x9c", b"\\"),
    (b"\xe0\x80\xae", b"."),
    (b"\xe0\x80\xaf", b"/"),
    (b"\xf0\x80\x80\xae", b"."),
    (b"\xf0\x80\x80\xaf", b"/"),
    // Compatibility forms of Unicode: fullwidth, and the leaders of one and two dots.
    ("\u{ff0e}".as_bytes(), b"."),
    ("\u{ff0f}".as_bytes(), b"/"),
    ("\u{ff3c}".as_bytes(), b"\\"),
    ("\u{2024}".as_bytes(), b"."),
    ("\u{2025}".as_bytes(), b".."),
];

/// Whether no reading of `path` holds a segment `.` or `..`.
///
/// Percent-encoded bytes count as what they decode to, also where they are encoded several times;
/// `\` separates segments like `/`; parameters (`..;x`), blanks and control characters around a
/// segment do not count as part of it.
pub fn is_confined(path: &str) -> bool {
    if holds_dots(path.as_bytes()) {
        return false;
    }
    if !path.contains('%') {
        return true;
    }
    let mut reading = path.as_bytes().to_vec();
    for _ in 0..DECODINGS_MAX {
        let Some(decoded) = decoded(&reading) else {
            return true;
        };
        reading = undisguised(decoded);
        if holds_dots(&reading) {
            return false;
        }
    }
    decoded(&reading).is_none()
}

fn holds_dots(path: &[u8]) -> bool {
    path.split(|byte| matches!(byte, b'/' | b'\\'))
        .any(|segment| matches!(bare(segment), b"." | b".."))
}

/// A segment without what readers take for no part of it.
fn bare(segment: &[u8]) -> &[u8] {
    let is_end = |byte: &u8| matches!(byte, b';' | b'?' | b'#' | b'\0');
    let end = segment.iter().position(is_end).unwrap_or(segment.len());
    let mut bare = segment.get(..end).unwrap_or_default();
    let is_blank = |byte: &u8| *byte <= b' ' || *byte == 0x7f;
    while let Some((_, rest)) = bare.split_first().filter(|(first, _)| is_blank(first)) {
        bare = rest;
    }
    while let Some((_, rest)) = bare.split_last().filter(|(last, _)| is_blank(last)) {
        bare = rest;
    }
    bare
}

/// `text` with its `%xx` and `%uxxxx` decoded once; `None` where there are none.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut changed = false;
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = match escape(rest) {
            Some((character, tail)) => {
                changed = true;
                match character {
                    Character::Byte(byte) => out.push(byte),
                    Character::Unicode(letter) => {
                        out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                    }
                }
                tail
            }
            None => {
                out.push(byte);
                tail
            }
        };
    }
    changed.then_some(out)
}

enum Character {
    Byte(u8),
    Unicode(char),
}

/// The escape that `text` starts with, and what follows it.
fn escape(text: &[u8]) -> Option<(Character, &[u8])> {
    match *text {
        [b'%', b'u' | b'U', a, b, c, d, ref tail @ ..] => {
            let digits = [a, b, c, d].into_iter();
            let code = digits
                .map(hex_digit)
                .try_fold(0, |code, digit| Some(code << 4 | digit?))?;
            Some((Character::Unicode(char::from_u32(code)?), tail))
        }
        [b'%', high, low, ref tail @ ..] => {
            let code = hex_digit(high)? << 4 | hex_digit(low)?;
            Some((Character::Byte(u8::try_from(code).ok()?), tail))
        }
        _ => None,
    }
}

fn hex_digit(byte: u8) -> Option<u32> {
    char::from(byte).to_digit(16)
}

/// `text` with dots and slashes in the place of their disguises.
fn undisguised(text: Vec<u8>) -> Vec<u8> {
    if text.is_ascii() {
        return text;
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = &*text;
    while let Some((&byte, tail)) = rest.split_first() {
        let disguise = DISGUISES.iter().find(|(form, _)| rest.starts_with(form));
        rest = match disguise {
            Some((form, plain)) => {
                out.extend_from_slice(plain);
                rest.get(form.len()..).unwrap_or_default()
            }
            None => {
                out.push(byte);
                tail
            }
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spelling_of_a_dot_segment_passes() {
        let spellings = [
            "..",
            ".",
            "%2e%2e",
            "%2E%2E",
            ".%2e",
            "%2e.",
            "%2E",
            "%252e%252e",
            "%252E%2e",
            "%25252e%25252e",
            "%2525252e.",
            "..;",
            "..;x=1",
            ".;",
            "%2e%2e;a",
            "..%3b",
            "..%3Ba=b",
            "%252e%252e%253b",
            "..%00",
            "..%00.json",
            "..%3f",
            "..%23x",
            "..%20",
            "%20..",
            "..%09",
            "..%0d%0a",
            "..%7f",
            "%c0%ae%c0%ae",
            "%c0%ae.",
            "%e0%80%ae%e0%80%ae",
            "%f0%80%80%ae.",
            "%25c0%25ae.",
            "%u002e%u002e",
            "%U002E.",
            "%uff0e%uff0e",
            "%ef%bc%8e%ef%bc%8e",
            "%e2%80%a4.",
            "%e2%80%a5",
        ];
        for dots in spellings {
            let around = [
                format!("/{dots}"),
                format!("/{dots}/"),
                format!("/a/{dots}"),
                format!("/a/{dots}/b"),
                format!("/a/b/{dots}/{dots}/c?"),
                format!("/a\\{dots}\\b"),
                format!("/a%5c{dots}%5Cb"),
                format!("/a%255c{dots}%255cb"),
                format!("/a%2f{dots}%2Fb"),
                format!("/a%252f{dots}/b"),
                format!("/a%c0%af{dots}%c1%9cb"),
                format!("/a%ef%bc%8f{dots}%ef%bc%bcb"),
                format!("/a%u2215/{dots}"),
                dots.to_owned(),
            ];
            for path in around {
                assert!(!is_confined(&path), "{path}");
            }
        }
    }

    #[test]
    fn other_paths_pass_whatever_is_encoded_in_them() {
        for path in [
            "",
            "/",
            "*",
            "/a",
            "/a/b/",
            "//a//b",
            "/v1/chat/completions",
            "/.hidden",
            "/...",
            "/a..b",
            "/..a",
            "/a..",
            "/a.;x/b",
            "/%2ehidden",
            "/%2e%2e%2e",
            "/a%2fb",
            "/a%5cb",
            "/a%20b/%e2%82%ac",
            "/100%",
            "/%zz/%2",
            "/%u12/%uzzzz",
            "/a;v=1.2/..b;c",
            "/models/gpt-4.1:generate",
            "/x/%2525",
            "/caf%c3%a9.%c3%a9",
            "/https%3A%2F%2Fh.example%2Fa%3Fb",
        ] {
            assert!(is_confined(path), "{path}");
        }
    }

    #[test]
    fn what_is_encoded_without_end_is_refused_and_costs_little() {
        assert!(is_confined("/%25252541"), "four times");
        assert!(!is_confined("/%2525252541"), "five times");
        let endless = format!("/%{}41", "25".repeat(8_000));
        assert!(!is_confined(&endless));
    }
}
