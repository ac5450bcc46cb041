//! `POST /v1/messages` and `/v1/messages/count_tokens`: what the gateway reads of them. [pure]
//!
//! Most bodies are forwarded, and what a message means is the upstream's: only the outermost shape is
//! checked here, and text is counted wherever it is found.

use super::call::Fault;
use crate::json::{Cursor, Kind, Value, text};

/// Steps over and checks `messages`; returns the UTF-8 bytes of what the model reads in them.
pub(super) fn messages(cursor: &mut Cursor<'_>) -> Result<u64, Fault> {
    if cursor.kind() != Kind::Array {
        return Err(Fault::field("messages", "must be a list"));
    }
    blocks(cursor)
}

/// Steps over and checks `system`; returns the UTF-8 bytes of its text.
pub(super) fn system(cursor: &mut Cursor<'_>) -> Result<u64, Fault> {
    match cursor.kind() {
        Kind::String | Kind::Null | Kind::Array => blocks(cursor),
        _ => Err(Fault::field(
            "system",
            "must be a string or a list of blocks",
        )),
    }
}

/// Steps over `tools`; returns its bytes: a model reads names, descriptions and schemas.
pub(super) fn tools(cursor: &mut Cursor<'_>) -> Result<u64, Fault> {
    let value = cursor.value()?;
    Ok(match value.kind {
        Kind::Array => length(&value),
        _ => 0,
    })
}

/// Steps over a string, a block or message, or a list of them; returns the UTF-8 bytes of what the
/// model reads there. Pictures and encoded files count nothing: their tokens do not go by bytes.
fn blocks(cursor: &mut Cursor<'_>) -> Result<u64, Fault> {
    match cursor.kind() {
        Kind::String => {
            let value = cursor.value()?;
            Ok(text::decoded_len(cursor.document(), &value))
        }
        Kind::Array => {
            let mut bytes = 0_u64;
            cursor.array(|cursor, _| {
                bytes = bytes.saturating_add(blocks(cursor)?);
                Ok::<_, Fault>(())
            })?;
            Ok(bytes)
        }
        Kind::Object => {
            let mut bytes = 0_u64;
            cursor.object(|cursor, key| {
                let more = match key.name {
                    b"text" | b"content" | b"thinking" => blocks(cursor)?,
                    b"source" => source(cursor)?,
                    b"input" => length(&cursor.value()?),
                    _ => cursor.skip().map(|()| 0)?,
                };
                bytes = bytes.saturating_add(more);
                Ok::<_, Fault>(())
            })?;
            Ok(bytes)
        }
        _ => cursor.skip().map(|()| 0).map_err(Fault::from),
    }
}

/// The text bytes of a document's source: plain text or blocks.
fn source(cursor: &mut Cursor<'_>) -> Result<u64, Fault> {
    if cursor.kind() != Kind::Object {
        return Ok(cursor.skip().map(|()| 0)?);
    }
    let (mut plain, mut data, mut content) = (false, 0, 0);
    cursor.object(|cursor, key| {
        match key.name {
            b"type" => plain = cursor.value()?.span.of(cursor.document()) == b"\"text\"",
            b"data" => {
                let value = cursor.value()?;
                data = text::decoded_len(cursor.document(), &value);
            }
            b"content" => content = blocks(cursor)?,
            _ => cursor.skip()?,
        }
        Ok::<_, Fault>(())
    })?;
    Ok(if plain { data } else { content })
}

/// The bytes of a value as it is written.
fn length(value: &Value) -> u64 {
    value.span.end.saturating_sub(value.span.start) as u64
}
