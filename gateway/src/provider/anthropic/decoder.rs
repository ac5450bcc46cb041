//! The events of a Messages stream in canonical form. [pure]

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use config_sync::model::provider_key::ProviderKey;

use super::error;
use super::event::{Event, Kind};
use super::message::finish_of;
use super::piece::{Piece, raw};
use super::progress::Progress;
use crate::bridge::record::Usage;
use crate::canonical::{Decoder, Delta, Escaped, Finish};
use crate::endpoint::Call;
use crate::http::sse::data_of;
use crate::json::text::write_escaped;
use crate::provider::Seen;
use crate::rejection::Rejection;

/// Most tool calls of one answer; models write a few dozen at most.
const CALLS_MAX: usize = 1024;

/// Where deltas go.
type Emit<'e> = dyn FnMut(Delta<'_>) + 'e;

/// Follows a stream.
#[derive(Debug)]
pub(super) struct MessagesDecoder {
    provider_key: Arc<ProviderKey>,
    progress: Progress,
    /// The block of each tool call, by the call's index. At most [`CALLS_MAX`].
    calls: Vec<u64>,
    /// The tool call whose block is open.
    open: Option<OpenCall>,
    /// Whether the finish was told; nothing but usage follows it.
    finished: bool,
}

/// A tool call that is being written.
#[derive(Debug)]
struct OpenCall {
    index: u32,
    /// What the block started with: its whole input, as the inside of a JSON string. It counts where no
    /// fragments follow. Bounded by the size of an event.
    input: Box<[u8]>,
}

impl MessagesDecoder {
    /// Starts at the first byte of the body.
    pub(super) fn new(call: &Call, key: &Arc<ProviderKey>) -> Self {
        Self {
            provider_key: Arc::clone(key),
            progress: Progress::new(call.prompt_bytes),
            calls: Vec::new(),
            open: None,
            finished: false,
        }
    }

    /// A block starts, possibly with something in it.
    fn start(
        &mut self,
        block: u64,
        piece: &Piece,
        document: &[u8],
        emit: &mut Emit<'_>,
    ) -> Result<(), Rejection> {
        self.close(emit);
        let escaped = |value| Escaped::new(raw(document, value));
        match piece.kind(document) {
            b"text" => some(escaped(piece.text), Delta::Text, emit),
            b"thinking" => {
                some(escaped(piece.thinking), Delta::Thinking, emit);
                some(escaped(piece.signature), Delta::Signature, emit);
            }
            b"redacted_thinking" => some(escaped(piece.data), Delta::RedactedThinking, emit),
            b"tool_use" => {
                let (id, name) = (escaped(piece.id), escaped(piece.name));
                if id.is_empty() || name.is_empty() {
                    return Err(decode("upstream event: a tool call without id or name"));
                }
                if self.calls.len() >= CALLS_MAX {
                    return Err(decode("upstream event: too many tool calls"));
                }
                let index = self.calls.len() as u32; // below CALLS_MAX
                self.calls.push(block);
                self.open = Some(OpenCall {
                    index,
                    input: input(piece, document),
                });
                emit(Delta::ToolCall { index, id, name });
            }
            _ => {}
        }
        Ok(())
    }

    /// More of a block.
    fn more(&mut self, block: u64, piece: &Piece, document: &[u8], emit: &mut Emit<'_>) {
        let escaped = |value| Escaped::new(raw(document, value));
        match piece.kind(document) {
            b"text_delta" => some(escaped(piece.text), Delta::Text, emit),
            b"thinking_delta" => some(escaped(piece.thinking), Delta::Thinking, emit),
            b"signature_delta" => some(escaped(piece.signature), Delta::Signature, emit),
            b"input_json_delta" => {
                let json = escaped(piece.partial_json);
                // Blocks of the upstream's own tools are not among the calls.
                let Some(index) = self.calls.iter().rposition(|call| *call == block) else {
                    return;
                };
                let index = index as u32; // below CALLS_MAX
                if !json.is_empty() {
                    _ = self.open.take_if(|open| open.index == index);
                    emit(Delta::Arguments { index, json });
                }
            }
            _ => {}
        }
    }

