//! The cold side's own metrics, through the `metrics` crate. [cold]

use std::sync::OnceLock;

use metrics::{describe_counter, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::metrics::families::{self, Family, Kind};
use super::metrics::text::PREFIX;

/// The families that are counted here.
pub const OWN: [&Family; 9] = [
    &families::TOKENS_BY_CLIENT,
    &families::SCRAPES,
    &families::SCRAPE_DURATION,
    &families::DNS_LOOKUPS,
    &families::DNS_DURATION,
    &families::LOG_DROPPED,
    &families::MODEL_CHECKS,
    &families::MODEL_CHECK_DURATION,
    &families::REDIS_FAILURES,
];

/// Bounds of the histograms counted here, seconds.
const SECONDS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0];

/// Installs the recorder for the process, once, and gives what renders it.
pub fn install() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(build).clone()
}

fn build() -> PrometheusHandle {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .expect("the list of bounds is not empty")
        .build_recorder();
    let handle = recorder.handle();
    // Another recorder was set first: then ours stays empty, which only tests may bring about.
    let _ = metrics::set_global_recorder(recorder);
    for family in OWN {
        let name = format!("{PREFIX}{}", family.name);
        match family.kind {
            Kind::Histogram => describe_histogram!(name, family.help),
            Kind::Counter | Kind::Gauge => describe_counter!(name, family.help),
        }
    }
    handle
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics::counter;

    #[test]
    fn own_families_are_rendered_with_their_help_and_installed_once() {
        let handle = install();
        counter!("sluice_log_dropped_total", "log" => "access").increment(3);
        let text = install().render();
        assert!(
            text.contains("# HELP sluice_log_dropped_total Log writes lost"),
            "{text}"
        );
        assert!(
            text.contains("sluice_log_dropped_total{log=\"access\"} "),
            "{text}"
        );
        assert_eq!(handle.render().is_empty(), text.is_empty());
    }
}
