//! When a stream last moved, and what is due when it does not. [ring]

use std::time::Duration;

use monoio::time::Instant;

use crate::upstream::failure::Failure;

/// When the stream last moved.
pub(super) struct Clock {
    /// The last read of the upstream.
    pub(super) read: Instant,
    /// The last comment.
    pub(super) sent: Instant,
}

impl Clock {
    pub(super) fn starting(now: Instant) -> Self {
        Self {
            read: now,
            sent: now,
        }
    }

    pub(super) fn read(&mut self, now: Instant) {
        self.read = now;
    }
}

/// Deadlines of one wait.
pub(super) struct Due {
    pub(super) comment: Option<Instant>,
    /// When what is held back is sent.
    pub(super) window: Option<Instant>,
    pub(super) silence: Option<(Instant, Duration)>,
    pub(super) total: Option<(Instant, Duration)>,
}

impl Due {
    pub(super) fn first(&self) -> Option<Instant> {
        let clocks = [self.silence, self.total]
            .into_iter()
            .flatten()
            .map(|(at, _)| at);
        clocks.chain(self.comment).chain(self.window).min()
    }

    pub(super) fn check(&self, now: Instant) -> Result<(), Failure> {
        for (at, limit) in [self.silence, self.total].into_iter().flatten() {
            if now >= at {
                return Err(Failure::Timeout(limit));
            }
        }
        Ok(())
    }
}
