//! A listening socket: readiness from the runtime, connections by non-blocking system calls. [ring]
//!
//! Several processes may accept from one socket at a time, and its mode is theirs together. So it is
//! non-blocking on every engine: one that finds the queue empty never waits in the kernel, and none
//! holds an accept that would take a connection after its process has turned away.

use std::io;
use std::net::{TcpListener, TcpStream as StdStream};
use std::os::fd::{AsFd, OwnedFd};

use monoio::net::TcpStream;
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use super::Socket;

/// One handle to a listening socket, which stays open while any process has another.
#[derive(Debug)]
pub(crate) struct Listening {
    /// Asked for readiness alone: the runtime offers that for streams.
    ready: Socket,
    listener: TcpListener,
}

impl Listening {
    /// Hands `listener` to the runtime of this thread.
    ///
    /// # Errors
    ///
    /// Out of descriptors, or of room in the runtime.
    pub(crate) fn new(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let handle = OwnedFd::from(listener.try_clone()?);
        let ready = Socket::of_listener(TcpStream::from_std(StdStream::from(handle))?);
        Ok(Self { ready, listener })
    }

    /// Resolves once a connection may wait. Dropped, it takes none along.
    pub(crate) fn readable(&self) -> impl Future<Output = io::Result<()>> + use<> {
        self.ready.readable()
    }

    /// The next connection, in non-blocking mode and closed in programs that are started; `None`
    /// where none waits.
    ///
    /// # Errors
    ///
    /// Those of `accept4(2)`: out of descriptors, most of all.
    pub(crate) fn try_accept(&self) -> io::Result<Option<StdStream>> {
        loop {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match accept_with(self.listener.as_fd(), flags) {
                Ok(stream) => return Ok(Some(StdStream::from(stream))),
                Err(Errno::AGAIN) => return Ok(None),
                // The second: a caller that left before its turn.
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
