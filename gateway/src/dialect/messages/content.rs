//! The messages of a request as turns. [pure]

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::names::shortened;
use super::place::Place;
use super::request::system;
use super::source;
use crate::canonical::{Marks, Part, Role, Turn};
use crate::rejection::Rejection;

#[derive(Deserialize)]
struct Message<'b> {
    #[serde(borrow)]
    role: Option<&'b RawValue>,
    #[serde(borrow)]
    content: Option<&'b RawValue>,
}

/// The members of all kinds of blocks; which of them count, the kind says.
#[derive(Deserialize)]
pub(super) struct Block<'b> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Option<&'b RawValue>,
    #[serde(borrow)]
    pub(super) text: Option<&'b RawValue>,
    #[serde(borrow)]
    pub(super) source: Option<&'b RawValue>,
    #[serde(borrow)]
    pub(super) title: Option<&'b RawValue>,
    #[serde(borrow)]
    pub(super) context: Option<&'b RawValue>,
    #[serde(borrow)]
    pub(super) content: Option<&'b RawValue>,
    #[serde(borrow)]
    thinking: Option<&'b RawValue>,
    #[serde(borrow)]
    signature: Option<&'b RawValue>,
    #[serde(borrow)]
    data: Option<&'b RawValue>,
    #[serde(borrow)]
    id: Option<&'b RawValue>,
    #[serde(borrow)]
    name: Option<&'b RawValue>,
    #[serde(borrow)]
    input: Option<&'b RawValue>,
    #[serde(borrow)]
    tool_use_id: Option<&'b RawValue>,
    #[serde(borrow)]
    is_error: Option<&'b RawValue>,
    #[serde(borrow)]
    cache_control: Option<&'b RawValue>,
    #[serde(borrow)]
    citations: Option<&'b RawValue>,
}

impl<'b> Block<'b> {
    pub(super) fn marks(&self) -> Marks<'b> {
        Marks {
            cache_control: self.cache_control,
            citations: self.citations,
        }
    }

    fn kind(&self, place: &Place<'_>) -> Result<Cow<'b, str>, Rejection> {
        place.field("type").required(self.kind)
    }
}

/// Appends the turns of one message: the results of tools stand in a turn of their own, before that
/// of the other blocks.
pub(super) fn message<'b>(
    raw: &'b RawValue,
    place: &Place<'_>,
    turns: &mut Vec<Turn<'b>>,
) -> Result<(), Rejection> {
    let message: Message<'_> = place.object(raw)?;
    let role = place.field("role");
    let field = place.field("content");
    let content = message.content.ok_or_else(|| field.missing());
    match role.required(message.role)?.as_ref() {
        "user" => user(content?, &field, turns),
        "assistant" => {
            let parts = parts(content?, &field, assistant_block)?;
            turns.push(turn(Role::Assistant, or_empty(parts)));
            Ok(())
        }
        "system" => {
            turns.extend(texts(content?, &field)?.map(system));
            Ok(())
        }
        _ => Err(role.fault("must be user, assistant or system")),
    }
}

/// The text of a string or of a list of text blocks, one per line; `None` for an empty list.
pub(super) fn texts<'b>(
    raw: &'b RawValue,
    place: &Place<'_>,
) -> Result<Option<Cow<'b, str>>, Rejection> {
    let mut joined: Option<Cow<'b, str>> = None;
    for part in parts(raw, place, text_block)? {
        if let Part::Text { text, .. } = part {
            joined = Some(match joined {
                None => text,
                Some(before) => Cow::Owned(format!("{before}\n{text}")),
            });
        }
    }
    Ok(joined)
}

