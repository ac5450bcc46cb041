//! Anthropic Messages, for callers whose target speaks something else. [pure]

mod arguments;
mod blocks;
mod content;
mod names;
mod place;
mod reply;
mod request;
mod schema;
mod settings;
mod source;
mod stream;
mod tools;

#[cfg(test)]
mod tests;

use super::Seed;
use crate::canonical::{Conversation, Renderer};
use crate::endpoint::Call;
use crate::rejection::Rejection;
use crate::usage;

/// Reads the body of `call` and makes what will show its answer.
///
/// # Errors
///
/// [`Rejection::InvalidRequest`], naming the field at fault.
pub(super) fn open<'b>(
    call: &Call,
    body: &'b [u8],
    seed: Seed,
) -> Result<(Conversation<'b>, Box<dyn Renderer>), Rejection> {
    let (conversation, names) = request::read(body)?;
    let renderer = stream::Shown::new(&call.model, seed, names);
    Ok((conversation, Box::new(renderer)))
}

/// The body that answers a `count_tokens` call without asking anybody: an estimate from the length
/// of what the model would read.
pub fn count(call: &Call) -> Vec<u8> {
    let tokens = usage::tokens_of(call.prompt_bytes);
    format!("{{\"input_tokens\":{tokens}}}").into_bytes()
}
