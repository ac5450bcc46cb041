//! A streamed response that is forwarded, event by event. [pure]

use std::borrow::Cow;
use std::rc::Rc;

use config_sync::model::provider_key::ProviderKey;

use super::response::Response;
use crate::bridge::record::Usage;
use crate::dialect::responses::error_event;
use crate::endpoint::Call;
use crate::http::sse::{EventData, data_of};
use crate::json::{Cursor, Edits, JsonError, Kind, Span, Text, text};
use crate::provider::event::{relay, rewrite};
use crate::provider::openai::recorded_text;
use crate::provider::{Seen, StreamReader, error};
use crate::rejection::Rejection;
use crate::route::{Route, Row};
use crate::short_text::ShortText;
use crate::usage::Meter;

/// How other endpoints end a stream; some vendors do it here too.
const DONE: &[u8] = b"[DONE]";

/// Follows a stream.
#[derive(Debug)]
pub(in crate::provider::openai) struct Reader {
    provider_key: Row<ProviderKey>,
    /// The id that was sent upstream and the name that was asked for; `None` where they are the same.
    names: Option<(Box<str>, Box<str>)>,
    meter: Meter,
    id: Option<ShortText>,
    finish_reason: Option<ShortText>,
    /// The number after that of the last event.
    next_sequence: u64,
    /// Whether the caller has got an event.
    relayed: bool,
    /// Whether the caller has got the upstream's own word that the stream failed.
    failed: bool,
    done: bool,
}

impl Reader {
    /// Starts at the first byte of the body.
    pub(in crate::provider::openai) fn new(call: &Call, route: &Route) -> Self {
        let (sent, asked) = (&*route.upstream_model, &*call.model);
        Self {
            provider_key: Rc::clone(&route.provider_key),
            names: (sent != asked).then(|| (sent.into(), asked.into())),
            meter: Meter::new(call.prompt_bytes),
            id: None,
            finish_reason: None,
            next_sequence: 0,
            relayed: false,
            failed: false,
            done: false,
        }
    }

    /// Remembers what an event says about the stream.
    fn note(&mut self, event: &Event, payload: &[u8]) {
        self.meter.wrote(event.text_bytes);
        if let Some(sequence) = event.sequence {
            self.next_sequence = sequence.saturating_add(1);
        }
        let Some((response, _)) = &event.response else {
            return;
        };
        if let Some(counts) = response.counts {
            self.meter.report(counts);
        }
        if let Some(id) = response.id(payload)
            && self.id.as_deref() != Some(&*id)
        {
            self.id = Some(recorded_text(&id));
        }
        if event.kind.ends() {
            let ending = response.ending(payload);
            self.finish_reason = ending.map(|word| recorded_text(&word));
        }
    }

    /// Appends what the caller gets of the event.
    fn pass(&self, read: &Event, event: &[u8], data: &EventData<'_>, out: &mut Vec<u8>) {
        let payload = payload_of(data);
        let mut edits = Edits::default();
        if let (Some((sent, asked)), Some((response, _))) = (&self.names, &read.response)
            && let Some(model) = response.model
            && response.names(sent, payload)
        {
            edits.replace(model.inner(), Text::Escaped(asked));
        }
        if edits.is_empty() {
            relay(event, out);
        } else {
            rewrite(event, data, payload, &edits, out);
        }
    }
}

impl StreamReader for Reader {
    /// An event that says that the stream failed is passed on and is an error all the same; the first
    /// one of a stream is not passed on, so that the caller can still get a status, nor is one that
    /// repeats a credential.
    fn event(&mut self, event: &[u8], out: &mut Vec<u8>) -> Result<Seen, Rejection> {
        let data = data_of(event);
        let payload = payload_of(&data);
        if self.done || payload == DONE {
            return Ok(Seen::Late);
        }
        if payload.is_empty() {
            relay(event, out);
            return Ok(Seen::Comment);
        }
        let read = Event::read(payload).map_err(|problem| Rejection::Decode {
            detail: Cow::Owned(format!("upstream event: {problem}")),
        })?;
        self.note(&read, payload);
        if read.kind.fails() {
            let said = match &read.response {
                Some((_, span)) => span.of(payload),
                None => payload,
            };
            let rejection = error::in_band(said, &self.provider_key);
            if self.relayed && !error::tells_secrets(payload, &self.provider_key) {
                self.pass(&read, event, &data, out);
                self.failed = true;
            }
            return Err(rejection);
        }
        self.pass(&read, event, &data, out);
        self.relayed = true;
        self.done = read.kind.ends();
        Ok(match read.kind {
            _ if self.done => Seen::Done,
            _ if read.text_bytes > 0 => Seen::Content,
            _ => Seen::Chunk,
        })
    }

