//! A whole message in canonical form. [pure]

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use config_sync::model::provider_key::ProviderKey;

use super::error;
use super::message::{Message, finish_of, said};
use super::piece::Piece;
use crate::canonical::{Block, Reply};
use crate::json::{Value, text};
use crate::rejection::Rejection;

/// Reads the body of an answer with status success.
///
/// # Errors
///
/// As [`crate::provider::Adapter::reply`].
pub(super) fn read<'d>(key: &ProviderKey, body: &'d [u8]) -> Result<Reply<'d>, Rejection> {
    let decode = |detail: String| Rejection::Decode {
        detail: detail.into(),
    };
    let document =
        std::str::from_utf8(body).map_err(|_| decode("upstream body: not UTF-8".into()))?;
    let mut blocks = Vec::new();
    let message = Message::of(body, |piece| blocks.extend(block(document, piece)))
        .map_err(|problem| decode(format!("upstream body: {problem}")))?;
    if message.is_error(body) {
        return Err(error::in_band(body, key));
    }
    if !message.has_content {
        return Err(decode("upstream body: no content".into()));
    }
    let finish_reason = said(body, message.stop_reason);
    Ok(Reply {
        id: said(body, message.id).unwrap_or_default(),
        blocks,
        finish: finish_of(finish_reason.as_deref()),
        finish_reason,
        counts: message.usage.map(|report| report.counts),
    })
}

/// A block that callers of other protocols can be shown. What the upstream's own tools did is not
/// among them.
fn block<'d>(document: &'d str, piece: &Piece) -> Option<Block<'d>> {
    let bytes = document.as_bytes();
    let text = |value: Option<Value>| text_of(document, value);
    Some(match piece.kind(bytes) {
        b"text" => Block::Text(text(piece.text)),
        b"thinking" => Block::Thinking {
            text: text(piece.thinking),
            signature: piece.signature.and_then(|value| said(bytes, Some(value))),
        },
        b"redacted_thinking" => Block::RedactedThinking(text(piece.data)),
        b"tool_use" => Block::ToolCall {
            id: text(piece.id),
            name: text(piece.name),
            arguments: arguments(document, piece),
        },
        _ => return None,
    })
}

/// A string's text; with half of a surrogate pair in it, the string as it was written.
fn text_of(document: &str, value: Option<Value>) -> Cow<'_, str> {
    let Some(value) = value else {
        return Cow::Borrowed("");
    };
    text::of(document.as_bytes(), &value).unwrap_or_else(|| {
        let inside = value.inner();
        Cow::Borrowed(document.get(inside.start..inside.end).unwrap_or_default())
    })
}

fn arguments<'d>(document: &'d str, piece: &Piece) -> Cow<'d, str> {
    let input = piece.input(document.as_bytes());
    let input = input.and_then(|input| std::str::from_utf8(input).ok());
    Cow::Borrowed(input.unwrap_or("{}"))
}
