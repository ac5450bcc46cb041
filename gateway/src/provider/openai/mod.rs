//! The OpenAI wire format, spoken by most vendors. [pure]
//!
//! Callers speak it too, so nothing is translated: bodies are forwarded byte for byte with the
//! model name and a few fields edited in place.

mod body;
pub mod error;
mod headers;
mod policy;
pub mod request;
