//! The downstream side of one connection: heads and bodies in, responses out, and a watch for the
//! hang-up all the while. [ring]
//!
//! The readiness wait that watches for a hang-up while a request is served is the very wait for the
//! next request afterwards, so a kept-alive request arms the socket once.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use monoio::time::Instant;

use super::wire::Wire;
use crate::bridge::domain::Overload;
use crate::bridge::memory::{NoRoom, Share};
use crate::http::h1::{BodyLength, BodyReader, HeadError, HeadScanner, RequestHead, write};
use crate::http::h2;
use crate::short_text::ShortText;
use crate::sys::Pooled;
use crate::worker::Worker;
use crate::worker::alarm::{Alarm, Elapsed};
use crate::worker::buffers::BUFFER_BYTES;
use crate::worker::inbox::Inbox;

/// Longest pause between two bytes of a request body.
const BODY_STALL: Duration = Duration::from_secs(30);
/// Longest pause in which a client takes not a single byte of its response.
const SEND_STALL: Duration = Duration::from_secs(60);
/// Unread request body that is worth discarding to keep the connection.
const DISCARD_MAX: u64 = 64 * 1024;
/// Bounds of the discarding before a connection is closed, so that the client can read the answer.
const LINGER_BYTES_MAX: u64 = 32 * 1024 * 1024;
const LINGER_MAX: Duration = Duration::from_secs(5);
/// Pipelined bytes taken while a request is served. Past it the hang-up is noticed by writes only.
const PIPELINED_MAX: usize = 16 * 1024;
/// How long a connection that there is no room for may take to ask, and to read the answer.
pub(super) const GUEST_WAIT: Duration = Duration::from_secs(1);
/// First allocation for a body of announced length: what a client merely announces costs no memory.
const BODY_RESERVE_MAX: u64 = 64 * 1024;

/// One caller's connection.
pub(crate) struct Client {
    worker: Rc<Worker>,
    wire: Wire,
    peer: SocketAddr,
    inbox: Inbox,
    gone: bool,
    alarm: Alarm,
    body: BodyReader,
    continue_due: bool,
    /// Body bytes of the current request read so far.
    body_received: u64,
    /// When the client last took bytes that it had kept waiting.
    unblocked_at: Instant,
    /// Whether what comes may be the preface of HTTP/2: nothing was asked yet, and it is spoken.
    preface_due: bool,
    /// Why there is no room for the connection, where there is none.
    guest: Option<Overload>,
}

/// What the connection brings next.
pub(crate) enum Next {
    /// A request.
    Head(RequestHead),
    /// The preface of HTTP/2, not taken yet: see [`Client::into_stream`].
    Http2,
    /// Bytes that are no request: answer and close.
    Malformed(HeadError),
    /// A head that took too long: answer 408 and close.
    Slow,
    /// Nothing more: closed, idle for too long, or failed.
    Closed,
}

/// The client is no longer there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct HungUp;

/// Why a request body could not be read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum BodyFailure {
    /// More bytes than the limit.
    TooLarge,
    /// More bytes than all bodies together may have.
    NoRoom,
    /// Nothing came for [`BODY_STALL`].
    Stalled,
    /// Broken framing.
    Malformed,
    /// The client left.
    HungUp,
}

/// What a wait for bytes ended with.
enum Arrival {
    Bytes,
    End,
    Expired,
}

impl Client {
    /// Takes over an accepted connection.
    pub(crate) fn new(worker: Rc<Worker>, wire: Wire, peer: SocketAddr) -> Self {
        Self {
            unblocked_at: worker.now(),
            preface_due: worker.settings.http2_streams_max.is_some()
                && !matches!(wire, Wire::Stream(_)),
            worker,
            wire,
            peer,
            inbox: Inbox::default(),
            gone: false,
            alarm: Alarm::default(),
            body: BodyReader::new(BodyLength::None),
            continue_due: false,
            body_received: 0,
            guest: None,
        }
    }

    /// A client whose connection ends with its first answer, for want of `why`.
    pub(crate) fn turned_away(mut self, why: Overload) -> Self {
        self.guest = Some(why);
        self
    }

