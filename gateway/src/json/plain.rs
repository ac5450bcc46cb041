//! How far a JSON string runs without a byte that needs a look. [pure]

/// Bytes looked at together in long strings; the compiler makes vector compares of it.
const BLOCK: usize = 64;
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

/// Words at first; then blocks, for prompts; and words again to find the place within a block.
fn long_run(bytes: &[u8]) -> usize {
    let start = bytes.get(..BLOCK).unwrap_or(bytes);
    let mut at = words(start);
    if at < BLOCK {
        return at;
    }
    while let Some(block) = bytes.get(at..).and_then(<[u8]>::first_chunk::<BLOCK>) {
        // Bytes, not `bool`s: only those are folded as vectors, ten times as fast.
        let special = |&byte: &u8| u8::from(is_special(byte));
        if block.iter().map(special).fold(0, |any, one| any | one) != 0 {
            break;
        }
        at += BLOCK;
    }
    at + words(bytes.get(at..).unwrap_or_default())
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
    use super::run;

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
    fn no_other_byte_is_special() {
        for byte in (0x20..=0xff).filter(|byte| !b"\"\\".contains(byte)) {
            for next in [byte, 0x20, 0x21, 0x23, 0x5b, 0x5d, 0x7f, 0x80, 0xff] {
                assert_eq!(run(&[byte, next, byte, next, byte, next, next, byte]), 8);
            }
        }
    }
}
