//! What a group does for its streams beyond choosing a target. [pure]

use super::super::field;
use crate::tree::Fields;

/// Longest time that content may be held back, milliseconds.
pub const HOLD_BACK_MS_MAX: u32 = 60_000;
/// Most tokens that may be held back: 64 KiB of text, the bound of what is held at all.
pub const HOLD_BACK_TOKENS_MAX: u32 = 16_384;

/// How much of a stream is held back, so that another target may still take its place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HoldBack {
    /// Tokens from which on it is sent, 1 to [`HOLD_BACK_TOKENS_MAX`]. Default 32.
    pub tokens: u32,
    /// Time after the first content at which it is sent, 1 to [`HOLD_BACK_MS_MAX`]. Default 1000.
    pub max_ms: u32,
}

impl HoldBack {
    /// The block `hold_back` of a group; none: nothing is held back beyond the first content.
    pub(super) fn read(fields: &Fields<'_>) -> Option<Self> {
        let block = field::block(fields, "hold_back")?;
        let read = Self {
            tokens: block
                .take_u32_in("tokens", 1, HOLD_BACK_TOKENS_MAX)
                .unwrap_or(32),
            max_ms: block
                .take_u32_in("max_ms", 1, HOLD_BACK_MS_MAX)
                .unwrap_or(1_000),
        };
        block.finish();
        Some(read)
    }
}
