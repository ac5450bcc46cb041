//! A conversation as a chat completions request. [pure]
//!
//! Members of the caller's protocol that chat has not, in [`Conversation::extra`], are left out: the
//! vendors of this wire refuse members that they do not know.

mod messages;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use self::messages::Messages;
use crate::canonical::{Conversation, Effort, Format, Tool, ToolChoice};
use crate::endpoint::{Call, Endpoint};
use crate::json::{Edits, text};
use crate::provider::policy::Plan;
use crate::provider::{Outbound, head};
use crate::rejection::Rejection;

/// Most texts that may end an answer.
const STOPS_MAX: usize = 4;
/// Longest name of a caller's user, in characters.
const USER_CHARS_MAX: usize = 64;
/// What a schema is called where the caller's protocol gives it no name.
const FORMAT_NAME: &str = "response";
/// Room made for a body beside its texts.
const BODY_BYTES_TYPICAL: usize = 4096;

/// Appends the complete request to `out`. Where it fails, `out` is as before.
///
/// # Errors
///
/// As [`crate::provider::Adapter::converse`].
pub(super) fn write(
    outbound: &Outbound<'_>,
    conversation: &Conversation<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Rejection> {
    let (base, credential) = head::destination(outbound)?;
    let body = body(outbound, conversation)?;
    let plan = Plan::of(&outbound.route.provider_key.body, &body);
    let mut changes = Edits::default();
    if let Some(plan) = &plan {
        plan.apply(&mut changes);
    }
    let own: [head::Line<'_>; 1] = [("authorization", &[b"Bearer ", credential.as_bytes()])];
    let path = Endpoint::ChatCompletions.path();
    let length = changes.edited_len(&body);
    head::write(outbound, (base, path), &own, length, out);
    changes.apply(&body, out);
    Ok(())
}

/// The request's body, before the operator's edits.
fn body(outbound: &Outbound<'_>, conversation: &Conversation<'_>) -> Result<Vec<u8>, Rejection> {
    let vendor = Vendor::of(&outbound.route.provider_key.vendor);
    let mut body = Body(Vec::with_capacity(BODY_BYTES_TYPICAL));
    body.0.extend_from_slice(b"{\"model\":");
    string(&outbound.route.upstream_model, &mut body.0);
    body.0.extend_from_slice(b",\"messages\":");
    Messages::new(outbound.call, vendor, &mut body.0).write(&conversation.turns)?;
    if conversation.stream {
        let asked = br#","stream":true,"stream_options":{"include_usage":true}"#;
        body.0.extend_from_slice(asked);
    }
    if let Some(bound) = conversation.max_tokens {
        let name = match vendor {
            Vendor::Openai => "max_completion_tokens",
            Vendor::Deepseek | Vendor::Other => "max_tokens",
        };
        body.raw(name, itoa::Buffer::new().format(bound));
    }
    body.number("temperature", conversation.temperature);
    body.number("top_p", conversation.top_p);
    body.stop(&conversation.stop, outbound.call)?;
    body.tools(conversation)?;
    if let Some(format) = &conversation.format {
        body.format(format);
    }
    if let Some(effort) = conversation.effort {
        body.text("reasoning_effort", effort_name(effort));
    }
    if let Some(user) = &conversation.user {
        body.text("user", &fitting_user(user));
    }
    body.0.push(b'}');
    Ok(body.0)
}

/// Whose chat completions are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Vendor {
    Openai,
    Deepseek,
    Other,
}

impl Vendor {
    fn of(name: &str) -> Self {
        let is = |vendor| name.trim().eq_ignore_ascii_case(vendor);
        if is("openai") {
            Self::Openai
        } else if is("deepseek") {
            Self::Deepseek
        } else {
            Self::Other
        }
    }
}

/// A body being written, its closing brace missing.
struct Body(Vec<u8>);

impl Body {
    /// Begins the value of a member.
    fn member(&mut self, name: &str) {
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn raw(&mut self, name: &str, json: &str) {
        self.member(name);
        self.0.extend_from_slice(json.as_bytes());
    }

    fn number(&mut self, name: &str, number: Option<&serde_json::value::RawValue>) {
        if let Some(number) = number {
            self.raw(name, number.get());
        }
    }

    fn text(&mut self, name: &str, value: &str) {
        self.member(name);
        string(value, &mut self.0);
    }

    fn stop(&mut self, texts: &[Cow<'_, str>], call: &Call) -> Result<(), Rejection> {
        if texts.is_empty() {
            return Ok(());
        }
        if texts.len() > STOPS_MAX {
            let field = match call.endpoint {
                Endpoint::Messages => "stop_sequences",
                _ => "stop",
            };
            let fault = "the upstream of this model takes at most 4";
            return Err(Rejection::field(field, fault));
        }
        self.member("stop");
        list(texts, &mut self.0, |text, out| string(text, out));
        Ok(())
    }

    /// The tools, and how they are to be used. Without tools no upstream takes a choice.
    fn tools(&mut self, conversation: &Conversation<'_>) -> Result<(), Rejection> {
        if conversation.tools.is_empty() {
            return match &conversation.tool_choice {
                Some(ToolChoice::Required | ToolChoice::Named(_)) => {
                    let fault = "the upstream of this model can be told of none of the tools";
                    Err(Rejection::field("tool_choice", fault))
                }
                Some(ToolChoice::Auto | ToolChoice::None) | None => Ok(()),
            };
        }
        if let Some(at) = conversation
            .tools
            .iter()
            .position(|tool| tool.name.is_empty())
        {
            return Err(Rejection::InvalidRequest {
                problem: format!("tools: tool {at} has no name").into(),
                param: Some("tools"),
            });
        }
        self.member("tools");
        list(&conversation.tools, &mut self.0, write_tool);
        match &conversation.tool_choice {
            None => {}
            Some(ToolChoice::Auto) => self.text("tool_choice", "auto"),
            Some(ToolChoice::None) => self.text("tool_choice", "none"),
            Some(ToolChoice::Required) => self.text("tool_choice", "required"),
            Some(ToolChoice::Named(name)) => {
                self.member("tool_choice");
                self.0
                    .extend_from_slice(br#"{"type":"function","function":{"name":"#);
                string(name, &mut self.0);
                self.0.extend_from_slice(b"}}");
            }
        }
        if let Some(parallel) = conversation.parallel_tool_calls {
            self.raw("parallel_tool_calls", bool_text(parallel));
        }
        Ok(())
    }

    fn format(&mut self, format: &Format<'_>) {
        self.member("response_format");
        let Format::JsonSchema {
            name,
            description,
            schema,
            strict,
        } = format
        else {
            return self.0.extend_from_slice(br#"{"type":"json_object"}"#);
        };
        self.0
            .extend_from_slice(br#"{"type":"json_schema","json_schema":{"name":"#);
        string(name.as_deref().unwrap_or(FORMAT_NAME), &mut self.0);
        if let Some(description) = description {
            self.text("description", description);
        }
        self.raw("schema", schema.get());
        if let Some(strict) = strict {
            self.raw("strict", bool_text(*strict));
        }
        self.0.extend_from_slice(b"}}");
    }
}

fn write_tool(tool: &Tool<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"type":"function","function":{"name":"#);
    string(&tool.name, out);
    if let Some(description) = &tool.description {
        out.extend_from_slice(b",\"description\":");
        string(description, out);
    }
    if let Some(parameters) = tool.parameters {
        out.extend_from_slice(b",\"parameters\":");
        out.extend_from_slice(parameters.get().as_bytes());
    }
    if let Some(strict) = tool.strict {
        out.extend_from_slice(b",\"strict\":");
        out.extend_from_slice(bool_text(strict).as_bytes());
    }
    out.extend_from_slice(b"}}");
}

fn effort_name(effort: Effort) -> &'static str {
    match effort {
        Effort::None => "none",
        Effort::Minimal => "minimal",
        Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::XHigh => "xhigh",
    }
}

/// `user` cut to size. It is opaque, so that a digest says as much where it is too long.
fn fitting_user(user: &str) -> Cow<'_, str> {
    if user.chars().count() <= USER_CHARS_MAX {
        return Cow::Borrowed(user);
    }
    let digest = Sha256::digest(user.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bool_text(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

/// Appends a JSON string.
fn string(value: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    text::write_escaped(value, out);
    out.push(b'"');
}

/// Appends a JSON list.
fn list<T>(items: &[T], out: &mut Vec<u8>, mut write: impl FnMut(&T, &mut Vec<u8>)) {
    for (index, item) in items.iter().enumerate() {
        out.push(if index == 0 { b'[' } else { b',' });
        write(item, out);
    }
    out.push(b']');
}
