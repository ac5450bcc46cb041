//! How far a JSON string runs without a byte that needs a look. [pure]

/// Words looked at one by one before vectors take over, which cost more to start.
const FIRST_WORDS: usize = 8;
/// Bytes looked at together in long strings: four vectors of the baseline.
const BLOCK: usize = 64;
const WORD: usize = 8;
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The number of leading bytes of `bytes` that are neither `"`, `\` nor a control character.
///
/// Most strings of a request are a handful of bytes (keys, roles): their first words decide.
#[inline]
pub fn run(bytes: &[u8]) -> usize {
    let mut at = 0;
    for word in bytes.as_chunks::<WORD>().0.iter().take(FIRST_WORDS) {
        let marks = special_bytes(u64::from_le_bytes(*word));
        if marks != 0 {
            return at + (marks.trailing_zeros() / 8) as usize;
        }
        at += WORD;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + if rest.len() < WORD {
        last_bytes(rest)
    } else {
        long_run(rest)
    }
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

/// Blocks without a special byte by vectors, the block that has one by words.
fn long_run(bytes: &[u8]) -> usize {
    let blocks = bytes.as_chunks::<BLOCK>().0;
    let is_clean = |block: &&[u8; BLOCK]| {
        // Bytes, not `bool`s: only those are folded as vectors, ten times as fast.
        let marks = block.iter().map(|&byte| u8::from(is_special(byte)));
        marks.fold(0, |any, one| any | one) == 0
    };
    let clean = blocks.iter().take_while(is_clean).count() * BLOCK;
    clean + words(bytes.get(clean..).unwrap_or_default())
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
    at + last_bytes(bytes.get(at..).unwrap_or_default())
}

fn last_bytes(bytes: &[u8]) -> usize {
    let found = bytes.iter().position(|&byte| is_special(byte));
    found.unwrap_or(bytes.len())
}

fn is_special(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

/// The high bit of every special byte of `word`; exact for the lowest one, which is all that is read.
///
/// A borrow can only mark bytes above a byte that is itself marked.
fn special_bytes(word: u64) -> u64 {
    // Swaps `"` (0x22) with the blank (0x20) and leaves control characters below both.
    let swapped = word ^ (ONES * 2);
    let control_or_quote = swapped.wrapping_sub(ONES * 0x21) & !swapped;
    let backslash = word ^ (ONES * u64::from(b'\\'));
    (control_or_quote | (backslash.wrapping_sub(ONES) & !backslash)) & HIGHS
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
