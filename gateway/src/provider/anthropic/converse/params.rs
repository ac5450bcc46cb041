//! What else a conversation asks for, as members of a Messages body. [pure]

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{is_blank, member, raw_member, string};
use crate::canonical::{Conversation, Effort, Format, Part, Role, Turn};
use crate::json::{Cursor, JsonError};
use crate::rejection::Rejection;

/// The bound on an answer where the caller sets none; the upstream needs one.
const MAX_TOKENS_DEFAULT: u64 = 4096;
/// Room for the answer beside the thinking, where the caller's bound leaves none.
const ANSWER_TOKENS: u64 = 1024;

/// Members that are written from the conversation itself.
const OWN: [&str; 13] = [
    "model",
    "messages",
    "stream",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "tools",
    "tool_choice",
    "metadata",
    "stop_sequences",
    "output_config",
    "safety_identifier",
];

/// Members that only OpenAI has: the upstream refuses them, so they are not sent (`providers.md` 4.2).
const OPENAI_ONLY: [&str; 32] = [
    "audio",
    "background",
    "frequency_penalty",
    "function_call",
    "functions",
    "include",
    "logit_bias",
    "logprobs",
    "max_output_tokens",
    "max_tool_calls",
    "modalities",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning",
    "reasoning_effort",
    "response_format",
    "seed",
    "stop",
    "store",
    "stream_options",
    "suffix",
    "text",
    "top_logprobs",
    "truncation",
    "user",
    "verbosity",
    "web_search_options",
    "best_of",
];

/// Tokens to think with, for the effort that is asked for; `None` where the model is not to think,
/// where the caller has said so in the upstream's own words, or where it cannot begin to: in the
/// middle of a round of tool calls, whose thinking the caller has not kept.
pub(super) fn thinking_budget(conversation: &Conversation<'_>) -> Option<u64> {
    let budget = match conversation.effort? {
        Effort::None | Effort::Minimal => return None,
        Effort::Low => 1024,
        Effort::Medium => 2048,
        Effort::High => 4096,
        Effort::XHigh => 8192,
    };
    let own = extra(conversation, "thinking").is_some();
    (!own && !is_amid_tool_calls(&conversation.turns)).then_some(budget)
}

/// Whether the conversation ends in results of calls that no signed thinking led to.
fn is_amid_tool_calls(turns: &[Turn<'_>]) -> bool {
    let is_users = |turn: &&Turn<'_>| turn.role != Role::Assistant;
    let is_result = |part: &Part<'_>| matches!(part, Part::ToolResult { .. });
    let has_results = |turn: &Turn<'_>| turn.parts.iter().any(is_result);
    let answered = turns.iter().rev().take_while(is_users).any(has_results);
    let mut asked = turns
        .iter()
        .rev()
        .skip_while(is_users)
        .take_while(|turn| turn.role == Role::Assistant);
    answered && !asked.any(|turn| turn.parts.iter().any(is_kept_thinking))
}

fn is_kept_thinking(part: &Part<'_>) -> bool {
    match part {
        Part::Thinking { signature, .. } => signature.as_deref().is_some_and(|it| !it.is_empty()),
        Part::RedactedThinking { .. } => true,
        _ => false,
    }
}

/// Appends `max_tokens`, more than the tokens to think with.
pub(super) fn write_max_tokens(
    conversation: &Conversation<'_>,
    budget: Option<u64>,
    out: &mut Vec<u8>,
) {
    let asked = conversation.max_tokens.unwrap_or(MAX_TOKENS_DEFAULT);
    let bound = match budget {
        Some(budget) if asked <= budget => budget + ANSWER_TOKENS,
        _ => asked,
    };
    raw_member("max_tokens", itoa::Buffer::new().format(bound), out);
}

/// Appends everything that is neither a message nor a tool.
///
/// # Errors
///
/// [`Rejection::InvalidRequest`] for what the upstream cannot do.
pub(super) fn write(
    conversation: &Conversation<'_>,
    budget: Option<u64>,
    out: &mut Vec<u8>,
) -> Result<(), Rejection> {
    write_stops(conversation, out)?;
    match budget {
        Some(budget) => {
            member("thinking", out);
            out.extend_from_slice(br#"{"type":"enabled","budget_tokens":"#);
            out.extend_from_slice(itoa::Buffer::new().format(budget).as_bytes());
            out.push(b'}');
        }
        None => write_sampling(conversation, out),
    }
    write_output_config(conversation, out)?;
    write_user(conversation, out);
    if conversation.stream {
        raw_member("stream", "true", out);
    }
    let has_system = conversation
        .turns
        .first()
        .is_some_and(|turn| turn.role == Role::System);
    for (name, value) in &conversation.extra {
        let value = value.get();
        let kept = match &**name {
            "n" if !matches!(value, "1" | "null") => {
                return Err(Rejection::field(
                    "n",
                    "must be 1 for the provider of this model",
                ));
            }
            "system" if has_system => {
                return Err(Rejection::field("system", "stands beside a system message"));
            }
            "service_tier" => matches!(value, r#""auto""# | r#""standard_only""#),
            "top_k" | "thinking" if budget.is_some() => false,
            "thinking" => value != "null",
            name => !OWN.contains(&name) && !OPENAI_ONLY.contains(&name),
        };
        if kept {
            raw_member(name, value, out);
        }
    }
    Ok(())
}

/// A member of the body that has no place in the conversation, unless it is `null`.
fn extra<'b>(conversation: &Conversation<'b>, name: &str) -> Option<&'b RawValue> {
    let found = conversation.extra.iter().find(|(known, _)| known == name);
    found
        .map(|(_, value)| *value)
        .filter(|value| value.get() != "null")
}

/// A number, unless it is `null`.
fn given(number: Option<&RawValue>) -> Option<&str> {
    number.map(RawValue::get).filter(|number| *number != "null")
}

fn write_stops(conversation: &Conversation<'_>, out: &mut Vec<u8>) -> Result<(), Rejection> {
    let own: Vec<Cow<'_, str>> = match extra(conversation, "stop_sequences") {
        None => Vec::new(),
        Some(list) => serde_json::from_str(list.get())
            .map_err(|_| Rejection::field("stop_sequences", "must be a list of strings"))?,
    };
    let all = conversation
        .stop
        .iter()
        .chain(&own)
        .filter(|stop| !is_blank(stop));
    let mut any = false;
    for stop in all {
        if any {
            out.push(b',');
        } else {
            member("stop_sequences", out);
            out.push(b'[');
        }
        any = true;
        string(stop, out);
    }
    if any {
        out.push(b']');
    }
    Ok(())
}

