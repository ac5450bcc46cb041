//! Where a message head ends, looked for once over every byte. [pure]

use std::ops::Range;

use memchr::memchr_iter;

use super::limits::Limits;

/// CRLFs tolerated ahead of a request line: some clients send one after a body (RFC 9112 2.2).
const LEADING_CRLF_MAX: u8 = 2;

/// Remembers how far a growing buffer was searched for the end of a head.
///
/// Keep one per connection and pass it with the whole buffer after every read: each byte is looked
/// at once, so a head that trickles in byte by byte costs as much as one that arrives whole. It
/// starts over after a head or an error was returned.
///
/// A line must end in CRLF. A bare LF is refused here, before any tokeniser could take it for the
/// end of a line that another party does not see.
#[derive(Clone, Debug, Default)]
pub struct HeadScanner {
    /// Bytes from the start of the buffer that hold no unseen LF.
    scanned: usize,
    /// Where the unfinished line starts.
    line: usize,
    /// Where the start line begins: past leading CRLFs.
    start: usize,
    leading: u8,
}

/// Why no head can come of these bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ScanError {
    /// The first byte cannot start a request or status line, or too many blank lines came first.
    Start,
    BareLf,
    StartLineTooLong,
    TooLong,
}

/// What differs between the two kinds of head.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) head_max: usize,
    /// Bytes of the start line with its CR, without its LF.
    pub(super) line_max: usize,
    pub(super) leading_max: u8,
    pub(super) starts_with: fn(u8) -> bool,
}

impl Shape {
    pub(super) fn request(limits: &Limits) -> Self {
        Self {
            head_max: limits.head_max(),
            line_max: limits.request_line_max(),
            leading_max: LEADING_CRLF_MAX,
            starts_with: super::grammar::is_token_byte,
        }
    }

    /// A status line may use up the whole head: only the sum is bounded. No blank line may precede
    /// it, since on a reused connection that is a leftover of the previous response.
    pub(super) fn response(limits: &Limits) -> Self {
        Self {
            head_max: limits.head_max(),
            line_max: usize::MAX,
            leading_max: 0,
            starts_with: |byte| byte == b'H',
        }
    }
}

impl HeadScanner {
    /// A scanner at the start of a head.
    pub fn new() -> Self {
        Self::default()
    }

    /// The range of the first head in `buf`, leading CRLFs left out; `None` until it is complete.
    ///
    /// Conditions are met in the order of the bytes, so that the answer does not depend on how the
    /// bytes were cut into reads.
    pub(super) fn find(
        &mut self,
        buf: &[u8],
        shape: &Shape,
    ) -> Result<Option<Range<usize>>, ScanError> {
        let found = self.search(buf, shape);
        if !matches!(found, Ok(None)) {
            *self = Self::default();
        }
        found
    }

    fn search(&mut self, buf: &[u8], shape: &Shape) -> Result<Option<Range<usize>>, ScanError> {
        let window = buf.get(..shape.head_max).unwrap_or(buf);
        self.check_start(window, shape)?;
        let from = self.scanned;
        for found in memchr_iter(b'\n', window.get(from..).unwrap_or_default()) {
            let lf = from + found;
            if self.line == self.start && lf - self.start > shape.line_max {
                return Err(ScanError::StartLineTooLong);
            }
            // The CR must belong to this line: `\n` alone on a line follows the LF before it.
            if lf == self.line || window.get(lf - 1) != Some(&b'\r') {
                return Err(ScanError::BareLf);
            }
            let blank = lf == self.line + 1;
            self.scanned = lf + 1;
            if !blank {
                self.line = lf + 1;
            } else if self.line > self.start {
                return Ok(Some(self.start..lf + 1));
            } else {
                self.skip_leading(shape)?;
                self.check_start(window, shape)?;
            }
        }
        self.scanned = window.len();
        if self.line == self.start && window.len() - self.start > shape.line_max {
            return Err(ScanError::StartLineTooLong);
        }
        if window.len() >= shape.head_max {
            return Err(ScanError::TooLong);
        }
        Ok(None)
    }

    fn skip_leading(&mut self, shape: &Shape) -> Result<(), ScanError> {
        self.leading += 1;
        if self.leading > shape.leading_max {
            return Err(ScanError::Start);
        }
        self.line = self.scanned;
        self.start = self.scanned;
        Ok(())
    }

    /// Answers what is plainly not HTTP (a TLS hello, a binary protocol) without awaiting a line.
    fn check_start(&self, window: &[u8], shape: &Shape) -> Result<(), ScanError> {
        match window.get(self.start) {
            None => Ok(()),
            Some(b'\r') if self.leading < shape.leading_max => Ok(()),
            // Left to the search, which calls it by its name.
            Some(b'\n') => Ok(()),
            Some(&byte) if (shape.starts_with)(byte) => Ok(()),
            Some(_) => Err(ScanError::Start),
        }
    }
}
