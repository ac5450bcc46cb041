//! A whole answer: what it says, and its body for the caller. [pure]

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use config_sync::model::provider_key::ProviderKey;

use super::answer::{Answer, recorded_id};
use super::reasoning_path;
use crate::bridge::record::Usage;
use crate::endpoint::{Call, Endpoint};
use crate::json::{Edits, Kind, Span, Text, text};
use crate::provider::{AnswerBody, Answered, error};
use crate::rejection::Rejection;
use crate::usage::{Counts, Meter};

/// Reads the body of an answer with status success.
///
/// # Errors
///
/// [`Rejection::Upstream`] where it is an error all the same; [`Rejection::Decode`] where it is no
/// JSON object, or no chat completion where one was asked for.
pub(super) fn read<'c>(
    call: &'c Call,
    key: &ProviderKey,
    body: &[u8],
) -> Result<Answered<'c>, Rejection> {
    let mut edits = Edits::default();
    let answer = match call.endpoint {
        // Relayed as it came.
        Endpoint::Completions => Answer::read(body, None, &mut Edits::default()),
        _ => Answer::read(body, reasoning_path(key), &mut edits),
    };
    let answer = answer.map_err(|problem| Rejection::Decode {
        detail: Cow::Owned(format!("upstream body: {problem}")),
    })?;
    if answer.is_error() {
        return Err(error::in_band(body, key));
    }
    if call.endpoint == Endpoint::ChatCompletions && answer.choices.is_none() {
        return Err(Rejection::Decode {
            detail: Cow::Borrowed("upstream body: no choices"),
        });
    }
    if call.endpoint != Endpoint::Completions {
        name_model(&answer, call, body, &mut edits);
    }
    let choices = answer.choices.unwrap_or_default();
    let finish = choices.finish.filter(|finish| finish.first_choice);
    let finish = finish.and_then(|finish| text::of(body, &finish.reason));
    Ok(Answered {
        usage: usage(call, &answer, choices.text_bytes),
        provider_request_id: answer.id(body).map(|id| recorded_id(&id)),
        finish_reason: finish.map(|reason| recorded_id(&reason)),
        body: AnswerBody::Edited(edits),
    })
}

/// Notes the edit that shows the requested name, unless the upstream's is the same.
fn name_model<'c>(answer: &Answer, call: &'c Call, body: &[u8], edits: &mut Edits<'c>) {
    let Some(model) = answer.model else { return };
    if text::of(body, &model).as_deref() == Some(&*call.model) {
        return;
    }
    if model.kind == Kind::String {
        edits.replace(model.inner(), Text::Escaped(&call.model));
        return;
    }
    let Span { start, end } = model.span;
    edits.insert(start, Text::Raw(b"\""));
    edits.replace(model.span, Text::Escaped(&call.model));
    edits.insert(end, Text::Raw(b"\""));
}

fn usage(call: &Call, answer: &Answer, text_bytes: u64) -> Usage {
    let mut meter = Meter::new(call.prompt_bytes);
    if let Some(report) = answer.usage {
        meter.report(settled(call.endpoint, report.counts));
    }
    meter.wrote(text_bytes);
    meter.usage()
}

/// Some vendors report only a total; an embedding has nothing but a prompt.
fn settled(endpoint: Endpoint, counts: Counts) -> Counts {
    match endpoint {
        Endpoint::Embeddings if counts.prompt == 0 => Counts {
            prompt: counts.total,
            ..counts
        },
        _ => counts,
    }
}
