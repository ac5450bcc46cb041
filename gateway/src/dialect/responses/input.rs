//! The items of `input` as turns. [pure]

use std::borrow::Cow;

use super::content::{self, unsupported};
use super::node::{Node, Problem, optional, required};
use super::reasoning;
use super::tools::wrapped;
use crate::canonical::{Marks, Part, Role, Turn};
use crate::json::Kind;

/// Items that only the service which wrote them can use: what its own tools did on the way to an
/// answer that stands in the history as well.
const LEFT_OUT: [&str; 5] = [
    "web_search_call",
    "file_search_call",
    "code_interpreter_call",
    "image_generation_call",
    "mcp_list_tools",
];

/// Appends the turns of `input`.
pub(super) fn read<'b>(input: Node<'b>, turns: &mut Vec<Turn<'b>>) -> Result<(), Problem> {
    match input.kind {
        Kind::String => push(Role::User, content::read(input)?, turns),
        Kind::Array => input.items(|node| item(node, turns))?,
        _ => return Err(Problem::new("must be a string or a list of items")),
    }
    Ok(())
}

/// Appends a turn, unless it says nothing.
pub(super) fn push<'b>(role: Role, parts: Vec<Part<'b>>, turns: &mut Vec<Turn<'b>>) {
    if !parts.is_empty() {
        let name = None;
        turns.push(Turn { role, name, parts });
    }
}

fn item<'b>(node: Node<'b>, turns: &mut Vec<Turn<'b>>) -> Result<(), Problem> {
    if node.kind == Kind::String {
        push(Role::User, content::read(node)?, turns);
        return Ok(());
    }
    let [kind, role] = node.members(["type", "role"])?;
    let kind = match kind {
        Some(kind) => kind.text().map_err(|problem| problem.under("type"))?,
        None if role.is_some() => Cow::Borrowed("message"),
        None => return Err(Problem::new("missing field").under("type")),
    };
    match &*kind {
        "message" => {
            let role = required("role", role, self::role)?;
            let [content] = node.members(["content"])?;
            let parts = required("content", content, content::read)?;
            match turns.last_mut() {
                Some(last) if role == Role::Assistant && only_thinks(last) => {
                    last.parts.extend(parts);
                }
                _ => push(role, parts, turns),
            }
        }
        "reasoning" => {
            if let Some(part) = reasoning::read(node)? {
                think(part, turns);
            }
        }
        "function_call" => join(Role::Assistant, call(node, "arguments", false)?, turns),
        "custom_tool_call" => join(Role::Assistant, call(node, "input", true)?, turns),
        "function_call_output" | "custom_tool_call_output" => {
            join(Role::Tool, result(node)?, turns);
        }
        kind if LEFT_OUT.contains(&kind) => {}
        other => return Err(unsupported(other).under("type")),
    }
    Ok(())
}

fn role(node: Node<'_>) -> Result<Role, Problem> {
    match &*node.text()? {
        "assistant" => Ok(Role::Assistant),
        "system" | "developer" => Ok(Role::System),
        "user" => Ok(Role::User),
        _ => Err(Problem::new("must be user, assistant, system or developer")),
    }
}

/// Appends a part to the turn before, if that has `role`: calls stand in the message they were made
/// in, and the results of one message's calls together.
fn join<'b>(role: Role, part: Part<'b>, turns: &mut Vec<Turn<'b>>) {
    match turns.last_mut() {
        Some(last) if last.role == role => last.parts.push(part),
        _ => push(role, vec![part], turns),
    }
}

/// Appends reasoning: it opens the message that it led to. Where calls were made before it, it stays
/// with them, because their results come after all of them.
fn think<'b>(part: Part<'b>, turns: &mut Vec<Turn<'b>>) {
    match turns.last_mut() {
        Some(last) if last.role == Role::Assistant && (starts_thinking(last) || calls(last)) => {
            last.parts.push(part);
        }
        _ => push(Role::Assistant, vec![part], turns),
    }
}

fn is_thinking(part: &Part<'_>) -> bool {
    matches!(part, Part::Thinking { .. } | Part::RedactedThinking { .. })
}

fn starts_thinking(turn: &Turn<'_>) -> bool {
    turn.parts.first().is_some_and(is_thinking)
}

/// Whether `turn` is an assistant's that says nothing yet.
fn only_thinks(turn: &Turn<'_>) -> bool {
    turn.role == Role::Assistant && turn.parts.iter().all(is_thinking)
}

fn calls(turn: &Turn<'_>) -> bool {
    let is_call = |part: &Part<'_>| matches!(part, Part::ToolCall { .. });
    turn.parts.iter().any(is_call)
}

/// A call; what it was made with stands in the member `name`, as JSON or, if `custom`, as a text.
fn call<'b>(node: Node<'b>, name: &'static str, custom: bool) -> Result<Part<'b>, Problem> {
    let [call_id, id, tool, with] = node.members(["call_id", "id", "name", name])?;
    let arguments = required(name, with, Node::text)?;
    Ok(Part::ToolCall {
        id: required("call_id", call_id.or(id), Node::text)?,
        name: required("name", tool, Node::text)?,
        arguments: if custom {
            wrapped(&arguments).into()
        } else {
            arguments
        },
        marks: Marks::default(),
    })
}

fn result<'b>(node: Node<'b>) -> Result<Part<'b>, Problem> {
    let [call_id, output] = node.members(["call_id", "output"])?;
    Ok(Part::ToolResult {
        call_id: required("call_id", call_id, Node::text)?,
        parts: optional("output", output, content::read)?.unwrap_or_default(),
        is_error: false,
        marks: Marks::default(),
    })
}
