//! An answer as its caller sees it: whole, or as the events of a message. [pure]

use std::borrow::Cow;

use super::blocks::{Blocks, TooMuchWaits};
use super::names::Names;
use super::reply::{self, Byline, Said};
use crate::canonical::{Delta, Escaped, Finish, Renderer, Reply};
use crate::dialect::{Dialect, Seed};
use crate::json::text::write_escaped;
use crate::rejection::Rejection;
use crate::usage::Counts;

/// Shows the answer to one request. Thinking is left out ([`reply::write`] says why).
#[derive(Debug)]
pub(super) struct Shown {
    byline: Byline,
    names: Names,
    stage: Stage,
    blocks: Blocks,
    said: Said,
    finish: Finish,
    counts: Counts,
}

/// How far the stream has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// Nothing was said.
    Fresh,
    Begun,
    /// The model stopped: all blocks have ended.
    Finished,
    /// Too much waits behind a call that is not finished.
    Choked,
    /// Nothing more may be said.
    Over,
}

impl Shown {
    /// For an answer of `model`, whose id is made of `seed`.
    pub(super) fn new(model: &str, seed: Seed, names: Names) -> Self {
        Self {
            byline: Byline {
                model: model.into(),
                hex: seed.hex,
            },
            names,
            stage: Stage::Fresh,
            blocks: Blocks::default(),
            said: Said::default(),
            finish: Finish::default(),
            counts: Counts::default(),
        }
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(
            b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":",
        );
        reply::open(&self.byline, out);
        out.extend_from_slice(b"],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":");
        reply::write_usage(&self.counts, out);
        out.extend_from_slice(b"}}\n\n");
        self.stage = Stage::Begun;
    }

    /// Ends every block. A message has one at least.
    fn finish(&mut self, out: &mut Vec<u8>) {
        self.blocks.finish(out);
        if self.blocks.is_empty() {
            self.blocks.empty_text(out);
        }
        self.stage = Stage::Finished;
    }

    fn said(&mut self, delta: Delta<'_>, out: &mut Vec<u8>) -> Result<(), TooMuchWaits> {
        match delta {
            Delta::Text(text) => self.blocks.text(text, out),
            Delta::Refusal(text) => {
                self.said.refusal |= !text.is_empty();
                self.blocks.text(text, out)
            }
            Delta::ToolCall { index, id, name } => {
                self.said.calls = true;
                let block = self.call(id, name);
                self.blocks.call(index, block, out)
            }
            Delta::Arguments { index, json } => self.blocks.arguments(index, json, out),
            Delta::Finish(finish) => {
                self.finish = finish;
                self.finish(out);
                Ok(())
            }
            Delta::Usage(_)
            | Delta::Thinking(_)
            | Delta::Signature(_)
            | Delta::RedactedThinking(_) => Ok(()),
        }
    }

    /// The `content_block` of a call.
    fn call(&self, id: Escaped<'_>, name: Escaped<'_>) -> Vec<u8> {
        let mut block = b"{\"type\":\"tool_use\",\"id\":\"".to_vec();
        id.write(&mut block);
        block.extend_from_slice(b"\",\"name\":\"");
        let decoded = if self.names.is_empty() {
            None
        } else {
            name.decode()
        };
        match decoded {
            Some(name) => write_escaped(self.names.original(&name), &mut block),
            None => name.write(&mut block),
        }
        block.extend_from_slice(b"\",\"input\":{}}");
        block
    }

    fn write_message_delta(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(
            b"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"",
        );
        out.extend_from_slice(reply::stop_reason(&self.finish, self.said).as_bytes());
        out.extend_from_slice(b"\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":");
        let mut digits = itoa::Buffer::new();
        out.extend_from_slice(digits.format(self.counts.completion).as_bytes());
        // Callers overwrite what they know with what stands here: unknown numbers are left out.
        for (name, count) in [
            ("input_tokens", reply::uncached(&self.counts)),
            ("cache_creation_input_tokens", self.counts.cache_creation),
            ("cache_read_input_tokens", reply::cache_read(&self.counts)),
        ] {
            if count > 0 {
                out.extend_from_slice(b",\"");
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b"\":");
                out.extend_from_slice(digits.format(count).as_bytes());
            }
        }
        out.extend_from_slice(b"}}\n\n");
    }
}

impl Renderer for Shown {
    fn reply(&mut self, reply: &Reply<'_>, out: &mut Vec<u8>) {
        reply::write(&self.byline, &self.names, reply, out);
    }

    fn delta(&mut self, delta: Delta<'_>, out: &mut Vec<u8>) {
        if let Delta::Usage(counts) = delta {
            self.counts = self.counts.max(counts);
            return;
        }
        match self.stage {
            Stage::Fresh => self.begin(out),
            Stage::Begun => {}
            Stage::Finished | Stage::Choked | Stage::Over => return,
        }
        if self.said(delta, out).is_err() {
            self.stage = Stage::Choked;
            self.blocks = Blocks::default();
        }
    }

    fn failure(&self) -> Option<Rejection> {
        let detail = "upstream event: too much after a tool call that is not finished";
        (self.stage == Stage::Choked).then_some(Rejection::Decode {
            detail: Cow::Borrowed(detail),
        })
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if matches!(self.stage, Stage::Choked | Stage::Over) {
            return;
        }
        if self.stage == Stage::Fresh {
            self.begin(out);
        }
        if self.stage == Stage::Begun {
            self.finish(out);
        }
        self.write_message_delta(out);
        out.extend_from_slice(b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
        self.stage = Stage::Over;
    }

    fn cut(&mut self, rejection: &Rejection, request_id: &str, out: &mut Vec<u8>) {
        if self.stage != Stage::Over {
            rejection.write_stream_error(Dialect::Anthropic, request_id, out);
            self.stage = Stage::Over;
        }
    }
}
