//! What speaks to upstreams in their own protocols, chosen by the provider key. [pure]
//!
//! One [`Adapter`] per family of upstreams. Where the upstream speaks the caller's protocol the
//! adapter forwards: bytes with a few edits. Elsewhere it translates from and to the canonical form.
//! Which of the two is decided once per attempt, by [`Exchange::begin`].

pub mod anthropic;
mod error;
mod event;
mod exchange;
mod head;
mod headers;
pub mod openai;
mod policy;
mod retry_after;

use std::fmt;
use std::sync::Arc;

use config_sync::model::api_key::ApiKey;
use config_sync::model::provider_key::{self, ProviderKey};

pub use error::{BODY_BYTES_MAX as ERROR_BODY_BYTES_MAX, ErrorAnswer};
pub use exchange::Exchange;

use crate::bridge::record::Usage;
use crate::canonical::{Conversation, Decoder, Reply};
use crate::endpoint::{Call, Endpoint};
use crate::http::h1::RequestHead;
use crate::json::Edits;
use crate::rejection::Rejection;
use crate::route::Route;
use crate::short_text::ShortText;

/// Who asks, beyond the body.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    pub head: &'a RequestHead,
    pub key: &'a ApiKey,
    pub request_id: &'a str,
}

/// One call on its way to one target.
#[derive(Clone, Copy, Debug)]
pub struct Outbound<'a> {
    pub route: &'a Route,
    pub call: &'a Call,
    pub asker: &'a Asker<'a>,
}

/// A family of upstreams: how they are asked and what they answer. Pure: bytes in, bytes out.
pub trait Adapter: fmt::Debug + Send + Sync {
    /// Whether an upstream behind `key` itself has `endpoint`, so that bytes are forwarded.
    fn speaks(&self, endpoint: Endpoint, key: &ProviderKey) -> bool;

    /// Whether calls of `endpoint` reach it in translation, where it does not speak the protocol.
    fn translates(&self, endpoint: Endpoint) -> bool;

    /// Appends a complete HTTP/1.1 request with the caller's `body`, edited. Where it fails, `out` is
    /// as before.
    ///
    /// # Errors
    ///
    /// [`Rejection::UpstreamUnusable`] without a base URL, [`Rejection::CredentialUnusable`] for a
    /// credential that is no header value. Nothing of the credential is said.
    fn forward(
        &self,
        outbound: &Outbound<'_>,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Rejection>;

    /// Appends a complete HTTP/1.1 request that continues `conversation` on the upstream's chat
    /// endpoint. Where it fails, `out` is as before.
    ///
    /// # Errors
    ///
    /// As [`Adapter::forward`]; [`Rejection::InvalidRequest`] for what the upstream cannot take.
    fn converse(
        &self,
        outbound: &Outbound<'_>,
        conversation: &Conversation<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Rejection>;

    /// Reads a whole answer with status success that is forwarded.
    ///
    /// # Errors
    ///
    /// [`Rejection::Upstream`] where it is an error all the same, [`Rejection::Decode`] where it is
    /// not what was asked for.
    fn forwarded<'c>(
        &self,
        call: &'c Call,
        route: &Route,
        body: &[u8],
    ) -> Result<Answered<'c>, Rejection>;

    /// Reads a whole answer of the chat endpoint with status success.
    ///
    /// # Errors
    ///
    /// As [`Adapter::forwarded`].
    fn reply<'d>(&self, key: &ProviderKey, body: &'d [u8]) -> Result<Reply<'d>, Rejection>;

    /// Reads a stream that is forwarded.
    fn forwarding(&self, call: &Call, route: &Route) -> Box<dyn StreamReader>;

    /// Reads a stream of the chat endpoint.
    fn decoder(&self, call: &Call, key: &Arc<ProviderKey>) -> Box<dyn Decoder>;

    /// The rejection for an answer with a status other than success. Holds no credential.
    fn error(&self, answer: &ErrorAnswer<'_>, key: &ProviderKey) -> Rejection;
}

/// What one event of a stream was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Seen {
    /// No payload: a comment, a ping or a blank line. It shows that the upstream is alive.
    Comment,
    /// An event without text.
    Chunk,
    /// An event with text: the first one ends the wait for the first token.
    Content,
    /// A report of usage and nothing else.
    Usage,
    /// The end of the stream.
    Done,
    /// Something after the end, dropped.
    Late,
}

