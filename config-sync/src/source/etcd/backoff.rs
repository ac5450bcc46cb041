//! How long to wait after a failure. [pure]

use std::time::Duration;

/// Multiples of the unit; the last one repeats.
const STEPS: [u32; 7] = [1, 2, 4, 8, 16, 32, 60];
/// Furthest from the step, in percent of it, either way.
const JITTER_PERCENT: u32 = 20;

/// Waits that grow with each failure in a row.
#[derive(Debug)]
pub(super) struct Backoff {
    unit: Duration,
    failures: usize,
}

impl Backoff {
    /// Starts with one `unit`.
    pub(super) fn new(unit: Duration) -> Self {
        Self { unit, failures: 0 }
    }

    /// The wait after one more failure: its step, moved by up to a fifth by `random`, any number.
    pub(super) fn after_failure(&mut self, random: u64) -> Duration {
        let step = STEPS[self.failures.min(STEPS.len() - 1)];
        self.failures = self.failures.saturating_add(1);
        let spread = u64::from(2 * JITTER_PERCENT + 1);
        let moved = u32::try_from(random % spread).expect("below 41");
        self.unit * step * (100 - JITTER_PERCENT + moved) / 100
    }

    /// Forgets the failures.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDDLE: u64 = 20;

    #[test]
    fn waits_double_up_to_a_minute_and_start_again_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_secs(1));
        for want in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            assert_eq!(backoff.after_failure(MIDDLE), Duration::from_secs(want));
        }
        backoff.reset();
        assert_eq!(backoff.after_failure(MIDDLE), Duration::from_secs(1));
    }

    #[test]
    fn chance_moves_a_wait_by_a_fifth_at_most() {
        let mut shortest = Duration::MAX;
        let mut longest = Duration::ZERO;
        for random in (0..1000).chain([u64::MAX]) {
            let wait = Backoff::new(Duration::from_secs(1)).after_failure(random);
            shortest = shortest.min(wait);
            longest = longest.max(wait);
        }
        assert_eq!(shortest, Duration::from_millis(800));
        assert_eq!(longest, Duration::from_millis(1200));
    }
}