fn turn(role: Role, parts: Vec<Part<'_>>) -> Turn<'_> {
    Turn {
        role,
        name: None,
        parts,
    }
}

pub(super) fn text(text: Cow<'_, str>) -> Part<'_> {
    Part::Text {
        text,
        marks: Marks::default(),
    }
}

/// A message says something, be it nothing.
fn or_empty(mut parts: Vec<Part<'_>>) -> Vec<Part<'_>> {
    if parts.is_empty() {
        parts.push(text(Cow::Borrowed("")));
    }
    parts
}

/// Reads a content: a string, or a list whose blocks `read` appends.
fn parts<'b>(
    raw: &'b RawValue,
    place: &Place<'_>,
    mut read: impl FnMut(&Block<'b>, &Place<'_>, &mut Vec<Part<'b>>) -> Result<(), Rejection>,
) -> Result<Vec<Part<'b>>, Rejection> {
    let mut found = Vec::new();
    match raw.get().as_bytes().first() {
        Some(b'"') => found.push(text(place.text(raw)?)),
        Some(b'[') => {
            for (index, item) in place.items(raw)?.into_iter().enumerate() {
                let place = place.item(index);
                read(&place.object(item)?, &place, &mut found)?;
            }
        }
        _ => return Err(place.fault("must be a string or a list of blocks")),
    }
    Ok(found)
}

fn user<'b>(
    raw: &'b RawValue,
    place: &Place<'_>,
    turns: &mut Vec<Turn<'b>>,
) -> Result<(), Rejection> {
    let mut results = Vec::new();
    let said = parts(raw, place, |block, place, parts| {
        if block.kind(place)? == "tool_result" {
            results.push(result(block, place)?);
            return Ok(());
        }
        if !shown(block, place, parts)? {
            let kind = block.kind(place)?;
            parts.push(Part::Foreign { kind });
        }
        Ok(())
    })?;
    let only_results = said.is_empty() && !results.is_empty();
    if !results.is_empty() {
        turns.push(turn(Role::Tool, results));
    }
    if !only_results {
        turns.push(turn(Role::User, or_empty(said)));
    }
    Ok(())
}

/// Appends what a block shows the model; `false` for kinds that show nothing.
fn shown<'b>(
    block: &Block<'b>,
    place: &Place<'_>,
    parts: &mut Vec<Part<'b>>,
) -> Result<bool, Rejection> {
    match block.kind(place)?.as_ref() {
        "text" => text_block(block, place, parts)?,
        "image" => parts.push(source::image(block, place)?),
        "document" => source::document(block, place, parts)?,
        "search_result" => source::search_result(block, place, parts)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Appends a text block; other kinds say nothing.
pub(super) fn text_block<'b>(
    block: &Block<'b>,
    place: &Place<'_>,
    parts: &mut Vec<Part<'b>>,
) -> Result<(), Rejection> {
    if block.kind(place)? == "text" {
        parts.push(Part::Text {
            text: place.field("text").required(block.text)?,
            marks: block.marks(),
        });
    }
    Ok(())
}

/// Appends the texts and images inside a block, such as those of a document.
pub(super) fn inside<'b>(
    raw: &'b RawValue,
    place: &Place<'_>,
    outer: &mut Vec<Part<'b>>,
) -> Result<(), Rejection> {
    let inner = parts(raw, place, |block, place, parts| {
        match block.kind(place)?.as_ref() {
            "image" => parts.push(source::image(block, place)?),
            _ => text_block(block, place, parts)?,
        }
        Ok(())
    })?;
    outer.extend(inner);
    Ok(())
}

/// Reads the result of a tool. Kinds of blocks that show the model nothing are left out.
fn result<'b>(block: &Block<'b>, place: &Place<'_>) -> Result<Part<'b>, Rejection> {
    let found = match block.content {
        None => Vec::new(),
        Some(raw) => parts(raw, &place.field("content"), |block, place, parts| {
            shown(block, place, parts).map(|_| ())
        })?,
    };
    let failed = place.field("is_error");
    let is_error = block.is_error.map(|raw| failed.boolean(raw)).transpose()?;
    Ok(Part::ToolResult {
        call_id: place.field("tool_use_id").required(block.tool_use_id)?,
        parts: found,
        is_error: is_error.unwrap_or(false),
        marks: block.marks(),
    })
}

/// Appends what a model said earlier. What ran at Anthropic, calls and results, stays there.
fn assistant_block<'b>(
    block: &Block<'b>,
    place: &Place<'_>,
    parts: &mut Vec<Part<'b>>,
) -> Result<(), Rejection> {
    match block.kind(place)?.as_ref() {
        "text" => text_block(block, place, parts)?,
        "thinking" => parts.push(Part::Thinking {
            text: place.field("thinking").required(block.thinking)?,
            signature: place.field("signature").optional(block.signature)?,
        }),
        "redacted_thinking" => parts.push(Part::RedactedThinking {
            data: place.field("data").required(block.data)?,
        }),
        "tool_use" => parts.push(Part::ToolCall {
            id: place.field("id").required(block.id)?,
            name: shortened(place.field("name").required(block.name)?),
            arguments: block.input.map_or("{}", RawValue::get).into(),
            marks: block.marks(),
        }),
        _ => {}
    }
    Ok(())
}
