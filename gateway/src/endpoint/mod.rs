//! The endpoints: which path is which, and what each reads of its body. [pure]

mod call;
mod chat;
mod completions;
mod embeddings;
mod messages;
pub mod models;
mod responses;
mod route;

#[cfg(test)]
mod tests;

use crate::dialect::Dialect;

pub use call::{Call, UsageAsk, parse};
pub use route::{ROUTES, Routed, Served, route};

/// What a request asks for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Endpoint {
    ChatCompletions,
    Completions,
    Embeddings,
    /// Anthropic Messages.
    Messages,
    /// The length of a message's prompt.
    CountTokens,
    /// OpenAI Responses.
    Responses,
    /// The list of models.
    Models,
    /// One model, by name.
    Model,
    Livez,
    Readyz,
}

impl Endpoint {
    /// The route template, as metrics and logs name it.
    pub fn label(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Embeddings => "/v1/embeddings",
            Self::Messages => "/v1/messages",
            Self::CountTokens => "/v1/messages/count_tokens",
            Self::Responses => "/v1/responses",
            Self::Models | Self::Model => "/v1/models",
            Self::Livez | Self::Readyz => "other",
        }
    }

    /// What follows the version upstream; empty for what the gateway answers itself.
    pub fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/chat/completions",
            Self::Completions => "/completions",
            Self::Embeddings => "/embeddings",
            Self::Messages => "/messages",
            Self::CountTokens => "/messages/count_tokens",
            Self::Responses => "/responses",
            Self::Models | Self::Model | Self::Livez | Self::Readyz => "",
        }
    }

    /// The protocol that its callers speak.
    pub fn dialect(self) -> Dialect {
        match self {
            Self::Messages | Self::CountTokens => Dialect::Anthropic,
            Self::Responses => Dialect::Responses,
            Self::ChatCompletions
            | Self::Completions
            | Self::Embeddings
            | Self::Models
            | Self::Model
            | Self::Livez
            | Self::Readyz => Dialect::Openai,
        }
    }

    /// Whether a caller needs a key. Probes do not.
    pub fn needs_key(self) -> bool {
        !matches!(self, Self::Livez | Self::Readyz)
    }

    /// Whether the endpoint takes a JSON body and is forwarded upstream.
    pub fn takes_body(self) -> bool {
        !self.path().is_empty()
    }
}
