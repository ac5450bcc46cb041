//! An upstream's answer, whole or one chunk of a stream, read in one pass. [pure]

use super::{message, usage};
use crate::json::{Cursor, Edits, JsonError, Key, Kind, Span, Value, text};
use crate::short_text::ShortText;
use crate::usage::Counts;

/// Longest provider request id that is kept, in characters.
const ID_CHARS_MAX: usize = 256;

/// What one document says.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    pub(super) id: Option<Value>,
    pub(super) model: Option<Value>,
    /// The sum of the choices; `None` without a list of them.
    pub(super) choices: Option<Choices>,
    pub(super) usage: Option<Report>,
    /// `error`, where it is an object or a string with something in it.
    pub(super) error: Option<Value>,
}

/// What the choices of one document say together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Choices {
    /// UTF-8 bytes of text in them.
    pub(super) text_bytes: u64,
    /// Whether any has a message or delta with members, or a text.
    pub(super) has_members: bool,
    /// Why the first of them that ended did; choice 0 where it is among them.
    pub(super) finish: Option<Finish>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Finish {
    pub(super) reason: Value,
    /// Whether it is that of choice 0.
    pub(super) first_choice: bool,
}

/// A `usage` that is an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    pub(super) counts: Counts,
    /// The member with one of the commas beside it.
    pub(super) member: Span,
}

impl Answer {
    /// Reads `document`; `field` and `edits` are for the reasoning of messages.
    ///
    /// # Errors
    ///
    /// Where `document` is not one JSON object.
    pub(super) fn read(
        document: &[u8],
        field: Option<&str>,
        edits: &mut Edits<'_>,
    ) -> Result<Self, JsonError> {
        let mut answer = Self::default();
        let mut cursor = Cursor::lenient(document);
        // A report in first place is removed with the comma behind it.
        let mut first_report = false;
        cursor.object(|cursor, key| {
            if let Some(report) = answer.usage.as_mut().filter(|_| first_report) {
                report.member.end = key.span.start;
                first_report = false;
            }
            match key.name {
                b"id" => answer.id = Some(cursor.value()?),
                b"model" => answer.model = Some(cursor.value()?),
                b"error" => answer.error = says_something(cursor.value()?),
                b"choices" if cursor.kind() == Kind::Array => {
                    answer.choices = Some(choices(cursor, field, edits)?);
                }
                b"usage" => {
                    answer.usage = report(cursor, &key)?;
                    first_report = key.first;
                }
                _ => cursor.skip()?,
            }
            Ok::<_, JsonError>(())
        })?;
        cursor.end()?;
        Ok(answer)
    }

    /// Whether this is an error rather than an answer.
    ///
    /// Some vendors put the error of a broken stream into a chunk that still has choices; there
    /// only an object counts.
    pub(super) fn is_error(&self) -> bool {
        match (self.error, self.choices) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(error), Some(_)) => error.kind == Kind::Object,
        }
    }

    /// The body's id, fit to be recorded; `None` where there is none.
    pub(super) fn id<'d>(&self, document: &'d [u8]) -> Option<std::borrow::Cow<'d, str>> {
        text::of(document, self.id.as_ref()?).filter(|id| !id.is_empty())
    }
}

/// `id` without control characters, cut to size.
pub(in crate::provider) fn recorded_id(id: &str) -> ShortText {
    if id.len() <= ID_CHARS_MAX && id.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return id.into();
    }
    let kept = id.chars().filter(|character| !character.is_control());
    ShortText::from(&*kept.take(ID_CHARS_MAX).collect::<String>())
}

pub(super) fn says_something(value: Value) -> Option<Value> {
    let empty = value.span.end - value.span.start <= 2;
    (!empty && matches!(value.kind, Kind::Object | Kind::String)).then_some(value)
}

fn report(cursor: &mut Cursor<'_>, key: &Key<'_>) -> Result<Option<Report>, JsonError> {
    let counts = usage::read(cursor)?;
    let start = if key.first { key.span.start } else { key.after };
    let end = cursor.offset();
    Ok(counts.map(|counts| Report {
        counts,
        member: Span { start, end },
    }))
}

fn choices(
    cursor: &mut Cursor<'_>,
    field: Option<&str>,
    edits: &mut Edits<'_>,
) -> Result<Choices, JsonError> {
    let mut all = Choices::default();
    cursor.array(|cursor, _| {
        if cursor.kind() != Kind::Object {
            return cursor.skip();
        }
        let mut reason = None;
        let mut index = 0;
        cursor.object(|cursor, key| {
            match key.name {
                b"delta" | b"message" => {
                    let message = message::read(cursor, field, edits)?;
                    all.has_members |= message.has_members;
                    all.text_bytes = all.text_bytes.saturating_add(message.text_bytes);
                }
                b"text" => {
                    let value = cursor.value()?;
                    let length = text::decoded_len(cursor.document(), &value);
                    all.has_members |= length > 0;
                    all.text_bytes = all.text_bytes.saturating_add(length);
                }
                b"index" => {
                    let value = cursor.value()?;
                    index = text::count(cursor.document(), &value);
                }
                b"finish_reason" => {
                    reason = Some(cursor.value()?).filter(|value| value.kind == Kind::String);
                }
                _ => cursor.skip()?,
            }
            Ok::<_, JsonError>(())
        })?;
        if let Some(reason) = reason
            && (all.finish.is_none() || index == 0)
        {
            let first_choice = index == 0;
            all.finish = Some(Finish {
                reason,
                first_choice,
            });
        }
        Ok::<_, JsonError>(())
    })?;
    Ok(all)
}
