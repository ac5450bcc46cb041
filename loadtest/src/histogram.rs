//! Log-linear histogram of three significant digits, after HdrHistogram. [pure]

/// Values below this are counted exactly; above, each doubling has half as many buckets.
const EXACT: u64 = 2048;
const HALF: u64 = EXACT / 2;
/// log2 of [`HALF`].
const HALF_BITS: u32 = 10;

const _: () = assert!(HALF == 1 << HALF_BITS);

/// Counts of values, each known to within 0.1 %.
///
/// Memory grows with the logarithm of the largest value: 200 KiB reach a minute in nanoseconds.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: u64,
    sum: u128,
}

impl Histogram {
    pub fn record(&mut self, value: u64) {
        let index = index(value);
        if index >= self.buckets.len() {
            self.buckets.resize(index + 1, 0);
        }
        self.buckets[index] += 1;
        self.count += 1;
        self.max = self.max.max(value);
        self.sum += u128::from(value);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// The largest value, exact.
    pub fn max(&self) -> u64 {
        self.max
    }

    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    /// The value that `percent` of all values do not exceed; `None` if there are none.
    pub fn percentile(&self, percent: f64) -> Option<u64> {
        // What floating point adds above a whole rank is not another rank.
        let rank = (percent / 100.0 * self.count as f64 - 1e-6).ceil().max(1.0) as u64;
        let mut seen = 0;
        let found = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        found.map(|index| highest(index).min(self.max))
    }

    pub fn merge(&mut self, other: &Self) {
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
        self.sum += other.sum;
    }
}

fn index(value: u64) -> usize {
    if value < EXACT {
        return value as usize;
    }
    let shift = value.ilog2() - HALF_BITS;
    let within = (value >> shift) - HALF;
    (EXACT + u64::from(shift - 1) * HALF + within) as usize
}

/// The largest value of bucket `index`.
fn highest(index: usize) -> u64 {
    let index = index as u64;
    if index < EXACT {
        return index;
    }
    let shift = (index - EXACT) / HALF + 1;
    let within = (index - EXACT) % HALF + HALF;
    ((within + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_falls_into_a_bucket_that_ends_within_a_thousandth() {
        let mut value = 1;
        while value < 1 << 50 {
            for value in [value - 1, value, value + 1, value + value / 3] {
                let top = highest(index(value));
                assert!(
                    top >= value && top - value <= value / 1000 + 1,
                    "{value}: {top}"
                );
                assert_eq!(index(top), index(value));
                assert_eq!(index(top + 1), index(value) + 1);
            }
            value *= 2;
        }
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_values() {
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|value| histogram.record(value));
        let cases = [
            (0.0, 1),
            (50.0, 500),
            (90.0, 900),
            (99.9, 999),
            (100.0, 1000),
        ];
        for (percent, want) in cases {
            assert_eq!(histogram.percentile(percent), Some(want), "p{percent}");
        }
        assert_eq!(histogram.mean(), Some(500.5));
        assert_eq!(Histogram::default().percentile(50.0), None);
    }

    #[test]
    fn the_top_percentile_is_the_exact_maximum() {
        let mut histogram = Histogram::default();
        histogram.record(5);
        histogram.record(1_234_567_891);
        assert_eq!(histogram.percentile(100.0), Some(1_234_567_891));
        assert_eq!(histogram.max(), 1_234_567_891);
    }

    #[test]
    fn merged_histograms_count_as_one() {
        let (mut odd, mut even, mut all) = Default::default();
        for value in 0..10_000 {
            let part: &mut Histogram = if value % 2 == 0 { &mut even } else { &mut odd };
            part.record(value * 7);
            Histogram::record(&mut all, value * 7);
        }
        odd.merge(&even);
        for percent in [1.0, 50.0, 99.0, 100.0] {
            assert_eq!(odd.percentile(percent), all.percentile(percent));
        }
        assert_eq!(odd.count(), 10_000);
    }
}
