//! OpenAI Responses, for callers whose target has no such endpoint. [pure]

mod failure;

pub use failure::error_event;

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
    _call: &Call,
    _body: &'b [u8],
    _seed: Seed,
) -> Result<(Conversation<'b>, Box<dyn Renderer>), Rejection> {
    Err(Rejection::NotImplemented)
}
