//! `POST /v1/embeddings`: its input. [pure]

use super::call::Fault;
use crate::json::{Cursor, Kind, text};
use crate::usage::BYTES_PER_TOKEN;

/// Steps over and checks `input`; returns the UTF-8 bytes of its text.
pub(super) fn input(cursor: &mut Cursor<'_>) -> Result<u64, Fault> {
    text_or_tokens(cursor, "input", false)
}

/// A string, a list of strings, a list of token ids or a list of such lists.
///
/// A token id counts as the bytes that estimate to one token.
pub(super) fn text_or_tokens(
    cursor: &mut Cursor<'_>,
    field: &'static str,
    null_allowed: bool,
) -> Result<u64, Fault> {
    let wrong = || {
        Fault::field(
            field,
            "must be a string, a list of strings or lists of token ids",
        )
    };
    match cursor.kind() {
        Kind::String => return Ok(one(cursor)?.1),
        Kind::Null if null_allowed => return Ok(one(cursor)?.1),
        Kind::Array => {}
        _ => return Err(wrong()),
    }
    let mut bytes = 0_u64;
    let mut items: Option<Kind> = None;
    cursor.array(|cursor, _| {
        let kind = cursor.kind();
        // One list holds one kind of item.
        if *items.get_or_insert(kind) != kind {
            return Err(wrong());
        }
        match kind {
            Kind::String | Kind::Number => bytes = bytes.saturating_add(one(cursor)?.1),
            Kind::Array => {
                cursor.array(|cursor, _| match one(cursor)? {
                    (Kind::Number, length) => {
                        bytes = bytes.saturating_add(length);
                        Ok(())
                    }
                    _ => Err(wrong()),
                })?;
            }
            _ => return Err(wrong()),
        }
        Ok(())
    })?;
    match items {
        None => Err(Fault::field(field, "must not be empty")),
        Some(_) => Ok(bytes),
    }
}

fn one(cursor: &mut Cursor<'_>) -> Result<(Kind, u64), Fault> {
    let value = cursor.value()?;
    let length = match value.kind {
        Kind::Number => BYTES_PER_TOKEN,
        _ => text::decoded_len(cursor.document(), &value),
    };
    Ok((value.kind, length))
}
