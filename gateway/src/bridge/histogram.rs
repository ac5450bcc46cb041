//! Fixed-bucket histograms written by one worker. [bridge]

use std::sync::Arc;

use super::counter::Counter;

/// Most upper bounds of one histogram (observability.md §3.10).
pub const BOUNDS_MAX: usize = 64;

/// Upper bounds of a histogram's buckets, in microseconds, ascending; `+Inf` is implied.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bounds(Arc<[u64]>);

impl Bounds {
    /// From seconds. The list must already be checked: finite, positive, ascending, at most
    /// [`BOUNDS_MAX`]; what is beyond the limit is left out.
    pub fn from_seconds(seconds: &[f64]) -> Self {
        let micros = seconds
            .iter()
            .take(BOUNDS_MAX)
            .map(|s| (s * 1e6).round() as u64);
        Self(micros.collect())
    }

    /// The bounds in microseconds.
    pub fn micros(&self) -> &[u64] {
        &self.0
    }
}

/// The histograms every series has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BucketSettings {
    /// `request_e2e_latency`.
    pub e2e: Bounds,
    /// `request_ttft`, also of `llm_time_to_first_token_seconds`.
    pub ttft: Bounds,
    /// Time to the response head: the `*_duration_seconds` families.
    pub duration: Bounds,
}

impl BucketSettings {
    /// Default of `request_e2e_latency`, seconds.
    pub const E2E_SECONDS: &[f64] = &[
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
        420.0, 600.0,
    ];
    /// Default of `request_ttft`, seconds.
    pub const TTFT_SECONDS: &[f64] = &[
        0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
    ];
    /// Of the duration families, seconds. Coarser than the others: these families carry every
    /// detailed label, so each bound costs a line per caller and target.
    pub const DURATION_SECONDS: &[f64] =
        &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
}

impl Default for BucketSettings {
    fn default() -> Self {
        Self {
            e2e: Bounds::from_seconds(Self::E2E_SECONDS),
            ttft: Bounds::from_seconds(Self::TTFT_SECONDS),
            duration: Bounds::from_seconds(Self::DURATION_SECONDS),
        }
    }
}

/// One histogram. Buckets are disjoint here and cumulated when rendered.
#[derive(Debug)]
pub struct Histogram {
    bounds: Bounds,
    /// One per bound and one beyond the last.
    buckets: Box<[Counter]>,
    sum_us: Counter,
}

impl Histogram {
    /// An empty histogram.
    pub fn new(bounds: &Bounds) -> Self {
        let buckets = (0..=bounds.0.len()).map(|_| Counter::default()).collect();
        Self {
            bounds: bounds.clone(),
            buckets,
            sum_us: Counter::default(),
        }
    }

    /// Adds one observation. Only the owning worker may call this.
    #[inline]
    pub(crate) fn observe(&self, value_us: u64) {
        // A value equal to a bound belongs below it (`le`).
        let at = self.bounds.0.partition_point(|bound| *bound < value_us);
        if let Some(bucket) = self.buckets.get(at) {
            bucket.add(1);
        }
        self.sum_us.add(value_us);
    }

    /// Adds what is here to `sums`: every bucket in order, then the sum in microseconds.
    pub fn add_to(&self, sums: &mut [u64]) {
        let cells = self.buckets.iter().chain(std::iter::once(&self.sum_us));
        for (sum, cell) in sums.iter_mut().zip(cells) {
            *sum = sum.wrapping_add(cell.value());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lands_in_the_first_bucket_that_can_hold_it() {
        let bounds = Bounds::from_seconds(&[0.001, 0.005, 1.0]);
        let cases = [
            (0, 0),
            (1_000, 0),
            (1_001, 1),
            (5_000, 1),
            (999_999, 2),
            (1_000_000, 2),
            (1_000_001, 3),
            (u64::MAX / 2, 3),
        ];
        for (value, bucket) in cases {
            let histogram = Histogram::new(&bounds);
            histogram.observe(value);
            let mut sums = [0; 5];
            histogram.add_to(&mut sums);
            let mut want = [0; 5];
            want[bucket] = 1;
            want[4] = value;
            assert_eq!(sums, want, "{value} us");
        }
    }

    #[test]
    fn summing_adds_to_what_is_there() {
        let histogram = Histogram::new(&Bounds::from_seconds(&[1.0]));
        histogram.observe(10);
        histogram.observe(2_000_000);
        let mut sums = [1, 1, 1];
        histogram.add_to(&mut sums);
        assert_eq!(sums, [2, 2, 2_000_011]);
    }

    #[test]
    fn defaults_are_ascending_and_within_the_limit() {
        let settings = BucketSettings::default();
        for bounds in [&settings.e2e, &settings.ttft, &settings.duration] {
            assert!(bounds.micros().len() <= BOUNDS_MAX);
            assert!(bounds.micros().windows(2).all(|pair| pair[0] < pair[1]));
        }
        assert_eq!(settings.e2e.micros()[0], 5_000);
    }
}
