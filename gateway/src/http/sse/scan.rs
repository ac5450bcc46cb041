//! Finds where server-sent events end, looking at each byte once. [pure]

use std::fmt;

use memchr::memchr2;

/// Longest event, in bytes with its blank line, unless configured otherwise: 1 MiB.
pub const EVENT_BYTES_MAX: usize = 1024 * 1024;

const CR: u8 = b'\r';
const LF: u8 = b'\n';

/// Why a stream cannot be cut into events.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SseError {
    /// More bytes than allowed without a blank line.
    TooLong,
}

impl SseError {
    /// A sentence for the log.
    pub fn message(&self) -> &'static str {
        match self {
            Self::TooLong => "a server-sent event is too long",
        }
    }
}

impl fmt::Display for SseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for SseError {}

/// Finds the end of one event after the other in a growing buffer.
///
/// An event is every byte up to and including the next blank line: comments, unknown fields and a
/// byte order mark stay where they are, and all events together are the stream as it came. A blank
/// line with nothing ahead of it is an event without content. CR, LF and CRLF each end a line.
///
/// The ends do not depend on how the stream was cut into reads. A CR at the end of the buffer may
/// be half of a CRLF, so:
///
/// - a blank line that ends in CR waits for one more byte, which is taken along if it is LF, when
///   the line before it ended in LF or CRLF, or when there is none;
/// - it waits for nothing when the line before it ended in CR alone, because such a stream has no
///   CRLF and its last token must not be held back. Should an LF follow all the same, it is a blank
///   line of its own, which means nothing to any reader.
///
/// # Source
///
/// WHATWG HTML, "Parsing an event stream".
#[derive(Clone, Debug)]
pub struct EventScanner {
    event_bytes_max: usize,
    /// Bytes of the unfinished event that were looked at.
    scanned: usize,
    /// Where its current line starts.
    line: usize,
    /// The last byte looked at is a CR, which LF may follow.
    after_cr: bool,
    /// The line before the current one ended in CR alone.
    lone_cr: bool,
}

impl EventScanner {
    /// A scanner at the start of a stream. Events of up to `event_bytes_max` bytes pass.
    pub fn new(event_bytes_max: usize) -> Self {
        Self {
            event_bytes_max,
            scanned: 0,
            line: 0,
            after_cr: false,
            lone_cr: false,
        }
    }

    /// The end of the first event in `buf`, exclusive and with its blank line.
    ///
    /// `buf` starts where the last event ended. On `None` append to it and call again: the search
    /// resumes where it stopped. On `Some(end)` drop `buf[..end]` before the next call. At the end
    /// of the stream, what is left in the buffer is an event without its blank line.
    ///
    /// # Errors
    ///
    /// [`SseError::TooLong`]; the stream cannot be followed any further.
    pub fn next_event(&mut self, buf: &[u8]) -> Result<Option<usize>, SseError> {
        // One byte more than allowed tells an event of the greatest length from a longer one.
        let window = buf
            .get(..self.event_bytes_max.saturating_add(1))
            .unwrap_or(buf);
        let end = self.search(window);
        if end.unwrap_or(window.len()) > self.event_bytes_max {
            return Err(SseError::TooLong);
        }
        if end.is_some() {
            *self = Self::new(self.event_bytes_max);
        }
        Ok(end)
    }

    fn search(&mut self, window: &[u8]) -> Option<usize> {
        loop {
            if self.after_cr {
                let is_crlf = *window.get(self.scanned)? == LF;
                self.scanned += usize::from(is_crlf);
                self.after_cr = false;
                self.lone_cr = !is_crlf;
                // The CR stood at the start of its line.
                if self.line + 1 + usize::from(is_crlf) == self.scanned {
                    return Some(self.scanned);
                }
                self.line = self.scanned;
            }
            let rest = window.get(self.scanned..).unwrap_or_default();
            let Some(found) = memchr2(LF, CR, rest) else {
                self.scanned = window.len();
                return None;
            };
            let at = self.scanned + found;
            let is_blank = at == self.line;
            self.scanned = at + 1;
            if window.get(at) == Some(&CR) {
                if is_blank && self.lone_cr {
                    return Some(self.scanned);
                }
                self.after_cr = true;
            } else if is_blank {
                return Some(self.scanned);
            } else {
                self.lone_cr = false;
                self.line = self.scanned;
            }
        }
    }
}
