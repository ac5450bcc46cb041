//! What an answer says, whole or one chunk of it: the places of choice 0's texts and calls. [pure]
//!
//! One pass; nothing is decoded. A chunk's `delta` and an answer's `message` have the same members.

use super::message::{Reasoning, some_text};
use super::usage;
use crate::json::{Cursor, JsonError, Kind, Span, Value, text};
use crate::usage::Counts;

/// Most calls, or pieces of calls, in one document; upstreams allow 128 tools.
pub(super) const CALLS_MAX: usize = 256;

/// What one document says.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) id: Option<Value>,
    /// `error`, where it is an object or a string with something in it.
    pub(super) error: Option<Value>,
    pub(super) usage: Option<Counts>,
    /// Whether there is a list of choices.
    pub(super) has_choices: bool,
    /// Why choice 0 ended; a string.
    pub(super) finish: Option<Value>,
    pub(super) message: Message,
}

/// What is in the message or delta of choice 0. Texts are not empty.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Message {
    pub(super) has_members: bool,
    reasoning: Reasoning,
    /// A string that is not empty, or a list of parts.
    pub(super) content: Option<Value>,
    pub(super) refusal: Option<Value>,
}

impl Message {
    /// Reasoning, under whichever name it is.
    pub(super) fn reasoning(&self) -> Option<Value> {
        self.reasoning.found()
    }
}

/// A tool call, or a piece of one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Piece {
    /// The upstream's number of the call.
    pub(super) index: Option<u64>,
    /// Not empty.
    pub(super) id: Option<Value>,
    /// Not empty.
    pub(super) name: Option<Value>,
    /// A string that is not empty or, with some vendors, an object.
    pub(super) arguments: Option<Value>,
}

impl Said {
    /// Reads `document`; the calls of choice 0 replace what is in `calls`. `field` is the configured
    /// path of reasoning below a message.
    ///
    /// # Errors
    ///
    /// Where `document` is not one JSON object, or holds more than [`CALLS_MAX`] calls.
    pub(super) fn read(
        document: &[u8],
        field: Option<&str>,
        calls: &mut Vec<Piece>,
    ) -> Result<Self, JsonError> {
        calls.clear();
        let mut said = Self::default();
        let mut cursor = Cursor::lenient(document);
        cursor.object(|cursor, key| {
            match key.name {
                b"id" => said.id = some_text(cursor.value()?),
                b"error" => said.error = super::answer::says_something(cursor.value()?),
                b"usage" => said.usage = usage::read(cursor)?,
                b"choices" if cursor.kind() == Kind::Array => {
                    said.has_choices = true;
                    said.choices(cursor, field, calls)?;
                }
                _ => cursor.skip()?,
            }
            Ok::<_, JsonError>(())
        })?;
        cursor.end()?;
        Ok(said)
    }

    /// Whether this is an error rather than an answer, as [`super::answer::Answer::is_error`] has it.
    pub(super) fn is_error(&self) -> bool {
        match self.error {
            None => false,
            Some(error) => !self.has_choices || error.kind == Kind::Object,
        }
    }

    fn choices(
        &mut self,
        cursor: &mut Cursor<'_>,
        field: Option<&str>,
        calls: &mut Vec<Piece>,
    ) -> Result<(), JsonError> {
        let mut seen = false;
        cursor.array(|cursor, _| {
            if cursor.kind() != Kind::Object {
                return cursor.skip();
            }
            let before = calls.len();
            let mut choice = Choice::default();
            cursor.object(|cursor, key| match key.name {
                b"delta" | b"message" if cursor.kind() == Kind::Object => {
                    choice.message = message(cursor, field, calls)?;
                    Ok(())
                }
                name => choice.member(name, cursor),
            })?;
            if choice.is_other || std::mem::replace(&mut seen, true) {
                calls.truncate(before);
            } else {
                self.finish = choice.finish;
                self.message = choice.message;
            }
            Ok(())
        })?;
        Ok(())
    }
}

#[derive(Default)]
struct Choice {
    /// Whether its index is not 0.
    is_other: bool,
    finish: Option<Value>,
    message: Message,
}

impl Choice {
    fn member(&mut self, name: &[u8], cursor: &mut Cursor<'_>) -> Result<(), JsonError> {
        let value = cursor.value()?;
        match name {
            b"index" => self.is_other = text::count(cursor.document(), &value) != 0,
            b"finish_reason" => self.finish = some_text(value),
            _ => {}
        }
        Ok(())
    }
}

