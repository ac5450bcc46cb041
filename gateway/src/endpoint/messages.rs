//! `POST /v1/messages` and `/v1/messages/count_tokens`: what the gateway reads of them. [pure]

use super::call::Fault;
use super::chat::text_bytes;
use crate::json::{Cursor, Kind};

/// Steps over and checks `messages`; returns the UTF-8 bytes of their text.
pub(super) fn messages(cursor: &mut Cursor<'_>) -> Result<u64, Fault> {
    if cursor.kind() != Kind::Array {
        return Err(Fault::field("messages", "must be a list"));
    }
    text_bytes(cursor)
}

/// Steps over and checks `system`; returns the UTF-8 bytes of its text.
pub(super) fn system(cursor: &mut Cursor<'_>) -> Result<u64, Fault> {
    match cursor.kind() {
        Kind::String | Kind::Null | Kind::Array => text_bytes(cursor),
        _ => Err(Fault::field(
            "system",
            "must be a string or a list of blocks",
        )),
    }
}