    /// The open tool call has all its fragments. Without any, its arguments are what it started with.
    fn close(&mut self, emit: &mut Emit<'_>) {
        if let Some(OpenCall { index, input }) = self.open.take() {
            emit(Delta::Arguments {
                index,
                json: Escaped::new(&input),
            });
        }
    }

    /// Tells once why the model stopped.
    fn stop(&mut self, finish: Finish, emit: &mut Emit<'_>) {
        if !std::mem::replace(&mut self.finished, true) {
            self.close(emit);
            emit(Delta::Finish(finish));
        }
    }

    fn take(
        &mut self,
        event: &Event,
        document: &[u8],
        emit: &mut Emit<'_>,
    ) -> Result<(), Rejection> {
        let piece = event.piece.unwrap_or_default();
        match event.kind {
            Kind::BlockStart if !self.finished => {
                self.start(event.index, &piece, document, emit)?;
            }
            Kind::BlockDelta if !self.finished => self.more(event.index, &piece, document, emit),
            Kind::BlockStop => self.close(emit),
            Kind::MessageStart if event.message.is_some_and(|message| message.usage.is_some()) => {
                emit(Delta::Usage(self.progress.counts()));
            }
            Kind::MessageDelta => {
                if piece.stop_reason.is_some() {
                    self.stop(finish_of(self.progress.stop_reason()), emit);
                }
                if event.usage.is_some() {
                    emit(Delta::Usage(self.progress.counts()));
                }
            }
            Kind::MessageStop => self.stop(finish_of(None), emit),
            _ => {}
        }
        Ok(())
    }
}

impl Decoder for MessagesDecoder {
    fn event(&mut self, event: &[u8], emit: &mut dyn FnMut(Delta<'_>)) -> Result<Seen, Rejection> {
        if self.progress.is_done() {
            return Ok(Seen::Late);
        }
        let data = data_of(event);
        let payload = data.bytes().map_or(&b""[..], <[u8]>::trim_ascii);
        if payload.is_empty() {
            return Ok(Seen::Comment);
        }
        // What is shown to the caller must be UTF-8, whatever came.
        let payload = String::from_utf8_lossy(payload);
        let payload = payload.as_bytes();
        let read = Event::read(event, payload)?;
        if read.kind == Kind::Error {
            return Err(error::in_band(payload, &self.provider_key));
        }
        let seen = self.progress.note(&read, payload);
        self.take(&read, payload, emit)?;
        Ok(seen)
    }

    fn finish(&mut self, _emit: &mut dyn FnMut(Delta<'_>)) -> Result<(), Rejection> {
        match self.progress.is_done() {
            true => Ok(()),
            false => Err(Rejection::StreamAborted),
        }
    }

    fn is_done(&self) -> bool {
        self.progress.is_done()
    }

    fn usage(&self) -> Usage {
        self.progress.usage()
    }

    fn provider_request_id(&self) -> Option<&str> {
        self.progress.id()
    }

    fn finish_reason(&self) -> Option<&str> {
        self.progress.stop_reason()
    }
}

/// Emits a text, unless it is empty.
fn some<'e>(text: Escaped<'e>, delta: fn(Escaped<'e>) -> Delta<'e>, emit: &mut Emit<'_>) {
    if !text.is_empty() {
        emit(delta(text));
    }
}

/// The input that a tool's block starts with, usually `{}`.
fn input(piece: &Piece, document: &[u8]) -> Box<[u8]> {
    let input = piece.input(document).unwrap_or(b"{}");
    let mut escaped = Vec::with_capacity(input.len());
    write_escaped(std::str::from_utf8(input).unwrap_or("{}"), &mut escaped);
    escaped.into()
}

fn decode(detail: &'static str) -> Rejection {
    Rejection::Decode {
        detail: Cow::Borrowed(detail),
    }
}
