//! An event stream on its way: each read of the upstream becomes at most one write to the client. [ring]
//!
//! At rest a stream owns no buffer. What it holds while it moves: one read buffer, one event of at
//! most `EVENT_BYTES_MAX`, and one write buffer. A client that reads slowly holds up the write, and
//! with it the next read: back-pressure is the socket.

use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use monoio::time::Instant;

use super::{Replay, ResponseWriter, Stop};
use crate::http::h1::write;
use crate::http::sse::{EVENT_BYTES_MAX, EventScanner, SseError};
use crate::listener::client::{Client, HungUp};
use crate::provider::{Seen, StreamReader};
use crate::rejection::Rejection;
use crate::upstream::attempt::Reply;
use crate::upstream::clocks::Clocks;
use crate::upstream::failure::Failure;
use crate::worker::Worker;

/// The comment that keeps a silent stream open.
const COMMENT: &[u8] = b":\n\n";
/// Bytes relayed before the rest of the worker gets its turn: about 100 microseconds of copying
/// and system calls.
const TURN_BYTES: usize = 64 * 1024;
/// How long the end of the body may lag behind the last event of a stream. An upstream that leaves
/// it out loses its connection, not the client's time.
const DONE_GRACE: Duration = Duration::from_secs(1);
const TOO_LONG: Cow<'static, str> = Cow::Borrowed("an event is longer than the bound");

/// What a stream was worth, for the record.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// When the response head was sent.
    pub head_at: Option<Instant>,
    /// When the first content event was sent.
    pub first_content_at: Option<Instant>,
    /// Events sent.
    pub events: u32,
    /// Bytes sent, head and framing included.
    pub bytes_out: u64,
}

impl Tally {
    /// Notes an event; `sent` where the client gets any of it.
    fn saw(&mut self, seen: Seen, sent: bool, worker: &Worker) {
        self.events += u32::from(sent && seen != Seen::Comment);
        if seen == Seen::Content && self.first_content_at.is_none() {
            self.first_content_at = Some(worker.now());
        }
    }
}

/// One stream being relayed.
pub(crate) struct Relay<'a> {
    pub worker: &'a Worker,
    pub client: &'a mut Client,
    pub writer: &'a ResponseWriter,
    /// The response head, where it is not the usual one of an event stream. It is sent at once.
    pub head: Option<&'a [u8]>,
    pub reader: &'a mut dyn StreamReader,
    pub clocks: &'a Clocks,
    /// When the attempt began: the total clock runs from here.
    pub started: Instant,
    pub tally: &'a mut Tally,
    /// What another attempt needs, while another one may follow.
    pub replay: &'a mut Replay,
    /// What came before the model said anything: it is sent with the first content, so that until
    /// then the stream may fail over.
    pub held: Vec<u8>,
    /// Whether nothing more can come from the upstream.
    pub upstream_ended: bool,
}

/// Most of what is held back.
const HELD_BYTES_MAX: usize = 64 * 1024;

/// Appends what has arrived of the body to `pending`.
fn take_body(reply: &mut Reply, pending: &mut Vec<u8>) -> Result<(), Failure> {
    while !reply.body.is_done() {
        let arrived = reply.connection.bytes();
        let piece = reply.body.next(arrived).map_err(Failure::MalformedBody)?;
        if piece.consumed == 0 {
            break;
        }
        pending.extend_from_slice(&arrived[piece.data]);
        reply.connection.consume(piece.consumed);
    }
    Ok(())
}

/// What a wait ended with.
enum Wake {
    Read(io::Result<usize>),
    HungUp,
    Due,
}

/// When the stream last moved.
struct Clock {
    /// The last read of the upstream.
    read: Instant,
    /// The last comment.
    sent: Instant,
}

impl Clock {
    fn starting(now: Instant) -> Self {
        Self {
            read: now,
            sent: now,
        }
    }

    fn read(&mut self, now: Instant) {
        self.read = now;
    }
}

/// Deadlines of one wait.
struct Due {
    comment: Option<Instant>,
    silence: Option<(Instant, Duration)>,
    total: Option<(Instant, Duration)>,
}

