//! Bytes to and from an upstream, plain or under TLS. [ring]

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use crate::sys::{Peeked, Socket};
use crate::worker::buffers::Buffers;
use crate::worker::inbox::{Filled, Inbox};

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
    Plain {
        socket: Socket,
        /// Whether the receive queue may hold bytes that no readiness event will announce.
        undrained: bool,
    },
    Tls(Box<TlsSession>),
}

impl Transport {
    /// Cleartext over `socket`.
    pub(crate) fn plain(socket: Socket, closed: Rc<Cell<i64>>) -> Self {
        let io = Io::Plain {
            socket,
            undrained: false,
        };
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
            Io::Plain { socket, undrained } => loop {
                if !std::mem::take(undrained) {
                    socket.readable().await?;
                }
                match inbox.fill_from(socket, buffers)? {
                    Filled::Dry => {}
                    Filled::End => return Ok(0),
                    Filled::Bytes { count, drained } => {
                        *undrained = !drained;
                        return Ok(count);
                    }
                }
            },
            Io::Tls(session) => session.fill(inbox, buffers).await,
        }
    }

    /// Sends all of `bytes`. Dropped half way, the connection is of no more use.
    ///
    /// # Errors
    ///
    /// Those of `send(2)`.
    pub(crate) async fn send_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.io {
            Io::Plain { socket, .. } => socket.send_all(bytes).await,
            Io::Tls(session) => session.send_all(bytes).await,
        }
    }

    /// Whether an idle connection can carry a request: open, and nothing unasked has arrived.
    pub(crate) fn is_quiet(&mut self, buffers: &Buffers) -> bool {
        match &mut self.io {
            Io::Plain { socket, undrained } => !*undrained && socket.peek() == Peeked::Quiet,
            Io::Tls(session) => session.is_quiet(buffers),
        }
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.closed.set(self.closed.get() + 1);
    }
}
