//! `POST /v1/completions`: its prompt. [pure]

use super::call::Fault;
use super::embeddings::text_or_tokens;
use crate::json::Cursor;

/// Steps over and checks `prompt`; returns the UTF-8 bytes of its text.
pub(super) fn prompt(cursor: &mut Cursor<'_>) -> Result<u64, Fault> {
    text_or_tokens(cursor, "prompt", true)
}
