//! Bytes arriving from one upstream socket. [ring]
//!
//! The wait is kept here from its beginning to its end: whoever polls for bytes may stop at any time,
//! and what arrives while nobody polls, in the pool, is known without a system call.

use std::io;
use std::task::{Context, Poll, ready};

use crate::sys::{Socket, Watch};
use crate::worker::buffers::Buffers;
use crate::worker::inbox::{Filled, Inbox};

/// The receiving side of a socket.
#[derive(Debug)]
pub(super) struct Inflow {
    socket: Socket,
    watch: Watch,
    /// Whether the receive queue may hold bytes that no readiness event will announce.
    undrained: bool,
}

impl Inflow {
    /// The receiving side of `socket`.
    pub(super) fn new(socket: Socket) -> Self {
        Self {
            watch: Watch::new(socket.clone()),
            socket,
            undrained: false,
        }
    }

    /// The socket, to send over.
    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Appends what arrives to `inbox`; 0 is the end of the stream.
    ///
    /// # Errors
    ///
    /// Those of `recv(2)`.
    pub(super) fn poll_fill(
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
    pub(super) fn is_quiet(&mut self) -> bool {
        !self.undrained && self.watch.is_quiet()
    }
}
