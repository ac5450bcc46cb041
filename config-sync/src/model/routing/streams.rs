//! What a group does for its streams beyond choosing a target. [pure]

use super::super::field;
use crate::tree::Fields;

/// Longest time that content may be held back, milliseconds.
pub const HOLD_BACK_MS_MAX: u32 = 60_000;
/// Most tokens that may be held back: 64 KiB of text, the bound of what is held at all.
pub const HOLD_BACK_TOKENS_MAX: u32 = 16_384;
/// Share of a group's streams that may be hedged where it sets none.
const MAX_PERCENT_DEFAULT: u32 = 5;
/// Longest wait before a hedge, milliseconds.
pub const HEDGE_MS_MAX: u32 = 600_000;

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

/// When a second target is asked beside the first one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hedge {
    pub after: HedgeAfter,
    /// Share of the group's streams that may be hedged, 1 to 100. Default 5.
    pub max_percent: u32,
}

/// How long the first target is waited for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum HedgeAfter {
    /// As long as 95 % of its recent streams took to their first content.
    #[default]
    P95,
    /// So many milliseconds, 1 to [`HEDGE_MS_MAX`].
    Ms(u32),
}

impl Hedge {
    /// The block `hedge` of a group; none: nothing is hedged.
    pub(super) fn read(fields: &Fields<'_>) -> Option<Self> {
        let block = field::block(fields, "hedge")?;
        let read = Self {
            after: read_after(&block).unwrap_or_default(),
            max_percent: block
                .take_u32_in("max_percent", 1, 100)
                .unwrap_or(MAX_PERCENT_DEFAULT),
        };
        block.finish();
        Some(read)
    }
}

/// Lenient: another word is noted as passed over.
fn read_after(block: &Fields<'_>) -> Option<HedgeAfter> {
    let value = block.take("after")?;
    if value.is_string() {
        let words = [("p95", HedgeAfter::P95)];
        return Some(field::loose_choice(block, "after", &words, HedgeAfter::P95));
    }
    if !value.is_number() {
        block.problem("after", "must be p95 or a number of milliseconds");
        return None;
    }
    block
        .take_u32_in("after", 1, HEDGE_MS_MAX)
        .map(HedgeAfter::Ms)
}
