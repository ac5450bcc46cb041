//! The items of a response, as far as they were written. [pure]
//!
//! All texts are kept as the insides of JSON strings: that is how they come and how they are shown.

use crate::canonical::Escaped;
use crate::json::text::write_escaped;

use super::reasoning::Opaque;
use super::tools::unwrapped;

/// Texts, names and items kept of one response, in bytes: several times what the largest models may
/// write. A response that reaches it ends there, as one that reaches its bound on tokens does.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// What an item counts beside its texts.
const ITEM_BYTES: usize = 512;

/// What a piece of an item is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Piece {
    Summary,
    Text,
    Refusal,
    Arguments,
    /// The text of a custom tool's call.
    Input,
}

/// What an item is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Reasoning,
    Message,
    Call,
    CustomCall,
}

impl Kind {
    fn id_prefix(self) -> &'static [u8] {
        match self {
            Self::Reasoning => b"rs_",
            Self::Message => b"msg_",
            Self::Call => b"fc_",
            Self::CustomCall => b"ctc_",
        }
    }

    fn name(self) -> &'static [u8] {
        match self {
            Self::Reasoning => b"reasoning",
            Self::Message => b"message",
            Self::Call => b"function_call",
            Self::CustomCall => b"custom_tool_call",
        }
    }
}

/// How far an item is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Status {
    InProgress,
    Completed,
    Incomplete,
}

impl Status {
    pub(super) fn name(self) -> &'static [u8] {
        match self {
            Self::InProgress => b"in_progress",
            Self::Completed => b"completed",
            Self::Incomplete => b"incomplete",
        }
    }
}

/// A part of a message, or of a summary; a call has one.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) piece: Piece,
    pub(super) text: Vec<u8>,
}

impl Part {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let (kind, name, rest): (&[u8], &[u8], &[u8]) = match self.piece {
            Piece::Summary => (b"summary_text", b"text", b"\"}"),
            Piece::Refusal => (b"refusal", b"refusal", b"\"}"),
            Piece::Text | Piece::Arguments | Piece::Input => {
                (b"output_text", b"text", b"\",\"annotations\":[]}")
            }
        };
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(kind);
        out.extend_from_slice(b"\",\"");
        out.extend_from_slice(name);
        out.extend_from_slice(b"\":\"");
        out.extend_from_slice(&self.text);
        out.extend_from_slice(rest);
    }
}

#[derive(Debug)]
pub(super) struct Item {
    pub(super) kind: Kind,
    pub(super) status: Status,
    pub(super) parts: Vec<Part>,
    /// The upstream's index of a call.
    pub(super) call: u32,
    call_id: Box<[u8]>,
    pub(super) name: Box<[u8]>,
    /// Of reasoning: what only the provider can read, its kind in front.
    encrypted: Vec<u8>,
}

/// The output of one response. An item's place is its `output_index`.
#[derive(Debug)]
pub(super) struct Output {
    /// Makes the items' ids unique.
    hex: [u8; 32],
    /// Names of custom tools.
    custom: Vec<Box<str>>,
    pub(super) items: Vec<Item>,
    bytes: usize,
}

impl Output {
    pub(super) fn new(hex: [u8; 32], custom: Vec<Box<str>>) -> Self {
        Self {
            hex,
            custom,
            items: Vec::new(),
            bytes: 0,
        }
    }

