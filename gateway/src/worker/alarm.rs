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

    /// Waits for `deadline`.
    pub(crate) async fn until(&mut self, deadline: Option<Instant>) {
        poll_fn(|cx| self.poll_until(cx, deadline)).await;
    }
}