    /// Why there is no room for the connection, where there is none.
    pub(crate) fn guest(&self) -> Option<Overload> {
        self.guest
    }

    /// The address of the other end.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The verified name of the client, where it showed a certificate.
    pub(crate) fn identity(&self) -> Option<&ShortText> {
        self.wire.identity()
    }

    /// Body bytes of the current request read so far.
    pub(crate) fn body_received(&self) -> u64 {
        self.body_received
    }

    /// Waits for the next request head.
    pub(crate) async fn next_head(&mut self) -> Next {
        let idle_since = self.worker.now();
        let mut head_since = (!self.inbox.is_empty()).then_some(idle_since);
        let mut scanner = HeadScanner::new();
        loop {
            match h2::has_preface(self.inbox.bytes()) {
                Some(true) if self.preface_due => return Next::Http2,
                Some(_) => self.preface_due = false,
                None => {}
            }
            if !self.inbox.is_empty() && !self.preface_due {
                let limits = &self.worker.settings.head_limits;
                match scanner.parse_request(self.inbox.bytes(), limits) {
                    Ok(Some((head, used))) => {
                        self.inbox.consume(used);
                        self.begin(&head);
                        return Next::Head(head);
                    }
                    Ok(None) => {}
                    Err(error) => return Next::Malformed(error),
                }
            }
            let settings = &self.worker.settings;
            let deadline = match head_since {
                _ if self.guest.is_some() => Some(idle_since + GUEST_WAIT),
                None => settings.idle_timeout.map(|idle| idle_since + idle),
                Some(since) => Some(since + settings.header_read_timeout),
            };
            self.inbox.release(&self.worker.buffers);
            match self.arrival(deadline).await {
                Arrival::Bytes => {
                    if head_since.is_none() {
                        head_since = Some(self.worker.tick());
                    }
                }
                Arrival::Expired if head_since.is_some() => return Next::Slow,
                Arrival::End | Arrival::Expired => return Next::Closed,
            }
        }
    }

    /// What carries the bytes, and those that have arrived, for another protocol to go on with.
    pub(crate) fn into_stream(self) -> (Wire, Inbox) {
        (self.wire, self.inbox)
    }

    fn begin(&mut self, head: &RequestHead) {
        self.body = BodyReader::new(head.body());
        self.continue_due = head.expects_continue() && head.body() != BodyLength::None;
        self.body_received = 0;
    }

    /// Reads the whole request body, at most `max` bytes of it. Small ones come in a buffer of the
    /// worker's, to be given back. The share covers the body: keep it for as long as its bytes are
    /// held, in whatever form.
    ///
    /// # Errors
    ///
    /// [`BodyFailure`]; the rest of the body is still to be dealt with ([`Client::finish`]).
    pub(crate) async fn read_body(
        &mut self,
        length: BodyLength,
        max: u64,
    ) -> Result<(Vec<u8>, Share), BodyFailure> {
        let mut share = Share::default();
        let mut body = match length {
            BodyLength::Exact(bytes) if bytes > BUFFER_BYTES as u64 => {
                let reserve = bytes.min(BODY_RESERVE_MAX);
                Vec::with_capacity(usize::try_from(reserve).unwrap_or(0))
            }
            _ => self.worker.buffers.take(),
        };
        if std::mem::take(&mut self.continue_due) {
            self.send(write::CONTINUE)
                .await
                .map_err(|HungUp| BodyFailure::HungUp)?;
        }
        match self.fill_body(&mut body, &mut share, max).await {
            Ok(()) => Ok((body, share)),
            Err(failure) => {
                // Also what is thrown away is counted: the allocator is asked for it in the end.
                self.worker.buffers.give(body);
                Err(failure)
            }
        }
    }

