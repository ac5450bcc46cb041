//! Answers and streams as callers of Responses expect them. [pure]
//!
//! Text and reasoning are one item at a time; calls stay open until the model stops, because an
//! upstream may write several of them in turns.

use super::Seed;
use super::answer::{Answer, Ending};
use super::failure::error_event;
use super::output::{Kind, Output, Piece, Status};
use super::reasoning::Opaque;
use crate::canonical::{Block, Delta, Escaped, Finish, Renderer, Reply};
use crate::endpoint::Call;
use crate::json::text::write_escaped;
use crate::rejection::Rejection;
use crate::usage::Counts;

/// Shows one answer.
#[derive(Debug)]
pub(super) struct ResponsesRenderer {
    pub(super) answer: Answer,
    pub(super) output: Output,
    /// The number of the next event.
    pub(super) sequence: u64,
    /// The message or reasoning being written.
    pub(super) current: Option<usize>,
    pub(super) finish: Option<Finish>,
    counts: Option<Counts>,
}

impl ResponsesRenderer {
    /// `echo` is what the answer repeats of the request, `custom` the names of custom tools.
    pub(super) fn new(call: &Call, seed: Seed, echo: Box<[u8]>, custom: Vec<Box<str>>) -> Self {
        Self {
            answer: Answer::new(call, seed, echo),
            output: Output::new(seed.hex, custom),
            sequence: 0,
            current: None,
            finish: None,
            counts: None,
        }
    }

    /// Keeps one block of a whole answer; `call` counts them.
    fn keep(&mut self, call: usize, block: &Block<'_>) {
        let mut escaped = Vec::new();
        let (piece, text) = match block {
            Block::Text(text) => (Piece::Text, text),
            Block::Refusal(text) => (Piece::Refusal, text),
            Block::Thinking { text, signature } => {
                self.keep_text(Piece::Summary, text);
                return self
                    .keep_opaque(Opaque::Signature, signature.as_deref().unwrap_or_default());
            }
            Block::RedactedThinking(data) => return self.keep_opaque(Opaque::Redacted, data),
            Block::ToolCall {
                id,
                name,
                arguments,
            } => {
                write_escaped(id, &mut escaped);
                let split = escaped.len();
                write_escaped(name, &mut escaped);
                let (id, name) = escaped.split_at(split);
                let call = u32::try_from(call).unwrap_or(u32::MAX);
                let (id, name) = (Escaped::new(id), Escaped::new(name));
                let at = self.output.open_call(call, id, name);
                self.current = None;
                escaped.clear();
                write_escaped(arguments, &mut escaped);
                self.output.push(at, Escaped::new(&escaped));
                return;
            }
        };
        self.keep_text(piece, text);
    }

    fn keep_text(&mut self, piece: Piece, text: &str) {
        if !text.is_empty() {
            let mut escaped = Vec::with_capacity(text.len());
            write_escaped(text, &mut escaped);
            let at = self.place(piece);
            self.output.push(at, Escaped::new(&escaped));
        }
    }

    fn keep_opaque(&mut self, opaque: Opaque, text: &str) {
        if !text.is_empty() {
            let mut escaped = Vec::with_capacity(text.len());
            write_escaped(text, &mut escaped);
            let at = self.reasoning(opaque);
            self.output.keep(at, opaque, Escaped::new(&escaped));
        }
    }

    /// The reasoning that `opaque` belongs to: the one just written, or one without a text.
    fn reasoning(&mut self, opaque: Opaque) -> usize {
        match self.unsigned() {
            Some(at) if opaque == Opaque::Signature => at,
            _ => *self.current.insert(self.output.open(Kind::Reasoning)),
        }
    }

    /// The reasoning being written, whose signature is still to come.
    pub(super) fn unsigned(&self) -> Option<usize> {
        self.current
            .filter(|at| self.output.takes(*at, Kind::Reasoning))
    }

    /// The item whose last part takes `piece`, opened where there is none.
    fn place(&mut self, piece: Piece) -> usize {
        let kind = kind_of(piece);
        let at = match self.current {
            Some(at) if self.output.takes(at, kind) => at,
            _ => self.output.open(kind),
        };
        self.current = Some(at);
        let last = self.output.items.get(at).and_then(|it| it.parts.last());
        if last.is_none_or(|part| part.piece != piece) {
            self.output.open_part(at, piece);
        }
        at
    }

    /// Appends an event with a response object.
    pub(super) fn response_event(&mut self, name: &str, ending: Ending<'_>, out: &mut Vec<u8>) {
        self.open_event(name, out);
        out.extend_from_slice(b",\"response\":");
        // Usage is told once it is final.
        let counts = self
            .counts
            .filter(|_| !matches!(ending, Ending::InProgress));
        self.answer.write(ending, &self.output, counts, out);
        out.extend_from_slice(b"}\n\n");
    }
}

/// The kind of item that has such pieces.
pub(super) fn kind_of(piece: Piece) -> Kind {
    match piece {
        Piece::Summary => Kind::Reasoning,
        Piece::Text | Piece::Refusal => Kind::Message,
        Piece::Arguments => Kind::Call,
        Piece::Input => Kind::CustomCall,
    }
}

/// How item `at` of `count` ends: a model that was stopped was stopped in the last one.
pub(super) fn status_of(at: usize, count: usize, finish: &Finish) -> Status {
    match Ending::from(finish) {
        Ending::Incomplete(_) if at + 1 == count => Status::Incomplete,
        _ => Status::Completed,
    }
}

impl Renderer for ResponsesRenderer {
    fn reply(&mut self, reply: &Reply<'_>, out: &mut Vec<u8>) {
        for (index, block) in reply.blocks.iter().enumerate() {
            self.keep(index, block);
        }
        let count = self.output.items.len();
        for at in 0..count {
            let status = status_of(at, count, &reply.finish);
            self.output.close(at, status);
        }
        let ending = Ending::from(&reply.finish);
        self.answer.write(ending, &self.output, reply.counts, out);
    }

    fn delta(&mut self, delta: Delta<'_>, out: &mut Vec<u8>) {
        match delta {
            Delta::Usage(counts) => {
                self.counts = Some(self.counts.unwrap_or_default().max(counts));
            }
            // What comes after the end, or after the bound on what is kept.
            _ if self.finish.is_some() => {}
            Delta::Text(text) => self.text(Piece::Text, text, out),
            Delta::Refusal(text) => self.text(Piece::Refusal, text, out),
            Delta::Thinking(text) => self.text(Piece::Summary, text, out),
            Delta::Signature(signature) => self.signature(signature, out),
            Delta::RedactedThinking(data) => self.redacted(data, out),
            Delta::ToolCall { index, id, name } => self.call(index, id, name, out),
            Delta::Arguments { index, json } => self.arguments(index, json, out),
            Delta::Finish(finish) => self.stop(finish, out),
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if self.finish.is_none() {
            self.stop(Finish::Stop, out);
        }
        let ending = self.finish.as_ref().map_or(Ending::Completed, Ending::from);
        self.response_event(ending.event(), ending, out);
    }

    fn cut(&mut self, rejection: &Rejection, request_id: &str, out: &mut Vec<u8>) {
        self.start(out);
        error_event(rejection, request_id, self.sequence, out);
        self.sequence += 1;
        for item in &mut self.output.items {
            if item.status == Status::InProgress {
                item.abandon();
            }
        }
        let ending = Ending::Failed(rejection, request_id);
        self.response_event(ending.event(), ending, out);
    }
}
