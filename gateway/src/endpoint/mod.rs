//! The endpoints: which path is which, and what each reads of its body. [pure]

mod call;
mod chat;
mod completions;
mod embeddings;
pub mod models;
mod route;

#[cfg(test)]
mod tests;

pub use call::{Call, UsageAsk, parse};
pub use route::{Routed, route};

/// What a request asks for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Endpoint {
    ChatCompletions,
    Completions,
    Embeddings,
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
            Self::Models | Self::Model => "/v1/models",
            Self::Livez | Self::Readyz => "other",
        }
    }

    /// What follows the base path upstream; empty for what the gateway answers itself.
    pub fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/chat/completions",
            Self::Completions => "/completions",
            Self::Embeddings => "/embeddings",
            Self::Models | Self::Model | Self::Livez | Self::Readyz => "",
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
