//! A response that passes as it comes: its status, its headers, its body piece by piece. [ring]
//!
//! At most one read of the upstream is held. A client that reads slowly holds up the write, and with
//! it the next read: back-pressure is the socket.

use std::pin::pin;
use std::time::Duration;

use super::stream::Tally;
use super::{ResponseWriter, Stop};
use crate::http::h1::{BodyLength, write};
use crate::listener::client::{Client, HungUp};
use crate::passthrough;
use crate::rejection::Rejection;
use crate::upstream::attempt::Reply;
use crate::upstream::failure::Failure;
use crate::worker::Worker;
use crate::worker::alarm::Elapsed;

/// Bytes relayed before the rest of the worker gets its turn.
const TURN_BYTES: usize = 64 * 1024;

/// How the client finds the end of the body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Framing {
    /// There is none; a length may be told all the same (HEAD).
    NoBody,
    Length(u64),
    Chunks,
    /// At the end of the connection.
    Close,
}

impl Framing {
    /// The framing of `reply` for the client of `writer`, with a body that passes as it is.
    pub(crate) fn of(reply: &Reply, writer: &ResponseWriter) -> Self {
        match reply.head.body() {
            BodyLength::None => Self::NoBody,
            BodyLength::Exact(length) => Self::Length(length),
            BodyLength::Chunked | BodyLength::UntilClose => Self::unknown(writer),
        }
    }

    /// The framing of a body of unknown length.
    pub(crate) fn unknown(writer: &ResponseWriter) -> Self {
        if writer.chunks {
            Self::Chunks
        } else {
            Self::Close
        }
    }
}

/// Appends the head for the client: the upstream's status and what passes of its headers. `injected`:
/// the upstream saw the gateway's credential.
pub(crate) fn write_head(
    worker: &Worker,
    writer: &ResponseWriter,
    (reply, injected): (&Reply, bool),
    framing: Framing,
    out: &mut Vec<u8>,
) {
    writer.open(worker, reply.head.status(), out);
    passthrough::write_response(&reply.head, injected, out);
    match framing {
        Framing::NoBody => {
            // Of a HEAD or a 304, the length that a body would have; a 204 must not tell one.
            let told = reply.head.header("content-length");
            let told = told.filter(|length| length.iter().all(u8::is_ascii_digit));
            if let Some(length) = told.filter(|_| reply.head.status() != 204) {
                write::header(out, "content-length", length);
            }
        }
        Framing::Length(length) => write::header_u64(out, "content-length", length),
        Framing::Chunks => write::header(out, "transfer-encoding", b"chunked"),
        Framing::Close => {}
    }
    write::end(out);
}

/// One response on its way.
pub(crate) struct Passage<'a> {
    pub worker: &'a Worker,
    pub client: &'a mut Client,
    pub framing: Framing,
    /// How long the upstream may take for the rest of the body; the client's slowness does not count.
    pub limit: Option<Duration>,
    /// Most bytes of the body that are kept aside for a look at them; a longer body keeps none.
    pub observed_max: usize,
    pub observed: Vec<u8>,
    pub tally: &'a mut Tally,
}

impl Passage<'_> {
    /// Sends `head` and then the body of `reply` as it comes. Returns what was kept aside.
    ///
    /// # Errors
    ///
    /// [`Stop::Cut`] where the upstream fails: the head was sent, and the missing end tells the client.
    pub(crate) async fn run(mut self, head: Vec<u8>, mut reply: Reply) -> Result<Vec<u8>, Stop> {
        let passed = self.pass(head, &mut reply).await;
        match passed {
            Ok(()) => {
                if reply.head.keep_alive() && reply.head.body() != BodyLength::UntilClose {
                    reply.connection.give_back(self.worker, self.worker.now());
                }
                Ok(self.observed)
            }
            Err(Stop::Rejected(rejection)) => Err(Stop::Cut(rejection)),
            Err(stop) => Err(stop),
        }
    }

    async fn pass(&mut self, head: Vec<u8>, reply: &mut Reply) -> Result<(), Stop> {
        let worker = self.worker;
        let mut deadline = self.limit.map(|limit| worker.now() + limit);
        let mut out = head;
        let mut turn_bytes = 0;
        let mut ended = false;
        loop {
            let taken = self.take(reply, &mut out);
            let done = reply.body.is_done() || ended;
            if done && self.framing == Framing::Chunks && taken.is_ok() {
                write::last_chunk(&mut out);
            }
            let before = worker.now();
            self.send(&mut out).await?;
            let blocked = worker.now().saturating_duration_since(before);
            deadline = deadline.map(|deadline| deadline + blocked);
            taken?;
            if done {
                return Ok(());
            }
            let filling = pin!(reply.connection.fill(worker));
            let filled = self.client.until_hangup_or(deadline, filling).await?;
            worker.tick();
            match filled {
                Ok(Ok(0)) => {
                    reply.body.at_eof().map_err(|_| Failure::Truncated)?;
                    ended = true;
                }
                Ok(Ok(count)) => turn_bytes += count,
                Ok(Err(error)) => return Err(Failure::Broken(error).into()),
                Err(Elapsed) => {
                    return Err(Failure::Timeout(self.limit.unwrap_or_default()).into());
                }
            }
            if turn_bytes >= TURN_BYTES {
                turn_bytes = 0;
                worker.turnstile.pass().await;
            }
        }
    }

    /// Appends what has arrived of the body.
    fn take(&mut self, reply: &mut Reply, out: &mut Vec<u8>) -> Result<(), Rejection> {
        if out.capacity() == 0 {
            *out = self.worker.buffers.take();
        }
        while !reply.body.is_done() {
            let arrived = reply.connection.bytes();
            let piece = reply.body.next(arrived).map_err(Failure::MalformedBody)?;
            if piece.consumed == 0 {
                break;
            }
            let data = &arrived[piece.data];
            match self.framing {
                Framing::Chunks => write::chunk(out, data),
                Framing::Length(_) | Framing::Close => out.extend_from_slice(data),
                Framing::NoBody => {}
            }
            observe(&mut self.observed, &mut self.observed_max, data);
            reply.connection.consume(piece.consumed);
        }
        Ok(())
    }

    /// Sends `out`, and gives its buffer back: a passage that waits owns none.
    async fn send(&mut self, out: &mut Vec<u8>) -> Result<(), HungUp> {
        let bytes = std::mem::take(out);
        if !bytes.is_empty() {
            if self.tally.head_at.is_none() {
                self.tally.head_at = Some(self.worker.now());
            }
            self.tally.bytes_out += bytes.len() as u64;
            self.client.send(&bytes).await?;
        }
        self.worker.buffers.give(bytes);
        Ok(())
    }
}

/// Keeps `data` aside, until there is more of it than wanted.
fn observe(observed: &mut Vec<u8>, observed_max: &mut usize, data: &[u8]) {
    if observed.len() + data.len() <= *observed_max {
        observed.extend_from_slice(data);
    } else {
        *observed_max = 0;
        *observed = Vec::new();
    }
}
