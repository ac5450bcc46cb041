//! OpenAI Responses, for callers whose target has no such endpoint. [pure]

mod answer;
mod content;
mod echo;
mod failure;
mod input;
mod node;
mod output;
mod reasoning;
mod renderer;
mod request;
mod stream;
#[cfg(test)]
mod tests;
mod tools;

pub use failure::error_event;

use self::renderer::ResponsesRenderer;
use super::Seed;
use crate::canonical::{Conversation, Renderer};
use crate::endpoint::Call;
use crate::rejection::Rejection;

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
    let request = request::read(call, body)?;
    let renderer = ResponsesRenderer::new(call, seed, request.echo, request.custom);
    Ok((request.conversation, Box::new(renderer)))
}