/// The upstream's highest temperature is 1.
fn write_sampling(conversation: &Conversation<'_>, out: &mut Vec<u8>) {
    if let Some(temperature) = given(conversation.temperature) {
        let is_too_high = temperature.parse().is_ok_and(|number: f64| number > 1.0);
        raw_member(
            "temperature",
            if is_too_high { "1" } else { temperature },
            out,
        );
    }
    if let Some(top_p) = given(conversation.top_p) {
        raw_member("top_p", top_p, out);
    }
}

/// The shape of the answer goes beside what the caller has written there itself.
fn write_output_config(
    conversation: &Conversation<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Rejection> {
    let own = extra(conversation, "output_config").map(RawValue::get);
    let Some(Format::JsonSchema { schema, .. }) = &conversation.format else {
        own.into_iter()
            .for_each(|own| raw_member("output_config", own, out));
        return Ok(());
    };
    let Some(own) = own else {
        member("output_config", out);
        out.push(b'{');
        format(schema, out);
        out.push(b'}');
        return Ok(());
    };
    let mut has_format = false;
    let mut is_empty = true;
    let read = Cursor::strict(own.as_bytes()).object(|cursor, key| {
        is_empty = false;
        has_format |= key.name == b"format";
        cursor.skip()
    });
    let read: Result<_, JsonError> = read;
    read.map_err(|_| Rejection::field("output_config", "must be an object"))?;
    if has_format {
        raw_member("output_config", own, out);
        return Ok(());
    }
    member("output_config", out);
    out.push(b'{');
    format(schema, out);
    if !is_empty {
        out.push(b',');
    }
    let members = own.trim_start().strip_prefix('{').unwrap_or("}");
    out.extend_from_slice(members.as_bytes());
    Ok(())
}

fn format(schema: &RawValue, out: &mut Vec<u8>) {
    out.extend_from_slice(br#""format":{"type":"json_schema","schema":"#);
    out.extend_from_slice(schema.get().as_bytes());
    out.push(b'}');
}

/// Metadata as Anthropic has it; OpenAI's is a map of the caller's own.
#[derive(Deserialize)]
struct Metadata<'b> {
    #[serde(borrow)]
    user_id: Option<&'b RawValue>,
}

/// A caller's own id of its user, wherever it stands.
fn write_user(conversation: &Conversation<'_>, out: &mut Vec<u8>) {
    let metadata = extra(conversation, "metadata");
    let metadata = metadata.and_then(|it| serde_json::from_str::<Metadata<'_>>(it.get()).ok());
    let own = metadata
        .and_then(|metadata| metadata.user_id)
        .map(RawValue::get);
    let safety = extra(conversation, "safety_identifier").map(RawValue::get);
    let safety = safety.filter(|id| id.starts_with('"'));
    let mut user = Vec::new();
    match (own, &conversation.user, safety) {
        (Some(id), ..) | (None, None, Some(id)) => user.extend_from_slice(id.as_bytes()),
        (None, Some(id), _) => string(id, &mut user),
        (None, None, None) => return,
    }
    member("metadata", out);
    out.extend_from_slice(b"{\"user_id\":");
    out.extend_from_slice(&user);
    out.push(b'}');
}
