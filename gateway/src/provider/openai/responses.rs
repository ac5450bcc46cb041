//! Answers of OpenAI's own `/responses`, forwarded. [pure]
//!
//! Whole answers and events pass as they came. Edited is the `model` of a response, where it names the
//! id that was sent upstream: a dated one, say, stays as it is.

mod response;
mod stream;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub(super) use stream::Reader;

use self::response::Response;
use super::recorded_text;
use crate::endpoint::Call;
use crate::json::{Cursor, Edits, Text};
use crate::provider::{AnswerBody, Answered, error};
use crate::rejection::Rejection;
use crate::route::Route;
use crate::usage::Meter;

/// Reads the body of an answer with status success.
///
/// A response whose `status` is `failed` is an answer like others, unless it repeats a credential: it
/// tells the caller all there is.
///
/// # Errors
///
/// [`Rejection::Upstream`] where there is an error and no response that may be shown, [`Rejection::Decode`] where it is
/// no response.
pub(super) fn read<'c>(
    call: &'c Call,
    route: &Route,
    body: &[u8],
) -> Result<Answered<'c>, Rejection> {
    let mut cursor = Cursor::lenient(body);
    let response = Response::read(&mut cursor).and_then(|read| cursor.end().map(|()| read));
    let response = response.map_err(|problem| Rejection::Decode {
        detail: Cow::Owned(format!("upstream body: {problem}")),
    })?;
    if response.error.is_some() && error::tells_secrets(body, &route.provider_key) {
        return Err(error::in_band(body, &route.provider_key));
    }
    if !response.has_output {
        return Err(match response.error {
            Some(_) => error::in_band(body, &route.provider_key),
            None => Rejection::Decode {
                detail: Cow::Borrowed("upstream body: no output"),
            },
        });
    }
    let mut edits = Edits::default();
    if let Some(model) = response.model
        && *route.upstream_model != *call.model
        && response.names(&route.upstream_model, body)
    {
        edits.replace(model.inner(), Text::Escaped(&call.model));
    }
    let mut meter = Meter::new(call.prompt_bytes);
    if let Some(counts) = response.counts {
        meter.report(counts);
    }
    meter.wrote(response.text_bytes);
    Ok(Answered {
        usage: meter.usage(),
        provider_request_id: response.id(body).map(|id| recorded_text(&id)),
        finish_reason: response.ending(body).map(|word| recorded_text(&word)),
        body: AnswerBody::Edited(edits),
    })
}
