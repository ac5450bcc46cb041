//! The turns of a conversation as chat messages. [pure]

use super::{Vendor, string};
use crate::canonical::{Part, Role, Source, Turn};
use crate::endpoint::{Call, Endpoint};
use crate::json::text::write_escaped;
use crate::rejection::Rejection;

/// What is said of a tool result that is an error: chat has no mark for it.
const ERROR_PREFIX: &str = "Error: ";
/// What a file is called where the caller's protocol gives it no name; OpenAI wants one.
const FILE_NAME: &str = "document";

/// Writes messages.
pub(super) struct Messages<'o, 'c> {
    vendor: Vendor,
    /// The caller's field that the turns came from.
    field: &'static str,
    out: &'o mut Vec<u8>,
    /// Whether a message was written.
    begun: bool,
    /// Images and files of tool results that wait for the next user message: tool messages are text,
    /// and all of them must follow the calls at once. Each with the id of its call.
    waiting: Vec<(&'c str, &'c [Part<'c>])>,
}

impl<'o, 'c> Messages<'o, 'c> {
    pub(super) fn new(call: &Call, vendor: Vendor, out: &'o mut Vec<u8>) -> Self {
        let field = match call.endpoint {
            Endpoint::Responses => "input",
            _ => "messages",
        };
        Self {
            vendor,
            field,
            out,
            begun: false,
            waiting: Vec::new(),
        }
    }

    /// Appends the list of messages.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidRequest`] for what chat cannot carry, or where nothing is left.
    pub(super) fn write(mut self, turns: &'c [Turn<'c>]) -> Result<(), Rejection> {
        for turn in turns {
            match turn.role {
                Role::User | Role::Tool => {
                    self.results(&turn.parts)?;
                    self.user(turn)?;
                }
                Role::System => {
                    self.flush()?;
                    self.system(turn)?;
                }
                Role::Assistant => {
                    self.flush()?;
                    self.assistant(turn)?;
                }
            }
        }
        self.flush()?;
        if !self.begun {
            return Err(Rejection::field(self.field, "nothing to be answered"));
        }
        self.out.push(b']');
        Ok(())
    }

    /// Begins a message, up to its content.
    fn begin(&mut self, role: &str, name: Option<&str>) {
        self.out.push(if self.begun { b',' } else { b'[' });
        self.begun = true;
        self.out.extend_from_slice(b"{\"role\":\"");
        self.out.extend_from_slice(role.as_bytes());
        self.out.push(b'"');
        if let Some(name) = name {
            self.out.extend_from_slice(b",\"name\":");
            string(name, self.out);
        }
    }

    fn system(&mut self, turn: &'c Turn<'c>) -> Result<(), Rejection> {
        let texts =
            texts_of(&turn.parts).ok_or_else(|| self.refusal(&turn.parts, "a system message"))?;
        self.begin("system", turn.name.as_deref());
        self.content(&texts, "\n");
        Ok(())
    }

    /// A user message of all parts but tool results.
    fn user(&mut self, turn: &'c Turn<'c>) -> Result<(), Rejection> {
        let is_own = |part: &&Part<'_>| !matches!(part, Part::ToolResult { .. });
        let own = || turn.parts.iter().filter(is_own);
        let only_results = turn.role == Role::Tool || !turn.parts.is_empty();
        if only_results && own().next().is_none() {
            return Ok(());
        }
        let texts: Option<Vec<&str>> = own().map(text_of).collect();
        if let Some(texts) = texts.filter(|_| self.waiting.is_empty()) {
            self.begin("user", turn.name.as_deref());
            self.content(&texts, "\n");
            return Ok(());
        }
        self.begin("user", turn.name.as_deref());
        self.out.extend_from_slice(b",\"content\":[");
        self.take_waiting()?;
        for part in own() {
            self.user_part(part)?;
        }
        self.out.extend_from_slice(b"]}");
        Ok(())
    }

    /// A user message of what tool results left waiting.
    fn flush(&mut self) -> Result<(), Rejection> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.begin("user", None);
        self.out.extend_from_slice(b",\"content\":[");
        self.take_waiting()?;
        self.out.extend_from_slice(b"]}");
        Ok(())
    }

