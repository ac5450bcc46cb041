//! A wait for arriving bytes that its connection keeps: polled by whoever needs the bytes, dropped
//! with the socket. [ring]

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::Socket;

/// One wait for readability after another, in one allocation. Owns no buffer.
pub(crate) struct Watch(Pin<Box<dyn Again>>);

impl Watch {
    /// A watch over `socket`, not armed yet.
    pub(crate) fn new(socket: Socket) -> Self {
        Self(Box::pin(Repeated {
            begin: move || socket.readable(),
            under_way: None,
        }))
    }

    /// Ready once bytes, the end of the stream, or an error can be read; armed anew by the poll
    /// after that.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // An error here shows again, with its cause, in the read that follows.
        self.0.as_mut().poll_again(cx).map(drop)
    }

    /// As [`Watch::poll_ready`] with nobody to wake: `true` where nothing has come, as far as the
    /// runtime was told. The watch is armed from then on, so that the answer next time is about all
    /// of the time in between.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.poll_ready(&mut cx).is_pending()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

/// A wait that begins anew once it has ended.
trait Again {
    fn poll_again(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

struct Repeated<B, W> {
    begin: B,
    under_way: Option<W>,
}

impl<B: Fn() -> W, W: Future<Output = io::Result<()>>> Again for Repeated<B, W> {
    fn poll_again(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // SAFETY: `under_way` is pinned whenever this is: it is neither moved nor handed out, only
        // polled through the pin below and dropped in its place. `begin` is not pinned.
        let this = unsafe { self.get_unchecked_mut() };
        let wait = this.under_way.get_or_insert_with(&this.begin);
        // SAFETY: see above.
        let ready = unsafe { Pin::new_unchecked(wait) }.poll(cx);
        if ready.is_ready() {
            this.under_way = None;
        }
        ready
    }
}
