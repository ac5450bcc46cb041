//! Bytes to and from one client, whatever carries them. [ring]

use std::future::Future;
use std::io;
use std::task::{Context, Poll};

use super::handshake::Secured;
use super::http2::Pipe;
use crate::short_text::ShortText;
use crate::sys::Socket;
use crate::worker::buffers::Buffers;
use crate::worker::inbox::Inbox;
use crate::worker::inflow::Inflow;

/// What carries a client's bytes.
#[derive(Debug)]
pub(crate) enum Wire {
    /// A TCP connection in the clear.
    Plain(Inflow),
    /// TLS, its handshake done.
    Tls(Box<Secured>),
    /// One stream of an HTTP/2 connection.
    Stream(Pipe),
}

impl Wire {
    /// Cleartext over `socket`.
    pub(crate) fn plain(socket: Socket) -> Self {
        Self::Plain(Inflow::new(socket))
    }

    /// The protocol that the client has agreed to in the handshake; `None` where it was not asked.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) | Self::Stream(_) => None,
            Self::Tls(secured) => secured.session.connection().alpn_protocol(),
        }
    }

    /// The verified name of the client, where it showed a certificate.
    pub(crate) fn identity(&self) -> Option<&ShortText> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(secured) => secured.identity.as_ref(),
            Self::Stream(pipe) => pipe.identity(),
        }
    }

    /// Appends what arrives to `inbox`; 0 is the end of the stream. Loses nothing when dropped.
    ///
    /// # Errors
    ///
    /// Those of `recv(2)`; for TLS also `InvalidData` for a broken record.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        inbox: &mut Inbox,
        buffers: &Buffers,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(inflow) => inflow.poll_fill(cx, inbox, buffers),
            Self::Tls(secured) => match secured.session.poll_fill(cx, inbox, buffers) {
                // Heads and bodies say themselves where they end: many clients just close.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    Poll::Ready(Ok(0))
                }
                filled => filled,
            },
            Self::Stream(pipe) => pipe.poll_fill(inbox, buffers),
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
            Self::Tls(secured) => secured.session.try_send(bytes),
            Self::Stream(pipe) => pipe.try_send(bytes),
        }
    }

    /// Whether bytes that were taken wait for room: wait with [`Wire::writable`] and send on, with
    /// no bytes if there are none.
    pub(crate) fn has_unsent(&self) -> bool {
        match self {
            Self::Plain(_) | Self::Stream(_) => false,
            Self::Tls(secured) => secured.session.has_unsent(),
        }
    }

    /// Resolves once there is room to send, or the wire failed. Borrows nothing, so that bytes can be
    /// read meanwhile.
    pub(crate) fn writable(&self) -> impl Future<Output = io::Result<()>> + use<> {
        let (socket, stream) = match self {
            Self::Plain(inflow) => (Some(inflow.socket().writable()), None),
            Self::Tls(secured) => (Some(secured.session.socket().writable()), None),
            Self::Stream(pipe) => (None, Some(pipe.writable())),
        };
        async move {
            if let Some(stream) = stream {
                stream.await;
            }
            match socket {
                Some(socket) => socket.await,
                None => Ok(()),
            }
        }
    }

    /// Sends the end of the stream, so that the client reads what was sent before it.
    pub(crate) fn shutdown_write(&mut self) {
        self.close();
        match self {
            Self::Plain(inflow) => inflow.socket().shutdown_write(),
            Self::Tls(secured) => secured.session.socket().shutdown_write(),
            Self::Stream(pipe) => pipe.shutdown_write(),
        }
    }

    /// Says that nothing more comes, where the wire has a way to say it; the socket closes with it.
    pub(crate) fn close(&mut self) {
        if let Self::Tls(secured) = self {
            secured.session.close();
        }
    }
}
