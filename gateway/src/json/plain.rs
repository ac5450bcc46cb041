//! How far a JSON string runs without a byte that needs a look. [pure]

/// Bytes looked at together in long strings.
const WINDOW: usize = 1024;
const WORD: usize = 8;
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The number of leading bytes of `bytes` that are neither `"`, `\` nor a control character.
///
/// Most strings of a request are a handful of bytes (keys, roles): their first word decides.
#[inline]
pub(super) fn run(bytes: &[u8]) -> usize {
    if let Some(word) = bytes.first_chunk::<WORD>() {
        let marks = special_bytes(u64::from_le_bytes(*word));
        if marks != 0 {
            return (marks.trailing_zeros() / 8) as usize;
        }
    }
    long_run(bytes)
}

/// Whether `bytes` are printable ASCII without `"` and `\`: a JSON string as they are.
#[inline]
pub fn is_plain_ascii(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk::<WORD>() else {
        return bytes.iter().all(|&byte| !is_special(byte) & (byte < 0x7f));
    };
    let marks = |word: &[u8; WORD]| {
        let word = u64::from_le_bytes(*word);
        let delete = word ^ (ONES * 0x7f);
        special_bytes(word) | ((word | (delete.wrapping_sub(ONES) & !delete)) & HIGHS)
    };
    // The last word overlaps the one before it.
    let words = bytes.as_chunks::<WORD>().0;
    words
        .iter()
        .fold(marks(last), |all, word| all | marks(word))
        == 0
}

/// The end of the string first, by vectors; then whether a control character comes before it, which
/// is rare. In windows, so that text full of control characters costs no second look at all of it.
fn long_run(bytes: &[u8]) -> usize {
    let mut at = 0;
    for window in bytes.chunks(WINDOW) {
        let end = memchr::memchr2(b'"', b'\\', window).unwrap_or(window.len());
        let text = window.get(..end).unwrap_or(window);
        // Bytes, not `bool`s: only those are folded as vectors, ten times as fast.
        let control = |&byte: &u8| u8::from(byte < 0x20);
        if text.iter().map(control).fold(0, |any, one| any | one) != 0 {
            return at + words(text);
        }
        at += end;
        if end < window.len() {
            break;
        }
    }
    at
}

fn words(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk::<WORD>) {
        let marks = special_bytes(u64::from_le_bytes(*word));
        if marks != 0 {
            return at + (marks.trailing_zeros() / 8) as usize;
        }
        at += WORD;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    let found = rest.iter().position(|&byte| is_special(byte));
    at + found.unwrap_or(rest.len())
}

fn is_special(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

/// The high bit of every special byte of `word`; exact for the lowest one, which is all that is read.
///
/// A borrow can only mark bytes above a byte that is itself marked.
fn special_bytes(word: u64) -> u64 {
    let zero = |x: u64| x.wrapping_sub(ONES) & !x;
    let below_space = word.wrapping_sub(ONES * 0x20) & !word;
    let quote = zero(word ^ (ONES * u64::from(b'"')));
    let backslash = zero(word ^ (ONES * u64::from(b'\\')));
    (below_space | quote | backslash) & HIGHS
}

#[cfg(test)]
mod tests {
    use super::{is_plain_ascii, run};

    #[test]
    fn every_special_byte_is_found_at_every_place() {
        for length in 0..200 {
            let clean = vec![b'a'; length];
            assert_eq!(run(&clean), length);
            for at in 0..length {
                for special in [b'"', b'\\', 0x00, 0x1f] {
                    let mut bytes = vec![0xe4; length];
                    bytes[at] = special;
                    assert_eq!(run(&bytes), at, "{special:#x} at {at} of {length}");
                }
            }
        }
    }

    #[test]
    fn plain_ascii_is_told_from_everything_else_at_every_place() {
        for length in 0..40 {
            let clean = vec![b'~'; length];
            assert!(is_plain_ascii(&clean));
            for at in 0..length {
                for byte in 0..=u8::MAX {
                    let mut bytes = clean.clone();
                    bytes[at] = byte;
                    let want = matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
                    assert_eq!(
                        is_plain_ascii(&bytes),
                        want,
                        "{byte:#x} at {at} of {length}"
                    );
                }
            }
        }
    }

    #[test]
    fn no_other_byte_is_special() {
        for byte in (0x20..=0xff).filter(|byte| !b"\"\\".contains(byte)) {
            for next in [byte, 0x20, 0x21, 0x23, 0x5b, 0x5d, 0x7f, 0x80, 0xff] {
                assert_eq!(run(&[byte, next, byte, next, byte, next, next, byte]), 8);
            }
        }
    }
}
