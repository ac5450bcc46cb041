//! The Anthropic Messages API. [pure]

mod caching;
mod converse;
mod decoder;
mod error;
mod event;
mod message;
mod native;
mod piece;
mod progress;
mod reply;
mod request;
mod usage;

use std::sync::Arc;

use config_sync::model::provider_key::ProviderKey;

use super::{Adapter, Answered, ErrorAnswer, Outbound, StreamReader};
use crate::canonical::{Conversation, Decoder, Reply};
use crate::endpoint::{Call, Endpoint};
use crate::rejection::Rejection;
use crate::route::Route;

/// Anthropic and every vendor with its wire format.
#[derive(Clone, Copy, Debug)]
pub struct Anthropic;

impl Adapter for Anthropic {
    fn speaks(&self, endpoint: Endpoint, _key: &ProviderKey) -> bool {
        matches!(endpoint, Endpoint::Messages | Endpoint::CountTokens)
    }

    fn translates(&self, endpoint: Endpoint) -> bool {
        matches!(endpoint, Endpoint::ChatCompletions | Endpoint::Responses)
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
        native::read(call, route, body)
    }

    fn reply<'d>(&self, key: &ProviderKey, body: &'d [u8]) -> Result<Reply<'d>, Rejection> {
        reply::read(key, body)
    }

    fn forwarding(&self, call: &Call, route: &Route) -> Box<dyn StreamReader> {
        Box::new(native::MessagesReader::new(call, route))
    }

    fn decoder(&self, call: &Call, key: &Arc<ProviderKey>) -> Box<dyn Decoder> {
        Box::new(decoder::MessagesDecoder::new(call, key))
    }

    fn error(&self, answer: &ErrorAnswer<'_>, key: &ProviderKey) -> Rejection {
        error::read(answer, key)
    }
}
