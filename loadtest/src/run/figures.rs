//! The named numbers of one round, and their summary over rounds. [pure]

use crate::histogram::Histogram;
use crate::run::stats::Stats;

/// Figures of one round, in the order of the table. A name ends with its unit.
#[derive(Debug, Clone, Default)]
pub(super) struct Figures(pub(super) Vec<(String, f64)>);

impl Figures {
    pub(super) fn set(&mut self, name: &str, value: f64) {
        self.0.push((name.to_owned(), value));
    }

    pub(super) fn value(&self, name: &str) -> Option<f64> {
        let found = self.0.iter().find(|(each, _)| each == name);
        found.map(|(_, value)| *value)
    }

    /// Replaces a figure that is there.
    pub(super) fn update(&mut self, name: &str, value: f64) {
        if let Some(figure) = self.0.iter_mut().find(|(each, _)| each == name) {
            figure.1 = value;
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.retain(|(each, _)| each != name);
    }

    /// Counts and distributions of `stats`, whose window lasted `seconds`.
    pub(super) fn stats(&mut self, stats: &Stats, seconds: f64) {
        self.set("seconds", seconds);
        self.set("requests", stats.requests as f64);
        self.set("requests_per_s", stats.requests as f64 / seconds);
        self.set("errors", stats.errors_total() as f64);
        for (kind, count) in &stats.errors {
            self.set(&format!("error_{kind}"), *count as f64);
        }
        self.distribution("latency", &stats.latency);
        if stats.events_all == 0 {
            return;
        }
        self.distribution("ttft", &stats.ttft);
        self.set("events", stats.events as f64);
        self.set("events_per_s", stats.events as f64 / seconds);
        self.set("events_all", stats.events_all as f64);
        self.set("events_lost", stats.lost as f64);
        self.set("events_reordered", stats.reordered as f64);
        self.set("events_duplicated", stats.duplicated as f64);
        self.distribution("event_gap", &stats.gap);
        self.distribution("event_added", &stats.added);
    }

    /// Percentiles of nanoseconds, in microseconds.
    fn distribution(&mut self, name: &str, histogram: &Histogram) {
        let percentiles = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9)];
        for (label, percent) in percentiles {
            if let Some(nanos) = histogram.percentile(percent) {
                self.set(&format!("{name}_{label}_us"), nanos as f64 / 1000.0);
            }
        }
        if let Some(mean) = histogram.mean() {
            self.set(&format!("{name}_mean_us"), mean / 1000.0);
            self.set(&format!("{name}_max_us"), histogram.max() as f64 / 1000.0);
        }
    }
}

/// One figure over all rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Summary {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

/// Median, least and greatest of the rounds that have the figure.
pub(super) fn summary(rounds: &[Figures], name: &str) -> Option<Summary> {
    let mut values: Vec<f64> = rounds
        .iter()
        .filter_map(|round| round.value(name))
        .collect();
    let median = median(&mut values)?;
    Some(Summary {
        median,
        min: *values.first()?,
        max: *values.last()?,
    })
}

/// How a figure stands to that of `base`: the median over rounds of the same number, which are next to
/// each other in time. A machine that is slower for a while is so for both. `None` where no round has
/// both, or all bases are 0.
pub(super) fn ratio(rounds: &[Figures], base: &[Figures], name: &str) -> Option<f64> {
    let pairs = rounds.iter().zip(base);
    let mut ratios: Vec<f64> = pairs
        .filter_map(|(round, base)| Some((round.value(name)?, base.value(name)?)))
        .filter(|(_, base)| *base > 0.0)
        .map(|(value, base)| value / base)
        .collect();
    median(&mut ratios)
}

/// Sorts `values`; the mean of the middle two where they are even in number.
fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let low = values.get(values.len().checked_sub(1)? / 2)?;
    Some(f64::midpoint(*low, *values.get(values.len() / 2)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(values: &[f64]) -> Vec<Figures> {
        let round = |value: &f64| Figures(vec![("x_us".to_owned(), *value)]);
        values.iter().map(round).collect()
    }

    #[test]
    fn a_ratio_is_of_rounds_next_to_each_other() {
        // Twice as slow from the third round on, for both.
        let (base, other) = (
            rounds(&[10.0, 10.0, 20.0, 20.0]),
            rounds(&[11.0, 11.0, 22.0]),
        );
        assert!((ratio(&other, &base, "x_us").unwrap() - 1.1).abs() < 1e-9);
        assert_eq!(ratio(&other, &base, "y_us"), None);
        assert_eq!(ratio(&other, &rounds(&[0.0, 0.0]), "x_us"), None);
    }

    #[test]
    fn a_summary_is_the_median_between_the_extremes() {
        let cases = [
            (&[3.0, 1.0, 2.0][..], [2.0, 1.0, 3.0]),
            (&[4.0, 1.0], [2.5, 1.0, 4.0]),
            (&[7.0], [7.0, 7.0, 7.0]),
        ];
        for (values, [median, min, max]) in cases {
            let want = Summary { median, min, max };
            assert_eq!(summary(&rounds(values), "x_us"), Some(want));
        }
        assert_eq!(summary(&rounds(&[]), "x_us"), None);
    }

    #[test]
    fn a_round_without_streams_has_no_figures_of_events() {
        let mut stats = Stats::default();
        stats.latency.record(2_000_000);
        stats.requests = 10;
        let mut figures = Figures::default();
        figures.stats(&stats, 2.0);
        assert_eq!(figures.value("requests_per_s"), Some(5.0));
        assert_eq!(figures.value("latency_max_us"), Some(2000.0));
        assert_eq!(figures.value("events_lost"), None);
    }
}
