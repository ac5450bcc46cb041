//! The OpenAI wire format, spoken by most vendors. [pure]
//!
//! Callers speak it too, so nothing is translated: bodies are forwarded byte for byte with the
//! model name and a few fields edited in place.

mod answer;
mod body;
pub mod error;
mod headers;
mod message;
mod policy;
pub mod request;
pub mod response;
pub mod stream;
mod usage;

use config_sync::model::provider_key::ProviderKey;

/// The configured path of reasoning below a message or delta.
fn reasoning_path(key: &ProviderKey) -> Option<&str> {
    key.reasoning_field.as_deref()?.strip_prefix("delta.")
}
