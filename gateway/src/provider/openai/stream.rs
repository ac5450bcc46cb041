//! A streamed answer, event by event. [pure]
//!
//! Events pass as they came, framing included. Edited are the `model` of each chunk, reasoning under
//! an unusual name, and usage that the caller did not ask for.

mod likeness;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use config_sync::model::provider_key::ProviderKey;

use super::answer::{Answer, recorded};
use super::{error, reasoning_path};
use crate::bridge::record::Usage;
use crate::endpoint::{Call, Endpoint};
use crate::http::sse::{EventData, data_of};
use crate::json::{Edits, Span, Text, text};
use crate::rejection::Rejection;
use crate::short_text::ShortText;
use crate::usage::Meter;
use likeness::{Likeness, Varying, inside};

const DONE: &[u8] = b"[DONE]";
const DONE_EVENT: &[u8] = b"data: [DONE]\n\n";

/// What one event was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Seen {
    /// No payload: a comment or a blank line, relayed. It shows that the upstream is alive.
    Comment,
    /// A chunk without text.
    Chunk,
    /// A chunk with text: the first one ends the wait for the first token.
    Content,
    /// A report of usage and nothing else; relayed only if the caller asked for it.
    Usage,
    /// `[DONE]`.
    Done,
    /// Something after `[DONE]`, dropped.
    Late,
}

/// Follows one stream.
#[derive(Debug)]
pub struct StreamReader {
    provider_key: Arc<ProviderKey>,
    /// The requested name as a JSON string; `None` where chunks keep the upstream's.
    model: Option<Box<[u8]>>,
    wants_usage: bool,
    meter: Meter,
    id: Option<ShortText>,
    finish_reason: Option<ShortText>,
    likeness: Likeness,
    done: bool,
}

impl StreamReader {
    /// Starts at the first byte of the body.
    pub fn new(call: &Call, provider_key: &Arc<ProviderKey>) -> Self {
        let mut model = Vec::with_capacity(call.model.len() + 2);
        model.push(b'"');
        text::write_escaped(&call.model, &mut model);
        model.push(b'"');
        Self {
            provider_key: Arc::clone(provider_key),
            model: (call.endpoint != Endpoint::Completions).then(|| model.into()),
            wants_usage: call.wants_usage,
            meter: Meter::new(call.prompt_bytes),
            id: None,
            finish_reason: None,
            likeness: Likeness::default(),
            done: false,
        }
    }

    /// Takes one event as the upstream sent it, with its blank line, and appends what the caller
    /// gets of it to `out`. The last event of a stream may lack its blank line; it is added.
    ///
    /// # Errors
    ///
    /// [`Rejection::Upstream`] for an error inside the stream, [`Rejection::Decode`] for a payload
    /// that is no chunk. Nothing is appended, and the stream is over.
    pub fn event(&mut self, event: &[u8], out: &mut Vec<u8>) -> Result<Seen, Rejection> {
        if self.done {
            return Ok(Seen::Late);
        }
        let name = self.model.as_deref().unwrap_or_default();
        if let Some(bytes) = self.likeness.relay(event, name, out) {
            self.meter.wrote(bytes);
            return Ok(Seen::Content);
        }
        let data = data_of(event);
        let payload = data.bytes().map_or(&b""[..], <[u8]>::trim_ascii);
        if payload.is_empty() {
            relay(event, out);
            return Ok(Seen::Comment);
        }
        if payload == DONE {
            self.done = true;
            relay(event, out);
            return Ok(Seen::Done);
        }
        let mut edits = Edits::default();
        let answer = Answer::read(payload, reasoning_path(&self.provider_key), &mut edits);
        let answer = answer.map_err(|problem| Rejection::Decode {
            detail: Cow::Owned(format!("upstream event: {problem}")),
        })?;
        if answer.is_error() {
            return Err(error::in_band(payload, &self.provider_key));
        }
        if answer.choices.is_none() && answer.usage.is_none() {
            return Err(Rejection::Decode {
                detail: Cow::Borrowed("upstream event: no choices"),
            });
        }
        let seen = seen(&answer);
        let is_lifted = !edits.is_empty();
        self.note(&answer, payload);
        if !self.wants_usage {
            match answer.usage {
                Some(_) if seen == Seen::Usage => return Ok(seen),
                Some(report) => edits.remove(report.member),
                None => {}
            }
        }
        let mut renamed = None;
        if let (Some(name), Some(model)) = (&self.model, answer.model)
            && model.span.of(payload) != &**name
        {
            renamed = Some(model.span);
            edits.replace(model.span, Text::Raw(name));
        }
        if seen == Seen::Content
            && !is_lifted
            && let EventData::One(_) = data
            && let Some(varying) = varying(&answer, renamed, place_of(payload, event))
        {
            self.likeness.learn(event, &varying);
        }
        if edits.is_empty() {
            relay(event, out);
        } else {
            rewrite(event, &data, payload, &edits, out);
        }
        Ok(seen)
    }

