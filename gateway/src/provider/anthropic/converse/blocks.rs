//! Parts of a turn as content blocks. [pure]

use super::{is_blank, member, raw_member, string};
use crate::canonical::{Marks, Part, Source};
use crate::json::{Cursor, Kind};
use crate::rejection::Rejection;

/// The only documents that are taken as bytes.
const PDF: &str = "application/pdf";

/// Where a part stands in the conversation.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) turn: usize,
    pub(super) part: usize,
}

impl Place {
    /// The rejection for a part that cannot be sent.
    pub(super) fn refuse(self, part: &Part<'_>, why: &str) -> Rejection {
        let kind = match part {
            Part::Text { .. } => "text",
            Part::Image { .. } => "image",
            Part::File { .. } => "file",
            Part::Audio { .. } => "input_audio",
            Part::Thinking { .. } => "thinking",
            Part::RedactedThinking { .. } => "redacted_thinking",
            Part::Refusal { .. } => "refusal",
            Part::ToolCall { .. } => "tool_call",
            Part::ToolResult { .. } => "tool_result",
            Part::Foreign { kind } => &**kind,
        };
        self.fault(&format!(".type: {kind} {why}"))
    }

    fn fault(self, problem: &str) -> Rejection {
        let Self { turn, part } = self;
        Rejection::InvalidRequest {
            problem: format!("messages[{turn}].content[{part}]{problem}").into(),
            param: Some("messages"),
        }
    }
}

