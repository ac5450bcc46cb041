//! Bytes to and from an upstream, plain or under TLS. [ring]

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;

use crate::worker::buffers::Buffers;
use crate::worker::inbox::Inbox;
use crate::worker::inflow::Inflow;

use super::tls::TlsSession;

/// A connected upstream socket, counted for as long as it lives.
#[derive(Debug)]
pub(crate) struct Transport {
    io: Io,
    /// Counts closed connections; the heartbeat takes them to the gauge.
    closed: Rc<Cell<i64>>,
}

#[derive(Debug)]
enum Io {
    Plain(Inflow),
    Tls(Box<TlsSession>),
}

impl Transport {
    /// Cleartext over the socket of `inflow`.
    pub(super) fn plain(inflow: Inflow, closed: Rc<Cell<i64>>) -> Self {
        let io = Io::Plain(inflow);
        Self { io, closed }
    }

    /// TLS.
    pub(crate) fn tls(session: TlsSession, closed: Rc<Cell<i64>>) -> Self {
        let io = Io::Tls(Box::new(session));
        Self { io, closed }
    }

    /// Waits for bytes and appends them to `inbox`; 0 is the end of the stream. Loses nothing when
    /// dropped.
    ///
    /// # Errors
    ///
    /// Those of `recv(2)`; for TLS also `InvalidData` for a broken record and `UnexpectedEof` for
    /// an end without a closing alert.
    pub(crate) async fn fill(&mut self, inbox: &mut Inbox, buffers: &Buffers) -> io::Result<usize> {
        match &mut self.io {
            Io::Plain(inflow) => poll_fn(|cx| inflow.poll_fill(cx, inbox, buffers)).await,
            Io::Tls(session) => poll_fn(|cx| session.poll_fill(cx, inbox, buffers)).await,
        }
    }

    /// Sends all of `bytes`. Dropped half way, the connection is of no more use.
    ///
    /// # Errors
    ///
    /// Those of `send(2)`.
    pub(crate) async fn send_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.io {
            Io::Plain(inflow) => inflow.socket().send_all(bytes).await,
            Io::Tls(session) => session.send_all(bytes).await,
        }
    }

    /// Has what arrives acknowledged in pairs: [`Socket::delay_acks`](crate::sys::Socket::delay_acks).
    pub(crate) fn delay_acks(&self) {
        match &self.io {
            Io::Plain(inflow) => inflow.socket().delay_acks(),
            Io::Tls(session) => session.socket().delay_acks(),
        }
    }

    /// Whether an idle connection can carry a request: open, and nothing unasked has arrived. Ask
    /// when the connection becomes idle and when it is to be used again: what comes in between is
    /// noted without a system call.
    pub(crate) fn is_quiet(&mut self, buffers: &Buffers) -> bool {
        match &mut self.io {
            Io::Plain(inflow) => inflow.is_quiet(),
            Io::Tls(session) => session.is_quiet(buffers),
        }
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.closed.set(self.closed.get() + 1);
    }
}