/// Follows one upstream stream and says what the caller gets of it.
pub trait StreamReader: fmt::Debug {
    /// Takes one event as the upstream sent it, with its blank line, and appends what the caller
    /// gets of it to `out`. The last event of a stream may lack its blank line.
    ///
    /// # Errors
    ///
    /// [`Rejection::Upstream`] for an error inside the stream, [`Rejection::Decode`] for an event that
    /// cannot be understood. The stream is over.
    fn event(&mut self, event: &[u8], out: &mut Vec<u8>) -> Result<Seen, Rejection>;

    /// Ends the stream, once the upstream closed it; appends what it left out.
    ///
    /// # Errors
    ///
    /// [`Rejection::StreamAborted`] where the stream was not complete.
    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Rejection>;

    /// Appends what tells the caller that the stream failed, and that no more will come.
    fn cut(&mut self, rejection: &Rejection, request_id: &str, out: &mut Vec<u8>);

    /// Whether the event that ends the stream was seen.
    fn is_done(&self) -> bool;

    /// The tokens so far.
    fn usage(&self) -> Usage;

    /// The id of the answer; the last one seen.
    fn provider_request_id(&self) -> Option<&str>;

    /// The upstream's own word for why the model stopped.
    fn finish_reason(&self) -> Option<&str>;
}

/// A whole answer: what it says, and what becomes of its body.
#[derive(Debug)]
pub struct Answered<'c> {
    pub usage: Usage,
    /// The body's id; empty ones count as absent.
    pub provider_request_id: Option<ShortText>,
    /// The upstream's own word for why the model stopped, that of choice 0.
    pub finish_reason: Option<ShortText>,
    pub body: AnswerBody<'c>,
}

/// The body that the caller gets.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "lives once per request; a box would be an allocation of each"
)]
pub enum AnswerBody<'c> {
    /// The upstream's with these edits.
    Edited(Edits<'c>),
    Rendered(Vec<u8>),
}

impl Answered<'_> {
    /// Appends the body for the caller; `body` is the upstream's.
    pub fn write_body(&self, body: &[u8], out: &mut Vec<u8>) {
        match &self.body {
            AnswerBody::Edited(edits) => edits.apply(body, out),
            AnswerBody::Rendered(rendered) => out.extend_from_slice(rendered),
        }
    }

    /// Length of the body for the caller, in bytes.
    pub fn body_len(&self, body: &[u8]) -> usize {
        match &self.body {
            AnswerBody::Edited(edits) => edits.edited_len(body),
            AnswerBody::Rendered(rendered) => rendered.len(),
        }
    }
}

/// The adapter that speaks to whom `key` is of.
///
/// # Errors
///
/// [`Rejection::ProviderUnavailable`] where the key names no adapter, or this version does not have
/// that adapter.
pub fn adapter_for(key: &ProviderKey) -> Result<&'static dyn Adapter, Rejection> {
    use provider_key::Adapter as Family;
    let unavailable = |sentence| Err(Rejection::ProviderUnavailable(sentence));
    match key.adapter {
        Some(Family::Openai) => Ok(&openai::Openai),
        Some(Family::Anthropic) => Ok(&anthropic::Anthropic),
        Some(Family::Bedrock) => unavailable("this version has no adapter for bedrock"),
        Some(Family::Vertex) => unavailable("this version has no adapter for vertex"),
        Some(Family::AzureOpenai) => unavailable("this version has no adapter for azure-openai"),
        None => unavailable("the provider key of this model names no adapter"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::dialect::Dialect;
    use crate::route::fixture;

    #[test]
    fn two_families_are_served_and_the_rest_says_so() {
        for (key, want) in [
            (json!({}), Ok("Openai")),
            (
                json!({"provider": "groq", "adapter": "openai"}),
                Ok("Openai"),
            ),
            (json!({"provider": "anthropic"}), Ok("Anthropic")),
            (
                json!({"provider": "azure", "adapter": "azure-openai"}),
                Err("azure-openai"),
            ),
            (json!({"provider": "groq"}), Err("no adapter")),
        ] {
            let key = fixture::provider_key(key);
            let got = adapter_for(&key).map_err(|rejection| {
                assert_eq!(rejection.kind(), "provider_unavailable");
                let mut out = Vec::new();
                rejection.write_envelope(Dialect::Openai, "r", &mut out);
                String::from_utf8(out).unwrap()
            });
            match (got, want) {
                (Ok(adapter), Ok(wanted)) => assert_eq!(format!("{adapter:?}"), wanted),
                (Err(said), Err(part)) => assert!(said.contains(part), "{said}"),
                (got, want) => panic!("{got:?} instead of {want:?}"),
            }
        }
    }
}
