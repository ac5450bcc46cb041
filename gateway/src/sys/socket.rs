//! A connected TCP socket: readiness from the runtime, bytes by non-blocking system calls. [ring]
//!
//! Waiting owns no buffer, and dropping a wait loses nothing: the kernel is only ever asked whether
//! the socket is ready, never handed memory that outlives the call. That removes the trap of a
//! completion ring, where a dropped read takes its bytes along.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use monoio::net::TcpStream;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, recv, send, sendmsg};

/// One TCP connection of this worker. A clone is another handle to the same socket, which closes
/// with its last handle.
#[derive(Clone, Debug)]
pub(crate) struct Socket {
    stream: Rc<TcpStream>,
    /// The stream's descriptor, kept beside the handle: the runtime's types hold it two pointers
    /// away, which is two lines of cold memory per call.
    fd: RawFd,
}

impl Socket {
    /// Takes over a connection, switching Nagle's algorithm off.
    ///
    /// # Errors
    ///
    /// The socket died before it could be set up.
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let fd = stream.as_raw_fd();
        let stream = Rc::new(stream);
        Ok(Self { stream, fd })
    }

    /// A handle that is asked for readiness alone: `stream` listens.
    pub(super) fn of_listener(stream: TcpStream) -> Self {
        let fd = stream.as_raw_fd();
        let stream = Rc::new(stream);
        Self { stream, fd }
    }

    /// Switches TCP keep-alive probes on.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    pub(crate) fn set_keepalive(
        &self,
        idle: Duration,
        interval: Option<Duration>,
        probes: u32,
    ) -> io::Result<()> {
        self.stream
            .set_tcp_keepalive(Some(idle), interval, Some(probes))
    }

    /// Has what arrives acknowledged with the segment after it, or after 40 ms, not with each read.
    ///
    /// The kernel ends that by itself once the 40 ms have passed. So a peer that keeps a second small segment
    /// back until the first is acknowledged (Nagle's algorithm) waits for them once.
    ///
    /// # Source
    ///
    /// `tcp(7)`, `TCP_QUICKACK`; Linux `tcp_cleanup_rbuf` and `tcp_delack_timer_handler`.
    pub(crate) fn delay_acks(&self) {
        // A socket that is gone acknowledges nothing.
        let _ = rustix::net::sockopt::set_tcp_quickack(self.fd(), false);
    }

    /// Sends the end of the stream, so that the peer reads what was sent before it.
    pub(crate) fn shutdown_write(&self) {
        // A socket that is gone already needs no end.
        let _ = rustix::net::shutdown(self.fd(), Shutdown::Write);
    }

    /// Makes the next read see the end of the stream, which wakes whoever waits for bytes.
    pub(crate) fn shutdown_read(&self) {
        // A socket that is gone already reads as ended.
        let _ = rustix::net::shutdown(self.fd(), Shutdown::Read);
    }

    /// The other end's address.
    ///
    /// # Errors
    ///
    /// The socket is no longer connected.
    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }

    /// Resolves once bytes, the end of the stream, or an error can be read. Owns a handle, so that
    /// it can be kept across other uses of the socket.
    ///
    /// On epoll the runtime remembers a readiness until the kernel denies it. One strict look
    /// (`poll(2)`) clears what is out of date; after that the next event is news, and is believed.
    pub(crate) fn readable(&self) -> impl Future<Output = io::Result<()>> + use<> {
        let stream = Rc::clone(&self.stream);
        async move {
            let is_ring = !monoio::utils::is_legacy();
            let seen = {
                let mut look = pin!(stream.readable(false));
                poll_fn(|cx| match look.as_mut().poll(cx) {
                    Poll::Pending if is_ring => Poll::Pending,
                    Poll::Pending => Poll::Ready(None),
                    Poll::Ready(seen) => Poll::Ready(Some(seen)),
                })
                .await
            };
            match seen {
                Some(seen) => seen,
                None => stream.readable(true).await,
            }
        }
    }

    /// Resolves once the send queue has room or the socket failed.
    pub(crate) fn writable(&self) -> impl Future<Output = io::Result<()>> + use<> {
        let stream = Rc::clone(&self.stream);
        async move { stream.writable(false).await }
    }

    /// Appends what has arrived to `buf`, up to its spare capacity.
    ///
    /// `Ok(None)`: nothing yet. `Ok(Some(0))`: the peer sent its last byte (or `buf` has no room).
    ///
    /// # Errors
    ///
    /// Those of `recv(2)`: a reset, most of all.
    pub(crate) fn try_recv(&self, buf: &mut Vec<u8>) -> io::Result<Option<usize>> {
        loop {
            match recv(self.fd(), spare_capacity(buf), RecvFlags::DONTWAIT) {
                Ok((count, _)) => return Ok(Some(count)),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends what the queue takes now; `Ok(0)` where it is full.
    ///
    /// # Errors
    ///
    /// Those of `send(2)`: a closed peer, most of all.
    pub(crate) fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match send(self.fd(), bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => return Ok(count),
                Err(Errno::AGAIN) => return Ok(0),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends what the queue takes now of `slices`, in one call; `Ok(0)` where it is full.
    ///
    /// # Errors
    ///
    /// As [`Socket::try_send`].
    pub(crate) fn try_send_slices(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        loop {
            match sendmsg(
                self.fd(),
                slices,
                &mut SendAncillaryBuffer::default(),
                flags,
            ) {
                Ok(count) => return Ok(count),
                Err(Errno::AGAIN) => return Ok(0),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends all of `bytes`, waiting for room where needed.
    ///
    /// Dropped half way it leaves a partial message on the wire: close the socket then.
    ///
    /// # Errors
    ///
    /// Those of `send(2)`.
    pub(crate) async fn send_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        loop {
            let sent = self.try_send(bytes)?;
            bytes = &bytes[sent..];
            if bytes.is_empty() {
                return Ok(());
            }
            self.writable().await?;
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is the stream's, which closes it only when dropped, and `self` keeps
        // the stream alive for as long as the returned borrow lasts.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }
}