    /// Ends the stream, once the upstream closed it; appends the `[DONE]` it left out.
    ///
    /// # Errors
    ///
    /// [`Rejection::StreamAborted`] where neither `[DONE]` nor a finish reason was seen.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Rejection> {
        if self.done {
            return Ok(());
        }
        if self.finish_reason.is_none() {
            return Err(Rejection::StreamAborted);
        }
        self.done = true;
        out.extend_from_slice(DONE_EVENT);
        Ok(())
    }

    /// The tokens so far.
    pub fn usage(&self) -> Usage {
        self.meter.usage()
    }

    /// The last id a chunk had.
    pub fn provider_request_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Why the model stopped: the last reason given, that of choice 0 where there are several.
    pub fn finish_reason(&self) -> Option<&str> {
        self.finish_reason.as_deref()
    }

    /// Whether `[DONE]` was seen.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Remembers what a chunk says about the stream.
    fn note(&mut self, answer: &Answer, payload: &[u8]) {
        if let Some(report) = answer.usage {
            self.meter.report(report.counts);
        }
        if let Some(id) = answer.id() {
            let known = self.id.as_deref();
            if !known.is_some_and(|known| text::is(payload, &id, known)) {
                self.id = recorded(payload, &id).or(self.id.take());
                self.likeness.forget();
            }
        }
        let Some(choices) = answer.choices else {
            return;
        };
        self.meter.wrote(choices.text_bytes);
        if let Some(finish) = choices.finish
            && (finish.first_choice || self.finish_reason.is_none())
        {
            self.finish_reason = recorded(payload, &finish.reason);
        }
    }
}

/// What of an event with this answer may differ in the next one; `None` where its text is not all
/// that matters. `start` is where the payload begins.
fn varying(answer: &Answer, renamed: Option<Span>, start: usize) -> Option<Varying> {
    let choices = answer.choices?;
    let content = choices.content?;
    let length = content.inner().end - content.inner().start;
    if answer.usage.is_some() || choices.finish.is_some() || choices.text_bytes != length as u64 {
        return None;
    }
    let padding = match answer.padding {
        None => None,
        Some(padding) => Some(inside(&padding, start)?),
    };
    Some(Varying {
        text: inside(&content, start)?,
        padding,
        model: renamed.map(|span| Span {
            start: start + span.start,
            end: start + span.end,
        }),
    })
}

/// Where `payload`, a slice of `event`, begins.
fn place_of(payload: &[u8], event: &[u8]) -> usize {
    let start = payload.as_ptr().addr();
    start.saturating_sub(event.as_ptr().addr())
}

fn seen(answer: &Answer) -> Seen {
    let choices = answer.choices.unwrap_or_default();
    if choices.text_bytes > 0 {
        Seen::Content
    } else if answer.usage.is_some() && !choices.has_members && choices.finish.is_none() {
        Seen::Usage
    } else {
        Seen::Chunk
    }
}

/// Appends an event as it is.
fn relay(event: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(event);
    terminate(event, out);
}

/// Appends an event with its payload edited.
fn rewrite(
    event: &[u8],
    data: &EventData<'_>,
    payload: &[u8],
    edits: &Edits<'_>,
    out: &mut Vec<u8>,
) {
    match data {
        EventData::Many(_) => rewrite_lines(event, payload, edits, out),
        EventData::None | EventData::One(_) => {
            let start = place_of(payload, event);
            let (before, rest) = event.split_at_checked(start).unwrap_or((event, b""));
            out.extend_from_slice(before);
            edits.apply(payload, out);
            out.extend_from_slice(rest.get(payload.len()..).unwrap_or_default());
            terminate(event, out);
        }
    }
}

/// The rare event with several `data` lines: its other lines as they came, then the edited payload
/// in lines of its own.
fn rewrite_lines(event: &[u8], payload: &[u8], edits: &Edits<'_>, out: &mut Vec<u8>) {
    let mut edited = Vec::with_capacity(event.len());
    edits.apply(payload, &mut edited);
    let line_end: &[u8] = match memchr::memchr2(b'\r', b'\n', event) {
        Some(at) if event.get(at..at + 2) == Some(b"\r\n") => b"\r\n",
        Some(at) => event.get(at..=at).unwrap_or(b"\n"),
        None => b"\n",
    };
    for line in event.split(|&byte| byte == b'\n' || byte == b'\r') {
        if !line.is_empty() && !is_data(line) {
            out.extend_from_slice(line);
            out.extend_from_slice(line_end);
        }
    }
    for line in edited.split(|&byte| byte == b'\n') {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.extend_from_slice(line_end);
    }
    out.extend_from_slice(line_end);
}

/// Whether `line` is a `data` line; the first one may follow a byte order mark.
fn is_data(line: &[u8]) -> bool {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let name = line.strip_prefix(b"data");
    name.is_some_and(|rest| matches!(rest.first(), None | Some(b':')))
}

/// Adds the blank line that `event` lacks.
fn terminate(event: &[u8], out: &mut Vec<u8>) {
    let line = match event {
        [line @ .., b'\r', b'\n'] | [line @ .., b'\r' | b'\n'] => line,
        _ => return out.extend_from_slice(b"\n\n"),
    };
    if !matches!(line.last(), None | Some(b'\r' | b'\n')) {
        out.extend_from_slice(b"\n\n");
    }
}