    fn take_waiting(&mut self) -> Result<(), Rejection> {
        for (call_id, parts) in std::mem::take(&mut self.waiting) {
            self.part("text");
            self.out
                .extend_from_slice(b",\"text\":\"Output of tool call ");
            write_escaped(call_id, self.out);
            self.out.extend_from_slice(b":\"}");
            for part in parts.iter().filter(|part| text_of(part).is_none()) {
                self.user_part(part)?;
            }
        }
        Ok(())
    }

    /// A tool message for every result among `parts`.
    fn results(&mut self, parts: &'c [Part<'c>]) -> Result<(), Rejection> {
        for part in parts {
            let Part::ToolResult {
                call_id,
                parts,
                is_error,
                ..
            } = part
            else {
                continue;
            };
            self.begin("tool", None);
            self.out.extend_from_slice(b",\"tool_call_id\":");
            string(call_id, self.out);
            let texts: Vec<&str> = parts.iter().filter_map(text_of).collect();
            self.out.extend_from_slice(b",\"content\":\"");
            if *is_error {
                self.out.extend_from_slice(ERROR_PREFIX.as_bytes());
            }
            joined(&texts, "\n", self.out);
            self.out.extend_from_slice(b"\"}");
            if texts.len() < parts.len() {
                self.waiting.push((call_id, parts));
            }
        }
        Ok(())
    }

    /// An assistant message. Thinking is left out: no chat upstream can check its signature.
    fn assistant(&mut self, turn: &'c Turn<'c>) -> Result<(), Rejection> {
        let (mut texts, mut refusals, mut thoughts) = (Vec::new(), Vec::new(), Vec::new());
        let mut calls = Vec::new();
        for part in &turn.parts {
            match part {
                Part::Text { text, .. } => texts.push(&**text),
                Part::Refusal { text } if self.vendor == Vendor::Openai => refusals.push(&**text),
                Part::Refusal { text } => texts.push(text),
                Part::Thinking { text, .. } => thoughts.push(&**text),
                Part::RedactedThinking { .. } => {}
                Part::ToolCall {
                    id,
                    name,
                    arguments,
                    ..
                } => calls.push((&**id, &**name, &**arguments)),
                other => return Err(self.unfit(other, "an assistant message")),
            }
        }
        self.begin("assistant", turn.name.as_deref());
        self.out.extend_from_slice(b",\"content\":");
        if texts.is_empty() && !calls.is_empty() {
            self.out.extend_from_slice(b"null");
        } else {
            self.out.push(b'"');
            joined(&texts, "", self.out);
            self.out.push(b'"');
        }
        // DeepSeek wants its reasoning back with the calls it led to, and refuses it elsewhere.
        if self.vendor == Vendor::Deepseek && !calls.is_empty() && !thoughts.is_empty() {
            self.out.extend_from_slice(b",\"reasoning_content\":\"");
            joined(&thoughts, "", self.out);
            self.out.push(b'"');
        }
        if !refusals.is_empty() {
            self.out.extend_from_slice(b",\"refusal\":\"");
            joined(&refusals, "", self.out);
            self.out.push(b'"');
        }
        if !calls.is_empty() {
            self.out.extend_from_slice(b",\"tool_calls\":");
            super::list(&calls, self.out, |call, out| tool_call(*call, out));
        }
        self.out.push(b'}');
        Ok(())
    }

    /// Ends a message with texts as one string.
    fn content(&mut self, texts: &[&str], separator: &str) {
        self.out.extend_from_slice(b",\"content\":\"");
        joined(texts, separator, self.out);
        self.out.extend_from_slice(b"\"}");
    }

    /// Begins a part.
    fn part(&mut self, kind: &str) {
        if self.out.last() != Some(&b'[') {
            self.out.push(b',');
        }
        self.out.extend_from_slice(b"{\"type\":\"");
        self.out.extend_from_slice(kind.as_bytes());
        self.out.push(b'"');
    }

    fn user_part(&mut self, part: &Part<'_>) -> Result<(), Rejection> {
        if let Some(text) = text_of(part) {
            self.part("text");
            self.out.extend_from_slice(b",\"text\":");
            string(text, self.out);
            self.out.push(b'}');
            return Ok(());
        }
        match part {
            Part::Image { source, detail, .. } => {
                self.part("image_url");
                self.out.extend_from_slice(b",\"image_url\":{\"url\":\"");
                match source {
                    Source::Base64 { media_type, data } => data_url(media_type, data, self.out),
                    Source::Url(url) => write_escaped(url, self.out),
                    Source::FileId(_) | Source::Text(_) => {
                        return Err(self.unfit(part, "a user message"));
                    }
                }
                self.out.push(b'"');
                if let Some(detail) = detail {
                    self.out.extend_from_slice(b",\"detail\":");
                    string(detail, self.out);
                }
                self.out.extend_from_slice(b"}}");
            }
            Part::File { source, name, .. } => {
                self.part("file");
                match source {
                    Source::Base64 { media_type, data } => {
                        self.out.extend_from_slice(b",\"file\":{\"filename\":\"");
                        file_name(name.as_deref(), media_type, self.out);
                        self.out.extend_from_slice(b"\",\"file_data\":\"");
                        data_url(media_type, data, self.out);
                    }
                    Source::FileId(id) => {
                        self.out.extend_from_slice(b",\"file\":{\"file_id\":\"");
                        write_escaped(id, self.out);
                    }
                    Source::Url(_) | Source::Text(_) => {
                        return Err(self.unfit(part, "a user message"));
                    }
                }
                self.out.extend_from_slice(b"\"}}");
            }
            Part::Audio { data, format } => {
                self.part("input_audio");
                self.out.extend_from_slice(b",\"input_audio\":{\"data\":");
                string(data, self.out);
                self.out.extend_from_slice(b",\"format\":");
                string(format, self.out);
                self.out.extend_from_slice(b"}}");
            }
            other => return Err(self.unfit(other, "a user message")),
        }
        Ok(())
    }

    /// The rejection for the first of `parts` that is no text.
    fn refusal(&self, parts: &[Part<'_>], place: &str) -> Rejection {
        match parts.iter().find(|part| text_of(part).is_none()) {
            Some(part) => self.unfit(part, place),
            None => Rejection::field(self.field, "nothing to be answered"),
        }
    }

    /// The rejection for a part that chat has no place for.
    fn unfit(&self, part: &Part<'_>, place: &str) -> Rejection {
        let what = match part {
            Part::Text { .. } => "text",
            Part::Image {
                source: Source::FileId(_),
                ..
            } => "an image by file id",
            Part::Image { .. } => "an image",
            Part::File {
                source: Source::Url(_),
                ..
            } => "a file by URL",
            Part::File { .. } => "a file",
            Part::Audio { .. } => "audio",
            Part::Thinking { .. } | Part::RedactedThinking { .. } => "thinking",
            Part::Refusal { .. } => "a refusal",
            Part::ToolCall { .. } => "a tool call",
            Part::ToolResult { .. } => "a tool result",
            Part::Foreign { kind } => kind,
        };
        let field = self.field;
        Rejection::InvalidRequest {
            problem: format!("{field}: the upstream of this model cannot take {what} in {place}")
                .into(),
            param: Some(field),
        }
    }
}