    fn finish(&mut self, _out: &mut Vec<u8>) -> Result<(), Rejection> {
        if self.done {
            Ok(())
        } else {
            Err(Rejection::StreamAborted)
        }
    }

    fn cut(&mut self, rejection: &Rejection, request_id: &str, out: &mut Vec<u8>) {
        if !self.failed {
            error_event(rejection, request_id, self.next_sequence, out);
        }
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn usage(&self) -> Usage {
        self.meter.usage()
    }

    fn provider_request_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    fn finish_reason(&self) -> Option<&str> {
        self.finish_reason.as_deref()
    }
}

fn payload_of<'d>(data: &'d EventData<'_>) -> &'d [u8] {
    data.bytes().map_or(b"", <[u8]>::trim_ascii)
}

/// What an event is, as far as it matters here.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum EventKind {
    /// `response.completed` or `response.incomplete`.
    End,
    /// `response.failed`.
    Failed,
    /// `error`.
    Error,
    /// More of a text.
    Delta,
    #[default]
    Other,
}

impl EventKind {
    fn of(kind: &[u8]) -> Self {
        match kind {
            b"response.completed" | b"response.incomplete" => Self::End,
            b"response.failed" => Self::Failed,
            b"error" => Self::Error,
            // Sound is no text.
            b"response.audio.delta" => Self::Other,
            _ if kind.ends_with(b".delta") => Self::Delta,
            _ => Self::Other,
        }
    }

    /// Whether the response of this event is the last one.
    fn ends(self) -> bool {
        matches!(self, Self::End | Self::Failed)
    }

    fn fails(self) -> bool {
        matches!(self, Self::Failed | Self::Error)
    }
}

/// One event.
#[derive(Debug, Default)]
struct Event {
    kind: EventKind,
    sequence: Option<u64>,
    /// UTF-8 bytes of text in it.
    text_bytes: u64,
    /// Its response and where that stands.
    response: Option<(Response, Span)>,
}

impl Event {
    fn read(payload: &[u8]) -> Result<Self, JsonError> {
        let mut event = Self::default();
        let (mut delta, mut named, mut has_error) = (0, false, false);
        let mut cursor = Cursor::lenient(payload);
        cursor.object(|cursor, key| {
            match key.name {
                b"type" => {
                    let kind = cursor.value()?;
                    named = true;
                    event.kind = EventKind::of(kind.inner().of(payload));
                }
                b"error" => has_error = cursor.value()?.kind != Kind::Null,
                b"sequence_number" => {
                    let value = cursor.value()?;
                    event.sequence = Some(text::count(payload, &value));
                }
                b"delta" => {
                    let value = cursor.value()?;
                    delta = text::decoded_len(payload, &value);
                }
                b"response" if cursor.kind() == Kind::Object => {
                    // The cursor stands on the opening brace.
                    let start = cursor.offset();
                    let response = Response::read(cursor)?;
                    let end = cursor.offset();
                    event.response = Some((response, Span { start, end }));
                }
                _ => cursor.skip()?,
            }
            Ok::<_, JsonError>(())
        })?;
        cursor.end()?;
        // An error as other endpoints of OpenAI's shape it.
        if has_error && !named {
            event.kind = EventKind::Error;
        }
        if event.kind == EventKind::Delta {
            event.text_bytes = delta;
        }
        Ok(event)
    }
}
