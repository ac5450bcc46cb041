//! The chunks of a chat completions stream in canonical form. [pure]
//!
//! Only choice 0 is read: more are never asked for. The finish is told at the end of the stream, for
//! some upstreams name a reason in every chunk.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use config_sync::model::provider_key::ProviderKey;

use super::answer::recorded_id;
use super::calls::Calls;
use super::reasoning_path;
use super::reply::finish_of;
use super::said::{Message, PartKind, Piece, Said, texts};
use crate::bridge::record::Usage;
use crate::canonical::{Decoder, Delta, Escaped};
use crate::endpoint::Call;
use crate::http::sse::data_of;
use crate::json::{Value, text};
use crate::provider::{Seen, error};
use crate::rejection::Rejection;
use crate::short_text::ShortText;
use crate::usage::Meter;

const DONE: &[u8] = b"[DONE]";

/// Follows a stream.
#[derive(Debug)]
pub(super) struct ChatDecoder {
    provider_key: Arc<ProviderKey>,
    meter: Meter,
    id: Option<ShortText>,
    finish_reason: Option<ShortText>,
    calls: Calls,
    /// The pieces of calls in one chunk; kept for its room.
    pieces: Vec<Piece>,
    done: bool,
}

impl ChatDecoder {
    /// Starts at the first byte of the body.
    pub(super) fn new(call: &Call, key: &Arc<ProviderKey>) -> Self {
        Self {
            provider_key: Arc::clone(key),
            meter: Meter::new(call.prompt_bytes),
            id: None,
            finish_reason: None,
            calls: Calls::default(),
            pieces: Vec::new(),
            done: false,
        }
    }

    fn chunk(
        &mut self,
        payload: &[u8],
        emit: &mut dyn FnMut(Delta<'_>),
    ) -> Result<Seen, Rejection> {
        let field = reasoning_path(&self.provider_key);
        let said = Said::read(payload, field, &mut self.pieces);
        let said = said.map_err(|problem| Rejection::Decode {
            detail: Cow::Owned(format!("upstream event: {problem}")),
        })?;
        if said.is_error() {
            return Err(error::in_band(payload, &self.provider_key));
        }
        if !said.has_choices && said.usage.is_none() {
            return Err(Rejection::Decode {
                detail: Cow::Borrowed("upstream event: no choices"),
            });
        }
        self.note(&said, payload);
        let mut bytes = message(payload, &said.message, emit);
        for piece in &self.pieces {
            bytes = bytes.saturating_add(self.calls.take(payload, piece, emit)?);
        }
        self.meter.wrote(bytes);
        if let Some(counts) = said.usage {
            self.meter.report(counts);
            emit(Delta::Usage(counts));
        }
        let idle = !said.message.has_members && said.finish.is_none();
        Ok(match said.usage {
            _ if bytes > 0 => Seen::Content,
            Some(_) if idle => Seen::Usage,
            _ => Seen::Chunk,
        })
    }

    /// Remembers what a chunk says about the stream.
    fn note(&mut self, said: &Said, payload: &[u8]) {
        if let Some(id) = &said.id {
            let id = text::lossy(payload, id);
            if self.id.as_deref() != Some(&*id) {
                self.id = Some(recorded_id(&id));
            }
        }
        if let Some(reason) = &said.finish {
            self.finish_reason = Some(recorded_id(&text::lossy(payload, reason)));
        }
    }

    /// Tells what was held back.
    fn close(&mut self, emit: &mut dyn FnMut(Delta<'_>)) -> Result<(), Rejection> {
        self.done = true;
        self.calls
            .flush(self.id.as_deref().unwrap_or_default(), emit)?;
        let reason = self.finish_reason.as_deref();
        emit(Delta::Finish(finish_of(reason, !self.calls.is_empty())));
        Ok(())
    }
}

/// Emits the texts of a message, reasoning first; returns their UTF-8 bytes.
fn message(payload: &[u8], message: &Message, emit: &mut dyn FnMut(Delta<'_>)) -> u64 {
    let mut bytes = 0_u64;
    let mut tell = |kind, value: Value| {
        bytes = bytes.saturating_add(text::decoded_len(payload, &value));
        let text = Escaped::new(value.inner().of(payload));
        emit(match kind {
            PartKind::Text => Delta::Text(text),
            PartKind::Thinking => Delta::Thinking(text),
            PartKind::Refusal => Delta::Refusal(text),
        });
    };
    if let Some(reasoning) = message.reasoning() {
        tell(PartKind::Thinking, reasoning);
    }
    if let Some(content) = message.content {
        texts(payload, content, &mut tell);
    }
    if let Some(refusal) = message.refusal {
        tell(PartKind::Refusal, refusal);
    }
    bytes
}

impl Decoder for ChatDecoder {
    fn event(&mut self, event: &[u8], emit: &mut dyn FnMut(Delta<'_>)) -> Result<Seen, Rejection> {
        if self.done {
            return Ok(Seen::Late);
        }
        let data = data_of(event);
        let payload = data.bytes().map_or(&b""[..], <[u8]>::trim_ascii);
        if payload.is_empty() {
            return Ok(Seen::Comment);
        }
        if payload == DONE {
            self.close(emit)?;
            return Ok(Seen::Done);
        }
        // What is no UTF-8 must not reach a string of the caller's.
        match String::from_utf8_lossy(payload) {
            Cow::Borrowed(_) => self.chunk(payload, emit),
            Cow::Owned(mended) => self.chunk(mended.as_bytes(), emit),
        }
    }

    fn finish(&mut self, emit: &mut dyn FnMut(Delta<'_>)) -> Result<(), Rejection> {
        if self.done {
            return Ok(());
        }
        if self.finish_reason.is_none() {
            return Err(Rejection::StreamAborted);
        }
        self.close(emit)
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
