//! How long changes take from their arrival to their publication, as a histogram. [pure]

use std::time::Duration;

/// Upper bounds of the buckets of `sluice_config_propagation_seconds`; one more has none.
pub const PROPAGATION_BOUNDS_S: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// One histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Propagation {
    /// Changes per bucket, not cumulated; the last bucket has no upper bound.
    pub counts: [u64; PROPAGATION_BOUNDS_S.len() + 1],
    /// Sum of all, seconds.
    pub sum_s: f64,
}

impl Propagation {
    /// Counts one change that took `took`.
    pub(super) fn note(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = PROPAGATION_BOUNDS_S.partition_point(|bound| *bound < seconds);
        self.counts[bucket] += 1;
        self.sum_s += seconds;
    }

    /// The number of changes.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_in_the_lowest_bucket_that_holds_it() {
        let cases = [(0, 0), (500, 0), (501, 1), (1_000_000, 10), (5_000_001, 12)];
        for (micros, bucket) in cases {
            let mut propagation = Propagation::default();
            propagation.note(Duration::from_micros(micros));
            assert_eq!(propagation.counts[bucket], 1, "{micros}");
            assert_eq!(propagation.count(), 1);
        }
    }
}
