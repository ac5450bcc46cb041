//! The bounded bytes between one HTTP/2 stream and the request path, in both directions. [ring]
//!
//! Both ends are polled by the one task that serves the stream, in turns until neither moves
//! (`stream.rs`). So a pipe wakes nobody: whoever waits on it is asked again.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::rc::Rc;
use std::task::Poll;

use crate::short_text::ShortText;
use crate::worker::Worker;
use crate::worker::buffers::{BUFFER_BYTES, Buffers};
use crate::worker::inbox::Inbox;

/// Bytes of a response that wait for the stream to take them; request bytes that wait for the
/// request path, not counting the frame that went past it.
pub(super) const PIPE_BYTES: usize = BUFFER_BYTES;

/// The request path's end: what a client's connection is to HTTP/1.1.
#[derive(Debug)]
pub(crate) struct Pipe {
    ends: Rc<Ends>,
    identity: Option<ShortText>,
}

/// The stream's end.
pub(super) struct Ends {
    worker: Rc<Worker>,
    /// Of the request, in the form of HTTP/1.1.
    pub(super) incoming: RefCell<Vec<u8>>,
    /// Of the response, in the form of HTTP/1.1.
    pub(super) outgoing: RefCell<Vec<u8>>,
    /// How much [`Ends::outgoing`] may hold.
    pub(super) outgoing_max: Cell<usize>,
    /// The client left: its stream was reset, or its connection is gone.
    gone: Cell<bool>,
    /// Nothing more is read from the client: the response is complete.
    deaf: Cell<bool>,
}

impl std::fmt::Debug for Ends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ends")
            .field("gone", &self.gone)
            .finish_non_exhaustive()
    }
}

/// A pipe in which `request` waits to be read, of a client whose verified name is `identity`.
pub(super) fn pipe(
    worker: &Rc<Worker>,
    request: Vec<u8>,
    identity: Option<ShortText>,
) -> (Pipe, Rc<Ends>) {
    let ends = Rc::new(Ends {
        worker: Rc::clone(worker),
        incoming: RefCell::new(request),
        outgoing: RefCell::default(),
        outgoing_max: Cell::new(PIPE_BYTES),
        gone: Cell::new(false),
        deaf: Cell::new(false),
    });
    let pipe = Pipe {
        ends: Rc::clone(&ends),
        identity,
    };
    (pipe, ends)
}

impl Pipe {
    /// The verified name of the client, where it showed a certificate.
    pub(crate) fn identity(&self) -> Option<&ShortText> {
        self.identity.as_ref()
    }

    /// Appends what arrived to `inbox`; 0 once the response is complete: what the client may still
    /// send concerns nobody.
    ///
    /// The end of the request is no end here, as it is no hang-up: its own framing tells it.
    ///
    /// # Errors
    ///
    /// The client left.
    pub(crate) fn poll_fill(
        &self,
        inbox: &mut Inbox,
        buffers: &Buffers,
    ) -> Poll<io::Result<usize>> {
        if self.ends.gone.get() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let mut incoming = self.ends.incoming.borrow_mut();
        if incoming.is_empty() {
            return match self.ends.deaf.get() {
                true => Poll::Ready(Ok(0)),
                false => Poll::Pending,
            };
        }
        inbox.extend(&incoming, buffers);
        let count = incoming.len();
        buffers.give(std::mem::take(&mut incoming));
        Poll::Ready(Ok(count))
    }

    /// Takes what there is room for.
    ///
    /// # Errors
    ///
    /// The client left.
    pub(crate) fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        if self.ends.gone.get() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut outgoing = self.ends.outgoing.borrow_mut();
        let room = self.ends.outgoing_max.get().saturating_sub(outgoing.len());
        let count = room.min(bytes.len());
        if count > 0 && outgoing.capacity() == 0 {
            *outgoing = self.ends.worker.buffers.take();
        }
        outgoing.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    /// Resolves once there is room, or the client left.
    pub(crate) fn writable(&self) -> impl Future<Output = ()> + use<> {
        let ends = Rc::clone(&self.ends);
        poll_fn(move |_| {
            let full = ends.outgoing.borrow().len() >= ends.outgoing_max.get();
            match full && !ends.gone.get() {
                true => Poll::Pending,
                false => Poll::Ready(()),
            }
        })
    }

    /// Ends the response, complete or not.
    pub(crate) fn shutdown_write(&self) {
        self.ends.deaf.set(true);
    }
}

impl Ends {
    /// The client left.
    pub(super) fn set_gone(&self) {
        self.gone.set(true);
    }

    /// Whether the client left.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.get()
    }

    /// The response is complete.
    pub(super) fn set_deaf(&self) {
        self.deaf.set(true);
    }

    /// Gives the buffer of the response back if it holds nothing.
    pub(super) fn release_outgoing(&self) {
        let mut outgoing = self.outgoing.borrow_mut();
        if outgoing.is_empty() && outgoing.capacity() > 0 {
            self.worker.buffers.give(std::mem::take(&mut outgoing));
        }
    }
}
