//! Whether redis is asked at all. [cold]
//!
//! One failed or late command opens it: from then on every question is answered at once, without
//! redis. Tried again after [`RETRY_AFTER_MIN`], then after twice as long each time, at most
//! [`RETRY_AFTER_MAX`]; one try that succeeds closes it. No request is used as a try.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Wait before the first try.
pub(super) const RETRY_AFTER_MIN: Duration = Duration::from_millis(100);
/// Longest wait between two tries.
pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);

/// The breaker, with what a metric and the status page show of it.
#[derive(Debug)]
pub struct Breaker {
    is_open: AtomicBool,
    /// Whether this outage has been reported; the time before the first connection is none.
    is_reported: AtomicBool,
    failures: AtomicU64,
    outages: AtomicU64,
}

impl Default for Breaker {
    /// Open: nothing is connected yet.
    fn default() -> Self {
        Self {
            is_open: AtomicBool::new(true),
            is_reported: AtomicBool::new(false),
            failures: AtomicU64::new(0),
            outages: AtomicU64::new(0),
        }
    }
}

impl Breaker {
    /// Whether redis is left alone now.
    pub fn is_open(&self) -> bool {
        self.is_open.load(Relaxed)
    }

    /// Commands and tries that failed: `redis_failures_total{operation="ratelimit"}`.
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Times that it opened, the start not counted unless redis could not be reached then.
    pub fn outages(&self) -> u64 {
        self.outages.load(Relaxed)
    }

    /// Notes a failure and opens. One warning per outage.
    pub(super) fn open(&self, why: &str) {
        self.failures.fetch_add(1, Relaxed);
        metrics::counter!("sluice_redis_failures_total", "operation" => "ratelimit").increment(1);
        self.is_open.store(true, Relaxed);
        if !self.is_reported.swap(true, Relaxed) {
            self.outages.fetch_add(1, Relaxed);
            tracing::warn!(
                error = why,
                "redis does not count limits; on_redis_failure applies"
            );
        }
    }

    /// Closes. One line per outage.
    pub(super) fn close(&self) {
        self.is_open.store(false, Relaxed);
        if self.is_reported.swap(false, Relaxed) {
            tracing::info!("redis counts limits again");
        } else {
            tracing::info!("redis counts limits");
        }
    }
}

/// The wait after one of `wait` that ended in another failure.
pub(super) fn longer(wait: Duration) -> Duration {
    (wait * 2).min(RETRY_AFTER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_one_however_many_commands_fail() {
        let breaker = Breaker::default();
        assert!(breaker.is_open());
        assert_eq!((breaker.failures(), breaker.outages()), (0, 0));
        for outage in 1..3 {
            breaker.close();
            assert!(!breaker.is_open());
            for _ in 0..3 {
                breaker.open("why");
                assert!(breaker.is_open());
            }
            assert_eq!(
                (breaker.failures(), breaker.outages()),
                (3 * outage, outage)
            );
        }
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut wait = RETRY_AFTER_MIN;
        for want in [200, 400, 800, 1_600, 3_200, 5_000, 5_000] {
            wait = longer(wait);
            assert_eq!(wait, Duration::from_millis(want));
        }
    }
}
