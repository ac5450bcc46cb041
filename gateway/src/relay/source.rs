//! The upstream's side of a stream: what has arrived of it, event by event. [ring]

use std::borrow::Cow;
use std::io;

use super::stream::Tally;
use crate::http::h1::BodyReader;
use crate::http::sse::{EVENT_BYTES_MAX, EventScanner, SseError};
use crate::provider::StreamReader;
use crate::rejection::Rejection;
use crate::upstream::attempt::{Connection, Reply};
use crate::upstream::failure::Failure;
use crate::worker::Worker;

const TOO_LONG: Cow<'static, str> = Cow::Borrowed("an event is longer than the bound");

/// A stream being read. Holds one event of at most [`EVENT_BYTES_MAX`] while that is incomplete.
pub(crate) struct Source {
    connection: Connection,
    body: BodyReader,
    /// Whether the connection can carry another request after the body.
    keep_alive: bool,
    scanner: EventScanner,
    /// What no event was made of yet.
    pending: Vec<u8>,
    /// Whether nothing more can come.
    ended: bool,
    /// Whether it is acknowledged in pairs.
    paired: bool,
    /// Whether the reader was told of the end.
    finished: bool,
}

impl Source {
    /// At the first byte of the body.
    pub(crate) fn new(reply: Reply) -> Self {
        let Reply {
            head,
            connection,
            body,
        } = reply;
        Self {
            connection,
            body,
            keep_alive: head.keep_alive(),
            scanner: EventScanner::new(EVENT_BYTES_MAX),
            pending: Vec::new(),
            ended: false,
            paired: false,
            finished: false,
        }
    }

    /// Appends to `out` what the caller gets of what has arrived; `Ok(true)` where that was the end.
    ///
    /// # Errors
    ///
    /// Those of [`StreamReader`] and of the framing: what was appended before is good.
    pub(super) fn translate(
        &mut self,
        worker: &Worker,
        reader: &mut dyn StreamReader,
        tally: &mut Tally,
        out: &mut Vec<u8>,
    ) -> Result<bool, Rejection> {
        if self.finished {
            return Ok(true);
        }
        if self.pending.capacity() == 0 {
            self.pending = worker.buffers.take();
        }
        let taken = self.take_body();
        let ended = self.body.is_done() || self.ended;
        let mut translated = self.events(ended, worker, reader, tally, out);
        if self.pending.is_empty() {
            worker.buffers.give(std::mem::take(&mut self.pending));
        }
        if ended && translated.is_ok() {
            translated = reader.finish(out);
        }
        translated?;
        taken?;
        self.finished = ended;
        Ok(ended)
    }

    /// Waits for more bytes; 0 is the end of the connection. Loses nothing when dropped.
    ///
    /// # Errors
    ///
    /// Those of the transport.
    pub(super) async fn fill(&mut self, worker: &Worker) -> io::Result<usize> {
        self.connection.fill(worker).await
    }

    /// Has the rest acknowledged in pairs, once: an acknowledgement costs as much as an event. Not
    /// before the model has spoken, for the first of a pair may wait.
    pub(super) fn pair_acks(&mut self) {
        if !std::mem::replace(&mut self.paired, true) {
            self.connection.delay_acks();
        }
    }

    /// Nothing more will be read.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// The upstream closed the connection: the end of a body without a length, or of a stream whose
    /// last event has come; else a failure.
    pub(super) fn at_eof(&mut self, reader: &dyn StreamReader) -> Result<(), Rejection> {
        self.ended = true;
        match self.body.at_eof() {
            Err(_) if !reader.is_done() => Err(Rejection::StreamAborted),
            _ => Ok(()),
        }
    }

    /// Puts the connection back where it can be reused: after the last byte of a framed body.
    pub(crate) fn give_back(self, worker: &Worker) {
        if self.body.is_done() && self.keep_alive {
            self.connection.give_back(worker, worker.now());
        }
    }

    /// Appends what has arrived of the body to `pending`.
    fn take_body(&mut self) -> Result<(), Failure> {
        let Self {
            body, connection, ..
        } = self;
        while !body.is_done() {
            let arrived = connection.bytes();
            let piece = body.next(arrived).map_err(Failure::MalformedBody)?;
            if piece.consumed == 0 {
                break;
            }
            self.pending.extend_from_slice(&arrived[piece.data]);
            connection.consume(piece.consumed);
        }
        Ok(())
    }

    /// Turns the complete events of `pending` into what the client gets; with `last`, what follows
    /// them too, because the stream's end closes its last event.
    fn events(
        &mut self,
        last: bool,
        worker: &Worker,
        reader: &mut dyn StreamReader,
        tally: &mut Tally,
        out: &mut Vec<u8>,
    ) -> Result<(), Rejection> {
        let pending = &mut self.pending;
        let mut start = 0;
        let result = loop {
            let end = match self.scanner.next_event(&pending[start..]) {
                Ok(Some(length)) => start + length,
                Ok(None) if last && start < pending.len() => pending.len(),
                Ok(None) => break Ok(()),
                Err(SseError::TooLong) => break Err(Rejection::Decode { detail: TOO_LONG }),
            };
            let before = out.len();
            match reader.event(&pending[start..end], out) {
                Ok(seen) => tally.saw(seen, out.len() > before, worker),
                Err(rejection) => break Err(rejection),
            }
            start = end;
        };
        pending.drain(..start);
        result
    }
}
