//! The last event of text, which the next one most likely resembles. [pure]
//!
//! The events of one stream differ in their text, and in the padding that hides its length; every
//! other byte is the same. An event that is alike says what the last one said, so it needs no walk.

use crate::json::{Span, Value, plain_run};

/// Longest event that is remembered, in bytes: what an open stream keeps.
const EVENT_BYTES_MAX: usize = 1024;
/// Events in a row that resembled none, after which a stream is not learned from any more.
const MISSES_MAX: u8 = 8;

/// An event of text with its texts left out.
#[derive(Debug, Default)]
pub(super) struct Likeness {
    /// What stands before the text, between it and the padding, and behind that.
    bytes: Vec<u8>,
    text_at: usize,
    /// Where the padding was in `bytes`, if there is any.
    padding_at: Option<usize>,
    /// The `model` value that gives way to the requested name; before the text.
    model: Option<Span>,
    misses: u8,
}

/// What of an event changes from one to the next, as places in it.
pub(super) struct Varying {
    /// The text; without escapes.
    pub(super) text: Span,
    /// The padding; without escapes.
    pub(super) padding: Option<Span>,
    /// The `model` value to be replaced.
    pub(super) model: Option<Span>,
}

impl Likeness {
    /// Appends `event` with `name` in place of its model, if it is like the last one; returns the
    /// bytes of its text, of which there are some.
    pub(super) fn relay(&mut self, event: &[u8], name: &[u8], out: &mut Vec<u8>) -> Option<u64> {
        if self.bytes.is_empty() {
            return None;
        }
        let (before, behind) = self.bytes.split_at_checked(self.text_at)?;
        let from_text = event.strip_prefix(before)?;
        let (text, rest) = from_text.split_at_checked(plain_run(from_text))?;
        let is_alike = match self.padding_at {
            None => rest == behind,
            Some(at) => {
                let (between, end) = self.bytes.get(self.text_at..)?.split_at_checked(at)?;
                let padded = rest.strip_prefix(between)?;
                padded.get(plain_run(padded)..) == Some(end)
            }
        };
        if !is_alike || text.is_empty() {
            return None;
        }
        self.misses = 0;
        match self.model {
            None => out.extend_from_slice(event),
            Some(model) => {
                out.extend_from_slice(event.get(..model.start)?);
                out.extend_from_slice(name);
                out.extend_from_slice(event.get(model.end..)?);
            }
        }
        Some(text.len() as u64)
    }

    /// Forgets what it has learned.
    pub(super) fn forget(&mut self) {
        self.bytes.clear();
    }

    /// Remembers an event that ends in a blank line, for the ones after it.
    pub(super) fn learn(&mut self, event: &[u8], varying: &Varying) {
        let text = varying.text;
        let is_ahead = varying.model.is_none_or(|model| model.end <= text.start);
        let padding = varying.padding.unwrap_or(Span::at(event.len()));
        let fits = event.len() <= EVENT_BYTES_MAX && is_ahead && text.end <= padding.start;
        let ended = event.ends_with(b"\n\n") || event.ends_with(b"\r\n\r\n");
        if !fits || !ended || self.misses >= MISSES_MAX {
            return;
        }
        self.misses += 1;
        self.bytes.clear();
        if self.misses == MISSES_MAX {
            self.bytes = Vec::new();
            return;
        }
        self.bytes.reserve_exact(event.len());
        for part in [
            event.get(..text.start),
            event.get(text.end..padding.start),
            event.get(padding.end..),
        ] {
            self.bytes.extend_from_slice(part.unwrap_or_default());
        }
        self.text_at = text.start;
        self.padding_at = varying.padding.map(|padding| padding.start - text.end);
        self.model = varying.model;
    }
}

/// The inside of a string without escapes, `base` bytes further on.
pub(super) fn inside(value: &Value, base: usize) -> Option<Span> {
    let Span { start, end } = value.inner();
    let span = Span {
        start: base + start,
        end: base + end,
    };
    (value.kind == crate::json::Kind::String && !value.escaped).then_some(span)
}