impl Relay<'_> {
    /// Relays the stream to its end.
    ///
    /// # Errors
    ///
    /// [`Stop::Rejected`] before a byte was sent, [`Stop::Cut`] after the client was told in band.
    pub(crate) async fn run(mut self, mut reply: Reply) -> Result<(), Stop> {
        let ended = self.events(&mut reply).await;
        match ended {
            Ok(()) => {
                if reply.body.is_done() && reply.head.keep_alive() {
                    let now = self.worker.now();
                    reply.connection.give_back(self.worker, now);
                }
                Ok(())
            }
            // The client has all of it: how the upstream's body ends concerns only the connection.
            Err(Stop::Rejected(_)) if self.reader.is_done() && self.tally.head_at.is_some() => {
                Ok(self.send(Vec::new(), true).await?)
            }
            Err(Stop::Rejected(rejection)) if self.tally.head_at.is_some() => {
                self.cut(rejection).await
            }
            Err(stop) => {
                // What was held back was never sent.
                if self.tally.head_at.is_none() {
                    self.tally.events = 0;
                }
                Err(stop)
            }
        }
    }

    async fn events(&mut self, reply: &mut Reply) -> Result<(), Stop> {
        let heartbeat = self.worker.settings.keepalive_comment;
        if self.head.is_some() || (heartbeat.is_none() && !self.clocks.withhold_head) {
            self.send(Vec::new(), false).await?;
        }
        let mut scanner = EventScanner::new(EVENT_BYTES_MAX);
        let mut pending = Vec::new();
        let mut clock = Clock::starting(self.worker.now());
        let mut turn_bytes = 0;
        loop {
            if self.forward(reply, &mut scanner, &mut pending).await? {
                return Ok(());
            }
            loop {
                let due = self.due(&clock, heartbeat);
                match self.wait(reply, due.first()).await {
                    Wake::Read(Ok(0)) => {
                        clock.read(self.worker.tick());
                        self.at_eof(reply)?;
                        break;
                    }
                    Wake::Read(Ok(count)) => {
                        clock.read(self.worker.tick());
                        turn_bytes += count;
                        break;
                    }
                    // What matters has arrived, and was sent.
                    Wake::Read(Err(_)) if self.reader.is_done() => {
                        self.upstream_ended = true;
                        break;
                    }
                    Wake::Read(Err(error)) => return Err(Failure::Broken(error).into()),
                    // A caller that leaves after the last event has all it asked for.
                    Wake::HungUp if self.reader.is_done() => return Ok(()),
                    Wake::HungUp => return Err(Stop::HungUp),
                    Wake::Due => {
                        let now = self.worker.tick();
                        if self.reader.is_done() {
                            self.upstream_ended = true;
                            break;
                        }
                        due.check(now)?;
                        if due.comment.is_some_and(|at| now >= at) {
                            let mut out = self.worker.buffers.take();
                            out.extend_from_slice(COMMENT);
                            self.send(out, false).await?;
                            self.worker.shard().keep_alive();
                            clock.sent = now;
                        }
                    }
                }
            }
            if turn_bytes >= TURN_BYTES {
                turn_bytes = 0;
                self.worker.turnstile.pass().await;
            }
        }
    }

    /// Sends on what has arrived; `true` once the stream is complete and sent.
    async fn forward(
        &mut self,
        reply: &mut Reply,
        scanner: &mut EventScanner,
        pending: &mut Vec<u8>,
    ) -> Result<bool, Stop> {
        if pending.capacity() == 0 {
            *pending = self.worker.buffers.take();
        }
        let taken = take_body(reply, pending);
        let ended = reply.body.is_done() || self.upstream_ended;
        let mut out = self.worker.buffers.take();
        // In its steady state a stream writes events straight into the chunk they travel in.
        let chunk = (self.tally.head_at.is_some() && self.writer.chunks)
            .then(|| write::chunk_open(&mut out));
        let mut translated = self.translate(ended, scanner, pending, &mut out);
        if pending.is_empty() {
            self.worker.buffers.give(std::mem::take(pending));
        }
        if ended && translated.is_ok() {
            translated = self.reader.finish(&mut out);
        }
        let complete = ended && translated.is_ok();
        // What came before a failure was good: it is sent before the failure is told.
        if let Some(mark) = chunk {
            write::chunk_close(&mut out, mark);
            if complete {
                write::last_chunk(&mut out);
            }
            if !out.is_empty() {
                self.send_framed(&out).await?;
            }
            self.worker.buffers.give(out);
        } else if !complete && self.holds_back(&out) {
            self.held.extend_from_slice(&out);
            self.worker.buffers.give(out);
        } else {
            self.send(out, complete).await?;
        }
        translated?;
        taken?;
        Ok(complete)
    }

    /// Turns the complete events of `pending` into what the client gets; with `last`, what follows
    /// them too, because the stream's end closes its last event.
    fn translate(
        &mut self,
        last: bool,
        scanner: &mut EventScanner,
        pending: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), Rejection> {
        let mut start = 0;
        let result = loop {
            let end = match scanner.next_event(&pending[start..]) {
                Ok(Some(length)) => start + length,
                Ok(None) if last && start < pending.len() => pending.len(),
                Ok(None) => break Ok(()),
                Err(SseError::TooLong) => break Err(Rejection::Decode { detail: TOO_LONG }),
            };
            let before = out.len();
            match self.reader.event(&pending[start..end], out) {
                Ok(seen) => self.tally.saw(seen, out.len() > before, self.worker),
                Err(rejection) => break Err(rejection),
            }
            start = end;
        };
        pending.drain(..start);
        result
    }

    /// Whether `out`, the first of the stream, may wait for what follows.
    fn holds_back(&self, out: &[u8]) -> bool {
        out.is_empty()
            || (self.replay.is_there()
                && self.tally.first_content_at.is_none()
                && self.held.len() + out.len() <= HELD_BYTES_MAX)
    }

    /// Sends `payload` as one chunk, after the head if that is still due; with `last`, the end of
    /// the response goes along.
    async fn send(&mut self, mut payload: Vec<u8>, last: bool) -> Result<(), HungUp> {
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            payload.splice(0..0, held);
        }
        let mut out = self.worker.buffers.take();
        self.head_once(&mut out);
        if self.writer.chunks {
            write::chunk(&mut out, &payload);
            if last {
                write::last_chunk(&mut out);
            }
        } else {
            out.extend_from_slice(&payload);
        }
        self.worker.buffers.give(payload);
        let sent = self.send_framed(&out).await;
        self.worker.buffers.give(out);
        sent
    }

    async fn send_framed(&mut self, bytes: &[u8]) -> Result<(), HungUp> {
        self.tally.bytes_out += bytes.len() as u64;
        self.client.send(bytes).await
    }

    fn head_once(&mut self, out: &mut Vec<u8>) {
        if self.tally.head_at.is_none() {
            match self.head {
                Some(head) => out.extend_from_slice(head),
                None => self.writer.stream_head(self.worker, out),
            }
            self.tally.head_at = Some(self.worker.now());
            self.replay.give_up(&self.worker.buffers);
        }
    }

    /// Tells the client in band that the stream failed, and that no more will come.
    async fn cut(&mut self, rejection: Rejection) -> Result<(), Stop> {
        let mut frame = self.worker.buffers.take();
        self.reader
            .cut(&rejection, &self.writer.request_id, &mut frame);
        self.send(frame, true).await?;
        Err(Stop::Cut(rejection))
    }

    /// The upstream closed the connection: the end of a body without a length, or of a stream whose
    /// last event has come; else a failure.
    fn at_eof(&mut self, reply: &mut Reply) -> Result<(), Rejection> {
        self.upstream_ended = true;
        match reply.body.at_eof() {
            Err(_) if !self.reader.is_done() => Err(Rejection::StreamAborted),
            _ => Ok(()),
        }
    }

    fn due(&self, clock: &Clock, heartbeat: Option<Duration>) -> Due {
        // While the client held a write up, the upstream was not listened to.
        let quiet_since = clock.read.max(self.client.unblocked_at());
        let silence = if self.reader.is_done() {
            Some(DONE_GRACE)
        } else if self.tally.events == 0 {
            self.clocks.first_event
        } else {
            self.clocks.gap
        };
        let withheld = self.clocks.withhold_head && self.tally.head_at.is_none();
        Due {
            comment: heartbeat
                .filter(|_| !withheld && !self.reader.is_done())
                .map(|every| clock.sent.max(clock.read) + every),
            silence: silence.map(|limit| (quiet_since + limit, limit)),
            total: self.clocks.total.map(|limit| (self.started + limit, limit)),
        }
    }

    /// Waits for upstream bytes, the client's hang-up or `deadline`. Loses nothing: what is dropped
    /// here is the asking, and the wait itself stays with its connection.
    async fn wait(&mut self, reply: &mut Reply, deadline: Option<Instant>) -> Wake {
        let mut fill = pin!(reply.connection.fill(self.worker));
        poll_fn(|cx| {
            if let Poll::Ready(read) = fill.as_mut().poll(cx) {
                return Poll::Ready(Wake::Read(read));
            }
            if self.client.poll_hangup(cx).is_ready() {
                return Poll::Ready(Wake::HungUp);
            }
            self.client.poll_alarm(cx, deadline).map(|()| Wake::Due)
        })
        .await
    }
}

impl Due {
    fn first(&self) -> Option<Instant> {
        let clocks = [self.silence, self.total]
            .into_iter()
            .flatten()
            .map(|(at, _)| at);
        clocks.chain(self.comment).min()
    }

    fn check(&self, now: Instant) -> Result<(), Failure> {
        for (at, limit) in [self.silence, self.total].into_iter().flatten() {
            if now >= at {
                return Err(Failure::Timeout(limit));
            }
        }
        Ok(())
    }
}
