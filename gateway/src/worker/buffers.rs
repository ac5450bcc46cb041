//! Read and write buffers lent out by a worker. [ring]

use std::cell::{Cell, RefCell};

/// Capacity of a lent buffer: a request head of the permitted size fits, and an event many times.
pub(crate) const BUFFER_BYTES: usize = 16 * 1024;
/// Buffers kept for reuse. Worst case at rest per worker: `KEPT_MAX * BUFFER_BYTES` = 2 MiB.
const KEPT_MAX: usize = 128;

/// Empty buffers of one worker. A waiting socket owns none: take one when bytes are there, give it
/// back when they are dealt with.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    kept: RefCell<Vec<Vec<u8>>>,
    /// Capacity of grown buffers dropped since it was last asked for.
    dropped_bytes: Cell<usize>,
}

impl Buffers {
    /// An empty buffer with room for [`BUFFER_BYTES`].
    pub(crate) fn take(&self) -> Vec<u8> {
        let kept = self.kept.borrow_mut().pop();
        kept.unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
    }

    /// Takes a buffer back. One that grew is dropped, so that a burst of large bodies leaves nothing
    /// behind.
    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        let mut kept = self.kept.borrow_mut();
        if buffer.capacity() == BUFFER_BYTES && kept.len() < KEPT_MAX {
            buffer.clear();
            kept.push(buffer);
        } else {
            let dropped = self.dropped_bytes.get().saturating_add(buffer.capacity());
            self.dropped_bytes.set(dropped);
        }
    }

    /// Bytes of buffers dropped since the last call.
    pub(crate) fn take_dropped_bytes(&self) -> usize {
        self.dropped_bytes.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grown_buffer_is_not_kept() {
        let buffers = Buffers::default();
        let mut buffer = buffers.take();
        buffer.reserve(BUFFER_BYTES * 2);
        buffers.give(buffer);
        assert!(buffers.kept.borrow().is_empty());
        assert!(buffers.take_dropped_bytes() > BUFFER_BYTES);
        let mut small = buffers.take();
        small.extend_from_slice(b"left over");
        buffers.give(small);
        assert!(buffers.take().is_empty());
    }
}
