//! What a `response` object says, read in one pass. [pure]

use std::borrow::Cow;

use crate::json::{Cursor, JsonError, Kind, Value, text};
use crate::provider::openai::usage::{detail, number};
use crate::usage::Counts;

/// One response, whole or as an event of its stream carries it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Response {
    pub(super) id: Option<Value>,
    pub(super) model: Option<Value>,
    pub(super) status: Option<Value>,
    /// `incomplete_details.reason`.
    pub(super) reason: Option<Value>,
    /// `error`, where it is an object or a string.
    pub(super) error: Option<Value>,
    pub(super) counts: Option<Counts>,
    /// Whether there is a list `output`.
    pub(super) has_output: bool,
    /// UTF-8 bytes of text in it.
    pub(super) text_bytes: u64,
}

impl Response {
    /// Steps over a response.
    ///
    /// # Errors
    ///
    /// Where the next value is not an object.
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self, JsonError> {
        let mut response = Self::default();
        cursor.object(|cursor, key| {
            match key.name {
                b"id" => response.id = Some(cursor.value()?),
                b"model" => response.model = Some(cursor.value()?),
                b"status" => response.status = Some(cursor.value()?),
                b"error" => {
                    let value = cursor.value()?;
                    let says = matches!(value.kind, Kind::Object | Kind::String);
                    response.error = says.then_some(value);
                }
                b"incomplete_details" if cursor.kind() == Kind::Object => {
                    response.reason = member(cursor, b"reason")?;
                }
                b"output" if cursor.kind() == Kind::Array => {
                    response.has_output = true;
                    response.text_bytes = written(cursor)?;
                }
                b"usage" if cursor.kind() == Kind::Object => {
                    response.counts = Some(counts(cursor)?);
                }
                _ => cursor.skip()?,
            }
            Ok::<_, JsonError>(())
        })?;
        Ok(response)
    }

    /// The id; `None` where there is none.
    pub(super) fn id<'d>(&self, document: &'d [u8]) -> Option<Cow<'d, str>> {
        text::of(document, self.id.as_ref()?).filter(|id| !id.is_empty())
    }

    /// Whether `model` is `name`.
    pub(super) fn names(&self, name: &str, document: &[u8]) -> bool {
        let model = self.model.and_then(|model| text::of(document, &model));
        model.as_deref() == Some(name)
    }

    /// The upstream's word for how the response ended: why it is incomplete, or else its status.
    pub(super) fn ending<'d>(&self, document: &'d [u8]) -> Option<Cow<'d, str>> {
        text::of(document, self.reason.as_ref().or(self.status.as_ref())?)
    }
}

/// One member of an object.
fn member(cursor: &mut Cursor<'_>, name: &[u8]) -> Result<Option<Value>, JsonError> {
    let mut found = None;
    cursor.object(|cursor, key| {
        let value = cursor.value()?;
        if key.name == name {
            found = Some(value);
        }
        Ok::<_, JsonError>(())
    })?;
    Ok(found)
}

/// Token counts as Responses report them. Numbers that are missing or no numbers are 0.
fn counts(cursor: &mut Cursor<'_>) -> Result<Counts, JsonError> {
    let mut counts = Counts::default();
    cursor.object(|cursor, key| {
        match key.name {
            b"input_tokens" => counts.prompt = number(cursor)?,
            b"output_tokens" => counts.completion = number(cursor)?,
            b"total_tokens" => counts.total = number(cursor)?,
            b"input_tokens_details" => counts.cached_prompt = detail(cursor, b"cached_tokens")?,
            b"output_tokens_details" => counts.reasoning = detail(cursor, b"reasoning_tokens")?,
            _ => cursor.skip()?,
        }
        Ok::<_, JsonError>(())
    })?;
    Ok(counts)
}

/// Steps over a list of items; returns the UTF-8 bytes that the model wrote in them.
///
/// Recursive as deep as text stands: item, its content, its part.
fn written(cursor: &mut Cursor<'_>) -> Result<u64, JsonError> {
    let mut bytes = 0_u64;
    let mut add = |more: u64| bytes = bytes.saturating_add(more);
    match cursor.kind() {
        Kind::Array => {
            cursor.array(|cursor, _| written(cursor).map(&mut add))?;
        }
        Kind::Object => {
            cursor.object(|cursor, key| {
                match key.name {
                    b"content" | b"summary" => add(written(cursor)?),
                    b"text" | b"refusal" | b"name" | b"arguments" | b"input" | b"code" => {
                        let value = cursor.value()?;
                        add(text::decoded_len(cursor.document(), &value));
                    }
                    _ => cursor.skip()?,
                }
                Ok::<_, JsonError>(())
            })?;
        }
        _ => cursor.skip()?,
    }
    Ok(bytes)
}
