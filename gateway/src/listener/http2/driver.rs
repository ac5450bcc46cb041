//! The task of one HTTP/2 connection: it moves frames, starts a task per stream, keeps the clocks. [ring]

use std::cell::Cell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use monoio::time::Instant;

use super::stream::Stream;
use super::transport::Transport;
use crate::bridge::domain::Overload;
use crate::listener::Open;
use crate::listener::client::GUEST_WAIT;
use crate::worker::Worker;
use crate::worker::alarm::{Alarm, within};
use crate::worker::task;

/// Body bytes that a client may send ahead of the request path, on one stream and on all of them.
/// Worst case per connection: `CONNECTION_WINDOW` of unread DATA.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Response bytes that `h2` holds of one stream.
const SEND_BUFFER_BYTES: usize = 32 * 1024;
/// Longest frame that is taken.
const FRAME_BYTES: u32 = 16 * 1024;
/// Longest header list, by the count of RFC 9113 6.5.2. Longer ones are answered 431.
const HEADER_LIST_BYTES: u32 = 64 * 1024;
/// Resets of streams that nobody has looked at yet; one more ends the connection.
const UNSEEN_RESETS_MAX: usize = 20;
/// Streams that the gateway reset and whose late frames it still ignores.
const FORGOTTEN_MAX: usize = 64;
/// Streams that the client broke; one more ends the connection.
const STREAM_ERRORS_MAX: usize = 1024;
/// Longest pause in which a client takes not a single byte.
const SEND_STALL: Duration = Duration::from_secs(60);
/// How long a connection that was told to end may take.
const ENDING_MAX: Duration = Duration::from_secs(5);
/// Bytes discarded before it closes, so that the client reads why.
const LINGER_BYTES_MAX: usize = 1024 * 1024;

// The window of a stream is within that of its connection.
const _: () = assert!(STREAM_WINDOW <= CONNECTION_WINDOW);

/// Whose connection it is.
#[derive(Clone, Copy)]
pub(super) struct Caller<'c> {
    pub(super) peer: SocketAddr,
    /// Why there is no room for it, where there is none.
    pub(super) guest: Option<Overload>,
    pub(super) open: &'c Open,
}

/// Drives the connection to its end.
pub(super) async fn run(
    worker: &Rc<Worker>,
    transport: Transport,
    streams_max: u32,
    caller: Caller<'_>,
) {
    let mut alarm = Alarm::default();
    let shaken = Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(streams_max)
        .max_frame_size(FRAME_BYTES)
        .max_header_list_size(HEADER_LIST_BYTES)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(UNSEEN_RESETS_MAX)
        .max_concurrent_reset_streams(FORGOTTEN_MAX)
        .max_local_error_reset_streams(Some(STREAM_ERRORS_MAX))
        .handshake(transport.clone());
    let deadline = worker.now() + worker.settings.header_read_timeout;
    let shaken = within(&mut alarm, Some(deadline), pin!(shaken)).await;
    if let Ok(Ok(connection)) = shaken {
        let mut driver = Driver::new(worker, connection, transport.clone(), caller);
        poll_fn(|cx| driver.poll(cx)).await;
    }
    linger(worker, &transport).await;
}

/// Ends the connection so that the client can still read what was sent.
async fn linger(worker: &Worker, transport: &Transport) {
    transport.shutdown_write();
    let mut alarm = Alarm::default();
    let deadline = worker.tick() + ENDING_MAX;
    let mut left = LINGER_BYTES_MAX;
    let discarding = poll_fn(|cx| {
        loop {
            match transport.poll_discard(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(0) => return Poll::Ready(()),
                Poll::Ready(count) if count >= left => return Poll::Ready(()),
                Poll::Ready(count) => left -= count,
            }
        }
    });
    // At the deadline it closes all the same.
    let _ = within(&mut alarm, Some(deadline), pin!(discarding)).await;
}

/// One connection.
struct Driver<'c> {
    worker: &'c Rc<Worker>,
    connection: Connection<Transport, Bytes>,
    transport: Transport,
    caller: Caller<'c>,
    streams: Rc<Streams>,
    alarm: Alarm,
    /// Whether the end was under way when the connection began: of the process, or of a guest.
    born_late: bool,
    requests: u64,
    /// Since when no stream is open.
    idle_since: Option<Instant>,
    ending: Ending,
}

/// Whether the client was told that the connection ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ending {
    No,
    /// With a GOAWAY that lets open streams finish; since when none is open.
    Gently(Option<Instant>),
    /// With a GOAWAY that ends all.
    AtOnce(Instant),
}

/// Open streams of one connection.
#[derive(Default)]
struct Streams {
    count: Cell<usize>,
    driver: Cell<Option<Waker>>,
}

/// One of them, counted for as long as this lives.
struct Counted(Rc<Streams>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
        if self.0.count.get() == 0
            && let Some(driver) = self.0.driver.take()
        {
            driver.wake();
        }
    }
}

impl<'c> Driver<'c> {
    fn new(
        worker: &'c Rc<Worker>,
        connection: Connection<Transport, Bytes>,
        transport: Transport,
        caller: Caller<'c>,
    ) -> Self {
        Self {
            worker,
            connection,
            transport,
            caller,
            streams: Rc::default(),
            alarm: Alarm::default(),
            born_late: worker.is_leaving() || caller.guest.is_some(),
            requests: 0,
            idle_since: Some(worker.now()),
            ending: Ending::No,
        }
    }

