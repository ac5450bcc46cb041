//! One accepted socket: reads for hang-ups while it writes or waits. [cold]

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::timer::Sleep;

/// Bytes of requests that may arrive ahead of their turn. Beyond it the socket is not read, and a
/// hang-up is noticed by the next write only.
const INBOX_BYTES_MAX: usize = 1024 * 1024;
/// Room made for each read of a request.
const READ_BYTES: usize = 16 * 1024;

/// The peer closed or reset its connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gone;

/// A client of the mock.
pub(super) struct Peer {
    stream: TcpStream,
    /// Received and not yet used.
    pub(super) inbox: Vec<u8>,
    /// Number of this connection, from 1.
    pub(super) connection: u64,
    /// Bytes written on this connection.
    pub(super) sent: u64,
}

impl Peer {
    pub(super) fn new(stream: TcpStream, connection: u64) -> Self {
        // Without it a small event may wait for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            inbox: Vec::new(),
            connection,
            sent: 0,
        }
    }

    /// Reads more of a request into the inbox. Zero bytes: the peer has closed.
    pub(super) async fn receive(&mut self) -> io::Result<usize> {
        self.inbox.reserve(READ_BYTES);
        self.stream.read_buf(&mut self.inbox).await
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    ///
    /// [`Gone`] as soon as the peer has hung up, also while it does not read.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = poll_fn(|cx| match Pin::new(&mut self.stream).poll_write(cx, rest) {
                Poll::Ready(written) => Poll::Ready(written.map_err(|_| Gone)),
                Poll::Pending => self.poll_gone(cx).map(Err),
            })
            .await?;
            self.sent += written as u64;
            rest = &rest[written..];
        }
        Ok(())
    }

    /// Waits until `deadline`.
    ///
    /// # Errors
    ///
    /// [`Gone`] at once when the peer hangs up meanwhile.
    pub(super) async fn wait_until(&mut self, deadline: Instant) -> Result<(), Gone> {
        let mut sleep = Sleep::until(deadline);
        poll_fn(|cx| match sleep.poll(cx) {
            Poll::Ready(()) => Poll::Ready(Ok(())),
            Poll::Pending => self.poll_gone(cx).map(Err),
        })
        .await
    }

    /// Waits for the hang-up, however long it takes.
    pub(super) async fn until_gone(&mut self) -> Gone {
        poll_fn(|cx| self.poll_gone(cx)).await
    }

    /// Makes the coming close a reset instead of a FIN.
    pub(super) fn reset_on_close(&mut self) {
        let _ = self.stream.set_zero_linger();
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        let mut bytes = [0; 1024];
        while self.inbox.len() < INBOX_BYTES_MAX {
            let mut read = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(cx, &mut read) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                    self.inbox.extend_from_slice(read.filled());
                }
                Poll::Ready(_) => return Poll::Ready(Gone),
            }
        }
        Poll::Pending
    }
}
