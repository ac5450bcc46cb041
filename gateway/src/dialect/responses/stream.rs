//! The events of a stream, delta by delta. [pure]

use super::answer::Ending;
use super::output::{Kind, Piece, Status};
use super::reasoning::Opaque;
use super::renderer::{ResponsesRenderer, kind_of, status_of};
use crate::canonical::{Escaped, Finish};

/// How the parts of a piece's kind are called in events.
struct Names {
    delta: &'static str,
    done: &'static str,
    /// The member with the whole text.
    whole: &'static str,
    /// The member that counts parts, and the events around a part.
    part: Option<(&'static str, &'static str, &'static str)>,
}

fn names(piece: Piece) -> Names {
    const CONTENT: (&str, &str, &str) = (
        "content_index",
        "response.content_part.added",
        "response.content_part.done",
    );
    const SUMMARY: (&str, &str, &str) = (
        "summary_index",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_part.done",
    );
    let (delta, done, whole, part) = match piece {
        Piece::Text => (
            "response.output_text.delta",
            "response.output_text.done",
            "text",
            Some(CONTENT),
        ),
        Piece::Refusal => (
            "response.refusal.delta",
            "response.refusal.done",
            "refusal",
            Some(CONTENT),
        ),
        Piece::Summary => (
            "response.reasoning_summary_text.delta",
            "response.reasoning_summary_text.done",
            "text",
            Some(SUMMARY),
        ),
        Piece::Arguments => (
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "arguments",
            None,
        ),
        Piece::Input => (
            "response.custom_tool_call_input.delta",
            "response.custom_tool_call_input.done",
            "input",
            None,
        ),
    };
    Names {
        delta,
        done,
        whole,
        part,
    }
}

impl ResponsesRenderer {
    /// Begins the stream, once.
    pub(super) fn start(&mut self, out: &mut Vec<u8>) {
        if self.sequence == 0 {
            self.response_event("response.created", Ending::InProgress, out);
            self.response_event("response.in_progress", Ending::InProgress, out);
        }
    }

    /// More of a text of the message or the reasoning.
    pub(super) fn text(&mut self, piece: Piece, text: Escaped<'_>, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        if !self.output.has_room(text.raw().len()) {
            return self.stop(Finish::Length, out);
        }
        self.start(out);
        let kind = kind_of(piece);
        let at = match self.current {
            Some(at) if self.output.takes(at, kind) => at,
            _ => self.begin(kind, out),
        };
        let last = self.output.items.get(at).and_then(|item| item.parts.last());
        let last = last.map(|part| part.piece);
        if last != Some(piece) {
            if last.is_some() {
                self.close_part(at, out);
            }
            self.output.open_part(at, piece);
            if let Some((_, added, _)) = names(piece).part {
                self.part_event(added, at, out);
            }
        }
        self.delta_event((piece, at), text, out);
    }

    /// The signature of the reasoning before it, which may come in pieces.
    pub(super) fn signature(&mut self, signature: Escaped<'_>, out: &mut Vec<u8>) {
        if signature.is_empty() {
            return;
        }
        if !self.output.has_room(signature.raw().len()) {
            return self.stop(Finish::Length, out);
        }
        self.start(out);
        let reasoning = self.current.filter(|at| self.output.is_reasoning(*at));
        let at = reasoning.unwrap_or_else(|| self.begin(Kind::Reasoning, out));
        self.output.keep(at, Opaque::Signature, signature);
    }

    /// Reasoning that only the provider can read: an item of its own.
    pub(super) fn redacted(&mut self, data: Escaped<'_>, out: &mut Vec<u8>) {
        if data.is_empty() {
            return;
        }
        if !self.output.has_room(data.raw().len()) {
            return self.stop(Finish::Length, out);
        }
        self.start(out);
        let at = self.begin(Kind::Reasoning, out);
        self.output.keep(at, Opaque::Redacted, data);
        self.close_current(out);
    }

    /// Begins an item that ends when something else begins.
    fn begin(&mut self, kind: Kind, out: &mut Vec<u8>) -> usize {
        self.close_current(out);
        let at = self.output.open(kind);
        self.current = Some(at);
        self.item_event("response.output_item.added", at, out);
        at
    }

    /// A call begins.
    pub(super) fn call(
        &mut self,
        call: u32,
        id: Escaped<'_>,
        name: Escaped<'_>,
        out: &mut Vec<u8>,
    ) {
        if !self.output.has_room(id.raw().len() + name.raw().len()) {
            return self.stop(Finish::Length, out);
        }
        self.start(out);
        self.close_current(out);
        let at = self.output.open_call(call, id, name);
        self.item_event("response.output_item.added", at, out);
    }

    /// More of a call's arguments. Those of a custom tool are shown once they are whole.
    pub(super) fn arguments(&mut self, call: u32, json: Escaped<'_>, out: &mut Vec<u8>) {
        let Some(at) = self.output.call(call).filter(|_| !json.is_empty()) else {
            return;
        };
        if !self.output.has_room(json.raw().len()) {
            return self.stop(Finish::Length, out);
        }
        let kind = self.output.items.get(at).map(|item| item.kind);
        if kind == Some(Kind::CustomCall) {
            self.output.push(at, json);
        } else {
            self.delta_event((Piece::Arguments, at), json, out);
        }
    }

