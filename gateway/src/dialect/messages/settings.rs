//! How an answer is to be written: bounds, thinking, shape. [pure]

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::place::Place;
use super::schema;
use crate::canonical::{Conversation, Effort, Format};
use crate::rejection::Rejection;

#[derive(Deserialize)]
struct Metadata<'b> {
    #[serde(borrow)]
    user_id: Option<&'b RawValue>,
}

#[derive(Deserialize)]
struct Thinking<'b> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'b RawValue>,
    #[serde(borrow)]
    budget_tokens: Option<&'b RawValue>,
}

#[derive(Deserialize)]
struct Output<'b> {
    #[serde(borrow)]
    effort: Option<&'b RawValue>,
    #[serde(borrow)]
    format: Option<&'b RawValue>,
}

#[derive(Deserialize)]
struct Shape<'b> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'b RawValue>,
    #[serde(borrow)]
    schema: Option<&'b RawValue>,
}

pub(super) fn max_tokens(raw: &RawValue) -> Result<u64, Rejection> {
    count(raw, &Place::member("max_tokens"))
}

pub(super) fn stop(raw: &RawValue) -> Result<Vec<Cow<'_, str>>, Rejection> {
    let place = Place::member("stop_sequences");
    let items = place.items(raw)?.into_iter().enumerate();
    items
        .map(|(index, item)| place.item(index).text(item))
        .collect()
}

/// The caller's own user, out of `metadata`.
pub(super) fn user(raw: &RawValue) -> Result<Option<Cow<'_, str>>, Rejection> {
    let place = Place::member("metadata");
    let metadata: Metadata<'_> = place.object(raw)?;
    place.field("user_id").optional(metadata.user_id)
}

/// The effort that a budget for thinking stands for.
pub(super) fn thinking(raw: &RawValue) -> Result<Option<Effort>, Rejection> {
    let place = Place::member("thinking");
    let thinking: Thinking<'_> = place.object(raw)?;
    let kind = place.field("type");
    match kind.required(thinking.kind)?.as_ref() {
        "disabled" => Ok(None),
        "adaptive" => Ok(Some(Effort::Medium)),
        "enabled" => {
            let budget = place.field("budget_tokens");
            let raw = thinking.budget_tokens.ok_or_else(|| budget.missing())?;
            Ok(Some(match count(raw, &budget)? {
                4096.. => Effort::High,
                2048.. => Effort::Medium,
                1024.. => Effort::Low,
                _ => Effort::Minimal,
            }))
        }
        _ => Err(kind.fault("must be enabled, disabled or adaptive")),
    }
}

/// Reads `output_config`.
pub(super) fn output<'b>(
    raw: &'b RawValue,
    conversation: &mut Conversation<'b>,
) -> Result<(), Rejection> {
    let place = Place::member("output_config");
    let output: Output<'_> = place.object(raw)?;
    let field = place.field("effort");
    if let Some(effort) = field.optional(output.effort)? {
        conversation.effort = Some(match effort.as_ref() {
            "low" => Effort::Low,
            "medium" => Effort::Medium,
            "high" => Effort::High,
            "xhigh" | "max" => Effort::XHigh,
            _ => return Err(field.fault("must be low, medium, high, xhigh or max")),
        });
    }
    if let Some(raw) = output.format {
        conversation.format = Some(format(raw, &place.field("format"))?);
    }
    Ok(())
}

/// Reads the shape that the answer's text is to have.
pub(super) fn format<'b>(raw: &'b RawValue, place: &Place<'_>) -> Result<Format<'b>, Rejection> {
    let shape: Shape<'_> = place.object(raw)?;
    let kind = place.field("type");
    if kind.required(shape.kind)? != "json_schema" {
        return Err(kind.fault("must be json_schema"));
    }
    let field = place.field("schema");
    let schema = shape.schema.ok_or_else(|| field.missing())?;
    if !schema.get().starts_with('{') {
        return Err(field.fault("must be an object"));
    }
    Ok(Format::JsonSchema {
        name: None,
        description: None,
        schema,
        // Anthropic's answers always obey the schema. Where OpenAI promises the same it is asked to.
        strict: schema::is_closed(schema).then_some(true),
    })
}

/// A number of tokens; fractions are cut off.
fn count(raw: &RawValue, place: &Place<'_>) -> Result<u64, Rejection> {
    let text = place.number(raw)?.get();
    if text.starts_with('-') {
        return Err(place.fault("must not be negative"));
    }
    // `as` saturates at the largest count.
    let whole = text.parse().ok();
    Ok(whole.unwrap_or_else(|| text.parse::<f64>().map_or(0, |number| number as u64)))
}
