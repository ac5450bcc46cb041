//! A message, whole or as a stream starts with it, read in one pass. [pure]

use std::borrow::Cow;

use super::piece::Piece;
use super::usage::Report;
use crate::canonical::Finish;
use crate::json::{Cursor, JsonError, Kind, Value, text};

/// What a message says beside its content.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Message {
    pub(super) kind: Option<Value>,
    pub(super) id: Option<Value>,
    pub(super) model: Option<Value>,
    pub(super) stop_reason: Option<Value>,
    pub(super) usage: Option<Report>,
    /// Whether it has an `error` that is an object.
    pub(super) has_error: bool,
    /// Whether it has a list of blocks.
    pub(super) has_content: bool,
}

impl Message {
    /// Steps over an object; each of its blocks goes to `block`.
    ///
    /// # Errors
    ///
    /// Where the next value is no object, or is malformed.
    pub(super) fn read(
        cursor: &mut Cursor<'_>,
        mut block: impl FnMut(&Piece),
    ) -> Result<Self, JsonError> {
        let mut message = Self::default();
        cursor.object(|cursor, key| {
            match key.name {
                b"type" => message.kind = Some(cursor.value()?),
                b"id" => message.id = Some(cursor.value()?),
                b"model" => message.model = Some(cursor.value()?),
                b"stop_reason" => message.stop_reason = Some(cursor.value()?),
                b"usage" => message.usage = Report::read(cursor)?,
                b"error" => message.has_error = cursor.value()?.kind == Kind::Object,
                b"content" if cursor.kind() == Kind::Array => {
                    message.has_content = true;
                    cursor.array(|cursor, _| {
                        Piece::read(cursor)?.iter().for_each(&mut block);
                        Ok::<_, JsonError>(())
                    })?;
                }
                _ => cursor.skip()?,
            }
            Ok::<_, JsonError>(())
        })?;
        Ok(message)
    }

    /// As [`Message::read`], of a whole document.
    ///
    /// # Errors
    ///
    /// Where `document` is not one JSON object.
    pub(super) fn of(document: &[u8], block: impl FnMut(&Piece)) -> Result<Self, JsonError> {
        let mut cursor = Cursor::lenient(document);
        let message = Self::read(&mut cursor, block)?;
        cursor.end()?;
        Ok(message)
    }

    /// Whether this is an error rather than an answer.
    pub(super) fn is_error(&self, document: &[u8]) -> bool {
        super::piece::raw(document, self.kind) == b"error" || (self.has_error && !self.has_content)
    }
}

/// The text of a string that is not empty.
pub(super) fn said<'d>(document: &'d [u8], value: Option<Value>) -> Option<Cow<'d, str>> {
    text::of(document, &value?).filter(|text| !text.is_empty())
}

/// What a stop reason means; none is an end like any other.
///
/// # Source
///
/// Anthropic API, "Handling stop reasons".
pub(super) fn finish_of(reason: Option<&str>) -> Finish {
    match reason {
        None | Some("end_turn" | "stop_sequence" | "pause_turn") => Finish::Stop,
        Some("max_tokens" | "model_context_window_exceeded") => Finish::Length,
        Some("tool_use") => Finish::ToolCalls,
        Some("refusal") => Finish::ContentFilter,
        Some(other) => Finish::Other(other.into()),
    }
}
