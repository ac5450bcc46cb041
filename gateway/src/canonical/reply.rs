//! A whole answer, in no protocol's shape. [pure]

use std::borrow::Cow;

use crate::usage::Counts;

/// What a model said. Borrows from the upstream's body.
#[derive(Debug, Default)]
pub struct Reply<'d> {
    /// The upstream's id of the answer; empty where it has none.
    pub id: Cow<'d, str>,
    /// In the order the model wrote them.
    pub blocks: Vec<Block<'d>>,
    pub finish: Finish,
    /// The upstream's own wording of `finish`, for the log.
    pub finish_reason: Option<Cow<'d, str>>,
    /// `None`: the upstream reported no usage.
    pub counts: Option<Counts>,
}

impl Reply<'_> {
    /// UTF-8 bytes that the model wrote, for the estimate.
    pub fn text_bytes(&self) -> u64 {
        let bytes = |block: &Block<'_>| match block {
            Block::Text(text) | Block::Refusal(text) | Block::Thinking { text, .. } => text.len(),
            Block::RedactedThinking(_) => 0,
            Block::ToolCall {
                name, arguments, ..
            } => name.len() + arguments.len(),
        };
        self.blocks.iter().map(bytes).sum::<usize>() as u64
    }
}

/// A piece of an answer.
#[derive(Debug, PartialEq)]
pub enum Block<'d> {
    Text(Cow<'d, str>),
    Thinking {
        text: Cow<'d, str>,
        /// Opaque; to be sent back with the text.
        signature: Option<Cow<'d, str>>,
    },
    RedactedThinking(Cow<'d, str>),
    Refusal(Cow<'d, str>),
    ToolCall {
        id: Cow<'d, str>,
        name: Cow<'d, str>,
        /// JSON text.
        arguments: Cow<'d, str>,
    },
}

/// Why a model stopped.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Finish {
    #[default]
    Stop,
    Length,
    ToolCalls,
    ContentFilter,
    /// A reason that has no counterpart: the upstream's own word.
    Other(Box<str>),
}
