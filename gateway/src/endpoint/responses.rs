//! `POST /v1/responses`: what the gateway reads of it. [pure]

use super::call::Fault;
use super::chat::text_bytes;
use crate::json::{Cursor, Kind};
use crate::rejection::Rejection;

/// Steps over and checks `input`; returns the UTF-8 bytes of its text.
pub(super) fn input(cursor: &mut Cursor<'_>) -> Result<u64, Fault> {
    match cursor.kind() {
        Kind::String => text_bytes(cursor),
        Kind::Array => {
            let mut bytes = 0_u64;
            cursor.array(|cursor, index| {
                bytes = bytes.saturating_add(item(cursor, index)?);
                Ok::<_, Fault>(())
            })?;
            Ok(bytes)
        }
        // With a stored prompt there may be nothing to add.
        Kind::Null => cursor.skip().map(|()| 0).map_err(Fault::from),
        _ => Err(Fault::field("input", "must be a string or a list of items")),
    }
}

/// The text of a message, call or result: a short form of a user's message is a string.
fn item(cursor: &mut Cursor<'_>, index: usize) -> Result<u64, Fault> {
    match cursor.kind() {
        Kind::String => text_bytes(cursor),
        Kind::Object => {
            let mut bytes = 0_u64;
            cursor.object(|cursor, key| {
                match key.name {
                    b"content" | b"output" | b"arguments" | b"input" | b"summary" => {
                        bytes = bytes.saturating_add(text_bytes(cursor)?);
                    }
                    _ => cursor.skip()?,
                }
                Ok::<_, Fault>(())
            })?;
            Ok(bytes)
        }
        _ => Err(Fault(Rejection::InvalidRequest {
            problem: format!("input[{index}]: must be an object or a string").into(),
            param: Some("input"),
        })),
    }
}

/// Steps over and checks `instructions`; returns the UTF-8 bytes of its text.
pub(super) fn instructions(cursor: &mut Cursor<'_>) -> Result<u64, Fault> {
    match cursor.kind() {
        Kind::String | Kind::Null => text_bytes(cursor),
        _ => Err(Fault::field("instructions", "must be a string")),
    }
}
