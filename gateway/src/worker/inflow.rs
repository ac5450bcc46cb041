//! Bytes arriving from one socket. [ring]
//!
//! The wait is kept here from its beginning to its end: whoever polls for bytes may stop at any time,
//! and what arrives while nobody polls, in the pool, is known without a system call.

use std::io;
use std::task::{Context, Poll, ready};

use super::buffers::Buffers;
use super::inbox::{Filled, Inbox};
use crate::sys::{Socket, Watch};

/// The receiving side of a socket.
#[derive(Debug)]
pub(crate) struct Inflow {
    socket: Socket,
    watch: Watch,
    /// Whether the receive queue may hold bytes that no readiness event will announce.
    undrained: bool,
}

impl Inflow {
    /// The receiving side of `socket`.
    pub(crate) fn new(socket: Socket) -> Self {
        Self {
            watch: Watch::new(socket.clone()),
            socket,
            undrained: false,
        }
    }

    /// The socket, to send over.
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
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
        loop {
            if !self.undrained {
                ready!(self.watch.poll_ready(cx));
            }
            self.undrained = false;
            match inbox.fill_from(&self.socket, buffers)? {
                Filled::Dry => {}
                Filled::End => return Poll::Ready(Ok(0)),
                Filled::Bytes { count, drained } => {
                    self.undrained = !drained;
                    return Poll::Ready(Ok(count));
                }
            }
        }
    }

    /// Whether nothing has come since the last fill, as far as the runtime was told. Ask when the
    /// connection becomes idle, which arms the watch, and when it is to be used again. After a
    /// `false` it is of no more use.
    pub(crate) fn is_quiet(&mut self) -> bool {
        !self.undrained && self.watch.is_quiet()
    }
}
