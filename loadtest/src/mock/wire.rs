//! Writes one response: head, framing, pieces, pauses and malformations. [cold]

use std::time::Instant;

use crate::chunked;
use crate::clock;
use crate::mock::peer::{Gone, Peer};
use crate::mock::script::{Bad, Cut, Framing, Script};

/// Why a response was not followed to its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The peer hung up.
    Gone,
    /// The script says to close here.
    Cut(Cut),
}

impl From<Gone> for Stop {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

/// What goes into a response head.
pub(super) struct Head<'h> {
    pub(super) status: u16,
    pub(super) content_type: &'h str,
    /// Body bytes, needed if the framing is [`Framing::Length`].
    pub(super) length: usize,
    pub(super) retry_after: Option<&'h str>,
    /// Number of the request, for `x-request-id`.
    pub(super) number: u64,
}

/// A response being written. Bytes gather until [`Response::flush`].
pub(super) struct Response<'p> {
    pub(super) peer: &'p mut Peer,
    pub(super) script: &'p Script,
    framing: Framing,
    /// `connection: close` was announced, or the body ends with the connection.
    pub(super) close: bool,
    pending: Vec<u8>,
    /// Body bytes left of the first piece of `split_at`.
    first_left: usize,
}

impl<'p> Response<'p> {
    /// `framing` is used unless the script names one.
    pub(super) fn new(peer: &'p mut Peer, script: &'p Script, framing: Framing) -> Self {
        let framing = script.wire.framing.unwrap_or(framing);
        let torn = matches!(script.fault.bad, Some(Bad::Short | Bad::Long | Bad::TwoCl));
        Self {
            peer,
            script,
            framing,
            close: script.wire.close || framing == Framing::Close || torn,
            pending: Vec::new(),
            first_left: script.wire.split_at.unwrap_or(0),
        }
    }

    pub(super) fn is_length_framed(&self) -> bool {
        self.framing == Framing::Length
    }

    /// Appends the head, interim heads first.
    pub(super) fn head(&mut self, head: &Head<'_>) {
        let script = self.script;
        let out = &mut self.pending;
        if let Some(status) = script.wire.interim {
            for _ in 0..script.wire.interim_count.unwrap_or(1) {
                interim(status, out);
            }
        }
        out.extend_from_slice(match script.fault.bad {
            Some(Bad::Version) => b"HTTP/3.7 ",
            _ => b"HTTP/1.1 ",
        });
        match script.fault.bad {
            Some(Bad::Status) => out.extend_from_slice(b"2x0"),
            _ => number(u64::from(head.status), out),
        }
        out.push(b' ');
        out.extend_from_slice(reason(head.status).as_bytes());
        out.extend_from_slice(b"\r\n");
        header("content-type", head.content_type, out);
        out.extend_from_slice(b"x-request-id: req-mock-");
        number(head.number, out);
        out.extend_from_slice(b"\r\n");
        if let Some(value) = head.retry_after {
            header("retry-after", value, out);
        }
        match self.framing {
            Framing::Chunked => header("transfer-encoding", "chunked", out),
            Framing::Length => content_length(announced(script, head.length), out),
            Framing::Close => {}
        }
        if self.close {
            header("connection", "close", out);
        }
        spoil(script.fault.bad, self.framing, head.length, out);
        out.extend_from_slice(b"\r\n");
    }

    /// Appends body bytes; with `split` it sends them in pieces at once.
    pub(super) async fn body(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let (first, rest) = self.cut(bytes);
        if !first.is_empty() {
            self.frame(first);
            self.flush().await?;
            self.pause(self.script.pace.split).await?;
        }
        let Some(split) = self.script.wire.split else {
            self.frame(rest);
            return Ok(());
        };
        self.flush().await?;
        for piece in rest.chunks(split) {
            self.frame(piece);
            self.flush().await?;
            self.pause(self.script.pace.split).await?;
        }
        Ok(())
    }

    /// Sends bytes outside of any framing, in the pieces that the script asks for.
    pub(super) async fn raw_body(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let (first, rest) = self.cut(bytes);
        if !first.is_empty() {
            self.raw(first);
            self.flush().await?;
            self.pause(self.script.pace.split).await?;
        }
        self.raw(rest);
        self.flush().await
    }

