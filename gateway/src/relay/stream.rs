//! An event stream on its way: each read of the upstream becomes at most one write to the client. [ring]
//!
//! At rest a stream owns no buffer. What it holds while it moves: one read buffer, one event of at
//! most `EVENT_BYTES_MAX`, and one write buffer. A client that reads slowly holds up the write, and
//! with it the next read: back-pressure is the socket.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use monoio::time::Instant;

use super::clock::{Clock, Due};
use super::comment::{COMMENT, comment};
use super::source::Source;
use super::{Replay, ResponseWriter, Stop};
use crate::http::h1::write;
use crate::listener::client::{Client, HungUp};
use crate::provider::{Seen, StreamReader};
use crate::rejection::Rejection;
use crate::route::Window;
use crate::sys::Pooled;
use crate::upstream::clocks::Clocks;
use crate::upstream::failure::Failure;
use crate::worker::Worker;

/// Bytes relayed before the rest of the worker gets its turn: about 100 microseconds of copying
/// and system calls.
const TURN_BYTES: usize = 64 * 1024;
/// How long the end of the body may lag behind the last event of a stream. An upstream that leaves
/// it out loses its connection, not the client's time.
const DONE_GRACE: Duration = Duration::from_secs(1);
/// Most of what is held back.
pub(super) const HELD_BYTES_MAX: usize = 64 * 1024;

/// What a stream was worth, for the record.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// When the response head was sent.
    pub head_at: Option<Instant>,
    /// When the first content event was sent.
    pub first_content_at: Option<Instant>,
    /// When the upstream sent it.
    pub said_at: Option<Instant>,
    /// Events sent.
    pub events: u32,
    /// Bytes sent, head and framing included.
    pub bytes_out: u64,
}

impl Tally {
    /// Notes an event; `sent` where the client gets any of it.
    pub(super) fn saw(&mut self, seen: Seen, sent: bool, worker: &Worker) {
        self.events += u32::from(sent && seen != Seen::Comment);
        if seen == Seen::Content && self.said_at.is_none() {
            self.said_at = Some(worker.now());
            self.first_content_at = self.said_at;
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
    /// Of a caller who has the head already, when it got that.
    pub tally: &'a mut Tally,
    /// What another attempt needs, while another one may follow.
    pub replay: &'a mut Replay,
    /// How long content is held back too; `None`: not at all.
    pub window: Option<Window>,
    /// What came before the model said anything, or enough: until it is sent the stream may fail
    /// over. At most [`HELD_BYTES_MAX`].
    pub held: Vec<u8>,
}

/// What a wait ended with.
enum Wake {
    Read(io::Result<usize>),
    HungUp,
    Due,
}

impl Relay<'_> {
    /// Relays the stream to its end; after an `Ok` its connection may be used again
    /// ([`Source::give_back`]).
    ///
    /// # Errors
    ///
    /// [`Stop::Rejected`] before an event was sent, [`Stop::Cut`] after the client was told in band.
    pub(crate) async fn run(&mut self, source: &mut Source) -> Result<(), Stop> {
        let ended = self.events(source).await;
        // What the end takes has no room of its own while events come.
        self.conclude(ended).await
    }

    /// Makes of how the events `ended` what that is to the client, and tells it.
    async fn conclude(&mut self, ended: Result<(), Stop>) -> Result<(), Stop> {
        match ended {
            Ok(()) => Ok(()),
            // The client has all of it: how the upstream's body ends concerns only the connection.
            Err(Stop::Rejected(_)) if self.reader.is_done() && self.is_bound() => {
                Ok(self.send(Vec::new(), true).await?)
            }
            Err(Stop::Rejected(rejection)) if self.is_bound() => self.cut(rejection).await,
            Err(stop) => {
                // What was held back was never sent.
                if !self.is_bound() {
                    self.tally.events = 0;
                    self.tally.first_content_at = None;
                }
                Err(stop)
            }
        }
    }

    /// Whether the client has so much of this stream that no other can take its place.
    fn is_bound(&self) -> bool {
        self.tally.head_at.is_some() && !self.replay.is_there()
    }

    async fn events(&mut self, source: &mut Source) -> Result<(), Stop> {
        let heartbeat = self.worker.settings.keepalive_comment;
        let waits = self.clocks.withhold_head || self.window.is_some();
        if self.head.is_some() || (heartbeat.is_none() && !waits) {
            self.send(Vec::new(), false).await?;
        }
        let mut clock = Clock::starting(self.worker.now());
        let mut turn_bytes = 0;
        loop {
            if self.forward(source).await? {
                return Ok(());
            }
            if self.tally.said_at.is_some() {
                source.pair_acks();
            }
            loop {
                let due = self.due(&clock, heartbeat);
                match self.wait(source, due.first()).await {
                    Wake::Read(Ok(0)) => {
                        clock.read(self.worker.tick());
                        source.at_eof(&*self.reader)?;
                        break;
                    }
                    Wake::Read(Ok(count)) => {
                        clock.read(self.worker.tick());
                        turn_bytes += count;
                        break;
                    }
                    // What matters has arrived, and was sent.
                    Wake::Read(Err(_)) if self.reader.is_done() => {
                        source.end();
                        break;
                    }
                    Wake::Read(Err(error)) => return Err(Failure::Broken(error).into()),
                    // A caller that leaves after the last event has all it asked for.
                    Wake::HungUp if self.reader.is_done() => return Ok(()),
                    Wake::HungUp => return Err(Stop::HungUp),
                    Wake::Due => {
                        let now = self.worker.tick();
                        if self.reader.is_done() {
                            source.end();
                            break;
                        }
                        Pooled::new(self.at_due(&due, &mut clock, now)).await?;
                    }
                }
            }
            if turn_bytes >= TURN_BYTES {
                turn_bytes = 0;
                self.worker.turnstile.pass().await;
            }
        }
    }

    /// Does what was due at `now`.
    async fn at_due(&mut self, due: &Due, clock: &mut Clock, now: Instant) -> Result<(), Stop> {
        due.check(now)?;
        if due.window.is_some_and(|at| now >= at) {
            self.send(Vec::new(), false).await?;
        }
        if due.comment.is_some_and(|at| now >= at) {
            if self.window.is_some() && !self.is_bound() {
                self.comment_unbound().await?;
            } else {
                let mut out = self.worker.buffers.take();
                out.extend_from_slice(COMMENT);
                self.send(out, false).await?;
                self.worker.shard().keep_alive();
            }
            clock.sent = now;
        }
        Ok(())
    }

    /// Sends on what has arrived; `true` once the stream is complete and sent.
    async fn forward(&mut self, source: &mut Source) -> Result<bool, Stop> {
        let mut out = self.worker.buffers.take();
        // In its steady state a stream writes events straight into the chunk they travel in.
        let chunk = (self.is_bound() && self.writer.chunks).then(|| write::chunk_open(&mut out));
        let translated = source.translate(self.worker, self.reader, self.tally, &mut out);
        let complete = matches!(translated, Ok(true));
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
        } else if !complete && self.holds_back(&out, translated.is_err()) {
            self.held.extend_from_slice(&out);
            self.worker.buffers.give(out);
        } else {
            self.send(out, complete).await?;
        }
        Ok(translated?)
    }

