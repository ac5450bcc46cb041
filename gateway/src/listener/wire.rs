//! Bytes to and from one client, whatever carries them. [ring]

use std::future::Future;
use std::io;
use std::task::{Context, Poll};

use crate::sys::Socket;
use crate::worker::buffers::Buffers;
use crate::worker::inbox::Inbox;
use crate::worker::inflow::Inflow;

/// What carries a client's bytes.
#[derive(Debug)]
pub(crate) enum Wire {
    /// A TCP connection in the clear.
    Plain(Inflow),
}

impl Wire {
    /// Cleartext over `socket`.
    pub(crate) fn plain(socket: Socket) -> Self {
        Self::Plain(Inflow::new(socket))
    }

    /// Appends what arrives to `inbox`; 0 is the end of the stream. Loses nothing when dropped.
    ///
    /// # Errors
    ///
    /// Those of `recv(2)`.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        inbox: &mut Inbox,
        buffers: &Buffers,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(inflow) => inflow.poll_fill(cx, inbox, buffers),
        }
    }

    /// Takes what can be sent of `bytes` now; `Ok(0)` where there is no room: wait with
    /// [`Wire::writable`].
    ///
    /// # Errors
    ///
    /// Those of `send(2)`.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(inflow) => inflow.socket().try_send(bytes),
        }
    }

    /// Resolves once there is room to send, or the wire failed. Borrows nothing, so that bytes can be
    /// read meanwhile.
    pub(crate) fn writable(&self) -> impl Future<Output = io::Result<()>> + use<> {
        match self {
            Self::Plain(inflow) => inflow.socket().writable(),
        }
    }

    /// Sends the end of the stream, so that the client reads what was sent before it.
    pub(crate) fn shutdown_write(&mut self) {
        match self {
            Self::Plain(inflow) => inflow.socket().shutdown_write(),
        }
    }
}
