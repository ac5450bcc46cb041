//! A streamed answer, event by event. [pure]
//!
//! Events pass as they came, framing included. Edited are the `model` of each chunk, reasoning under
//! an unusual name, and usage that the caller did not ask for.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use config_sync::model::provider_key::ProviderKey;

use super::answer::{Answer, recorded_id};
use super::reasoning_path;
use crate::bridge::record::Usage;
use crate::dialect::Dialect;
use crate::endpoint::{Call, Endpoint};
use crate::http::sse::data_of;
use crate::json::{Edits, Text, text};
use crate::provider::event::{relay, rewrite};
use crate::provider::{Seen, StreamReader, error};
use crate::rejection::Rejection;
use crate::short_text::ShortText;
use crate::usage::Meter;

const DONE: &[u8] = b"[DONE]";
const DONE_EVENT: &[u8] = b"data: [DONE]\n\n";

/// Follows one stream.
#[derive(Debug)]
pub(super) struct ChatReader {
    provider_key: Arc<ProviderKey>,
    /// The requested name as a JSON string; `None` where chunks keep the upstream's.
    model: Option<Box<[u8]>>,
    wants_usage: bool,
    meter: Meter,
    id: Option<ShortText>,
    finish_reason: Option<ShortText>,
    done: bool,
}

impl ChatReader {
    /// Starts at the first byte of the body.
    pub(super) fn new(call: &Call, provider_key: &Arc<ProviderKey>) -> Self {
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
            done: false,
        }
    }

    /// Remembers what a chunk says about the stream.
    fn note(&mut self, answer: &Answer, payload: &[u8]) {
        if let Some(report) = answer.usage {
            self.meter.report(report.counts);
        }
        if let Some(id) = answer.id(payload)
            && self.id.as_deref() != Some(&*id)
        {
            self.id = Some(recorded_id(&id));
        }
        let Some(choices) = answer.choices else {
            return;
        };
        self.meter.wrote(choices.text_bytes);
        if let Some(finish) = choices.finish
            && (finish.first_choice || self.finish_reason.is_none())
        {
            let reason = text::of(payload, &finish.reason);
            self.finish_reason = reason.map(|reason| recorded_id(&reason));
        }
    }
}

impl StreamReader for ChatReader {
    fn event(&mut self, event: &[u8], out: &mut Vec<u8>) -> Result<Seen, Rejection> {
        if self.done {
            return Ok(Seen::Late);
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
        self.note(&answer, payload);
        if !self.wants_usage {
            match answer.usage {
                Some(_) if seen == Seen::Usage => return Ok(seen),
                Some(report) => edits.remove(report.member),
                None => {}
            }
        }
        if let (Some(name), Some(model)) = (&self.model, answer.model)
            && model.span.of(payload) != &**name
        {
            edits.replace(model.span, Text::Raw(name));
        }
        if edits.is_empty() {
            relay(event, out);
        } else {
            rewrite(event, &data, payload, &edits, out);
        }
        Ok(seen)
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Rejection> {
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

    fn usage(&self) -> Usage {
        self.meter.usage()
    }

    fn provider_request_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    fn finish_reason(&self) -> Option<&str> {
        self.finish_reason.as_deref()
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn cut(&mut self, rejection: &Rejection, request_id: &str, out: &mut Vec<u8>) {
        rejection.write_stream_error(Dialect::Openai, request_id, out);
    }
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