/// Appends `part` as a block; `false` where it says nothing and nothing was appended.
///
/// # Errors
///
/// [`Rejection::InvalidRequest`] for a part that has no counterpart; `out` may hold a part of it.
pub(super) fn write(place: Place, part: &Part<'_>, out: &mut Vec<u8>) -> Result<bool, Rejection> {
    match part {
        Part::Text { text: said, .. } | Part::Refusal { text: said } if is_blank(said) => {
            return Ok(false);
        }
        Part::Text { text: said, marks } => text(said, marks, out),
        Part::Refusal { text: said } => text(said, &Marks::default(), out),
        Part::Image { source, marks, .. } => {
            out.extend_from_slice(br#"{"type":"image","source":"#);
            if !media(source, |_| true, out) {
                return Err(place.refuse(
                    part,
                    "has a source that the provider of this model cannot take",
                ));
            }
            end(marks, out);
        }
        Part::File {
            source,
            name,
            marks,
        } => {
            out.extend_from_slice(br#"{"type":"document","source":"#);
            if !document(source, out) {
                return Err(place.refuse(
                    part,
                    "must be a PDF or a text for the provider of this model",
                ));
            }
            if let Some(name) = name.as_deref().filter(|name| !is_blank(name)) {
                member("title", out);
                string(name, out);
            }
            end(marks, out);
        }
        Part::Thinking { text, signature } => return Ok(thinking(text, signature.as_deref(), out)),
        Part::RedactedThinking { data } => {
            out.extend_from_slice(br#"{"type":"redacted_thinking","data":"#);
            string(data, out);
            out.push(b'}');
        }
        Part::ToolCall { id, name, .. } if id.is_empty() || name.is_empty() => return Ok(false),
        Part::ToolCall {
            id,
            name,
            arguments,
            marks,
        } => {
            out.extend_from_slice(br#"{"type":"tool_use","id":"#);
            tool_id(id, out);
            member("name", out);
            string(name, out);
            raw_member("input", input(arguments), out);
            end(marks, out);
        }
        Part::ToolResult { .. } => tool_result(place, part, out)?,
        Part::Audio { .. } | Part::Foreign { .. } => {
            return Err(place.refuse(part, "cannot be sent to the provider of this model"));
        }
    }
    Ok(true)
}

/// Appends a block of text.
pub(super) fn text(text: &str, marks: &Marks<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"type":"text","text":"#);
    string(text, out);
    end(marks, out);
}

/// Appends what callers write on blocks, and closes the block.
fn end(marks: &Marks<'_>, out: &mut Vec<u8>) {
    if let Some(citations) = marks.citations {
        raw_member("citations", citations.get(), out);
    }
    if let Some(marker) = marks.cache_control {
        raw_member("cache_control", marker.get(), out);
    }
    out.push(b'}');
}

/// The upstream takes back only what it has signed.
fn thinking(text: &str, signature: Option<&str>, out: &mut Vec<u8>) -> bool {
    let Some(signature) = signature.filter(|signature| !signature.is_empty()) else {
        return false;
    };
    out.extend_from_slice(br#"{"type":"thinking","thinking":"#);
    string(text, out);
    member("signature", out);
    string(signature, out);
    out.push(b'}');
    true
}

/// Appends the source of an image or document; `false` where it cannot be one.
fn media(source: &Source<'_>, takes: impl Fn(&str) -> bool, out: &mut Vec<u8>) -> bool {
    match source {
        Source::Base64 { media_type, data } if takes(media_type) => {
            out.extend_from_slice(br#"{"type":"base64","media_type":"#);
            string(media_type, out);
            member("data", out);
            string(data, out);
        }
        Source::Url(url) => {
            out.extend_from_slice(br#"{"type":"url","url":"#);
            string(url, out);
        }
        Source::FileId(id) => {
            out.extend_from_slice(br#"{"type":"file","file_id":"#);
            string(id, out);
        }
        Source::Base64 { .. } | Source::Text(_) => return false,
    }
    out.push(b'}');
    true
}

fn document(source: &Source<'_>, out: &mut Vec<u8>) -> bool {
    let Source::Text(text) = source else {
        return media(
            source,
            |media_type| media_type.eq_ignore_ascii_case(PDF),
            out,
        );
    };
    out.extend_from_slice(br#"{"type":"text","media_type":"text/plain","data":"#);
    string(text, out);
    out.push(b'}');
    true
}

/// Appends a result of a tool: its texts, images and documents.
fn tool_result(place: Place, part: &Part<'_>, out: &mut Vec<u8>) -> Result<(), Rejection> {
    let Part::ToolResult {
        call_id,
        parts,
        is_error,
        marks,
    } = part
    else {
        return Ok(());
    };
    if call_id.is_empty() {
        return Err(place.fault(": a tool result must name its call"));
    }
    out.extend_from_slice(br#"{"type":"tool_result","tool_use_id":"#);
    tool_id(call_id, out);
    match &parts[..] {
        [] => {}
        [Part::Text { text, marks }] if marks.cache_control.is_none() => {
            member("content", out);
            string(text, out);
        }
        parts => {
            member("content", out);
            out.push(b'[');
            let mut first = true;
            for inner in parts {
                if !matches!(
                    inner,
                    Part::Text { .. } | Part::Image { .. } | Part::File { .. }
                ) {
                    return Err(place.refuse(inner, "cannot be part of a tool result"));
                }
                let undo = out.len();
                if !first {
                    out.push(b',');
                }
                match write(place, inner, out)? {
                    true => first = false,
                    false => out.truncate(undo),
                }
            }
            out.push(b']');
        }
    }
    if *is_error {
        raw_member("is_error", "true", out);
    }
    end(marks, out);
    Ok(())
}

/// Appends the id of a call. Other vendors' ids may hold characters that this one refuses; call and
/// result are spelled alike.
fn tool_id(id: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    out.extend(id.chars().map(|c| if allowed(c) { c as u8 } else { b'_' }));
    out.push(b'"');
}

/// What the model wrote as arguments, where it is a JSON object; else an empty one.
fn input(arguments: &str) -> &str {
    let mut cursor = Cursor::strict(arguments.as_bytes());
    let is_object = cursor.kind() == Kind::Object && cursor.skip().is_ok() && cursor.end().is_ok();
    if is_object { arguments.trim() } else { "{}" }
}
