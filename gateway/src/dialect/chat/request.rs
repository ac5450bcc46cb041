//! A chat completions body in canonical form. [pure]

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use super::field::{Fault, Field, flag_of, needed, needed_text, text_of};
use super::messages::Messages;
use crate::canonical::{Conversation, Effort, Format, Marks, Tool, ToolChoice};
use crate::endpoint::Call;
use crate::json::Kind;
use crate::rejection::Rejection;

/// Reads the body of `call`.
///
/// # Errors
///
/// [`Rejection::InvalidRequest`], naming the field at fault.
pub(super) fn read<'b>(call: &Call, body: &'b [u8]) -> Result<Conversation<'b>, Rejection> {
    let mut request = Request::default();
    request.conversation.stream = call.stream;
    let whole = Field::of(body).map_err(|fault| fault.rejection(None))?;
    let mut param = None;
    let walked = whole.each_member(|name, field| {
        param = None;
        match field.some() {
            Some(field) => request.member(name, field, &mut param),
            None => Ok(()),
        }
    });
    walked.map_err(|fault| fault.rejection(param))?;
    Ok(request.finish())
}

/// What was read so far.
#[derive(Default)]
struct Request<'b> {
    conversation: Conversation<'b>,
    /// `max_completion_tokens`, which wins over `max_tokens`.
    max_completion_tokens: Option<u64>,
    /// `safety_identifier`, for which `user` is the older name.
    safety_identifier: Option<Cow<'b, str>>,
    /// `functions` and `function_call`, the legacy names of tools and of the choice among them.
    functions: Vec<Tool<'b>>,
    function_call: Option<ToolChoice<'b>>,
}

impl<'b> Request<'b> {
    /// Takes one member of the body, which is not `null`. `param` is set to its name where it is known.
    fn member(
        &mut self,
        name: Cow<'b, str>,
        field: Field<'b>,
        param: &mut Option<&'static str>,
    ) -> Result<(), Fault> {
        let mut at = |name: &'static str| *param = Some(name);
        let into = &mut self.conversation;
        match &*name {
            // Read when the call was.
            "model" | "stream" | "stream_options" => {}
            "messages" => {
                at("messages");
                let mut messages = Messages::default();
                field.each_item(|message| messages.take(message))?;
                into.turns = messages.turns;
            }
            "max_tokens" => {
                at("max_tokens");
                into.max_tokens = Some(field.count()?);
            }
            "max_completion_tokens" => {
                at("max_completion_tokens");
                self.max_completion_tokens = Some(field.count()?);
            }
            "temperature" => {
                at("temperature");
                into.temperature = Some(field.number()?);
            }
            "top_p" => {
                at("top_p");
                into.top_p = Some(field.number()?);
            }
            "stop" => {
                at("stop");
                into.stop = stop(field)?;
            }
            "user" => {
                at("user");
                into.user = Some(field.text()?);
            }
            "safety_identifier" => {
                at("safety_identifier");
                self.safety_identifier = Some(field.text()?);
            }
            "parallel_tool_calls" => {
                at("parallel_tool_calls");
                into.parallel_tool_calls = Some(field.flag()?);
            }
            "reasoning_effort" => {
                at("reasoning_effort");
                into.effort = Some(effort(field)?);
            }
            "response_format" => {
                at("response_format");
                into.format = format(field)?;
            }
            _ => return self.tools_member(name, field, param),
        }
        Ok(())
    }

    fn tools_member(
        &mut self,
        name: Cow<'b, str>,
        field: Field<'b>,
        param: &mut Option<&'static str>,
    ) -> Result<(), Fault> {
        match &*name {
            "tools" => {
                *param = Some("tools");
                let tools = &mut self.conversation.tools;
                field.each_item(|item| {
                    tools.push(tool(item)?);
                    Ok(())
                })?;
            }
            "functions" => {
                *param = Some("functions");
                field.each_item(|item| {
                    self.functions.push(function(item, None)?);
                    Ok(())
                })?;
            }
            "tool_choice" => {
                *param = Some("tool_choice");
                self.conversation.tool_choice = Some(tool_choice(field)?);
            }
            "function_call" => {
                *param = Some("function_call");
                self.function_call = Some(function_choice(field)?);
            }
            _ => self.conversation.extra.push((name, field.raw()?)),
        }
        Ok(())
    }

    fn finish(self) -> Conversation<'b> {
        let mut conversation = self.conversation;
        conversation.max_tokens = self.max_completion_tokens.or(conversation.max_tokens);
        conversation.user = conversation.user.or(self.safety_identifier);
        if conversation.tools.is_empty() {
            conversation.tools = self.functions;
        }
        conversation.tool_choice = conversation.tool_choice.or(self.function_call);
        conversation
    }
}

