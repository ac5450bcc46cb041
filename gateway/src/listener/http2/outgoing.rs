//! The response of the request path on its way into an HTTP/2 stream. [ring]
//!
//! What the pipe holds is parsed by our own codec and sent on at once: one write of the request path
//! becomes at most one HEADERS and one DATA frame. The client's window is the back-pressure: without
//! any, the pipe fills and the request path waits.

use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};

use super::pipe::{Ends, PIPE_BYTES};
use crate::http::h1::{BodyLength, BodyReader, Limits, Method, parse_response};
use crate::http::h2::response_head;

/// Bounds of a response head: an upstream's of the permitted size, and what the gateway adds.
const HEAD_LIMITS: Limits = Limits {
    head_bytes_max: 80 * 1024,
    uri_bytes_max: 0,
    headers_max: 128,
};

/// One response.
pub(super) struct Outgoing {
    method: &'static Method,
    state: State,
    /// Body bytes out of their framing, for which the client has given no window yet.
    waiting: Bytes,
}

enum State {
    Head(SendResponse<Bytes>),
    Body(SendStream<Bytes>, BodyReader),
    Done,
}

/// Why a response cannot go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Broken;

impl Outgoing {
    /// The response to a request of this method.
    pub(super) fn new(method: &'static Method, respond: SendResponse<Bytes>) -> Self {
        Self {
            method,
            state: State::Head(respond),
            waiting: Bytes::new(),
        }
    }

    /// Whether the client has all of it, as far as `h2` is concerned.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Whether bytes wait for the client.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Ready once the client reset the stream, or its connection is gone.
    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.state {
            State::Head(respond) => respond.poll_reset(cx).map(drop),
            State::Body(stream, _) => stream.poll_reset(cx).map(drop),
            State::Done => Poll::Pending,
        }
    }

    /// Gives the stream up.
    pub(super) fn reset(&mut self, reason: Reason) {
        match &mut self.state {
            State::Head(respond) => respond.send_reset(reason),
            State::Body(stream, _) => stream.send_reset(reason),
            State::Done => {}
        }
        self.state = State::Done;
    }

    /// Sends what can be sent of what the pipe holds; `true` where anything moved.
    ///
    /// # Errors
    ///
    /// [`Broken`]: no HTTP, or a stream that takes no more.
    pub(super) fn advance(&mut self, cx: &mut Context<'_>, ends: &Ends) -> Result<bool, Broken> {
        let mut moved = false;
        while matches!(self.state, State::Head(_)) && self.take_head(ends)? {
            moved = true;
        }
        while matches!(self.state, State::Body(..)) && self.send_body(cx, ends)? {
            moved = true;
        }
        Ok(moved)
    }

    /// Sends one head, interim or final; `false` where it is not complete.
    fn take_head(&mut self, ends: &Ends) -> Result<bool, Broken> {
        let State::Head(respond) = &mut self.state else {
            return Ok(false);
        };
        let mut outgoing = ends.outgoing.borrow_mut();
        let parsed = parse_response(&outgoing, self.method, &HEAD_LIMITS);
        let Some((head, used)) = parsed.map_err(|_| Broken)? else {
            // It must fit as a whole; the parser's own bound ends this.
            if outgoing.len() >= ends.outgoing_max.get() {
                ends.outgoing_max.set(outgoing.len() + PIPE_BYTES);
                return Ok(true);
            }
            return Ok(false);
        };
        outgoing.drain(..used);
        if head.is_interim() {
            let sent = respond.send_informational(response_head(&head));
            return sent.map(|()| true).map_err(|_| Broken);
        }
        ends.outgoing_max.set(PIPE_BYTES);
        let body = BodyReader::new(head.body());
        let ended = head.body() != BodyLength::UntilClose && body.is_done();
        let sent = respond.send_response(response_head(&head), ended);
        let stream = sent.map_err(|_| Broken)?;
        self.state = match ended {
            true => State::Done,
            false => State::Body(stream, body),
        };
        Ok(true)
    }

    /// Sends one frame; `false` where there is none to send, or no window for it.
    fn send_body(&mut self, cx: &mut Context<'_>, ends: &Ends) -> Result<bool, Broken> {
        let State::Body(stream, body) = &mut self.state else {
            return Ok(false);
        };
        let mut moved = false;
        if self.waiting.is_empty() {
            (moved, self.waiting) = unframed(body, ends)?;
        }
        if self.waiting.is_empty() {
            if body.is_done() {
                stream.send_data(Bytes::new(), true).map_err(|_| Broken)?;
                self.state = State::Done;
                return Ok(true);
            }
            return Ok(moved);
        }
        stream.reserve_capacity(self.waiting.len());
        let Poll::Ready(window) = poll_window(stream, cx)? else {
            return Ok(moved);
        };
        let piece = self.waiting.split_to(window.min(self.waiting.len()));
        let last = self.waiting.is_empty() && body.is_done();
        stream.send_data(piece, last).map_err(|_| Broken)?;
        if last {
            self.state = State::Done;
        }
        Ok(true)
    }
}

/// Takes what the pipe holds of the body out of its framing; tells whether the pipe got room.
fn unframed(body: &mut BodyReader, ends: &Ends) -> Result<(bool, Bytes), Broken> {
    let mut outgoing = ends.outgoing.borrow_mut();
    let mut data = Vec::new();
    let mut used = 0;
    while !body.is_done() {
        let rest = &outgoing[used..];
        let piece = body.next(rest).map_err(|_| Broken)?;
        if piece.consumed == 0 {
            break;
        }
        if data.capacity() == 0 {
            data.reserve_exact(rest.len());
        }
        data.extend_from_slice(&rest[piece.data]);
        used += piece.consumed;
    }
    outgoing.drain(..used);
    drop(outgoing);
    ends.release_outgoing();
    Ok((used > 0, Bytes::from(data)))
}

/// How much the client and the buffers of `h2` take now.
fn poll_window(
    stream: &mut SendStream<Bytes>,
    cx: &mut Context<'_>,
) -> Result<Poll<usize>, Broken> {
    loop {
        match stream.capacity() {
            0 => {}
            window => return Ok(Poll::Ready(window)),
        }
        match stream.poll_capacity(cx) {
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(_) => return Err(Broken),
            Poll::Pending => return Ok(Poll::Pending),
        }
    }
}