/// Steps over a message or delta, which is an object.
fn message(
    cursor: &mut Cursor<'_>,
    field: Option<&str>,
    calls: &mut Vec<Piece>,
) -> Result<Message, JsonError> {
    let mut message = Message::default();
    cursor.object(|cursor, key| {
        message.has_members = true;
        match key.name {
            b"tool_calls" if cursor.kind() == Kind::Array => {
                cursor.array(|cursor, _| piece(cursor, calls))?;
            }
            b"function_call" if cursor.kind() == Kind::Object => piece(cursor, calls)?,
            name => {
                let value = cursor.value()?;
                match name {
                    b"content" => message.content = some_content(value),
                    b"refusal" => message.refusal = some_text(value),
                    name => message
                        .reasoning
                        .note(cursor.document(), name, value, field),
                }
            }
        }
        Ok::<_, JsonError>(())
    })?;
    Ok(message)
}

fn some_content(value: Value) -> Option<Value> {
    match value.kind {
        Kind::Array => Some(value),
        _ => some_text(value),
    }
}

/// Steps over `{"index","id","function":{"name","arguments"}}`, or a legacy call, which is the inner
/// object by itself.
fn piece(cursor: &mut Cursor<'_>, calls: &mut Vec<Piece>) -> Result<(), JsonError> {
    if cursor.kind() != Kind::Object {
        return cursor.skip();
    }
    let mut piece = Piece::default();
    cursor.object(|cursor, key| match key.name {
        b"function" if cursor.kind() == Kind::Object => {
            let members = cursor.object(|cursor, key| piece.member(key.name, cursor));
            members.map(drop)
        }
        name => piece.member(name, cursor),
    })?;
    if calls.len() >= CALLS_MAX {
        return Err(JsonError {
            at: cursor.offset(),
            reason: "too many tool calls",
        });
    }
    calls.push(piece);
    Ok(())
}

impl Piece {
    fn member(&mut self, name: &[u8], cursor: &mut Cursor<'_>) -> Result<(), JsonError> {
        let value = cursor.value()?;
        match name {
            b"index" if value.kind == Kind::Number => {
                self.index = Some(text::count(cursor.document(), &value));
            }
            b"id" => self.id = some_text(value),
            b"name" => self.name = some_text(value),
            b"arguments" if value.kind == Kind::Object => self.arguments = Some(value),
            b"arguments" => self.arguments = some_text(value),
            _ => {}
        }
        Ok(())
    }
}

/// A part of a content that is a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum PartKind {
    Text,
    Thinking,
    Refusal,
}

/// Hands on the texts of `content`: itself where it is a string, its parts where it is a list, as
/// Mistral's reasoning models write it. Parts of unknown types are left out.
pub(super) fn texts(document: &[u8], content: Value, emit: &mut dyn FnMut(PartKind, Value)) {
    if content.kind == Kind::String {
        return emit(PartKind::Text, content);
    }
    let start = content.span.start;
    let mut moved = |kind, value: Value| {
        let span = Span {
            start: start + value.span.start,
            end: start + value.span.end,
        };
        emit(kind, Value { span, ..value });
    };
    // It was stepped over before, so it is well-formed.
    let mut cursor = Cursor::lenient(content.span.of(document));
    let _ = cursor.array(|cursor, _| part(cursor, &mut moved));
}

fn part(cursor: &mut Cursor<'_>, emit: &mut dyn FnMut(PartKind, Value)) -> Result<(), JsonError> {
    if cursor.kind() != Kind::Object {
        return cursor.skip();
    }
    cursor.object(|cursor, key| {
        let kind = match key.name {
            b"text" => PartKind::Text,
            b"thinking" => PartKind::Thinking,
            b"refusal" => PartKind::Refusal,
            _ => return cursor.skip(),
        };
        if cursor.kind() == Kind::Array {
            // The thinking is itself a list of text parts.
            cursor.array(|cursor, _| part(cursor, &mut |_, value| emit(kind, value)))?;
        } else if let Some(text) = some_text(cursor.value()?) {
            emit(kind, text);
        }
        Ok::<_, JsonError>(())
    })?;
    Ok(())
}
