//! Chat messages as turns. [pure]

use std::borrow::Cow;

use super::field::{Fault, Field, needed, needed_text, text_of};
use super::parts;
use crate::canonical::{Marks, Part, Role, Turn};
use crate::json::Kind;

/// What stands for the arguments of a call without any.
const NO_ARGUMENTS: &str = "{}";

/// Reads one message after another.
#[derive(Debug, Default)]
pub(super) struct Messages<'b> {
    pub(super) turns: Vec<Turn<'b>>,
    /// Legacy calls so far: they have no id, so they are numbered.
    functions: usize,
}

impl<'b> Messages<'b> {
    /// Takes the next message.
    pub(super) fn take(&mut self, message: Field<'b>) -> Result<(), Fault> {
        let [role, content, name, cache_control] =
            message.members(["role", "content", "name", "cache_control"])?;
        let given = needed_text("role", role)?;
        let role = match &*given {
            "system" | "developer" => Role::System,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "tool" | "function" => Role::Tool,
            _ => return Err(Fault::new("unknown role").in_member("role")),
        };
        let content = match content {
            Some(content) => parts::content(content).map_err(|fault| fault.in_member("content"))?,
            None => Vec::new(),
        };
        let name = text_of("name", name)?;
        let mut turn = Turn {
            role,
            name,
            parts: content,
        };
        let marks = Marks {
            cache_control: cache_control.map(|mark| mark.raw()).transpose()?,
            citations: None,
        };
        match role {
            Role::Assistant => self.assistant(message, &mut turn)?,
            Role::Tool => {
                let call_id = if given == "tool" {
                    let [call_id] = message.members(["tool_call_id"])?;
                    needed_text("tool_call_id", call_id)?
                } else {
                    self.last_function()?
                };
                turn.name = None;
                turn.parts = vec![Part::ToolResult {
                    call_id,
                    parts: turn.parts,
                    is_error: false,
                    marks: Marks::default(),
                }];
            }
            Role::System | Role::User => {}
        }
        mark_last(&mut turn.parts, marks);
        self.turns.push(turn);
        Ok(())
    }

    /// Puts the reasoning of an assistant message before its content, refusal and calls behind it.
    fn assistant(&mut self, message: Field<'b>, turn: &mut Turn<'b>) -> Result<(), Fault> {
        let [
            blocks,
            reasoning_content,
            reasoning,
            refusal,
            calls,
            function_call,
        ] = message.members([
            "thinking_blocks",
            "reasoning_content",
            "reasoning",
            "refusal",
            "tool_calls",
            "function_call",
        ])?;
        // An empty text beside calls is how some clients spell its absence.
        let is_empty = |part: &Part<'_>| matches!(part, Part::Text { text, .. } if text.is_empty());
        turn.parts.retain(|part| !is_empty(part));
        let thoughts = thoughts(blocks, reasoning_content.or(reasoning))?;
        turn.parts.splice(0..0, thoughts);
        if let Some(text) = text_of("refusal", refusal)? {
            turn.parts.push(Part::Refusal { text });
        }
        if let Some(calls) = calls {
            let took = calls.each_item(|call| {
                turn.parts.push(tool_call(call)?);
                Ok(())
            });
            took.map_err(|fault| fault.in_member("tool_calls"))?;
        }
        if let Some(call) = function_call {
            self.functions += 1;
            let id = self.last_function()?;
            let call = function(call, id).map_err(|fault| fault.in_member("function_call"))?;
            turn.parts.push(call);
        }
        Ok(())
    }

    /// The id of the latest legacy call.
    fn last_function(&self) -> Result<Cow<'b, str>, Fault> {
        match self.functions {
            0 => Err(
                Fault::new("a function message needs a function_call before it").in_member("role"),
            ),
            number => Ok(Cow::Owned(format!("call_{number}"))),
        }
    }
}

/// The reasoning of an earlier answer: its blocks, as LiteLLM has them, else its text, which has no
/// signature.
fn thoughts<'b>(
    blocks: Option<Field<'b>>,
    text: Option<Field<'b>>,
) -> Result<Vec<Part<'b>>, Fault> {
    let mut thoughts = Vec::new();
    if let Some(blocks) = blocks {
        let took = blocks.each_item(|block| {
            let [kind] = block.members(["type"])?;
            let kind = needed_text("type", kind)?;
            let part = parts::thought(&kind, block)?;
            thoughts.push(part.ok_or_else(|| Fault::new("unknown type").in_member("type"))?);
            Ok(())
        });
        took.map_err(|fault| fault.in_member("thinking_blocks"))?;
    }
    if thoughts.is_empty()
        && let Some(text) = text_of("reasoning_content", text)?
        && !text.is_empty()
    {
        thoughts.push(Part::Thinking {
            text,
            signature: None,
        });
    }
    Ok(thoughts)
}

fn tool_call<'b>(call: Field<'b>) -> Result<Part<'b>, Fault> {
    let [id, kind, called] = call.members(["id", "type", "function"])?;
    let kind = text_of("type", kind)?.unwrap_or(Cow::Borrowed("function"));
    if kind != "function" {
        return Ok(Part::Foreign { kind });
    }
    let id = needed_text("id", id)?;
    if id.is_empty() {
        return Err(Fault::new("must not be empty").in_member("id"));
    }
    let called = needed("function", called)?;
    function(called, id).map_err(|fault| fault.in_member("function"))
}

/// `{"name","arguments"}`.
fn function<'b>(called: Field<'b>, id: Cow<'b, str>) -> Result<Part<'b>, Fault> {
    let [name, arguments] = called.members(["name", "arguments"])?;
    let name = needed_text("name", name)?;
    if name.is_empty() {
        return Err(Fault::new("must not be empty").in_member("name"));
    }
    let arguments = match arguments {
        None => Cow::Borrowed(NO_ARGUMENTS),
        // Some clients send the object itself.
        Some(object) if object.kind() == Kind::Object => Cow::Borrowed(object.raw()?.get()),
        Some(text) => text.text().map_err(|fault| fault.in_member("arguments"))?,
    };
    Ok(Part::ToolCall {
        id,
        name,
        arguments,
        marks: Marks::default(),
    })
}

/// Puts the marks of a whole message on its last part, unless that has its own.
fn mark_last<'b>(parts: &mut [Part<'b>], given: Marks<'b>) {
    if let Some(
        Part::Text { marks, .. }
        | Part::Image { marks, .. }
        | Part::File { marks, .. }
        | Part::ToolCall { marks, .. }
        | Part::ToolResult { marks, .. },
    ) = parts.last_mut()
    {
        marks.cache_control = marks.cache_control.or(given.cache_control);
    }
}
