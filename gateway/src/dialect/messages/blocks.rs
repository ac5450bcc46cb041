//! The content blocks of a streamed message, one after the other. [pure]
//!
//! Other protocols let several tool calls grow at once, and text beside them. Here a block ends before
//! the next begins: whatever comes while the open call's arguments are incomplete waits.

use std::collections::VecDeque;

use super::arguments::Arguments;
use crate::canonical::Escaped;

/// Most bytes that wait for the open call to end, with what each block costs beside them. More fail
/// the stream: dropping them would break a call in silence.
pub(super) const WAITING_BYTES_MAX: usize = 1024 * 1024;
/// What a waiting block counts for beside its text.
const WAITING_BLOCK_BYTES: usize = 128;

/// More waits than may.
#[derive(Debug)]
pub(super) struct TooMuchWaits;

/// What was begun, what is open, and what waits.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// Index of the next block, which is the number of those begun.
    next: u32,
    open: Open,
    /// In the order of their beginning; empty unless an incomplete call is open.
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
}

#[derive(Debug, Default)]
enum Open {
    #[default]
    Nothing,
    Text,
    Call {
        index: u32,
        arguments: Arguments,
    },
}

#[derive(Debug)]
enum Waiting {
    /// Text, escaped.
    Text(Vec<u8>),
    Call {
        index: u32,
        /// Its `content_block`.
        block: Vec<u8>,
        /// Arguments so far, escaped.
        json: Vec<u8>,
    },
}

impl Blocks {
    /// Appends text, in the open text block or a new one.
    pub(super) fn text(
        &mut self,
        text: Escaped<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), TooMuchWaits> {
        if text.is_empty() {
            return Ok(());
        }
        if !self.must_wait() {
            self.write_text(text.raw(), out);
            return Ok(());
        }
        self.reserve(text.raw().len())?;
        if let Some(Waiting::Text(before)) = self.waiting.back_mut() {
            before.extend_from_slice(text.raw());
            return Ok(());
        }
        self.reserve(WAITING_BLOCK_BYTES)?;
        self.waiting.push_back(Waiting::Text(text.raw().to_vec()));
        Ok(())
    }

    /// Begins call `index`, shown as the content block `block`.
    pub(super) fn call(
        &mut self,
        index: u32,
        block: Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), TooMuchWaits> {
        if !self.must_wait() {
            self.open_call(index, &block, out);
            return Ok(());
        }
        self.reserve(WAITING_BLOCK_BYTES + block.len())?;
        self.waiting.push_back(Waiting::Call {
            index,
            block,
            json: Vec::new(),
        });
        Ok(())
    }

    /// Appends more of the arguments of call `index`. What follows their end is dropped.
    pub(super) fn arguments(
        &mut self,
        index: u32,
        json: Escaped<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), TooMuchWaits> {
        if let Open::Call { index: open, .. } = self.open
            && open == index
        {
            self.write_arguments(json.raw(), out);
            self.release(out);
            return Ok(());
        }
        let room = WAITING_BYTES_MAX.saturating_sub(self.waiting_bytes);
        let waiting = self.waiting.iter_mut().find_map(|waiting| match waiting {
            Waiting::Call {
                index: held, json, ..
            } if *held == index => Some(json),
            _ => None,
        });
        if let Some(held) = waiting {
            if json.raw().len() > room {
                return Err(TooMuchWaits);
            }
            held.extend_from_slice(json.raw());
            self.waiting_bytes += json.raw().len();
        }
        Ok(())
    }

    /// Ends every block: those that wait come whole, in their order.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        while let Some(waiting) = self.waiting.pop_front() {
            self.begin(waiting, out);
        }
        self.waiting_bytes = 0;
        self.close(out);
    }

    /// Whether no block was begun yet.
    pub(super) fn is_empty(&self) -> bool {
        self.next == 0
    }

    /// Begins and ends a text block without text.
    pub(super) fn empty_text(&mut self, out: &mut Vec<u8>) {
        self.open_text(out);
        self.close(out);
    }

    /// Whether the open block may not end yet.
    fn must_wait(&self) -> bool {
        match &self.open {
            Open::Nothing | Open::Text => false,
            Open::Call { arguments, .. } => !arguments.is_complete(),
        }
    }

    fn reserve(&mut self, bytes: usize) -> Result<(), TooMuchWaits> {
        let sum = self.waiting_bytes.saturating_add(bytes);
        if sum > WAITING_BYTES_MAX {
            return Err(TooMuchWaits);
        }
        self.waiting_bytes = sum;
        Ok(())
    }

    /// Begins what waits, as far as the blocks before it have ended.
    fn release(&mut self, out: &mut Vec<u8>) {
        while !self.must_wait() {
            let Some(waiting) = self.waiting.pop_front() else {
                self.waiting_bytes = 0;
                return;
            };
            self.begin(waiting, out);
        }
    }

    fn begin(&mut self, waiting: Waiting, out: &mut Vec<u8>) {
        let bytes = match waiting {
            Waiting::Text(text) => {
                self.write_text(&text, out);
                text.len()
            }
            Waiting::Call { index, block, json } => {
                self.open_call(index, &block, out);
                self.write_arguments(&json, out);
                block.len() + json.len()
            }
        };
        let bytes = bytes.saturating_add(WAITING_BLOCK_BYTES);
        self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
    }

    fn write_text(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        if !matches!(self.open, Open::Text) {
            self.open_text(out);
        }
        self.delta(b"text_delta\",\"text", raw, out);
    }

    fn write_arguments(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        let Open::Call { arguments, .. } = &mut self.open else {
            return;
        };
        let taken = arguments.take(raw);
        let raw = raw.get(..taken).unwrap_or_default();
        if !raw.is_empty() {
            self.delta(b"input_json_delta\",\"partial_json", raw, out);
        }
    }

    fn open_text(&mut self, out: &mut Vec<u8>) {
        self.start(b"{\"type\":\"text\",\"text\":\"\"}", out);
        self.open = Open::Text;
    }

    fn open_call(&mut self, index: u32, block: &[u8], out: &mut Vec<u8>) {
        self.start(block, out);
        self.open = Open::Call {
            index,
            arguments: Arguments::default(),
        };
    }

    /// Ends the open block, and begins the next.
    fn start(&mut self, block: &[u8], out: &mut Vec<u8>) {
        self.close(out);
        out.extend_from_slice(
            b"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":",
        );
        number(self.next, out);
        out.extend_from_slice(b",\"content_block\":");
        out.extend_from_slice(block);
        out.extend_from_slice(b"}\n\n");
        self.next = self.next.saturating_add(1);
    }

    fn delta(&self, kind_and_member: &[u8], raw: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(
            b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":",
        );
        number(self.next.saturating_sub(1), out);
        out.extend_from_slice(b",\"delta\":{\"type\":\"");
        out.extend_from_slice(kind_and_member);
        out.extend_from_slice(b"\":\"");
        Escaped::new(raw).write(out);
        out.extend_from_slice(b"\"}}\n\n");
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if matches!(std::mem::take(&mut self.open), Open::Nothing) {
            return;
        }
        out.extend_from_slice(
            b"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":",
        );
        number(self.next.saturating_sub(1), out);
        out.extend_from_slice(b"}\n\n");
    }
}

fn number(number: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}
