//! The parts of messages and results. [pure]

use std::borrow::Cow;

use super::node::{Node, Problem, optional, required};
use crate::canonical::{Marks, Part, Source};
use crate::json::Kind;

/// A content: a text, or a list of parts. Empty texts are left out.
pub(super) fn read<'b>(content: Node<'b>) -> Result<Vec<Part<'b>>, Problem> {
    let mut parts = Vec::new();
    match content.kind {
        Kind::String => push_text(content.text()?, &mut parts),
        Kind::Array => content.items(|item| part(item, &mut parts))?,
        _ => return Err(Problem::new("must be a string or a list of parts")),
    }
    Ok(parts)
}

fn push_text<'b>(text: Cow<'b, str>, parts: &mut Vec<Part<'b>>) {
    if !text.is_empty() {
        let marks = Marks::default();
        parts.push(Part::Text { text, marks });
    }
}

fn part<'b>(node: Node<'b>, parts: &mut Vec<Part<'b>>) -> Result<(), Problem> {
    let [kind, text, refusal] = node.members(["type", "text", "refusal"])?;
    let kind = required("type", kind, Node::text)?;
    match &*kind {
        "input_text" | "output_text" | "text" => {
            push_text(required("text", text, Node::text)?, parts);
        }
        "refusal" => parts.push(Part::Refusal {
            text: required("refusal", refusal, Node::text)?,
        }),
        "input_image" => parts.push(image(node)?),
        "input_file" => parts.push(file(node)?),
        "input_audio" => parts.push(audio(node)?),
        other => return Err(unsupported(other).under("type")),
    }
    Ok(())
}

/// A `type` that has no counterpart.
pub(super) fn unsupported(kind: &str) -> Problem {
    let shown = kind.get(..kind.floor_char_boundary(64)).unwrap_or_default();
    Problem::new(format!("\"{shown}\" is not supported with this model"))
}

fn image<'b>(node: Node<'b>) -> Result<Part<'b>, Problem> {
    let [url, file_id, detail] = node.members(["image_url", "file_id", "detail"])?;
    let source = match file_id {
        Some(id) if url.is_none() => Source::FileId(id.text().map_err(|it| it.under("file_id"))?),
        _ => located(required("image_url", url, Node::text)?),
    };
    Ok(Part::Image {
        source,
        detail: optional("detail", detail, Node::text)?,
        marks: Marks::default(),
    })
}

fn file<'b>(node: Node<'b>) -> Result<Part<'b>, Problem> {
    let names = ["file_data", "file_url", "file_id", "filename"];
    let [data, url, file_id, name] = node.members(names)?;
    let source = if let Some(data) = data {
        let source = data.text().map(located);
        match source.map_err(|problem| problem.under("file_data"))? {
            Source::Url(_) => {
                let problem = "must be a data URL, such as data:application/pdf;base64,…";
                return Err(Problem::new(problem).under("file_data"));
            }
            source => source,
        }
    } else if let Some(url) = url {
        located(url.text().map_err(|problem| problem.under("file_url"))?)
    } else {
        Source::FileId(required("file_id", file_id, Node::text)?)
    };
    Ok(Part::File {
        source,
        name: optional("filename", name, Node::text)?,
        marks: Marks::default(),
    })
}

fn audio<'b>(node: Node<'b>) -> Result<Part<'b>, Problem> {
    let [audio] = node.members(["input_audio"])?;
    let read = |audio: Node<'b>| {
        let [data, format] = audio.members(["data", "format"])?;
        Ok(Part::Audio {
            data: required("data", data, Node::text)?,
            format: required("format", format, Node::text)?,
        })
    };
    required("input_audio", audio, read)
}

/// Where the bytes of a URL are: in itself, if it is a base64 `data:` URL.
fn located(url: Cow<'_, str>) -> Source<'_> {
    match url {
        Cow::Borrowed(url) => match inline(url) {
            Some((media_type, data)) => Source::Base64 {
                media_type: media_type.into(),
                data: data.into(),
            },
            None => Source::Url(url.into()),
        },
        Cow::Owned(url) => match inline(&url) {
            Some((media_type, data)) => Source::Base64 {
                media_type: media_type.to_owned().into(),
                data: data.to_owned().into(),
            },
            None => Source::Url(url.into()),
        },
    }
}

/// Media type and base64 text of a `data:` URL.
fn inline(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_at_checked(5)?;
    if !scheme.eq_ignore_ascii_case("data:") {
        return None;
    }
    let (about, data) = rest.split_once(',')?;
    let media_type = about.strip_suffix(";base64")?;
    // Parameters such as `charset` say nothing of an image or document.
    let media_type = media_type.split(';').next().unwrap_or_default();
    Some((media_type, data))
}
