//! One HTTP/2 stream: a request through the same path as any other. [ring]
//!
//! The task that runs this feeds the request path from the stream's DATA, runs it, and feeds its
//! response back, in turns until none of the three moves.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::Request;
use monoio::time::Instant;

use super::driver::Caller;
use super::outgoing::{Broken, Outgoing};
use super::pipe::{Ends, PIPE_BYTES, pipe};
use crate::http::h1::{Method, write};
use crate::http::h2::{Refused, write_head};
use crate::listener::client::{Client, Next};
use crate::listener::wire::Wire;
use crate::rejection::Rejection;
use crate::request;
use crate::short_text::ShortText;
use crate::worker::Worker;
use crate::worker::alarm::Alarm;

/// Longest pause in which a client takes not a single byte of a response that waits for it.
const SEND_STALL: Duration = Duration::from_secs(60);

type Serving = Pin<Box<dyn Future<Output = ()>>>;

/// One stream being served.
pub(super) struct Stream {
    worker: Rc<Worker>,
    ends: Rc<Ends>,
    /// The request path; `None` once it has ended.
    serving: Option<Serving>,
    incoming: Incoming,
    outgoing: Outgoing,
    alarm: Alarm,
    moved_at: Instant,
}

/// The request's body.
struct Incoming {
    /// `None` once its end was passed on.
    data: Option<RecvStream>,
    chunked: bool,
}

impl Stream {
    /// The stream of a request that was just accepted.
    pub(super) fn new(
        worker: &Rc<Worker>,
        (request, respond): (Request<RecvStream>, SendResponse<Bytes>),
        caller: &Caller<'_>,
        identity: Option<ShortText>,
    ) -> Self {
        let (parts, body) = request.into_parts();
        let has_body = !body.is_end_stream();
        let mut head = worker.buffers.take();
        let refused = write_head(&parts, has_body, &mut head).err();
        if refused.is_some() {
            head.clear();
        }
        let (near, ends) = pipe(worker, head, identity);
        let mut client = Client::new(Rc::clone(worker), Wire::Stream(near), caller.peer);
        if let Some(why) = caller.guest {
            client = client.turned_away(why);
        }
        let chunked = !parts.headers.contains_key(http::header::CONTENT_LENGTH);
        let method = match parts.method {
            http::Method::HEAD => &Method::Head,
            // Of the others the form of the response does not depend.
            _ => &Method::Get,
        };
        Self {
            serving: Some(serve(Rc::clone(worker), client, refused)),
            incoming: Incoming {
                data: (has_body && refused.is_none()).then_some(body),
                chunked,
            },
            outgoing: Outgoing::new(method, respond),
            alarm: Alarm::default(),
            moved_at: worker.now(),
            ends,
            worker: Rc::clone(worker),
        }
    }

    /// Serves the stream; `Ready` at its end.
    ///
    /// Bounded per poll by what `h2` holds of the request and takes of the response, which are the
    /// windows: more of either needs the connection's task.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.outgoing.poll_reset(cx).is_ready() {
            self.ends.set_gone();
        }
        loop {
            let fed = self.incoming.advance(cx, &self.ends);
            let took = self.serve(cx);
            if self.ends.is_gone() {
                return self.end_gone();
            }
            let sent = match self.outgoing.advance(cx, &self.ends) {
                Ok(sent) => sent,
                Err(Broken) => {
                    self.ends.set_gone();
                    continue;
                }
            };
            if sent {
                self.moved_at = self.worker.now();
            }
            if self.outgoing.is_done() {
                self.ends.set_deaf();
                // What is left of the request is nobody's: `h2` tells the client to stop.
                self.incoming.data = None;
                if self.serving.is_none() {
                    return Poll::Ready(());
                }
            }
            if !(fed || took || sent) {
                return self.rest(cx);
            }
        }
    }

    /// Runs the request path; `true` where it took any of the request, or ended.
    fn serve(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(serving) = &mut self.serving else {
            return false;
        };
        let before = self.ends.incoming.borrow().len();
        if serving.as_mut().poll(cx).is_ready() {
            self.serving = None;
            return true;
        }
        self.ends.incoming.borrow().len() < before
    }

    /// The client left: the request path was told, and ends when it has closed its accounts.
    fn end_gone(&mut self) -> Poll<()> {
        match self.serving {
            Some(_) => Poll::Pending,
            None => {
                self.outgoing.reset(Reason::CANCEL);
                Poll::Ready(())
            }
        }
    }

    /// Nothing moves: the end, or a wait that the client's stall may end.
    fn rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.outgoing.is_waiting() {
            let stalled = self.moved_at + SEND_STALL;
            if self.alarm.poll_until(cx, Some(stalled)).is_ready() {
                self.ends.set_gone();
                self.outgoing.reset(Reason::CANCEL);
                self.serve(cx);
                return self.end_gone();
            }
        } else {
            self.moved_at = self.worker.now();
            if self.serving.is_none() {
                // All of it was passed on, and it has no end: the upstream's failure, told in band.
                self.outgoing.reset(Reason::INTERNAL_ERROR);
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}

impl Incoming {
    /// Passes on what has arrived of the body; `true` where anything moved.
    fn advance(&mut self, cx: &mut Context<'_>, ends: &Ends) -> bool {
        let mut moved = false;
        while let Some(data) = &mut self.data
            && ends.incoming.borrow().len() < PIPE_BYTES
        {
            let Poll::Ready(arrived) = data.poll_data(cx) else {
                break;
            };
            moved = true;
            let mut incoming = ends.incoming.borrow_mut();
            match arrived {
                Some(Ok(bytes)) => {
                    if self.chunked {
                        write::chunk(&mut incoming, &bytes);
                    } else {
                        incoming.extend_from_slice(&bytes);
                    }
                    // Fails for a stream that was reset, which is noticed next.
                    let _ = data.flow_control().release_capacity(bytes.len());
                }
                Some(Err(_)) => {
                    ends.set_gone();
                    self.data = None;
                }
                None => {
                    if self.chunked {
                        write::last_chunk(&mut incoming);
                    }
                    self.data = None;
                }
            }
        }
        moved
    }
}

/// The request path, once. A block and no function of its own: that would hold the client twice.
fn serve(worker: Rc<Worker>, mut client: Client, refused: Option<Refused>) -> Serving {
    Box::pin(async move {
        let (status, message) = match refused {
            Some(Refused(message)) => (400, message),
            None => match &client.next_head().await {
                Next::Head(head) => {
                    request::serve(&worker, head, &mut client).await;
                    return;
                }
                Next::Malformed(error) => (error.status(), error.message()),
                Next::Closed | Next::Slow | Next::Http2 => return,
            },
        };
        let rejection = Rejection::Head { status, message };
        request::refuse(&worker, &rejection, &mut client).await;
    })
}
