//! One timer per connection, moved lazily. [ring]

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use monoio::time::{Instant, Sleep, sleep_until};

/// A timer whose deadline moves with every byte, yet touches the runtime's wheel rarely.
///
/// A deadline that moves *later* only changes a number: when the wheel fires early, the alarm goes
/// back to sleep. One that moves *earlier* re-arms the wheel.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Ready once `deadline` has passed; `None` never is.
    pub(crate) fn poll_until(
        &mut self,
        cx: &mut Context<'_>,
        deadline: Option<Instant>,
    ) -> Poll<()> {
        let Some(deadline) = deadline else {
            return Poll::Pending;
        };
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
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
