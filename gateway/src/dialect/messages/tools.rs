//! The tools of a request, and which of them to call. [pure]

use serde::Deserialize;
use serde_json::value::RawValue;

use super::names::{Names, shortened};
use super::place::Place;
use crate::canonical::{Marks, Tool, ToolChoice};
use crate::rejection::Rejection;

#[derive(Deserialize)]
struct Fields<'b> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'b RawValue>,
    #[serde(borrow)]
    name: Option<&'b RawValue>,
    #[serde(borrow)]
    description: Option<&'b RawValue>,
    #[serde(borrow)]
    input_schema: Option<&'b RawValue>,
    #[serde(borrow)]
    strict: Option<&'b RawValue>,
    #[serde(borrow)]
    cache_control: Option<&'b RawValue>,
}

#[derive(Deserialize)]
struct Choice<'b> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'b RawValue>,
    #[serde(borrow)]
    name: Option<&'b RawValue>,
    #[serde(borrow)]
    disable_parallel_tool_use: Option<&'b RawValue>,
}

/// Reads `tools`. Those that run at Anthropic, and those without a name, are left out.
pub(super) fn read<'b>(raw: &'b RawValue, names: &mut Names) -> Result<Vec<Tool<'b>>, Rejection> {
    let place = Place::member("tools");
    let items = place.items(raw)?;
    let mut tools = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        tools.extend(tool(item, &place.item(index), names)?);
    }
    Ok(tools)
}

fn tool<'b>(
    raw: &'b RawValue,
    place: &Place<'_>,
    names: &mut Names,
) -> Result<Option<Tool<'b>>, Rejection> {
    let fields: Fields<'_> = place.object(raw)?;
    let kind = place.field("type").optional(fields.kind)?;
    if kind.is_some_and(|kind| kind != "custom") {
        return Ok(None);
    }
    let name = place.field("name").optional(fields.name)?;
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let schema = place.field("input_schema");
    if fields
        .input_schema
        .is_some_and(|raw| !raw.get().starts_with('{'))
    {
        return Err(schema.fault("must be an object"));
    }
    let strict = place.field("strict");
    let strict = fields.strict.map(|raw| strict.boolean(raw)).transpose()?;
    Ok(Some(Tool {
        name: names.of_tool(name),
        description: place.field("description").optional(fields.description)?,
        parameters: fields.input_schema,
        strict,
        marks: Marks {
            cache_control: fields.cache_control,
            citations: None,
        },
    }))
}

/// Reads `tool_choice`, with whether several calls may come at once.
pub(super) fn choice(raw: &RawValue) -> Result<(ToolChoice<'_>, Option<bool>), Rejection> {
    let place = Place::member("tool_choice");
    let choice: Choice<'_> = place.object(raw)?;
    let kind = place.field("type");
    let chosen = match kind.required(choice.kind)?.as_ref() {
        "auto" => ToolChoice::Auto,
        "none" => ToolChoice::None,
        "any" => ToolChoice::Required,
        "tool" => {
            let name = place.field("name").required(choice.name)?;
            ToolChoice::Named(shortened(name))
        }
        _ => return Err(kind.fault("must be auto, any, tool or none")),
    };
    let field = place.field("disable_parallel_tool_use");
    let disabled = choice.disable_parallel_tool_use;
    let disabled = disabled.map(|raw| field.boolean(raw)).transpose()?;
    Ok((chosen, (disabled == Some(true)).then_some(false)))
}
