//! One timer per connection, moved lazily. [ring]

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use monoio::time::Instant;

use super::timers::Timer;

/// A timer whose deadline moves with every byte.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Timer);

impl Alarm {
    /// Ready once `deadline` has passed; `None` never is.
    pub(crate) fn poll_until(&mut self, cx: &Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        match deadline {
            Some(deadline) => self.0.poll(cx, deadline),
            None => Poll::Pending,
        }
    }
}

/// A deadline passed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Elapsed;

/// Runs `work` until `deadline`, then drops it. Only for work that loses nothing when dropped, or
/// whose connection is closed with it.
///
/// # Errors
///
/// [`Elapsed`] at the deadline.
pub(crate) async fn within<F: Future>(
    alarm: &mut Alarm,
    deadline: Option<Instant>,
    mut work: Pin<&mut F>,
) -> Result<F::Output, Elapsed> {
    poll_fn(|cx| {
        if let Poll::Ready(output) = work.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        alarm.poll_until(cx, deadline).map(|()| Err(Elapsed))
    })
    .await
}