    /// Whether `out`, the first of the stream, may wait for what follows; `failed`: for another
    /// target's.
    fn holds_back(&mut self, out: &[u8], failed: bool) -> bool {
        let Some(window) = &mut self.window else {
            let said = self.tally.said_at.is_some();
            return (out.is_empty() && (self.held.is_empty() || !said))
                || self.waits_for_content(out);
        };
        if out.is_empty() && self.held.is_empty() {
            return true;
        }
        if !self.replay.is_there() || self.reader.is_done() {
            return false;
        }
        if failed {
            return true;
        }
        let since = self.worker.now().saturating_duration_since(self.started);
        let has_content = self.tally.said_at.is_some();
        if has_content {
            window.saw(true, self.reader.usage().completion, since);
        }
        window.is_open() && self.held.len() + out.len() <= HELD_BYTES_MAX
    }

    fn waits_for_content(&self, out: &[u8]) -> bool {
        self.replay.is_there()
            && self.tally.said_at.is_none()
            && self.held.len() + out.len() <= HELD_BYTES_MAX
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

    /// Appends the head, where the client does not have it. From here on no other stream can take this
    /// one's place.
    fn head_once(&mut self, out: &mut Vec<u8>) {
        if self.is_bound() {
            return;
        }
        let now = self.worker.now();
        if self.tally.head_at.is_none() {
            match self.head {
                Some(head) => out.extend_from_slice(head),
                None => self.writer.stream_head(self.worker, out),
            }
            self.tally.head_at = Some(now);
        }
        if self.tally.first_content_at.is_some() {
            self.tally.first_content_at = Some(now);
        }
        self.replay.give_up(&self.worker.buffers);
    }

    /// Sends a comment and stays free to give the stream up for another target's.
    async fn comment_unbound(&mut self) -> Result<(), HungUp> {
        let sent = comment(self.worker, self.client, self.writer, self.replay).await?;
        self.tally.bytes_out += sent;
        self.tally.head_at = self.replay.head_at;
        Ok(())
    }

    /// Tells the client in band that the stream failed, and that no more will come.
    async fn cut(&mut self, rejection: Rejection) -> Result<(), Stop> {
        let mut frame = self.worker.buffers.take();
        self.reader
            .cut(&rejection, &self.writer.request_id, &mut frame);
        self.send(frame, true).await?;
        Err(Stop::Cut(rejection))
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
            window: self.window_closes(),
            silence: silence.map(|limit| (quiet_since + limit, limit)),
            total: self.clocks.total.map(|limit| (self.started + limit, limit)),
        }
    }

    /// When what is held back is sent, if nothing else comes before.
    fn window_closes(&self) -> Option<Instant> {
        let window = self.window.as_ref().filter(|_| !self.is_bound())?;
        window.closes_at().map(|since| self.started + since)
    }

    /// Waits for upstream bytes, the client's hang-up or `deadline`. Loses nothing: what is dropped
    /// here is the asking, and the wait itself stays with its connection.
    async fn wait(&mut self, source: &mut Source, deadline: Option<Instant>) -> Wake {
        let mut fill = pin!(source.fill(self.worker));
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
