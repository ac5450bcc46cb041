//! Cache markers that a model sets by itself, in a finished Messages body. [pure]

#[cfg(test)]
mod tests;

use config_sync::model::model::{Model, PromptCacheTtl};

use crate::json::{Cursor, Edits, JsonError, Kind, Text, Value, text};

/// What is added to a block, and to a text that becomes one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marker {
    member: &'static [u8],
    end_of_list: &'static [u8],
}

const FIVE_MINUTES: Marker = Marker {
    member: br#","cache_control":{"type":"ephemeral"}"#,
    end_of_list: br#","cache_control":{"type":"ephemeral"}}]"#,
};
const ONE_HOUR: Marker = Marker {
    member: br#","cache_control":{"type":"ephemeral","ttl":"1h"}"#,
    end_of_list: br#","cache_control":{"type":"ephemeral","ttl":"1h"}}]"#,
};
const START_OF_LIST: &[u8] = br#"[{"type":"text","text":"#;

/// The marker that `model` sets; `None` where it sets none.
pub(super) fn marker(model: &Model) -> Option<Marker> {
    let caching = model
        .auto_prompt_caching
        .filter(|caching| caching.enabled)?;
    Some(match caching.ttl {
        PromptCacheTtl::FiveMinutes => FIVE_MINUTES,
        PromptCacheTtl::OneHour => ONE_HOUR,
    })
}

/// The edits that mark the end of the system prompt and the end of the last message; none where the
/// caller has set a marker anywhere.
pub(super) fn edits(body: &[u8], marker: Marker) -> Edits<'static> {
    let mut edits = Edits::default();
    let mut found = Found::default();
    // A body that cannot be read goes as it is.
    if found.read(body).is_err() || found.marked {
        return edits;
    }
    for place in [found.system, found.message].into_iter().flatten() {
        match place {
            Place::Text(value) => {
                edits.insert(value.span.start, Text::Raw(START_OF_LIST));
                edits.insert(value.span.end, Text::Raw(marker.end_of_list));
            }
            Place::Block { end } => edits.insert(end, Text::Raw(marker.member)),
        }
    }
    edits
}

/// Where a marker can go.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// A text that becomes a list of one block.
    Text(Value),
    /// A block; `end` is the place of its closing brace.
    Block { end: usize },
}

#[derive(Debug, Default)]
struct Found {
    marked: bool,
    system: Option<Place>,
    /// In the last message.
    message: Option<Place>,
}

impl Found {
    fn read(&mut self, body: &[u8]) -> Result<(), JsonError> {
        let mut cursor = Cursor::lenient(body);
        cursor.object(|cursor, key| {
            match key.name {
                b"cache_control" => {
                    self.marked = true;
                    cursor.skip()?;
                }
                b"system" => self.system = self.content(cursor)?,
                b"messages" if cursor.kind() == Kind::Array => {
                    cursor.array(|cursor, _| self.message(cursor))?;
                }
                b"tools" if cursor.kind() == Kind::Array => {
                    cursor.array(|cursor, _| self.block(cursor).map(|_| ()))?;
                }
                _ => cursor.skip()?,
            }
            Ok::<_, JsonError>(())
        })?;
        Ok(())
    }

    fn message(&mut self, cursor: &mut Cursor<'_>) -> Result<(), JsonError> {
        self.message = None;
        if cursor.kind() != Kind::Object {
            return cursor.skip();
        }
        cursor.object(|cursor, key| {
            match key.name {
                b"content" => self.message = self.content(cursor)?,
                _ => cursor.skip()?,
            }
            Ok::<_, JsonError>(())
        })?;
        Ok(())
    }

    /// Steps over a text or a list of blocks; where its end can be marked.
    fn content(&mut self, cursor: &mut Cursor<'_>) -> Result<Option<Place>, JsonError> {
        match cursor.kind() {
            Kind::String => {
                let value = cursor.value()?;
                let place = Place::Text(value);
                Ok((!is_blank(cursor.document(), &value)).then_some(place))
            }
            Kind::Array => {
                let mut last = None;
                cursor.array(|cursor, _| {
                    last = self.block(cursor)?;
                    Ok::<_, JsonError>(())
                })?;
                Ok(last)
            }
            _ => cursor.skip().map(|()| None),
        }
    }

    /// Steps over a block or tool; where it can be marked.
    fn block(&mut self, cursor: &mut Cursor<'_>) -> Result<Option<Place>, JsonError> {
        if cursor.kind() != Kind::Object {
            return cursor.skip().map(|()| None);
        }
        let mut fits = false;
        let mut blank = false;
        let span = cursor.object(|cursor, key| {
            match key.name {
                b"cache_control" => {
                    self.marked = true;
                    cursor.skip()?;
                }
                // Results of tools hold blocks of their own.
                b"content" => _ = self.content(cursor)?,
                b"type" => {
                    let value = cursor.value()?;
                    let kind = value.inner().of(cursor.document());
                    fits = !matches!(kind, b"thinking" | b"redacted_thinking");
                }
                b"text" => {
                    let value = cursor.value()?;
                    blank = is_blank(cursor.document(), &value);
                }
                _ => cursor.skip()?,
            }
            Ok::<_, JsonError>(())
        })?;
        let end = span.end - 1;
        Ok((fits && !blank).then_some(Place::Block { end }))
    }
}

/// Whether a text is empty or whitespace, which no marker may stand on.
fn is_blank(document: &[u8], value: &Value) -> bool {
    text::of(document, value).is_none_or(|text| text.trim().is_empty())
}
