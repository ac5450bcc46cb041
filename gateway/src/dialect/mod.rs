//! The protocols that callers speak: their bodies to the canonical form, answers back. [pure]
//!
//! Only what is translated passes here; a body whose protocol the upstream speaks itself is
//! forwarded.

pub mod chat;
pub mod messages;
pub mod responses;

use crate::canonical::{Conversation, Renderer};
use crate::endpoint::{Call, Endpoint};
use crate::rejection::Rejection;

/// A protocol of callers; errors are told in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dialect {
    /// OpenAI's, of all its endpoints but `/v1/responses`, and of everything that has no other.
    Openai,
    /// Anthropic Messages.
    Anthropic,
    /// OpenAI Responses: OpenAI's errors, events of its own.
    Responses,
}

impl Dialect {
    /// The `inbound_protocol` of metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Openai | Self::Responses => "openai",
            Self::Anthropic => "anthropic",
        }
    }
}

/// What an answer needs that comes from neither side: the time, and something unique.
#[derive(Clone, Copy, Debug)]
pub struct Seed {
    /// Unix seconds at dispatch.
    pub created_unix_s: i64,
    /// 32 lower-case hex digits, random; ids are made of them.
    pub hex: [u8; 32],
}

impl Seed {
    /// The digits as text.
    pub fn hex(&self) -> &str {
        std::str::from_utf8(&self.hex).unwrap_or_default()
    }
}

/// Reads the body of `call` and makes what will show its answer.
///
/// # Errors
///
/// [`Rejection::InvalidRequest`], naming the field at fault.
pub fn open<'b>(
    call: &Call,
    body: &'b [u8],
    seed: Seed,
) -> Result<(Conversation<'b>, Box<dyn Renderer>), Rejection> {
    match call.endpoint {
        Endpoint::Messages => messages::open(call, body, seed),
        Endpoint::Responses => responses::open(call, body, seed),
        _ => chat::open(call, body, seed),
    }
}
