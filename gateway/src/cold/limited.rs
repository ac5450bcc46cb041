//! A listener that holds few connections, each for a limited time. [cold]
//!
//! The status listener has no authentication: whoever reaches it must not be able to use up file
//! descriptors by opening connections, or by leaving them open.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::tls::{HANDSHAKE_MAX, Io};
use crate::tls::listener::TlsListener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep_until};

/// Connections at a time; further ones wait in the backlog.
const CONNECTIONS_MAX: usize = 64;
/// A connection that moves no byte for this long is closed. Scrapes come every 15–60 s.
const IDLE_LIMIT: Duration = Duration::from_secs(90);
/// Pause after a failed accept, for instance without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The listener.
#[derive(Debug)]
pub struct Limited {
    listener: TcpListener,
    slots: Arc<Semaphore>,
    tls: Option<Arc<TlsListener>>,
}

impl Limited {
    /// Limits `listener`, which speaks `tls` if there is any.
    pub fn new(listener: TcpListener, tls: Option<Arc<TlsListener>>) -> Self {
        Self {
            tls,
            listener,
            slots: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        }
    }
}

impl axum::serve::Listener for Limited {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let slot = Arc::clone(&self.slots);
        let slot = slot
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let _ = stream.set_nodelay(true);
                    return (
                        Connection::new(Io::new(stream, self.tls.as_ref()), slot),
                        peer,
                    );
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that gives its slot back when it is closed.
#[derive(Debug)]
pub struct Connection {
    io: Io,
    deadline: Pin<Box<Sleep>>,
    _slot: OwnedSemaphorePermit,
}

impl Connection {
    fn new(io: Io, slot: OwnedSemaphorePermit) -> Self {
        let limit = match io {
            Io::Plain(_) => IDLE_LIMIT,
            Io::Tls(_) => HANDSHAKE_MAX,
        };
        let deadline = Box::pin(sleep_until(Instant::now() + limit));
        Self {
            io,
            deadline,
            _slot: slot,
        }
    }

    /// Passes progress on and moves the deadline; without progress, fails once it is over.
    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        progress: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.deadline.as_mut().reset(Instant::now() + IDLE_LIMIT);
            return progress;
        }
        match self.deadline.as_mut().poll(context) {
            Poll::Ready(()) => {
                self.io.timed_out();
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.io.poll_read(context, buf);
        self.watch(context, read)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.io.poll_write(context, bytes);
        self.watch(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::serve::Listener;
    use tokio::net::TcpStream;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    }

    #[test]
    fn connections_beyond_the_limit_wait_until_one_is_closed() {
        runtime().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addr = listener.local_addr().unwrap();
            let mut limited = Limited::new(listener, None);
            let mut held = Vec::new();
            let mut clients = Vec::new();
            for _ in 0..CONNECTIONS_MAX {
                clients.push(TcpStream::connect(addr).await.unwrap());
                held.push(limited.accept().await);
            }
            clients.push(TcpStream::connect(addr).await.unwrap());
            let soon = Duration::from_millis(50);
            assert!(tokio::time::timeout(soon, limited.accept()).await.is_err());
            held.pop();
            let later = Duration::from_secs(10);
            assert!(tokio::time::timeout(later, limited.accept()).await.is_ok());
        });
    }

    #[test]
    fn a_silent_connection_fails_at_its_deadline() {
        runtime().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addr = listener.local_addr().unwrap();
            let mut limited = Limited::new(listener, None);
            let _client = TcpStream::connect(addr).await.unwrap();
            let (mut connection, _) = limited.accept().await;
            connection.deadline.as_mut().reset(Instant::now());
            let mut byte = [0];
            let read = tokio::io::AsyncReadExt::read(&mut connection, &mut byte).await;
            assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
        });
    }
}
