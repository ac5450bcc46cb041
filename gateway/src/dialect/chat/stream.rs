//! Deltas as chat completion chunks. [pure]
//!
//! A chunk is what all chunks of the stream begin with, written once, and one delta; nothing is
//! allocated for it.

#[cfg(test)]
mod tests;

use super::begin;
use super::reply::{finish_name, usage};
use crate::canonical::{Delta, Escaped, Finish};
use crate::dialect::Seed;
use crate::endpoint::Call;
use crate::json::text::write_escaped;
use crate::usage::Counts;

const DELTA: &[u8] = b",\"choices\":[{\"index\":0,\"delta\":{";
const DELTA_END: &[u8] = b"},\"finish_reason\":null}]}\n\n";

/// What a thinking block still takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Thought {
    /// Text, and a signature.
    Text,
    /// More of its signature.
    Signature,
    /// Nothing.
    Whole,
}

/// Writes one stream.
#[derive(Debug)]
pub(super) struct Chunks {
    /// What every chunk begins with, up to `choices`.
    start: Box<[u8]>,
    /// Whether the caller asked for usage.
    wants_usage: bool,
    /// Whether the chunk with the role was written.
    begun: bool,
    finished: bool,
    counts: Option<Counts>,
    /// Thinking blocks begun, and what the last of them takes.
    thoughts: u32,
    thought: Thought,
    /// Of each tool call, whether there were arguments. As long as the decoder has calls.
    argued: Vec<bool>,
}

impl Chunks {
    pub(super) fn new(call: &Call, seed: Seed) -> Self {
        let mut start = b"data: ".to_vec();
        begin("chat.completion.chunk", "", &call.model, seed, &mut start);
        Self {
            start: start.into(),
            wants_usage: call.wants_usage,
            begun: false,
            finished: false,
            counts: None,
            thoughts: 0,
            thought: Thought::Whole,
            argued: Vec::new(),
        }
    }

    /// Appends the chunks for one delta.
    pub(super) fn delta(&mut self, delta: Delta<'_>, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.begun, true) {
            self.chunk(out, |out| out.extend_from_slice(br#""role":"assistant""#));
        }
        match delta {
            Delta::Text(text) => self.text("content", text, out),
            Delta::Refusal(text) => self.text("refusal", text, out),
            Delta::Thinking(text) => self.thinking(text, out),
            Delta::Signature(signature) => self.signature(signature, out),
            Delta::RedactedThinking(data) => self.redacted(data, out),
            Delta::ToolCall { index, id, name } => self.call(index, id, name, out),
            Delta::Arguments { json, .. } if json.is_empty() => {}
            Delta::Arguments { index, json } => {
                if let Some(argued) = self.argued.get_mut(index as usize) {
                    *argued = true;
                }
                self.arguments(index, json, out);
            }
            Delta::Finish(finish) => self.finish(&finish, out),
            Delta::Usage(counts) => {
                self.counts = Some(self.counts.unwrap_or_default().max(counts));
            }
        }
    }

    /// Appends what ends a complete stream.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        if !self.finished {
            self.delta(Delta::Finish(Finish::Stop), out);
        }
        if self.wants_usage
            && let Some(counts) = &self.counts
        {
            out.extend_from_slice(&self.start);
            out.extend_from_slice(b",\"choices\":[],");
            usage(counts, out);
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    /// Appends a chunk whose delta has the members that `write` appends.
    fn chunk(&self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        out.extend_from_slice(&self.start);
        out.extend_from_slice(DELTA);
        write(out);
        out.extend_from_slice(DELTA_END);
    }

    fn text(&self, name: &str, text: Escaped<'_>, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        self.chunk(out, |out| {
            out.push(b'"');
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":\"");
            text.write(out);
            out.push(b'"');
        });
    }

    /// Reasoning under its common name, and in the block that a signature will complete: who puts the
    /// blocks of a stream together gets what is to be sent back.
    fn thinking(&mut self, text: Escaped<'_>, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        if self.thought != Thought::Text {
            self.thoughts += 1;
        }
        self.thought = Thought::Text;
        self.chunk(out, |out| {
            out.extend_from_slice(b"\"reasoning_content\":\"");
            text.write(out);
            out.extend_from_slice(b"\",");
            self.open_thought("thinking", out);
            out.extend_from_slice(b"\"thinking\":\"");
            text.write(out);
            out.extend_from_slice(b"\"}]");
        });
    }

    /// A signature, which may come in pieces, belongs to the thinking before it and ends it.
    fn signature(&mut self, signature: Escaped<'_>, out: &mut Vec<u8>) {
        if signature.is_empty() {
            return;
        }
        if self.thought == Thought::Whole {
            self.thoughts += 1;
        }
        self.thought = Thought::Signature;
        self.chunk(out, |out| {
            self.open_thought("thinking", out);
            out.extend_from_slice(b"\"thinking\":\"\",\"signature\":\"");
            signature.write(out);
            out.extend_from_slice(b"\"}]");
        });
    }

    fn redacted(&mut self, data: Escaped<'_>, out: &mut Vec<u8>) {
        self.thought = Thought::Whole;
        self.thoughts += 1;
        self.chunk(out, |out| {
            self.open_thought("redacted_thinking", out);
            out.extend_from_slice(b"\"data\":\"");
            data.write(out);
            out.extend_from_slice(b"\"}]");
        });
    }

    /// Opens the list with the last block begun. Packages put list entries together by their `index`.
    fn open_thought(&self, kind: &str, out: &mut Vec<u8>) {
        let index = self.thoughts.saturating_sub(1);
        out.extend_from_slice(b"\"thinking_blocks\":[{\"index\":");
        out.extend_from_slice(itoa::Buffer::new().format(index).as_bytes());
        out.extend_from_slice(b",\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\",");
    }

    fn call(&mut self, index: u32, id: Escaped<'_>, name: Escaped<'_>, out: &mut Vec<u8>) {
        debug_assert!(
            index as usize == self.argued.len(),
            "calls are counted from 0"
        );
        self.argued.push(false);
        self.chunk(out, |out| {
            out.extend_from_slice(b"\"tool_calls\":[{\"index\":");
            out.extend_from_slice(itoa::Buffer::new().format(index).as_bytes());
            out.extend_from_slice(b",\"id\":\"");
            id.write(out);
            out.extend_from_slice(b"\",\"type\":\"function\",\"function\":{\"name\":\"");
            name.write(out);
            out.extend_from_slice(b"\",\"arguments\":\"\"}}]");
        });
    }

    fn arguments(&self, index: u32, json: Escaped<'_>, out: &mut Vec<u8>) {
        self.chunk(out, |out| {
            out.extend_from_slice(b"\"tool_calls\":[{\"index\":");
            out.extend_from_slice(itoa::Buffer::new().format(index).as_bytes());
            out.extend_from_slice(b",\"function\":{\"arguments\":\"");
            json.write(out);
            out.extend_from_slice(b"\"}}]");
        });
    }

    /// Appends the last chunk with a choice. Calls without arguments get an empty object, which is
    /// what callers parse.
    fn finish(&mut self, finish: &Finish, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        for (index, argued) in self.argued.iter().enumerate() {
            if !argued {
                self.arguments(index as u32, Escaped::new(b"{}"), out);
            }
        }
        out.extend_from_slice(&self.start);
        out.extend_from_slice(b",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"");
        write_escaped(finish_name(finish), out);
        out.extend_from_slice(b"\"}]}\n\n");
    }
}
