//! Images and documents: where their bytes are. [pure]

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::content::{self, Block};
use super::place::Place;
use crate::canonical::{Part, Source};
use crate::rejection::Rejection;

/// The kind of bytes that nothing is said about.
const ANY_BYTES: &str = "application/octet-stream";

#[derive(Deserialize)]
struct Fields<'b> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'b RawValue>,
    #[serde(borrow)]
    media_type: Option<&'b RawValue>,
    #[serde(borrow)]
    data: Option<&'b RawValue>,
    #[serde(borrow)]
    url: Option<&'b RawValue>,
    #[serde(borrow)]
    file_id: Option<&'b RawValue>,
    #[serde(borrow)]
    content: Option<&'b RawValue>,
}

/// What a source holds.
enum Held<'b> {
    Bytes(Source<'b>),
    Text(Cow<'b, str>),
    /// Blocks, or a string.
    Content(&'b RawValue),
}

/// Reads an image block.
pub(super) fn image<'b>(block: &Block<'b>, place: &Place<'_>) -> Result<Part<'b>, Rejection> {
    let field = place.field("source");
    match read(block, &field)? {
        Held::Bytes(source) => Ok(Part::Image {
            source,
            detail: None,
            marks: block.marks(),
        }),
        Held::Text(_) | Held::Content(_) => Err(field
            .field("type")
            .fault("an image must come as base64, url or file")),
    }
}

/// Appends a document: its bytes as a file, its text as text, below its title.
pub(super) fn document<'b>(
    block: &Block<'b>,
    place: &Place<'_>,
    parts: &mut Vec<Part<'b>>,
) -> Result<(), Rejection> {
    let field = place.field("source");
    let held = read(block, &field)?;
    let title = place.field("title").optional(block.title)?;
    let context = place.field("context").optional(block.context)?;
    parts.extend(context.map(content::text));
    match held {
        Held::Bytes(source) => parts.push(Part::File {
            source,
            name: title,
            marks: block.marks(),
        }),
        Held::Text(text) => {
            parts.extend(title.map(content::text));
            parts.push(Part::Text {
                text,
                marks: block.marks(),
            });
        }
        Held::Content(raw) => {
            parts.extend(title.map(content::text));
            content::inside(raw, &field.field("content"), parts)?;
        }
    }
    Ok(())
}

/// Appends a search result: where it is from, its title and its texts.
pub(super) fn search_result<'b>(
    block: &Block<'b>,
    place: &Place<'_>,
    parts: &mut Vec<Part<'b>>,
) -> Result<(), Rejection> {
    let source = place.field("source").optional(block.source)?;
    let title = place.field("title").optional(block.title)?;
    parts.extend([source, title].into_iter().flatten().map(content::text));
    let field = place.field("content");
    let raw = block.content.ok_or_else(|| field.missing())?;
    content::inside(raw, &field, parts)
}

fn read<'b>(block: &Block<'b>, place: &Place<'_>) -> Result<Held<'b>, Rejection> {
    let raw = block.source.ok_or_else(|| place.missing())?;
    let fields: Fields<'_> = place.object(raw)?;
    let kind = place.field("type");
    let text = |name, raw| place.field(name).required(raw);
    let held = match kind.required(fields.kind)?.as_ref() {
        "base64" => {
            let media_type = place.field("media_type").optional(fields.media_type)?;
            Held::Bytes(Source::Base64 {
                media_type: media_type.unwrap_or(Cow::Borrowed(ANY_BYTES)),
                data: text("data", fields.data)?,
            })
        }
        "url" => Held::Bytes(Source::Url(text("url", fields.url)?)),
        "file" => Held::Bytes(Source::FileId(text("file_id", fields.file_id)?)),
        "text" => Held::Text(text("data", fields.data)?),
        "content" => {
            let field = place.field("content");
            Held::Content(fields.content.ok_or_else(|| field.missing())?)
        }
        _ => return Err(kind.fault("must be base64, url, file, text or content")),
    };
    Ok(held)
}
