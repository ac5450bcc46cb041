//! TLS of the cold side's listener: the handshake is done by whoever first reads. [cold]

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

use crate::tls::handshakes::Failure;
use crate::tls::listener::TlsListener;

/// From the accept to the end of the handshake.
pub(super) const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// What HTTP in the clear is answered.
const PLAIN_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\n\
    content-length: 59\r\nconnection: close\r\n\r\n\
    this port speaks TLS: use https:// instead of http:// here\n";

/// What carries a connection's bytes.
#[derive(Debug)]
pub enum Io {
    /// In the clear.
    Plain(TcpStream),
    /// TLS.
    Tls(Box<Secured>),
}

/// A TLS connection on its way.
pub struct Secured {
    listener: Arc<TlsListener>,
    state: State,
}

enum State {
    /// Nothing has come yet.
    Fresh(TcpStream),
    Shaking(Accept<TcpStream>),
    Open(TlsStream<TcpStream>),
    Failed,
}

impl std::fmt::Debug for Secured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match self.state {
            State::Fresh(_) => "fresh",
            State::Shaking(_) => "shaking hands",
            State::Open(_) => "open",
            State::Failed => "failed",
        };
        f.debug_tuple("Secured").field(&state).finish()
    }
}

impl Io {
    /// `stream` in the clear, or under `tls`.
    pub(super) fn new(stream: TcpStream, tls: Option<&Arc<TlsListener>>) -> Self {
        match tls {
            None => Self::Plain(stream),
            Some(listener) => Self::Tls(Box::new(Secured {
                listener: Arc::clone(listener),
                state: State::Fresh(stream),
            })),
        }
    }

    /// Notes that its time is over.
    pub(super) fn timed_out(&mut self) {
        if let Self::Tls(secured) = self
            && matches!(secured.state, State::Fresh(_) | State::Shaking(_))
        {
            secured.fail(Failure::Timeout);
        }
    }

    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buf),
            Self::Tls(secured) => {
                let stream = ready!(secured.poll_open(context))?;
                Pin::new(stream).poll_read(context, buf)
            }
        }
    }

    pub(super) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(secured) => {
                let stream = ready!(secured.poll_open(context))?;
                Pin::new(stream).poll_write(context, bytes)
            }
        }
    }

    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(secured) => match &mut secured.state {
                State::Open(stream) => Pin::new(stream).poll_flush(context),
                // Nothing was written.
                _ => Poll::Ready(Ok(())),
            },
        }
    }

    pub(super) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(secured) => match &mut secured.state {
                State::Open(stream) => Pin::new(stream).poll_shutdown(context),
                _ => Poll::Ready(Ok(())),
            },
        }
    }
}

impl Secured {
    /// The stream, once hands are shaken.
    fn poll_open(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<&mut TlsStream<TcpStream>>> {
        if let State::Fresh(stream) = &mut self.state {
            let mut first = [0];
            let peeked = ready!(stream.poll_peek(context, &mut ReadBuf::new(&mut first)));
            let count = match peeked {
                Ok(count) => count,
                Err(error) => return Poll::Ready(Err(self.failed(error))),
            };
            if count == 0 {
                let left = io::ErrorKind::UnexpectedEof.into();
                return Poll::Ready(Err(self.failed(left)));
            }
            let State::Fresh(stream) = std::mem::replace(&mut self.state, State::Failed) else {
                unreachable!("it was fresh a few lines ago");
            };
            // A method begins with a letter, a handshake with 0x16.
            if first[0].is_ascii_alphabetic() {
                tell_plain(&stream);
                self.fail(Failure::PlainHttp);
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            let acceptor = TlsAcceptor::from(self.listener.config());
            self.state = State::Shaking(acceptor.accept(stream));
        }
        if let State::Shaking(accept) = &mut self.state {
            match ready!(Pin::new(accept).poll(context)) {
                Ok(stream) => {
                    let (_, connection) = stream.get_ref();
                    let (version, kind) =
                        (connection.protocol_version(), connection.handshake_kind());
                    self.listener.handshakes.count(version, kind);
                    self.state = State::Open(stream);
                }
                Err(error) => return Poll::Ready(Err(self.failed(error))),
            }
        }
        match &mut self.state {
            State::Open(stream) => Poll::Ready(Ok(stream)),
            _ => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn failed(&mut self, error: io::Error) -> io::Error {
        let failure = Failure::of(&error);
        if failure.is_telling() {
            tracing::debug!(%error, "a client of the metrics listener was refused for its certificate");
        }
        self.fail(failure);
        error
    }

    fn fail(&mut self, failure: Failure) {
        self.state = State::Failed;
        self.listener.handshakes.fail(failure);
    }
}

/// Answers a client that speaks HTTP in the clear, as far as that goes without waiting: what it has
/// sent is taken first, since a socket closed with unread bytes takes the answer along.
fn tell_plain(stream: &TcpStream) {
    let mut sent = [0; 4096];
    let _ = stream.try_read(&mut sent);
    let _ = stream.try_write(PLAIN_ANSWER);
}
