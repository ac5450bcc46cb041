//! A whole chat completion in canonical form. [pure]

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use config_sync::model::provider_key::ProviderKey;

use super::calls::minted_id;
use super::reasoning_path;
use super::said::{Message, PartKind, Piece, Said, texts};
use crate::canonical::{Block, Finish, Reply};
use crate::json::{Kind, Value, text};
use crate::provider::error;
use crate::rejection::Rejection;

/// What stands for the arguments of a call without any.
const NO_ARGUMENTS: &str = "{}";

/// Reads the body of an answer with status success.
///
/// # Errors
///
/// As [`crate::provider::Adapter::reply`].
pub(super) fn read<'d>(key: &ProviderKey, body: &'d [u8]) -> Result<Reply<'d>, Rejection> {
    let mut pieces = Vec::new();
    let said = Said::read(body, reasoning_path(key), &mut pieces);
    let said = said.map_err(|problem| Rejection::Decode {
        detail: Cow::Owned(format!("upstream body: {problem}")),
    })?;
    if said.is_error() {
        return Err(error::in_band(body, key));
    }
    if !said.has_choices {
        return Err(Rejection::Decode {
            detail: Cow::Borrowed("upstream body: no choices"),
        });
    }
    let id = said.id.map(|id| text::lossy(body, &id)).unwrap_or_default();
    let mut blocks = blocks(body, &said.message);
    for (ordinal, piece) in pieces.iter().enumerate() {
        blocks.push(call(body, piece, (&id, ordinal))?);
    }
    let finish_reason = said.finish.map(|reason| text::lossy(body, &reason));
    Ok(Reply {
        id,
        blocks,
        finish: finish_of(finish_reason.as_deref(), !pieces.is_empty()),
        finish_reason,
        counts: said.usage,
    })
}

/// The reason in canonical form. `called` tells whether there are tool calls: where a call was forced,
/// OpenAI says `stop` all the same.
pub(super) fn finish_of(reason: Option<&str>, called: bool) -> Finish {
    match reason {
        None | Some("stop") if called => Finish::ToolCalls,
        None | Some("stop") => Finish::Stop,
        Some("length") => Finish::Length,
        Some("tool_calls" | "function_call") => Finish::ToolCalls,
        Some("content_filter") => Finish::ContentFilter,
        Some(other) => Finish::Other(other.into()),
    }
}

/// Reasoning, then the text or parts, then a refusal.
fn blocks<'d>(body: &'d [u8], message: &Message) -> Vec<Block<'d>> {
    let mut blocks = Vec::new();
    let mut tell = |kind, value: Value| {
        let text = text::lossy(body, &value);
        blocks.push(match kind {
            PartKind::Text => Block::Text(text),
            PartKind::Thinking => Block::Thinking {
                text,
                signature: None,
            },
            PartKind::Refusal => Block::Refusal(text),
        });
    };
    if let Some(reasoning) = message.reasoning() {
        tell(PartKind::Thinking, reasoning);
    }
    if let Some(content) = message.content {
        texts(body, content, &mut tell);
    }
    if let Some(refusal) = message.refusal {
        tell(PartKind::Refusal, refusal);
    }
    blocks
}

fn call<'d>(
    body: &'d [u8],
    piece: &Piece,
    (answer_id, ordinal): (&str, usize),
) -> Result<Block<'d>, Rejection> {
    let Some(name) = piece.name.map(|name| text::lossy(body, &name)) else {
        return Err(Rejection::Decode {
            detail: Cow::Borrowed("upstream body: a tool call without a name"),
        });
    };
    let arguments = match &piece.arguments {
        None => Cow::Borrowed(NO_ARGUMENTS),
        Some(value) if value.kind == Kind::String => text::lossy(body, value),
        Some(object) => String::from_utf8_lossy(object.span.of(body)),
    };
    let id = match &piece.id {
        Some(id) => text::lossy(body, id),
        None => {
            let minted = minted_id(answer_id, ordinal, name.as_bytes(), arguments.as_bytes());
            Cow::Owned(minted)
        }
    };
    Ok(Block::ToolCall {
        id,
        name,
        arguments,
    })
}