/// A text or a list of texts.
fn stop<'b>(field: Field<'b>) -> Result<Vec<Cow<'b, str>>, Fault> {
    if field.kind() == Kind::String {
        return Ok(vec![field.text()?]);
    }
    let mut texts = Vec::new();
    field.each_item(|item| {
        texts.push(item.text()?);
        Ok(())
    })?;
    Ok(texts)
}

fn effort(field: Field<'_>) -> Result<Effort, Fault> {
    Ok(match &*field.text()? {
        "none" => Effort::None,
        "minimal" => Effort::Minimal,
        "low" => Effort::Low,
        "medium" => Effort::Medium,
        "high" => Effort::High,
        "xhigh" => Effort::XHigh,
        _ => {
            let problem = "must be none, minimal, low, medium, high or xhigh";
            return Err(Fault::new(problem));
        }
    })
}

/// The shape of the answer; `None` for plain text.
fn format<'b>(field: Field<'b>) -> Result<Option<Format<'b>>, Fault> {
    let [kind, described] = field.members(["type", "json_schema"])?;
    let kind = needed_text("type", kind)?;
    match &*kind {
        "text" => Ok(None),
        "json_object" => Ok(Some(Format::JsonObject)),
        "json_schema" => {
            let described = needed("json_schema", described)?;
            let read = schema(described).map_err(|fault| fault.in_member("json_schema"));
            read.map(Some)
        }
        _ => Err(Fault::new("must be text, json_object or json_schema").in_member("type")),
    }
}

fn schema<'b>(described: Field<'b>) -> Result<Format<'b>, Fault> {
    let [name, description, schema, strict] =
        described.members(["name", "description", "schema", "strict"])?;
    Ok(Format::JsonSchema {
        name: text_of("name", name)?,
        description: text_of("description", description)?,
        schema: object("schema", needed("schema", schema)?)?.raw()?,
        strict: flag_of("strict", strict)?,
    })
}

fn object<'b>(name: &str, field: Field<'b>) -> Result<Field<'b>, Fault> {
    match field.kind() {
        Kind::Object => Ok(field),
        _ => Err(Fault::new("must be an object").in_member(name)),
    }
}

fn tool<'b>(item: Field<'b>) -> Result<Tool<'b>, Fault> {
    let [kind, described, cache_control] = item.members(["type", "function", "cache_control"])?;
    match text_of("type", kind)?.as_deref() {
        None | Some("function") => {}
        Some(_) => {
            let problem = "this model's upstream takes functions only";
            return Err(Fault::new(problem).in_member("type"));
        }
    }
    let described = needed("function", described)?;
    function(described, cache_control).map_err(|fault| fault.in_member("function"))
}

/// `{"name","description","parameters","strict"}`; a mark may stand here as well as around it.
fn function<'b>(described: Field<'b>, mark: Option<Field<'b>>) -> Result<Tool<'b>, Fault> {
    let [name, description, parameters, strict, own_mark] = described.members([
        "name",
        "description",
        "parameters",
        "strict",
        "cache_control",
    ])?;
    let name = needed_text("name", name)?;
    if name.is_empty() {
        return Err(Fault::new("must not be empty").in_member("name"));
    }
    let parameters = parameters.map(|schema| object("parameters", schema)?.raw());
    let mark = mark.or(own_mark).map(|mark| mark.raw());
    Ok(Tool {
        name,
        description: text_of("description", description)?,
        parameters: parameters.transpose()?,
        strict: flag_of("strict", strict)?,
        marks: Marks {
            cache_control: mark.transpose()?,
            citations: None,
        },
    })
}

/// A word, or `{"type":"function","function":{"name"}}`.
fn tool_choice<'b>(field: Field<'b>) -> Result<ToolChoice<'b>, Fault> {
    if field.kind() == Kind::String {
        return choice_word(field);
    }
    let [kind, function] = field.members(["type", "function"])?;
    let kind = needed_text("type", kind)?;
    if kind != "function" {
        return Err(Fault::new("this model's upstream takes function only").in_member("type"));
    }
    let function = needed("function", function)?;
    function_name(function).map_err(|fault| fault.in_member("function"))
}

/// `auto`, `none`, or `{"name"}`.
fn function_choice<'b>(field: Field<'b>) -> Result<ToolChoice<'b>, Fault> {
    match field.kind() {
        Kind::String => choice_word(field),
        _ => function_name(field),
    }
}

fn choice_word<'b>(field: Field<'b>) -> Result<ToolChoice<'b>, Fault> {
    match &*field.text()? {
        "auto" => Ok(ToolChoice::Auto),
        "none" => Ok(ToolChoice::None),
        "required" => Ok(ToolChoice::Required),
        _ => Err(Fault::new(
            "must be auto, none, required or name a function",
        )),
    }
}

fn function_name<'b>(function: Field<'b>) -> Result<ToolChoice<'b>, Fault> {
    let [name] = function.members(["name"])?;
    needed_text("name", name).map(ToolChoice::Named)
}