/// The text of a part that is nothing but text.
fn text_of<'p>(part: &'p Part<'_>) -> Option<&'p str> {
    match part {
        Part::Text { text, .. }
        | Part::File {
            source: Source::Text(text),
            ..
        } => Some(text),
        _ => None,
    }
}

/// The texts of `parts`; `None` where one of them is something else.
fn texts_of<'p>(parts: &'p [Part<'_>]) -> Option<Vec<&'p str>> {
    parts.iter().map(text_of).collect()
}

fn tool_call((id, name, arguments): (&str, &str, &str), out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":");
    string(id, out);
    out.extend_from_slice(br#","type":"function","function":{"name":"#);
    string(name, out);
    out.extend_from_slice(b",\"arguments\":");
    string(arguments, out);
    out.extend_from_slice(b"}}");
}

/// Appends texts as the inside of one JSON string.
fn joined(texts: &[&str], separator: &str, out: &mut Vec<u8>) {
    for (index, text) in texts.iter().enumerate() {
        if index > 0 {
            write_escaped(separator, out);
        }
        write_escaped(text, out);
    }
}

/// Appends a data URL as the inside of a JSON string.
fn data_url(media_type: &str, data: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"data:");
    write_escaped(media_type, out);
    out.extend_from_slice(b";base64,");
    write_escaped(data, out);
}

/// Appends a file's name as the inside of a JSON string.
fn file_name(name: Option<&str>, media_type: &str, out: &mut Vec<u8>) {
    write_escaped(name.unwrap_or(FILE_NAME), out);
    if name.is_none() && media_type == "application/pdf" {
        out.extend_from_slice(b".pdf");
    }
}
