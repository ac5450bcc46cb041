//! The OpenAI wire format, spoken by most vendors. [pure]
//!
//! Callers speak it too, so nothing is translated: bodies are forwarded byte for byte with the
//! model name and a few fields edited in place.

mod answer;
mod body;
mod calls;
mod converse;
mod decoder;
mod message;
mod reply;
mod request;
mod response;
mod responses;
mod said;
mod stream;
mod usage;

use std::sync::Arc;

use config_sync::model::provider_key::ProviderKey;

pub(super) use answer::recorded_id as recorded;

use super::{Adapter, Answered, ErrorAnswer, Outbound, StreamReader, error};
use crate::canonical::{Conversation, Decoder, Reply};
use crate::endpoint::{Call, Endpoint};
use crate::rejection::Rejection;
use crate::route::Route;

/// OpenAI and every vendor with its wire format.
#[derive(Clone, Copy, Debug)]
pub struct Openai;

/// The vendor whose keys have `/responses`; others have chat completions only.
const RESPONSES_VENDOR: &str = "openai";

impl Adapter for Openai {
    fn speaks(&self, endpoint: Endpoint, key: &ProviderKey) -> bool {
        match endpoint {
            Endpoint::ChatCompletions | Endpoint::Completions | Endpoint::Embeddings => true,
            Endpoint::Responses => key.vendor.trim().eq_ignore_ascii_case(RESPONSES_VENDOR),
            _ => false,
        }
    }

    fn translates(&self, endpoint: Endpoint) -> bool {
        matches!(endpoint, Endpoint::Messages | Endpoint::Responses)
    }

    fn forward(
        &self,
        outbound: &Outbound<'_>,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Rejection> {
        request::write(outbound, body, out)
    }

    fn converse(
        &self,
        outbound: &Outbound<'_>,
        conversation: &Conversation<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Rejection> {
        converse::write(outbound, conversation, out)
    }

    fn forwarded<'c>(
        &self,
        call: &'c Call,
        route: &Route,
        body: &[u8],
    ) -> Result<Answered<'c>, Rejection> {
        let key = &route.provider_key;
        match call.endpoint {
            Endpoint::Responses => responses::read(call, route, body),
            _ => response::read(call, key, body),
        }
    }

    fn reply<'d>(&self, key: &ProviderKey, body: &'d [u8]) -> Result<Reply<'d>, Rejection> {
        reply::read(key, body)
    }

    fn forwarding(&self, call: &Call, route: &Route) -> Box<dyn StreamReader> {
        match call.endpoint {
            Endpoint::Responses => Box::new(responses::Reader::new(call, route)),
            _ => Box::new(stream::ChatReader::new(call, &route.provider_key)),
        }
    }

    fn decoder(&self, call: &Call, key: &Arc<ProviderKey>) -> Box<dyn Decoder> {
        Box::new(decoder::ChatDecoder::new(call, key))
    }

    fn error(&self, answer: &ErrorAnswer<'_>, key: &ProviderKey) -> Rejection {
        error::read(answer, key)
    }
}

/// The configured path of reasoning below a message or delta.
fn reasoning_path(key: &ProviderKey) -> Option<&str> {
    key.reasoning_field.as_deref()?.strip_prefix("delta.")
}
