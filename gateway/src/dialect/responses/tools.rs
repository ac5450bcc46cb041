//! Tools, and which of them is to be called. [pure]
//!
//! A custom tool takes a text. Elsewhere it is a function of one string, `input`.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::content::unsupported;
use super::node::{Node, Problem, optional, required};
use crate::canonical::{Marks, Tool, ToolChoice};
use crate::json::Kind;
use crate::json::text::write_escaped;

const CUSTOM_SCHEMA: &str = r#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}"#;

/// What the caller's tools come to.
#[derive(Debug, Default)]
pub(super) struct Tools<'b> {
    pub(super) functions: Vec<Tool<'b>>,
    /// Names of those that are custom tools.
    pub(super) custom: Vec<Box<str>>,
}

impl<'b> Tools<'b> {
    /// Reads `tools`. Tools that the service itself runs are refused: without them the answer would
    /// be another one.
    pub(super) fn read(node: Node<'b>) -> Result<Self, Problem> {
        let mut tools = Self::default();
        node.items(|item| tools.add(item))?;
        Ok(tools)
    }

    fn add(&mut self, node: Node<'b>) -> Result<(), Problem> {
        let [kind, name, description] = node.members(["type", "name", "description"])?;
        let kind = required("type", kind, Node::text)?;
        if !matches!(&*kind, "function" | "custom") {
            return Err(unsupported(&kind).under("type"));
        }
        let name = required("name", name, Node::text)?;
        let description = optional("description", description, Node::text)?;
        if kind == "custom" {
            self.custom.push(Box::from(&*name));
            let [format] = node.members(["format"])?;
            let grammar = optional("format", format, grammar)?.flatten();
            self.functions.push(Tool {
                name,
                description: match grammar {
                    Some(grammar) => Some(explained(description.as_deref(), &grammar).into()),
                    None => description,
                },
                parameters: serde_json::from_str::<&RawValue>(CUSTOM_SCHEMA).ok(),
                strict: None,
                marks: Marks::default(),
            });
            return Ok(());
        }
        let [parameters, strict] = node.members(["parameters", "strict"])?;
        self.functions.push(Tool {
            name,
            description,
            parameters: optional("parameters", parameters, Node::object)?,
            strict: optional("strict", strict, Node::flag)?,
            marks: Marks::default(),
        });
        Ok(())
    }

    /// Reads `tool_choice`; of a list of allowed tools the others are taken away.
    pub(super) fn choose(&mut self, node: Node<'b>) -> Result<ToolChoice<'b>, Problem> {
        if node.kind == Kind::String {
            return mode(node);
        }
        let [kind, name, wanted, tools] = node.members(["type", "name", "mode", "tools"])?;
        let kind = required("type", kind, Node::text)?;
        match &*kind {
            "function" | "custom" => required("name", name, Node::text).map(ToolChoice::Named),
            "allowed_tools" => {
                let mut allowed = Vec::new();
                let each = |tools: Node<'b>| {
                    tools.items(|tool| {
                        let [name] = tool.members(["name"])?;
                        allowed.push(required("name", name, Node::text)?);
                        Ok(())
                    })
                };
                required("tools", tools, each)?;
                self.functions.retain(|tool| allowed.contains(&tool.name));
                required("mode", wanted, mode)
            }
            other => Err(unsupported(other).under("type")),
        }
    }
}

fn mode<'b>(node: Node<'_>) -> Result<ToolChoice<'b>, Problem> {
    match &*node.text()? {
        "auto" => Ok(ToolChoice::Auto),
        "none" => Ok(ToolChoice::None),
        "required" => Ok(ToolChoice::Required),
        _ => Err(Problem::new("must be none, auto or required")),
    }
}

/// What the text of a custom tool must match.
struct Grammar<'b> {
    syntax: Cow<'b, str>,
    definition: Cow<'b, str>,
}

/// The grammar of a custom tool's text; `None` where any text will do.
fn grammar(node: Node<'_>) -> Result<Option<Grammar<'_>>, Problem> {
    let [kind, syntax, definition] = node.members(["type", "syntax", "definition"])?;
    match &*required("type", kind, Node::text)? {
        "text" => Ok(None),
        "grammar" => Ok(Some(Grammar {
            syntax: required("syntax", syntax, Node::text)?,
            definition: required("definition", definition, Node::text)?,
        })),
        other => Err(unsupported(other).under("type")),
    }
}

/// A grammar can be told only in words.
fn explained(description: Option<&str>, grammar: &Grammar<'_>) -> String {
    let Grammar { syntax, definition } = grammar;
    let description = description.unwrap_or_default();
    let gap = if description.is_empty() { "" } else { "\n\n" };
    format!("{description}{gap}`input` must match this {syntax} grammar:\n{definition}")
}

/// The text of a custom tool's call as arguments of its function.
pub(super) fn wrapped(input: &str) -> String {
    let mut out = b"{\"input\":\"".to_vec();
    write_escaped(input, &mut out);
    out.extend_from_slice(b"\"}");
    String::from_utf8(out).unwrap_or_default()
}

/// The reverse; arguments of any other shape are the text themselves.
pub(super) fn unwrapped(arguments: &str) -> Cow<'_, str> {
    #[derive(Deserialize)]
    struct Arguments {
        input: String,
    }
    match serde_json::from_str::<Arguments>(arguments) {
        Ok(arguments) => Cow::Owned(arguments.input),
        Err(_) => Cow::Borrowed(arguments),
    }
}