    /// The model stopped: ends every item.
    pub(super) fn stop(&mut self, finish: Finish, out: &mut Vec<u8>) {
        self.start(out);
        let count = self.output.items.len();
        for at in 0..count {
            self.close(at, status_of(at, count, &finish), out);
        }
        self.current = None;
        self.finish = Some(finish);
    }

    fn close_current(&mut self, out: &mut Vec<u8>) {
        if let Some(at) = self.current.take() {
            self.close(at, Status::Completed, out);
        }
    }

    /// Ends item `at`, unless it has ended.
    fn close(&mut self, at: usize, status: Status, out: &mut Vec<u8>) {
        let item = self.output.items.get(at);
        let Some(item) = item.filter(|item| item.status == Status::InProgress) else {
            return;
        };
        let is_custom = item.kind == Kind::CustomCall;
        self.output.close(at, status);
        if is_custom {
            self.whole_input(at, out);
        }
        self.close_part(at, out);
        self.item_event("response.output_item.done", at, out);
    }

    /// Shows the text of a custom tool's call in one delta, if there is any.
    fn whole_input(&mut self, at: usize, out: &mut Vec<u8>) {
        let part = self.output.items.get(at).and_then(|item| item.parts.last());
        if part.is_none_or(|part| part.text.is_empty()) {
            return;
        }
        self.text_event(names(Piece::Input).delta, "delta", at, out);
        close_event(out);
    }

    /// Ends the last part of item `at`.
    fn close_part(&mut self, at: usize, out: &mut Vec<u8>) {
        let item = self.output.items.get(at);
        let Some(part) = item.and_then(|item| item.parts.last()) else {
            return;
        };
        let piece = part.piece;
        let names = names(piece);
        self.text_event(names.done, names.whole, at, out);
        match piece {
            Piece::Text => out.extend_from_slice(b",\"logprobs\":[]"),
            Piece::Arguments => {
                out.extend_from_slice(b",\"name\":\"");
                if let Some(item) = self.output.items.get(at) {
                    out.extend_from_slice(&item.name);
                }
                out.push(b'"');
            }
            Piece::Summary | Piece::Refusal | Piece::Input => {}
        }
        close_event(out);
        if let Some((_, _, done)) = names.part {
            self.part_event(done, at, out);
        }
    }

    /// Appends `event: <name>` and the members that every event has.
    pub(super) fn open_event(&mut self, name: &str, out: &mut Vec<u8>) {
        for text in [
            "event: ",
            name,
            "\ndata: {\"type\":\"",
            name,
            "\",\"sequence_number\":",
        ] {
            out.extend_from_slice(text.as_bytes());
        }
        number(self.sequence, out);
        self.sequence += 1;
    }

    /// The members that say where item `at` and its last part stand.
    fn locate(&self, at: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"item_id\":\"");
        self.output.write_id(at, out);
        out.extend_from_slice(b"\",\"output_index\":");
        number(at as u64, out);
        let item = self.output.items.get(at);
        let count = item.map_or(0, |item| item.parts.len());
        let piece = item
            .and_then(|item| item.parts.last())
            .map(|part| part.piece);
        if let Some((index, _, _)) = piece.and_then(|piece| names(piece).part) {
            for text in [",\"", index, "\":"] {
                out.extend_from_slice(text.as_bytes());
            }
            number(count.saturating_sub(1) as u64, out);
        }
    }

    /// Appends an event about item `at` as a whole.
    fn item_event(&mut self, name: &str, at: usize, out: &mut Vec<u8>) {
        self.open_event(name, out);
        out.extend_from_slice(b",\"output_index\":");
        number(at as u64, out);
        out.extend_from_slice(b",\"item\":");
        self.output.write_item(at, out);
        close_event(out);
    }

    /// Appends an event about the last part of item `at`.
    fn part_event(&mut self, name: &str, at: usize, out: &mut Vec<u8>) {
        self.open_event(name, out);
        self.locate(at, out);
        out.extend_from_slice(b",\"part\":");
        let item = self.output.items.get(at);
        if let Some(part) = item.and_then(|item| item.parts.last()) {
            part.write(out);
        }
        close_event(out);
    }

    /// Appends an event with the whole text of the last part of item `at`, its end left open.
    fn text_event(&mut self, name: &str, member: &str, at: usize, out: &mut Vec<u8>) {
        self.open_event(name, out);
        self.locate(at, out);
        for text in [",\"", member, "\":\""] {
            out.extend_from_slice(text.as_bytes());
        }
        let item = self.output.items.get(at);
        if let Some(part) = item.and_then(|item| item.parts.last()) {
            out.extend_from_slice(&part.text);
        }
        out.push(b'"');
    }

    /// Appends the event for more text of item `at`, and keeps the text.
    fn delta_event(&mut self, (piece, at): (Piece, usize), text: Escaped<'_>, out: &mut Vec<u8>) {
        self.open_event(names(piece).delta, out);
        self.locate(at, out);
        out.extend_from_slice(b",\"delta\":\"");
        out.extend_from_slice(self.output.push(at, text));
        out.push(b'"');
        if piece == Piece::Text {
            out.extend_from_slice(b",\"logprobs\":[]");
        }
        close_event(out);
    }
}

fn close_event(out: &mut Vec<u8>) {
    out.extend_from_slice(b"}\n\n");
}

fn number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}
