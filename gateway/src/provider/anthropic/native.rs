//! Answers of the Messages API, forwarded. [pure]
//!
//! Whole messages and events pass as they came. Edited is the `model` of the message, where it names
//! the id that was sent upstream.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use config_sync::model::provider_key::ProviderKey;

use super::error;
use super::event::{Event, Kind};
use super::message::{Message, said};
use super::progress::Progress;
use crate::bridge::record::Usage;
use crate::dialect::Dialect;
use crate::endpoint::{Call, Endpoint};
use crate::http::sse::data_of;
use crate::json::{Edits, Text, text};
use crate::provider::event::{relay, rewrite};
use crate::provider::openai::recorded_text;
use crate::provider::{AnswerBody, Answered, Seen, StreamReader};
use crate::rejection::Rejection;
use crate::route::Route;
use crate::short_text::ShortText;
use crate::usage::Meter;

/// Reads the body of an answer with status success.
///
/// # Errors
///
/// As [`crate::provider::Adapter::forwarded`].
pub(super) fn read<'c>(
    call: &'c Call,
    route: &Route,
    body: &[u8],
) -> Result<Answered<'c>, Rejection> {
    let mut text_bytes = 0_u64;
    let message = Message::of(body, |block| {
        let input = block.input(body).map_or(0, <[u8]>::len) as u64;
        text_bytes = text_bytes
            .saturating_add(block.text_bytes(body))
            .saturating_add(input);
    });
    let message = message.map_err(|problem| Rejection::Decode {
        detail: Cow::Owned(format!("upstream body: {problem}")),
    })?;
    if message.is_error(body) {
        return Err(error::in_band(body, &route.provider_key));
    }
    if call.endpoint == Endpoint::CountTokens {
        return Ok(Answered {
            usage: Usage::default(),
            provider_request_id: None,
            finish_reason: None,
            body: AnswerBody::Edited(Edits::default()),
        });
    }
    if !message.has_content {
        return Err(Rejection::Decode {
            detail: Cow::Borrowed("upstream body: no content"),
        });
    }
    let mut edits = Edits::default();
    name_model(
        &message,
        &route.upstream_model,
        &call.model,
        body,
        &mut edits,
    );
    let mut meter = Meter::new(call.prompt_bytes);
    if let Some(report) = message.usage {
        meter.report(report.counts);
    }
    meter.wrote(text_bytes);
    Ok(Answered {
        usage: meter.usage(),
        provider_request_id: said(body, message.id).map(|id| recorded_text(&id)),
        finish_reason: said(body, message.stop_reason).map(|reason| recorded_text(&reason)),
        body: AnswerBody::Edited(edits),
    })
}

/// Notes the edit that shows the `requested` name where the message names the `upstream` one.
fn name_model<'t>(
    message: &Message,
    upstream: &str,
    requested: &'t str,
    document: &[u8],
    edits: &mut Edits<'t>,
) {
    let Some(model) = message.model else { return };
    if upstream != requested && text::of(document, &model).as_deref() == Some(upstream) {
        edits.replace(model.inner(), Text::Escaped(requested));
    }
}

/// Follows a stream.
#[derive(Debug)]
pub(super) struct MessagesReader {
    provider_key: Arc<ProviderKey>,
    /// The requested name.
    model: ShortText,
    upstream_model: ShortText,
    progress: Progress,
}

impl MessagesReader {
    /// Starts at the first byte of the body.
    pub(super) fn new(call: &Call, route: &Route) -> Self {
        Self {
            provider_key: Arc::clone(&route.provider_key),
            model: call.model.clone(),
            upstream_model: route.upstream_model.clone(),
            progress: Progress::new(call.prompt_bytes),
        }
    }
}

impl StreamReader for MessagesReader {
    fn event(&mut self, event: &[u8], out: &mut Vec<u8>) -> Result<Seen, Rejection> {
        if self.progress.is_done() {
            return Ok(Seen::Late);
        }
        let data = data_of(event);
        let payload = data.bytes().map_or(&b""[..], <[u8]>::trim_ascii);
        if payload.is_empty() {
            relay(event, out);
            return Ok(Seen::Comment);
        }
        let read = Event::read(event, payload)?;
        if read.kind == Kind::Error {
            return Err(error::in_band(payload, &self.provider_key));
        }
        let seen = self.progress.note(&read, payload);
        let mut edits = Edits::default();
        if read.kind == Kind::MessageStart
            && let Some(message) = &read.message
        {
            name_model(
                message,
                &self.upstream_model,
                &self.model,
                payload,
                &mut edits,
            );
        }
        if edits.is_empty() {
            relay(event, out);
        } else {
            rewrite(event, &data, payload, &edits, out);
        }
        Ok(seen)
    }

    fn finish(&mut self, _out: &mut Vec<u8>) -> Result<(), Rejection> {
        match self.progress.is_done() {
            true => Ok(()),
            false => Err(Rejection::StreamAborted),
        }
    }

    fn cut(&mut self, rejection: &Rejection, request_id: &str, out: &mut Vec<u8>) {
        rejection.write_stream_error(Dialect::Anthropic, request_id, out);
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