    /// Whether `bytes` more fit.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.bytes.saturating_add(bytes) <= BYTES_MAX - ITEM_BYTES
    }

    /// Begins an item without parts.
    pub(super) fn open(&mut self, kind: Kind) -> usize {
        self.add(Item {
            kind,
            status: Status::InProgress,
            parts: Vec::new(),
            call: 0,
            call_id: Box::default(),
            name: Box::default(),
            encrypted: Vec::new(),
        })
    }

    /// Begins call `call` of the upstream.
    pub(super) fn open_call(&mut self, call: u32, id: Escaped<'_>, name: Escaped<'_>) -> usize {
        let written = |text: Escaped<'_>| {
            let mut out = Vec::with_capacity(text.raw().len());
            text.write(&mut out);
            Box::from(out)
        };
        let decoded = name.decode();
        let is_custom = decoded.is_some_and(|name| self.custom.iter().any(|it| **it == *name));
        let (kind, piece) = if is_custom {
            (Kind::CustomCall, Piece::Input)
        } else {
            (Kind::Call, Piece::Arguments)
        };
        let text = Vec::new();
        self.add(Item {
            kind,
            status: Status::InProgress,
            parts: vec![Part { piece, text }],
            call,
            call_id: written(id),
            name: written(name),
            encrypted: Vec::new(),
        })
    }

    fn add(&mut self, item: Item) -> usize {
        self.bytes += ITEM_BYTES + item.call_id.len() + item.name.len();
        self.items.push(item);
        self.items.len() - 1
    }

    /// Whether item `at` takes more texts of `kind`: a signature ends reasoning.
    pub(super) fn takes(&self, at: usize, kind: Kind) -> bool {
        let item = self.items.get(at);
        item.is_some_and(|item| item.kind == kind && !item.is_signed())
    }

    pub(super) fn is_reasoning(&self, at: usize) -> bool {
        let item = self.items.get(at);
        item.is_some_and(|item| item.kind == Kind::Reasoning)
    }

    /// Begins a part of item `at`.
    pub(super) fn open_part(&mut self, at: usize, piece: Piece) {
        self.bytes += ITEM_BYTES;
        if let Some(item) = self.items.get_mut(at) {
            let text = Vec::new();
            item.parts.push(Part { piece, text });
        }
    }

    /// Appends to the last part of item `at`; returns what was appended.
    pub(super) fn push(&mut self, at: usize, text: Escaped<'_>) -> &[u8] {
        let part = self
            .items
            .get_mut(at)
            .and_then(|item| item.parts.last_mut());
        let Some(part) = part else { return b"" };
        let before = part.text.len();
        text.write(&mut part.text);
        self.bytes += part.text.len() - before;
        part.text.get(before..).unwrap_or_default()
    }

    /// Appends to what reasoning `at` keeps for the provider.
    pub(super) fn keep(&mut self, at: usize, opaque: Opaque, text: Escaped<'_>) {
        let Some(item) = self.items.get_mut(at) else {
            return;
        };
        let before = item.encrypted.len();
        if before == 0 {
            item.encrypted.extend_from_slice(opaque.prefix().as_bytes());
        }
        text.write(&mut item.encrypted);
        self.bytes += item.encrypted.len() - before;
    }

    /// The item of call `call`, while it is in progress.
    pub(super) fn call(&self, call: u32) -> Option<usize> {
        self.items.iter().rposition(|item| {
            let is_call = matches!(item.kind, Kind::Call | Kind::CustomCall);
            is_call && item.call == call && item.status == Status::InProgress
        })
    }

    /// Ends item `at`. Only now the text of a custom tool's call is known.
    pub(super) fn close(&mut self, at: usize, status: Status) {
        let Some(item) = self.items.get_mut(at) else {
            return;
        };
        item.status = status;
        if item.kind == Kind::CustomCall
            && let Some(part) = item.parts.last_mut()
            && let Some(arguments) = Escaped::new(&part.text).decode()
        {
            let mut input = Vec::with_capacity(part.text.len());
            write_escaped(&unwrapped(&arguments), &mut input);
            part.text = input;
        }
    }

    /// Appends the id of item `at`.
    pub(super) fn write_id(&self, at: usize, out: &mut Vec<u8>) {
        let kind = self.items.get(at).map_or(Kind::Message, |item| item.kind);
        out.extend_from_slice(kind.id_prefix());
        out.extend_from_slice(&self.hex);
        for shift in [12, 8, 4, 0] {
            out.push(b"0123456789abcdef"[at >> shift & 0xf]);
        }
    }

    /// Appends item `at`, as far as it is shown.
    pub(super) fn write_item(&self, at: usize, out: &mut Vec<u8>) {
        let Some(item) = self.items.get(at) else {
            return;
        };
        out.extend_from_slice(b"{\"id\":\"");
        self.write_id(at, out);
        out.extend_from_slice(b"\",\"type\":\"");
        out.extend_from_slice(item.kind.name());
        out.extend_from_slice(b"\",\"status\":\"");
        out.extend_from_slice(item.status.name());
        match item.kind {
            Kind::Message => out.extend_from_slice(b"\",\"role\":\"assistant\",\"content\":["),
            Kind::Reasoning => out.extend_from_slice(b"\",\"summary\":["),
            Kind::Call | Kind::CustomCall => return item.write_call(out),
        }
        for (index, part) in item.parts.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            part.write(out);
        }
        out.push(b']');
        if item.is_signed() {
            out.extend_from_slice(b",\"encrypted_content\":\"");
            out.extend_from_slice(&item.encrypted);
            out.push(b'"');
        }
        out.push(b'}');
    }

    /// Appends all items.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for at in 0..self.items.len() {
            if at > 0 {
                out.push(b',');
            }
            self.write_item(at, out);
        }
    }
}

impl Item {
    /// Whether it is reasoning that has come to its end.
    pub(super) fn is_signed(&self) -> bool {
        !self.encrypted.is_empty()
    }

    /// Ends it where it stands, with what the caller has seen of it.
    pub(super) fn abandon(&mut self) {
        self.status = Status::Incomplete;
        if self.kind == Kind::CustomCall {
            self.parts.iter_mut().for_each(|part| part.text.clear());
        }
    }

    /// The rest of a call.
    fn write_call(&self, out: &mut Vec<u8>) {
        let text = self
            .parts
            .last()
            .map_or(&b""[..], |part| part.text.as_slice());
        // Until a custom tool's call is closed its text is still wrapped.
        let (name, text): (&[u8], &[u8]) = match (self.kind, self.status) {
            (Kind::CustomCall, Status::InProgress) => (b"input", b""),
            (Kind::CustomCall, _) => (b"input", text),
            _ => (b"arguments", text),
        };
        out.extend_from_slice(b"\",\"call_id\":\"");
        out.extend_from_slice(&self.call_id);
        out.extend_from_slice(b"\",\"name\":\"");
        out.extend_from_slice(&self.name);
        out.extend_from_slice(b"\",\"");
        out.extend_from_slice(name);
        out.extend_from_slice(b"\":\"");
        out.extend_from_slice(text);
        out.extend_from_slice(b"\"}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_the_most_items_that_fit_are_unique() {
        const { assert!(BYTES_MAX / ITEM_BYTES <= 0x1_0000) };
        let mut output = Output::new([b'a'; 32], Vec::new());
        let mut ids = std::collections::BTreeSet::new();
        while output.has_room(0) {
            let at = output.open(Kind::Message);
            let mut id = Vec::new();
            output.write_id(at, &mut id);
            assert!(ids.insert(id));
        }
        assert_eq!(output.items.len(), BYTES_MAX / ITEM_BYTES);
    }
}
