//! A whole answer as a message. [pure]

use crate::canonical::{Block, Finish, Reply};
use crate::json::text::write_escaped;
use crate::json::{Cursor, Kind};
use crate::usage::Counts;

use super::names::Names;

/// Whose answer is shown.
#[derive(Debug)]
pub(super) struct Byline {
    /// The name that the caller asked for.
    pub(super) model: Box<str>,
    /// 32 hex digits.
    pub(super) hex: [u8; 32],
}

/// Why a message ends, beside the model's own reason.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said {
    /// Whether it calls a tool.
    pub(super) calls: bool,
    pub(super) refusal: bool,
}

/// Appends the message.
///
/// Thinking is left out: a caller would send it back, and what a target reached in translation thinks
/// bears no signature that Anthropic's API, or the target itself, would take.
pub(super) fn write(byline: &Byline, names: &Names, reply: &Reply<'_>, out: &mut Vec<u8>) {
    open(byline, out);
    let mut said = Said::default();
    let shown = reply.blocks.iter().filter(|block| is_shown(block));
    let mut any = false;
    for block in shown {
        if std::mem::replace(&mut any, true) {
            out.push(b',');
        }
        write_block(block, names, &mut said, out);
    }
    if !any {
        write_text("", out);
    }
    out.extend_from_slice(b"],\"stop_reason\":\"");
    out.extend_from_slice(stop_reason(&reply.finish, said).as_bytes());
    out.extend_from_slice(b"\",\"stop_sequence\":null,\"usage\":");
    write_usage(&reply.counts.unwrap_or_default(), out);
    out.push(b'}');
}

/// Appends the members that a message begins with, up to its first block.
pub(super) fn open(byline: &Byline, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":\"msg_");
    out.extend_from_slice(&byline.hex);
    out.extend_from_slice(b"\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"");
    write_escaped(&byline.model, out);
    out.extend_from_slice(b"\",\"content\":[");
}

fn is_shown(block: &Block<'_>) -> bool {
    match block {
        Block::Text(text) | Block::Refusal(text) => !text.is_empty(),
        Block::ToolCall { .. } => true,
        Block::Thinking { .. } | Block::RedactedThinking(_) => false,
    }
}

fn write_block(block: &Block<'_>, names: &Names, said: &mut Said, out: &mut Vec<u8>) {
    match block {
        Block::Text(text) => write_text(text, out),
        Block::Refusal(text) => {
            said.refusal = true;
            write_text(text, out);
        }
        Block::ToolCall {
            id,
            name,
            arguments,
        } => {
            said.calls = true;
            out.extend_from_slice(b"{\"type\":\"tool_use\",\"id\":\"");
            write_escaped(id, out);
            out.extend_from_slice(b"\",\"name\":\"");
            write_escaped(names.original(name), out);
            out.extend_from_slice(b"\",\"input\":");
            out.extend_from_slice(input(arguments).as_bytes());
            out.push(b'}');
        }
        Block::Thinking { .. } | Block::RedactedThinking(_) => {}
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"text\",\"text\":\"");
    write_escaped(text, out);
    out.extend_from_slice(b"\"}");
}

/// The arguments as the object that a caller finds in `input`; an empty one where the model wrote
/// something else, or was cut off within.
fn input(arguments: &str) -> &str {
    let mut cursor = Cursor::strict(arguments.as_bytes());
    let is_object = cursor.kind() == Kind::Object;
    if is_object && cursor.skip().and_then(|()| cursor.end()).is_ok() {
        arguments
    } else {
        "{}"
    }
}

/// The `stop_reason` for a finish. A model that was made to call a tool says that it simply stopped.
pub(super) fn stop_reason(finish: &Finish, said: Said) -> &'static str {
    match finish {
        Finish::Length => "max_tokens",
        Finish::ContentFilter => "refusal",
        Finish::ToolCalls => "tool_use",
        Finish::Stop | Finish::Other(_) if said.calls => "tool_use",
        Finish::Stop | Finish::Other(_) if said.refusal => "refusal",
        Finish::Stop | Finish::Other(_) => "end_turn",
    }
}

/// Appends `usage`. Anthropic's callers add the three kinds of input, so none is counted twice.
pub(super) fn write_usage(counts: &Counts, out: &mut Vec<u8>) {
    let mut member = |name: &str, count: u64| {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
    };
    member("{\"input_tokens\":", uncached(counts));
    member(",\"cache_creation_input_tokens\":", counts.cache_creation);
    member(",\"cache_read_input_tokens\":", cache_read(counts));
    member(",\"output_tokens\":", counts.completion);
    out.push(b'}');
}

/// Tokens read that came from no cache.
pub(super) fn uncached(counts: &Counts) -> u64 {
    counts.prompt.saturating_sub(counts.cached_prompt)
}

/// Tokens read that came from the provider's cache, however it counts them.
pub(super) fn cache_read(counts: &Counts) -> u64 {
    counts.cached_prompt.max(counts.cache_read)
}