    /// Splits `bytes` where the first piece of `split_at` ends.
    fn cut<'b>(&mut self, bytes: &'b [u8]) -> (&'b [u8], &'b [u8]) {
        let (first, rest) = bytes.split_at(self.first_left.min(bytes.len()));
        self.first_left -= first.len();
        (first, rest)
    }

    /// Appends the end of the body and sends what is left.
    pub(super) async fn finish(&mut self) -> Result<(), Stop> {
        if self.framing == Framing::Chunked {
            self.pending.extend_from_slice(chunked::LAST_CHUNK);
        }
        self.flush().await
    }

    /// Sends everything appended so far.
    pub(super) async fn flush(&mut self) -> Result<(), Stop> {
        let mut pending = std::mem::take(&mut self.pending);
        match self.script.wire.split_wire {
            None => self.peer.send(&pending).await?,
            Some(split) => {
                for piece in pending.chunks(split) {
                    self.peer.send(piece).await?;
                    self.pause(self.script.pace.split).await?;
                }
            }
        }
        pending.clear();
        self.pending = pending;
        Ok(())
    }

    pub(super) async fn pause(&mut self, pause: std::time::Duration) -> Result<(), Stop> {
        if pause.is_zero() {
            return Ok(());
        }
        self.pause_until(clock::now() + pause).await
    }

    pub(super) async fn pause_until(&mut self, deadline: Instant) -> Result<(), Stop> {
        Ok(self.peer.wait_until(deadline).await?)
    }

    /// Appends bytes outside of any framing.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    fn frame(&mut self, bytes: &[u8]) {
        let out = &mut self.pending;
        match (self.framing, self.script.fault.bad) {
            _ if bytes.is_empty() => {}
            (Framing::Chunked, Some(Bad::Chunk)) => {
                out.extend_from_slice(b"zz\r\n");
                out.extend_from_slice(bytes);
                out.extend_from_slice(b"\r\n");
            }
            (Framing::Chunked, Some(Bad::ChunkEnd)) => {
                chunked::write_chunk(bytes, out);
                let end = out.len().saturating_sub(2);
                out.truncate(end);
                out.extend_from_slice(b"XX");
            }
            (Framing::Chunked, _) => chunked::write_chunk(bytes, out),
            (Framing::Length | Framing::Close, _) => out.extend_from_slice(bytes),
        }
    }
}

fn interim(status: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    number(u64::from(status), out);
    out.push(b' ');
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(b"\r\n");
    if status == 103 {
        header("link", "</style.css>; rel=preload", out);
    }
    out.extend_from_slice(b"\r\n");
}

/// The content length to announce for a body of `length` bytes.
fn announced(script: &Script, length: usize) -> usize {
    match script.fault.bad {
        Some(Bad::Short) => length + 10,
        Some(Bad::Long) => length.saturating_sub(10),
        _ => length,
    }
}

/// Appends the headers that make a head malformed.
fn spoil(bad: Option<Bad>, framing: Framing, length: usize, out: &mut Vec<u8>) {
    match bad {
        Some(Bad::TeCl) => {
            if framing != Framing::Chunked {
                header("transfer-encoding", "chunked", out);
            }
            if framing != Framing::Length {
                content_length(length, out);
            }
        }
        Some(Bad::TwoCl) => {
            if framing != Framing::Length {
                content_length(length, out);
            }
            content_length(length + 1, out);
        }
        Some(Bad::Header) => out.extend_from_slice(b"this line has no colon\r\n"),
        Some(Bad::HugeHead) => header("x-huge", &"h".repeat(1024 * 1024), out),
        Some(Bad::ManyHeaders) => (0..5000).for_each(|_| header("x-many", "m", out)),
        _ => {}
    }
}

fn header(name: &str, value: &str, out: &mut Vec<u8>) {
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

fn content_length(length: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"content-length: ");
    number(length as u64, out);
    out.extend_from_slice(b"\r\n");
}

/// Appends a decimal number.
pub(super) fn number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        103 => "Early Hints",
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Scripted",
    }
}
