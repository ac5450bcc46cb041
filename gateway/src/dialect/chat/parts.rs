//! The content of a chat message as parts. [pure]

use std::borrow::Cow;

use super::field::{Fault, Field, needed, needed_text, text_of};
use crate::canonical::{Marks, Part, Source};
use crate::json::Kind;

/// Media type of a data URL that names none (RFC 2397).
const MEDIA_TYPE_DEFAULT: &str = "text/plain";

/// The parts of a content: a string or a list.
pub(super) fn content<'b>(content: Field<'b>) -> Result<Vec<Part<'b>>, Fault> {
    if content.kind() == Kind::String {
        let text = content.text()?;
        let marks = Marks::default();
        return Ok(vec![Part::Text { text, marks }]);
    }
    let mut parts = Vec::new();
    content.each_item(|item| {
        parts.push(part(item)?);
        Ok(())
    })?;
    Ok(parts)
}

fn part<'b>(part: Field<'b>) -> Result<Part<'b>, Fault> {
    let [kind, cache_control, citations] = part.members(["type", "cache_control", "citations"])?;
    let kind = needed_text("type", kind)?;
    let marks = Marks {
        cache_control: cache_control.map(|mark| mark.raw()).transpose()?,
        citations: citations.map(|mark| mark.raw()).transpose()?,
    };
    // The payload is in a member of the type's name.
    let [payload] = part.members([&*kind])?;
    let read = |read: fn(Field<'b>) -> Result<Part<'b>, Fault>| {
        read(needed(&kind, payload)?).map_err(|fault| fault.in_member(&kind))
    };
    let mut part = match &*kind {
        "text" => read(|payload| {
            let text = payload.text()?;
            let marks = Marks::default();
            Ok(Part::Text { text, marks })
        })?,
        "refusal" => read(|payload| payload.text().map(|text| Part::Refusal { text }))?,
        "image_url" => read(image)?,
        "input_audio" => read(audio)?,
        "file" => read(file)?,
        other => match thought(other, part)? {
            Some(part) => part,
            None => Part::Foreign { kind },
        },
    };
    if let Part::Text { marks: own, .. }
    | Part::Image { marks: own, .. }
    | Part::File { marks: own, .. } = &mut part
    {
        *own = marks;
    }
    Ok(part)
}

/// A block of reasoning; `None` for other types.
pub(super) fn thought<'b>(kind: &str, block: Field<'b>) -> Result<Option<Part<'b>>, Fault> {
    match kind {
        "thinking" => {
            let [text, signature] = block.members(["thinking", "signature"])?;
            let signature = text_of("signature", signature)?;
            Ok(Some(Part::Thinking {
                text: text_of("thinking", text)?.unwrap_or_default(),
                signature: signature.filter(|signature| !signature.is_empty()),
            }))
        }
        "redacted_thinking" => {
            let [data] = block.members(["data"])?;
            let data = needed_text("data", data)?;
            Ok(Some(Part::RedactedThinking { data }))
        }
        _ => Ok(None),
    }
}

/// `{"url","detail"}`; some clients send the URL by itself.
fn image<'b>(image: Field<'b>) -> Result<Part<'b>, Fault> {
    let (url, detail) = match image.kind() {
        Kind::String => (image.text()?, None),
        _ => {
            let [url, detail] = image.members(["url", "detail"])?;
            (needed_text("url", url)?, text_of("detail", detail)?)
        }
    };
    let is_web = |scheme: &str| {
        let start = url.get(..scheme.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    let source = if is_web("http://") || is_web("https://") {
        Source::Url(url)
    } else {
        data_url(url).ok_or_else(|| {
            let problem = "must be an http(s) URL or a data URL in base64";
            Fault::new(problem).in_member("url")
        })?
    };
    Ok(Part::Image {
        source,
        detail,
        marks: Marks::default(),
    })
}

fn audio<'b>(audio: Field<'b>) -> Result<Part<'b>, Fault> {
    let [data, format] = audio.members(["data", "format"])?;
    Ok(Part::Audio {
        data: needed_text("data", data)?,
        format: needed_text("format", format)?,
    })
}

/// `{"file_data","filename"}` or `{"file_id"}`.
fn file<'b>(file: Field<'b>) -> Result<Part<'b>, Fault> {
    let [data, id, name] = file.members(["file_data", "file_id", "filename"])?;
    let source = match text_of("file_id", id)? {
        Some(id) => Source::FileId(id),
        None => {
            let data = needed_text("file_data", data)?;
            data_url(data)
                .ok_or_else(|| Fault::new("must be a data URL in base64").in_member("file_data"))?
        }
    };
    Ok(Part::File {
        source,
        name: text_of("filename", name)?,
        marks: Marks::default(),
    })
}

/// Takes a data URL apart; `None` where it is none, or not in base64.
fn data_url(url: Cow<'_, str>) -> Option<Source<'_>> {
    // Megabytes of a picture stay where they are.
    let (media_type, data) = match url {
        Cow::Borrowed(url) => pieces(url).map(|(kind, data)| (kind.into(), data.into()))?,
        Cow::Owned(url) => {
            let (kind, data) = pieces(&url)?;
            (Cow::Owned(kind.to_owned()), Cow::Owned(data.to_owned()))
        }
    };
    Some(Source::Base64 { media_type, data })
}

/// The media type and the data of a data URL in base64.
fn pieces(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once(':')?;
    let (described, data) = rest.split_once(',')?;
    let (described, coding) = described.rsplit_once(';')?;
    if !scheme.eq_ignore_ascii_case("data") || !coding.trim().eq_ignore_ascii_case("base64") {
        return None;
    }
    let media_type = described.split(';').next().unwrap_or_default().trim();
    match media_type {
        "" => Some((MEDIA_TYPE_DEFAULT, data)),
        named => Some((named, data)),
    }
}
