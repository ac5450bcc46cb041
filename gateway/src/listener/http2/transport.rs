//! A client's bytes in the shape that the `h2` crate reads and writes. [ring]
//!
//! Beside moving bytes it measures them (`http::h2::Meter`), gathers small frames into one write, and
//! makes its task give way: a client that sends or takes without a pause must not own the worker.
//! This is the one file of a worker that names tokio, for the two traits that `h2` asks for; nothing
//! of its runtime is there.

use std::cell::{Ref, RefCell};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use monoio::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::wire::Wire;
use crate::http::h2::{Flood, Meter};
use crate::short_text::ShortText;
use crate::worker::Worker;
use crate::worker::buffers::BUFFER_BYTES;
use crate::worker::inbox::Inbox;

/// Bytes read and written before the rest of the worker gets its turn.
const TURN_BYTES: usize = 64 * 1024;
/// What a request that begins counts for. Until its task runs, `h2` keeps its frames, in memory that it does not give
/// back: a burst of requests is taken in by a few at a time.
const HEAD_TURN_BYTES: usize = 8 * 1024;

type Wait<T> = Pin<Box<dyn Future<Output = T>>>;

/// One client's bytes, shared by `h2`, which moves them, and the connection's task, which watches.
#[derive(Clone)]
pub(super) struct Transport(Rc<RefCell<Line>>);

/// The state of one connection's bytes.
pub(super) struct Line {
    worker: Rc<Worker>,
    wire: Wire,
    inbox: Inbox,
    /// Frames on their way out, up to [`BUFFER_BYTES`]; the worker's buffer while it holds any.
    outbox: Vec<u8>,
    sent: usize,
    room: Option<Wait<io::Result<()>>>,
    turn: Option<Wait<()>>,
    turn_bytes: usize,
    meter: Meter,
    opened: Instant,
    /// What the client sent too much of. Nothing more is read from then on.
    pub(super) flood: Option<Flood>,
    /// When the client last sent anything.
    pub(super) heard_at: Instant,
    /// Since when a head is incomplete.
    pub(super) head_since: Option<Instant>,
    /// Since when the client takes not a single byte.
    pub(super) blocked_since: Option<Instant>,
}

impl Transport {
    /// Takes over an established connection; `inbox` is what has arrived on it.
    pub(super) fn new(worker: &Rc<Worker>, (wire, inbox): (Wire, Inbox), streams_max: u32) -> Self {
        let now = worker.tick();
        Self(Rc::new(RefCell::new(Line {
            worker: Rc::clone(worker),
            wire,
            inbox,
            outbox: Vec::new(),
            sent: 0,
            room: None,
            turn: None,
            turn_bytes: 0,
            meter: Meter::new(streams_max),
            opened: now,
            flood: None,
            heard_at: now,
            head_since: None,
            blocked_since: None,
        })))
    }

    /// A look at the connection. Let go of it before anything is polled.
    pub(super) fn line(&self) -> Ref<'_, Line> {
        self.0.borrow()
    }

    /// The verified name of the client, where it showed a certificate.
    pub(super) fn identity(&self) -> Option<ShortText> {
        self.0.borrow().wire.identity().cloned()
    }

    /// Discards what the client still sends: `Ready` with its bytes, 0 at the end.
    pub(super) fn poll_discard(&self, cx: &mut Context<'_>) -> Poll<usize> {
        self.0.borrow_mut().poll_discard(cx)
    }

    /// Sends the end of the stream.
    pub(super) fn shutdown_write(&self) {
        self.0.borrow_mut().wire.shutdown_write();
    }
}

impl Line {
    /// Pending while others have their turn.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.turn.is_none() && self.turn_bytes >= TURN_BYTES {
            let worker = Rc::clone(&self.worker);
            self.turn = Some(Box::pin(async move { worker.turnstile.pass().await }));
        }
        if let Some(turn) = &mut self.turn {
            ready!(turn.as_mut().poll(cx));
            self.turn = None;
            self.turn_bytes = 0;
        }
        Poll::Ready(())
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.flood.is_some() {
            return Poll::Pending;
        }
        ready!(self.poll_turn(cx));
        if self.inbox.is_empty() {
            let buffers = &self.worker.buffers;
            match self.wire.poll_fill(cx, &mut self.inbox, buffers) {
                Poll::Pending => {
                    self.turn_bytes = 0;
                    return Poll::Pending;
                }
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(_)) => self.heard_at = self.worker.now(),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
        let count = self.inbox.len().min(buf.remaining());
        let bytes = &self.inbox.bytes()[..count];
        let now = self.worker.now();
        let age = now.saturating_duration_since(self.opened);
        let (count, begins) = match self.meter.received(bytes, age) {
            Ok(looked_at) => looked_at,
            Err(flood) => {
                self.flood = Some(flood);
                return Poll::Pending;
            }
        };
        self.head_since = match self.meter.is_in_head() {
            true if begins => Some(now),
            true => self.head_since.or(Some(now)),
            false => None,
        };
        buf.put_slice(&bytes[..count]);
        self.turn_bytes += count + usize::from(begins) * HEAD_TURN_BYTES;
        self.inbox.consume(count);
        self.inbox.release(&self.worker.buffers);
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.outbox.len() >= BUFFER_BYTES {
            ready!(self.poll_drain(cx))?;
        }
        if self.outbox.capacity() == 0 {
            self.outbox = self.worker.buffers.take();
        }
        let count = (BUFFER_BYTES - self.outbox.len()).min(bytes.len());
        let bytes = &bytes[..count];
        self.meter.sent(bytes);
        self.outbox.extend_from_slice(bytes);
        Poll::Ready(Ok(count))
    }

    /// Sends all that waits.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.outbox.len() || self.wire.has_unsent() {
            ready!(self.poll_turn(cx));
            if let Some(room) = &mut self.room {
                ready!(room.as_mut().poll(cx))?;
                self.room = None;
            }
            let count = self.wire.try_send(&self.outbox[self.sent..])?;
            if count == 0 && (self.sent < self.outbox.len() || self.wire.has_unsent()) {
                let now = self.worker.now();
                self.blocked_since.get_or_insert(now);
                self.room = Some(Box::pin(self.wire.writable()));
                continue;
            }
            self.blocked_since = None;
            self.sent += count;
            self.turn_bytes += count;
        }
        self.sent = 0;
        let outbox = std::mem::take(&mut self.outbox);
        if outbox.capacity() > 0 {
            self.worker.buffers.give(outbox);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        self.inbox.consume(self.inbox.len());
        let buffers = &self.worker.buffers;
        let filled = ready!(self.wire.poll_fill(cx, &mut self.inbox, buffers));
        self.inbox.consume(self.inbox.len());
        self.inbox.release(&self.worker.buffers);
        // A failed connection has ended too.
        Poll::Ready(filled.unwrap_or_default())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.inbox.consume(self.inbox.len());
        self.inbox.release(&self.worker.buffers);
        let outbox = std::mem::take(&mut self.outbox);
        if outbox.capacity() > 0 {
            self.worker.buffers.give(outbox);
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_drain(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut line = self.0.borrow_mut();
        ready!(line.poll_drain(cx))?;
        line.wire.shutdown_write();
        Poll::Ready(Ok(()))
    }
}
