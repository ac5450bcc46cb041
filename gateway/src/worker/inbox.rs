//! Bytes that arrived on a connection and were not dealt with yet. [ring]

use std::io;

use super::buffers::{BUFFER_BYTES, Buffers};
use crate::sys::Socket;

/// A connection's read buffer, borrowed from the worker while it holds bytes.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    buffer: Vec<u8>,
    start: usize,
}

/// How a read went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Filled {
    /// Nothing there: wait until the socket is readable.
    Dry,
    /// The peer sent its last byte.
    End,
    /// More bytes in the inbox; `drained` tells that the socket has none left for now.
    Bytes {
        /// Bytes added.
        count: usize,
        /// Whether the receive queue was emptied.
        drained: bool,
    },
}

impl Inbox {
    /// What has arrived.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// How much has arrived.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Whether everything was dealt with.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops the first `count` bytes.
    pub(crate) fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.len(), "consumed more than arrived");
        self.start = (self.start + count).min(self.buffer.len());
    }

    /// Adds decrypted bytes.
    pub(crate) fn extend(&mut self, bytes: &[u8], buffers: &Buffers) {
        self.make_room(buffers);
        self.buffer.extend_from_slice(bytes);
    }

    /// Reads once from `socket`, without waiting. Grows past one buffer only while unread bytes
    /// fill it, so the caller bounds it by what it leaves unread.
    ///
    /// # Errors
    ///
    /// Those of `recv(2)`.
    pub(crate) fn fill_from(&mut self, socket: &Socket, buffers: &Buffers) -> io::Result<Filled> {
        self.make_room(buffers);
        let room = self.buffer.capacity() - self.buffer.len();
        match socket.try_recv(&mut self.buffer)? {
            None => {
                self.release(buffers);
                Ok(Filled::Dry)
            }
            Some(0) => {
                self.release(buffers);
                Ok(Filled::End)
            }
            Some(count) => Ok(Filled::Bytes {
                count,
                drained: count < room,
            }),
        }
    }

    /// Gives the buffer back to the worker if it holds nothing.
    pub(crate) fn release(&mut self, buffers: &Buffers) {
        if self.is_empty() && self.buffer.capacity() > 0 {
            self.start = 0;
            buffers.give(std::mem::take(&mut self.buffer));
        }
    }

    fn make_room(&mut self, buffers: &Buffers) {
        if self.buffer.capacity() == 0 {
            self.buffer = buffers.take();
        }
        if self.is_empty() {
            self.buffer.clear();
            self.start = 0;
        } else if self.buffer.len() == self.buffer.capacity() {
            if self.start > 0 {
                self.buffer.drain(..self.start);
                self.start = 0;
            } else {
                self.buffer.reserve(BUFFER_BYTES);
            }
        }
    }
}