    /// Reads the rest of the request body into `body`, which `share` covers.
    async fn fill_body(
        &mut self,
        body: &mut Vec<u8>,
        share: &mut Share,
        max: u64,
    ) -> Result<(), BodyFailure> {
        let mut deadline = None;
        loop {
            while !self.body.is_done() {
                let piece = self
                    .body
                    .next(self.inbox.bytes())
                    .map_err(|_| BodyFailure::Malformed)?;
                if piece.consumed == 0 {
                    break;
                }
                let data = &self.inbox.bytes()[piece.data];
                let held = (body.len() + data.len()) as u64;
                if held > max {
                    return Err(BodyFailure::TooLarge);
                }
                let covered = share.cover(self.worker.admission.memory(), held);
                covered.map_err(|NoRoom| BodyFailure::NoRoom)?;
                body.extend_from_slice(data);
                self.body_received += data.len() as u64;
                self.inbox.consume(piece.consumed);
            }
            if self.body.is_done() {
                self.inbox.release(&self.worker.buffers);
                return Ok(());
            }
            let stall_at = *deadline.get_or_insert_with(|| self.worker.now() + BODY_STALL);
            match self.arrival(Some(stall_at)).await {
                Arrival::Bytes => deadline = None,
                Arrival::End => return Err(BodyFailure::HungUp),
                Arrival::Expired => return Err(BodyFailure::Stalled),
            }
        }
    }

    /// Runs `work` while watching for the client's hang-up, which drops it.
    ///
    /// # Errors
    ///
    /// [`HungUp`] where the client left first.
    pub(crate) async fn until_hangup<F: Future>(
        &mut self,
        mut work: Pin<&mut F>,
    ) -> Result<F::Output, HungUp> {
        poll_fn(|cx| {
            if let Poll::Ready(output) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            self.poll_hangup(cx).map(|()| Err(HungUp))
        })
        .await
    }

