//! `POST /v1/responses`: what the gateway reads of it. [pure]

use super::call::Fault;
use super::chat::text_bytes;
use crate::json::{Cursor, Kind};

/// Steps over and checks `input`; returns the UTF-8 bytes of its text.
pub(super) fn input(cursor: &mut Cursor<'_>) -> Result<u64, Fault> {
    match cursor.kind() {
        Kind::String | Kind::Array => text_bytes(cursor),
        _ => Err(Fault::field("input", "must be a string or a list of items")),
    }
}

/// Steps over and checks `instructions`; returns the UTF-8 bytes of its text.
pub(super) fn instructions(cursor: &mut Cursor<'_>) -> Result<u64, Fault> {
    match cursor.kind() {
        Kind::String | Kind::Null => text_bytes(cursor),
        _ => Err(Fault::field("instructions", "must be a string")),
    }
}
