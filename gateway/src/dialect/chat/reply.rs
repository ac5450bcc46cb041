//! A whole answer as a chat completion. [pure]

#[cfg(test)]
mod tests;

use super::begin;
use crate::canonical::{Block, Finish, Reply};
use crate::dialect::Seed;
use crate::json::text::write_escaped;
use crate::usage::Counts;

/// Appends the body. `model` is the name that the caller asked for.
pub(super) fn write(reply: &Reply<'_>, model: &str, seed: Seed, out: &mut Vec<u8>) {
    begin("chat.completion", &reply.id, model, seed, out);
    out.extend_from_slice(b",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\"");
    texts(&reply.blocks, out);
    thinking_blocks(&reply.blocks, out);
    tool_calls(&reply.blocks, out);
    out.extend_from_slice(b"},\"logprobs\":null,\"finish_reason\":\"");
    write_escaped(finish_name(&reply.finish), out);
    out.extend_from_slice(b"\"}]");
    if let Some(counts) = &reply.counts {
        out.push(b',');
        usage(counts, out);
    }
    out.push(b'}');
}

/// The word for a reason; the upstream's own where there is no other.
pub(super) fn finish_name(finish: &Finish) -> &str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
        Finish::ContentFilter => "content_filter",
        Finish::Other(word) => word,
    }
}

/// Appends the member `usage`.
pub(super) fn usage(counts: &Counts, out: &mut Vec<u8>) {
    let number = |number: u64, out: &mut Vec<u8>| {
        out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    };
    out.extend_from_slice(b"\"usage\":{\"prompt_tokens\":");
    number(counts.prompt, out);
    out.extend_from_slice(b",\"completion_tokens\":");
    number(counts.completion, out);
    out.extend_from_slice(b",\"total_tokens\":");
    let parts = [
        counts.prompt,
        counts.completion,
        counts.cache_creation,
        counts.cache_read,
    ];
    let sum = parts.into_iter().fold(0, u64::saturating_add);
    number(if counts.total > 0 { counts.total } else { sum }, out);
    let cached = counts.cached_prompt.max(counts.cache_read);
    if cached > 0 {
        out.extend_from_slice(b",\"prompt_tokens_details\":{\"cached_tokens\":");
        number(cached, out);
        out.push(b'}');
    }
    if counts.reasoning > 0 {
        out.extend_from_slice(b",\"completion_tokens_details\":{\"reasoning_tokens\":");
        number(counts.reasoning, out);
        out.push(b'}');
    }
    out.push(b'}');
}

/// `content`, which is `null` without any text block; `reasoning_content` and `refusal` where there is
/// one.
fn texts(blocks: &[Block<'_>], out: &mut Vec<u8>) {
    let text = |block: &Block<'_>| matches!(block, Block::Text(_));
    if blocks.iter().any(text) {
        member("content", blocks, text, out);
    } else {
        out.extend_from_slice(b",\"content\":null");
    }
    let thinking =
        |block: &Block<'_>| matches!(block, Block::Thinking { text, .. } if !text.is_empty());
    if blocks.iter().any(thinking) {
        member("reasoning_content", blocks, thinking, out);
    }
    let refusal = |block: &Block<'_>| matches!(block, Block::Refusal(_));
    if blocks.iter().any(refusal) {
        member("refusal", blocks, refusal, out);
    }
}

/// Appends a member with the texts of the blocks that are `wanted`, one behind the other.
fn member(
    name: &str,
    blocks: &[Block<'_>],
    wanted: impl Fn(&Block<'_>) -> bool,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    for block in blocks.iter().filter(|block| wanted(block)) {
        if let Block::Text(text) | Block::Refusal(text) | Block::Thinking { text, .. } = block {
            write_escaped(text, out);
        }
    }
    out.push(b'"');
}

/// The blocks of reasoning as they are to be sent back; only where the provider will check them.
fn thinking_blocks(blocks: &[Block<'_>], out: &mut Vec<u8>) {
    let opaque = |block: &Block<'_>| {
        matches!(
            block,
            Block::RedactedThinking(_)
                | Block::Thinking {
                    signature: Some(_),
                    ..
                }
        )
    };
    if !blocks.iter().any(opaque) {
        return;
    }
    out.extend_from_slice(b",\"thinking_blocks\":");
    let mut between = b'[';
    for block in blocks {
        match block {
            Block::Thinking { text, signature } => {
                out.push(between);
                out.extend_from_slice(b"{\"type\":\"thinking\",\"thinking\":\"");
                write_escaped(text, out);
                if let Some(signature) = signature {
                    out.extend_from_slice(b"\",\"signature\":\"");
                    write_escaped(signature, out);
                }
            }
            Block::RedactedThinking(data) => {
                out.push(between);
                out.extend_from_slice(b"{\"type\":\"redacted_thinking\",\"data\":\"");
                write_escaped(data, out);
            }
            _ => continue,
        }
        out.extend_from_slice(b"\"}");
        between = b',';
    }
    out.push(b']');
}

fn tool_calls(blocks: &[Block<'_>], out: &mut Vec<u8>) {
    let mut between: &[u8] = b",\"tool_calls\":[";
    for block in blocks {
        let Block::ToolCall {
            id,
            name,
            arguments,
        } = block
        else {
            continue;
        };
        out.extend_from_slice(between);
        out.extend_from_slice(b"{\"id\":\"");
        write_escaped(id, out);
        out.extend_from_slice(b"\",\"type\":\"function\",\"function\":{\"name\":\"");
        write_escaped(name, out);
        out.extend_from_slice(b"\",\"arguments\":\"");
        write_escaped(
            if arguments.is_empty() {
                "{}"
            } else {
                arguments
            },
            out,
        );
        out.extend_from_slice(b"\"}}");
        between = b",";
    }
    if between == b"," {
        out.push(b']');
    }
}
