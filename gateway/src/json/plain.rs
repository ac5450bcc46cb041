//! How far a JSON string runs without a byte that needs a look. [pure]

/// Bytes looked at together; the compiler turns the check of one block into vector compares.
const BLOCK: usize = 32;
const WORD: usize = 8;
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The number of leading bytes of `bytes` that are neither `"`, `\` nor a control character.
///
/// Strings of a request are mostly a handful of bytes (keys, roles) or very long (prompts): words
/// first, then blocks.
pub(super) fn run(bytes: &[u8]) -> usize {
    let mut at = 0;
    while at < 2 * BLOCK {
        let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk::<WORD>) else {
            return at + tail(bytes.get(at..).unwrap_or_default());
        };
        let marks = special_bytes(u64::from_le_bytes(*word));
        if marks != 0 {
            return at + (marks.trailing_zeros() / 8) as usize;
        }
        at += WORD;
    }
    while let Some(block) = bytes.get(at..).and_then(<[u8]>::first_chunk::<BLOCK>) {
        if block
            .iter()
            .fold(false, |any, &byte| any | is_special(byte))
        {
            return at + tail(block);
        }
        at += BLOCK;
    }
    at + tail(bytes.get(at..).unwrap_or_default())
}

fn tail(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .position(|&byte| is_special(byte))
        .unwrap_or(bytes.len())
}

fn is_special(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < 0x20
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
    use super::run;

    #[test]
    fn every_special_byte_is_found_at_every_place() {
        for length in 0..140 {
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
    fn no_other_byte_is_special() {
        for byte in (0x20..=0xff).filter(|byte| !b"\"\\".contains(byte)) {
            for next in [byte, 0x20, 0x21, 0x23, 0x5b, 0x5d, 0x7f, 0x80, 0xff] {
                assert_eq!(run(&[byte, next, byte, next, byte, next, next, byte]), 8);
            }
        }
    }
}
