//! Tokens guessed from text, for what an upstream leaves out. [pure]
//!
//! Bytes of UTF-8 divided by a constant, rounded up: English text has about four bytes a token.
//! Exact tokenisation would block every stream of the core for the length of the prompt.

/// UTF-8 bytes counted as one token.
pub const BYTES_PER_TOKEN: u64 = 4;

/// The tokens that `bytes` bytes of text are taken for.
pub fn tokens_of(bytes: u64) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_started_token_counts_and_no_text_is_no_token() {
        for (bytes, tokens) in [(0, 0), (1, 1), (4, 1), (5, 2), (u64::MAX, u64::MAX / 4 + 1)] {
            assert_eq!(tokens_of(bytes), tokens);
        }
    }
}