    /// Runs `work` until `deadline` while watching for the client's hang-up; either drops it.
    ///
    /// # Errors
    ///
    /// [`HungUp`] where the client left first; [`Elapsed`] at the deadline.
    pub(crate) async fn until_hangup_or<F: Future>(
        &mut self,
        deadline: Option<Instant>,
        mut work: Pin<&mut F>,
    ) -> Result<Result<F::Output, Elapsed>, HungUp> {
        poll_fn(|cx| {
            if let Poll::Ready(output) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(Ok(output)));
            }
            if self.poll_hangup(cx).is_ready() {
                return Poll::Ready(Err(HungUp));
            }
            self.alarm
                .poll_until(cx, deadline)
                .map(|()| Ok(Err(Elapsed)))
        })
        .await
    }

    /// Ready once the client has closed its side or reset the connection. What it pipelines in the
    /// meantime is kept for the next request.
    ///
    /// A half-closed connection counts as hung up: a client that is done sending and still wants an
    /// answer is indistinguishable from one whose process ended.
    pub(crate) fn poll_hangup(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.gone && self.inbox.len() < PIPELINED_MAX {
            let buffers = &self.worker.buffers;
            match ready!(self.wire.poll_fill(cx, &mut self.inbox, buffers)) {
                Ok(0) | Err(_) => self.gone = true,
                Ok(_) => {}
            }
        }
        if self.gone {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Ready once `deadline` has passed.
    pub(crate) fn poll_alarm(
        &mut self,
        cx: &mut Context<'_>,
        deadline: Option<Instant>,
    ) -> Poll<()> {
        self.alarm.poll_until(cx, deadline)
    }

    /// Sends `bytes`. A slow reader holds the caller up; one that takes nothing for
    /// [`SEND_STALL`] counts as hung up.
    ///
    /// # Errors
    ///
    /// [`HungUp`]: part of the bytes may have been sent, and the connection is of no more use.
    pub(crate) async fn send(&mut self, mut bytes: &[u8]) -> Result<(), HungUp> {
        loop {
            let sent = match self.wire.try_send(bytes) {
                Ok(sent) => sent,
                Err(_) => {
                    self.gone = true;
                    return Err(HungUp);
                }
            };
            bytes = &bytes[sent..];
            if bytes.is_empty() && !self.wire.has_unsent() {
                return Ok(());
            }
            let deadline = self.worker.tick() + SEND_STALL;
            // In a block: every phase that sends has room for it, and few ever wait.
            let mut room = Pooled::new(self.wire.writable());
            let woken = poll_fn(|cx| {
                if let Poll::Ready(result) = Pin::new(&mut room).poll(cx) {
                    return Poll::Ready(result.is_ok());
                }
                if self.poll_hangup(cx).is_ready() {
                    return Poll::Ready(false);
                }
                self.alarm.poll_until(cx, Some(deadline)).map(|()| false)
            })
            .await;
            if !woken {
                self.gone = true;
                return Err(HungUp);
            }
            self.unblocked_at = self.worker.tick();
        }
    }

    /// When the client last took bytes that it had kept waiting; its connect time before that.
    pub(crate) fn unblocked_at(&self) -> Instant {
        self.unblocked_at
    }

    /// Whether the connection can carry another request without reading more than
    /// [`DISCARD_MAX`] of the body that the current one left unread. Ask before the response head
    /// is written.
    pub(crate) fn can_be_kept(&self) -> bool {
        !self.gone
            && self.guest.is_none()
            && !self.continue_due
            && self
                .body
                .remaining()
                .is_some_and(|left| left <= DISCARD_MAX)
    }

    /// Discards what is left of the request body. `false` where the connection must close instead.
    pub(crate) async fn finish(&mut self) -> bool {
        let deadline = self.worker.now() + LINGER_MAX;
        let mut discarded = 0;
        while !self.body.is_done() {
            let Ok(piece) = self.body.next(self.inbox.bytes()) else {
                return false;
            };
            if piece.consumed > 0 {
                discarded += piece.consumed as u64;
                self.inbox.consume(piece.consumed);
            } else if discarded > DISCARD_MAX
                || !matches!(self.arrival(Some(deadline)).await, Arrival::Bytes)
            {
                return false;
            }
        }
        true
    }

    /// Ends an idle connection in order.
    pub(crate) fn close(&mut self) {
        if !self.gone {
            self.wire.close();
        }
    }

    /// Ends the connection so that the client can still read what was sent: a socket closed with
    /// unread bytes resets, which throws the answer away.
    pub(crate) async fn linger(&mut self) -> Lingered {
        if self.gone {
            return Lingered::ClientGone;
        }
        self.wire.shutdown_write();
        let wait = self.guest.map_or(LINGER_MAX, |_| GUEST_WAIT);
        let deadline = self.worker.now() + wait;
        let mut discarded = 0;
        loop {
            discarded += self.inbox.len() as u64;
            self.inbox.consume(self.inbox.len());
            if discarded > LINGER_BYTES_MAX {
                return Lingered::CapReached;
            }
            match self.arrival(Some(deadline)).await {
                Arrival::Bytes => {}
                Arrival::End if self.gone => return Lingered::ClientGone,
                Arrival::End => return Lingered::Completed,
                Arrival::Expired => return Lingered::Expired,
            }
        }
    }

    /// Waits until more bytes are in the inbox.
    async fn arrival(&mut self, deadline: Option<Instant>) -> Arrival {
        poll_fn(|cx| self.poll_arrival(cx, deadline)).await
    }

    fn poll_arrival(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<Arrival> {
        if self.gone {
            return Poll::Ready(Arrival::End);
        }
        let buffers = &self.worker.buffers;
        match self.wire.poll_fill(cx, &mut self.inbox, buffers) {
            Poll::Pending => {
                let expiry = self.alarm.poll_until(cx, deadline);
                expiry.map(|()| Arrival::Expired)
            }
            Poll::Ready(Ok(0)) => Poll::Ready(Arrival::End),
            Poll::Ready(Ok(_)) => Poll::Ready(Arrival::Bytes),
            Poll::Ready(Err(_)) => {
                self.gone = true;
                Poll::Ready(Arrival::End)
            }
        }
    }
}

/// How discarding an unread body before closing ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Lingered {
    /// The client sent all it had.
    Completed,
    /// [`LINGER_BYTES_MAX`] were discarded.
    CapReached,
    /// [`LINGER_MAX`] passed.
    Expired,
    /// The client reset the connection.
    ClientGone,
}
