//! Work that is bounded by a deadline. [ring]

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use monoio::time::Instant;

pub(crate) use super::timers::Alarm;

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
