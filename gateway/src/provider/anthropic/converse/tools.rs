//! Tools, and which of them the model is to call. [pure]

use super::{member, raw_member, string};
use crate::canonical::{Conversation, Tool, ToolChoice};
use crate::json::Cursor;

const NO_PARAMETERS: &str = r#"{"type":"object","properties":{}}"#;

/// Appends `tools` and `tool_choice`, where there are tools. A model that `thinks` cannot be made to
/// call one.
pub(super) fn write(conversation: &Conversation<'_>, thinks: bool, out: &mut Vec<u8>) {
    let mut any = false;
    for tool in conversation
        .tools
        .iter()
        .filter(|tool| !tool.name.is_empty())
    {
        if any {
            out.push(b',');
        } else {
            member("tools", out);
            out.push(b'[');
        }
        any = true;
        write_tool(tool, out);
    }
    if any {
        out.push(b']');
        choice(conversation, thinks, out);
    }
}

fn write_tool(tool: &Tool<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"name\":");
    string(&tool.name, out);
    if let Some(description) = &tool.description {
        member("description", out);
        string(description, out);
    }
    member("input_schema", out);
    schema(tool.parameters.map(|parameters| parameters.get()), out);
    if let Some(strict) = tool.strict {
        raw_member("strict", if strict { "true" } else { "false" }, out);
    }
    if let Some(marker) = tool.marks.cache_control {
        raw_member("cache_control", marker.get(), out);
    }
    out.push(b'}');
}

/// Appends the schema of a tool's input, which must say that it is an object.
fn schema(parameters: Option<&str>, out: &mut Vec<u8>) {
    let parameters = parameters.map_or("null", str::trim);
    let Some(members) = parameters.strip_prefix('{').map(str::trim_start) else {
        let schema = if parameters == "null" {
            NO_PARAMETERS
        } else {
            parameters
        };
        return out.extend_from_slice(schema.as_bytes());
    };
    if members == "}" {
        return out.extend_from_slice(NO_PARAMETERS.as_bytes());
    }
    if has_type(parameters) {
        return out.extend_from_slice(parameters.as_bytes());
    }
    out.extend_from_slice(br#"{"type":"object","#);
    out.extend_from_slice(members.as_bytes());
}

fn has_type(object: &str) -> bool {
    let mut found = false;
    let read = Cursor::lenient(object.as_bytes()).object(|cursor, key| {
        found |= key.name == b"type";
        cursor.skip()
    });
    // What is no JSON after all goes upstream as it is.
    found || read.is_err()
}

fn choice(conversation: &Conversation<'_>, thinks: bool, out: &mut Vec<u8>) {
    let one_at_a_time = conversation.parallel_tool_calls == Some(false);
    let kind = match &conversation.tool_choice {
        None if !one_at_a_time => return,
        None | Some(ToolChoice::Auto) => "auto",
        Some(ToolChoice::None) => "none",
        Some(ToolChoice::Required | ToolChoice::Named(_)) if thinks => "auto",
        Some(ToolChoice::Required) => "any",
        Some(ToolChoice::Named(_)) => "tool",
    };
    member("tool_choice", out);
    out.extend_from_slice(b"{\"type\":");
    string(kind, out);
    if let Some(ToolChoice::Named(name)) = &conversation.tool_choice
        && kind == "tool"
    {
        member("name", out);
        string(name, out);
    }
    if one_at_a_time && kind != "none" {
        raw_member("disable_parallel_tool_use", "true", out);
    }
    out.push(b'}');
}