    /// Moves the connection on; `Ready` at its end.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.worker.tick();
        self.caller.open.watch(cx.waker());
        self.streams.driver.set(Some(cx.waker().clone()));
        self.follow_phase();
        if self.poll_requests(cx).is_ready() {
            return Poll::Ready(());
        }
        if self.look_for_trouble(now) && self.poll_requests(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            self.note_idleness();
            let deadline = self.deadline();
            if self.alarm.poll_until(cx, deadline).is_pending() {
                return Poll::Pending;
            }
            if self.at_deadline(self.worker.tick()).is_ready() || self.poll_requests(cx).is_ready()
            {
                return Poll::Ready(());
            }
        }
    }

    fn note_idleness(&mut self) {
        // A stream whose task has ended may have bytes left to send.
        let is_idle = self.streams.count.get() == 0 && !self.connection.has_streams();
        self.caller
            .open
            .set_busy(!is_idle || self.caller.guest.is_some());
        let now = self.worker.now();
        self.idle_since = is_idle.then(|| self.idle_since.unwrap_or(now));
    }

    /// Moves frames and starts what was asked for; `Ready` once the connection is closed.
    fn poll_requests(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok(request))) => {
                    self.start(request);
                    self.follow_phase();
                }
                // `h2` has told the client already.
                Poll::Ready(Some(Err(error))) => {
                    self.note_flood(&error);
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn start(&mut self, request: (Request<RecvStream>, SendResponse<Bytes>)) {
        self.requests += 1;
        self.caller.open.set_busy(true);
        self.streams.count.set(self.streams.count.get() + 1);
        let counted = Counted(Rc::clone(&self.streams));
        let identity = self.transport.identity();
        let mut stream = Stream::new(self.worker, request, &self.caller, identity);
        let worker = Rc::clone(self.worker);
        task::spawn(
            async move {
                let _counted = counted;
                poll_fn(|cx| stream.poll(cx)).await;
            },
            move |text| worker.panicked(text),
        );
    }

    /// Says that the connection ends once the process does. A client that came during the drain is
    /// told with its first request: one that is turned away before it has asked would come back. So is
    /// a guest.
    fn follow_phase(&mut self) {
        let told = self.ending != Ending::No;
        let leaving = self.worker.is_leaving() || self.caller.guest.is_some();
        if !told && leaving && (!self.born_late || self.requests > 0) {
            self.end_gently();
        }
    }

    fn end_gently(&mut self) {
        self.connection.graceful_shutdown();
        self.ending = Ending::Gently(None);
    }

    fn end_at_once(&mut self, reason: Reason, now: Instant) {
        self.connection.abrupt_shutdown(reason);
        self.ending = Ending::AtOnce(now);
    }

    /// Logs that `h2` closed the connection of a client that asked too much.
    fn note_flood(&self, error: &h2::Error) {
        let calmed = error.is_library() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM);
        if calmed {
            self.closed_for(&error.to_string());
        }
    }

    fn closed_for(&self, what: &str) {
        let detail = format!("{}: {what}", self.caller.peer);
        self.worker.warn("an HTTP/2 connection was closed", &detail);
    }

    /// Ends the connection of a client that asks too much; `true` where that was just found out.
    fn look_for_trouble(&mut self, now: Instant) -> bool {
        let flood = self.transport.line().flood;
        let Some(flood) = flood.filter(|_| !matches!(self.ending, Ending::AtOnce(_))) else {
            return false;
        };
        self.closed_for(&format!("too many {}", flood.as_str()));
        self.end_at_once(Reason::ENHANCE_YOUR_CALM, now);
        true
    }

    /// The next moment at which something is due.
    fn deadline(&mut self) -> Option<Instant> {
        let settings = &self.worker.settings;
        let line = self.transport.line();
        let blocked = line.blocked_since.map(|since| since + SEND_STALL);
        // One that was told to end at once is not told again.
        let head = line
            .head_since
            .filter(|_| !matches!(self.ending, Ending::AtOnce(_)));
        let head = head.map(|since| since + settings.header_read_timeout);
        let ending = match &mut self.ending {
            Ending::AtOnce(since) => Some(*since + ENDING_MAX),
            Ending::Gently(since) => {
                *since = self.idle_since.map(|idle| since.unwrap_or(idle));
                since.map(|since| since + ENDING_MAX)
            }
            Ending::No => {
                let timeout = match self.caller.guest {
                    Some(_) => Some(GUEST_WAIT),
                    None => settings.idle_timeout,
                };
                let idle = self.idle_since.zip(timeout);
                idle.map(|(since, timeout)| since + timeout)
            }
        };
        [blocked, head, ending].into_iter().flatten().min()
    }

    /// Does what is due; `Ready` where the connection ends with that.
    fn at_deadline(&mut self, now: Instant) -> Poll<()> {
        let line = self.transport.line();
        let blocked = line
            .blocked_since
            .is_some_and(|since| now >= since + SEND_STALL);
        let header_read_timeout = self.worker.settings.header_read_timeout;
        let slow = line
            .head_since
            .is_some_and(|since| now >= since + header_read_timeout);
        drop(line);
        match self.ending {
            _ if blocked => return Poll::Ready(()),
            Ending::AtOnce(since) if now >= since + ENDING_MAX => return Poll::Ready(()),
            Ending::Gently(Some(since)) if now >= since + ENDING_MAX => return Poll::Ready(()),
            Ending::AtOnce(_) => {}
            _ if slow => self.end_at_once(Reason::ENHANCE_YOUR_CALM, now),
            Ending::Gently(_) => {}
            Ending::No => self.end_gently(),
        }
        Poll::Pending
    }
}
