//! The families of the configuration: loads, rows, revisions, propagation. [cold]

use config_sync::status::{ConfigView, PROPAGATION_BOUNDS_S, Propagation};

use super::families::{self as f, Family};
use super::groups::render;
use super::text::signed;
use super::{one, text};

/// Appends everything that `view` says.
pub(super) fn render_config(view: &ConfigView, out: &mut Vec<u8>) {
    let successful = view.last_reload.is_some_and(|(ok, _)| ok);
    one(out, &f::CONFIG_LAST_OK, b"", i64::from(successful));
    if let Some(at) = view.last_success {
        one(out, &f::CONFIG_LAST_OK_AT, b"", at);
    }
    one(out, &f::CONFIG_RELOADS, b"", signed(view.reloads));
    text::header(out, &f::CONFIG_FAILURES);
    for (reason, count) in &view.failures {
        let labels = render([("reason", reason)]);
        text::sample(out, &f::CONFIG_FAILURES, &labels, signed(*count));
    }
    let rows = &view.rows;
    by_kind(out, &f::CONFIG_REJECTED, &rows.rejected_by_kind);
    by_kind(out, &f::CONFIG_PARTIAL, &rows.partial_by_kind);
    by_kind(out, &f::CONFIG_STALE, &rows.stale_by_kind);
    store(view, out);
    let Some(applied) = &view.applied else { return };
    by_kind(out, &f::CONFIG_RESOURCES, &applied.resource_counts);
    if !applied.config_hash.is_empty() {
        let labels = render([("hash", applied.config_hash.as_str())]);
        one(out, &f::CONFIG_HASH, &labels, 1);
    }
    if let Some(revision) = applied.applied_revision {
        one(out, &f::CONFIG_APPLIED_REVISION, b"", revision);
    }
}

/// What only a store has.
fn store(view: &ConfigView, out: &mut Vec<u8>) {
    let Some(connected) = view.connected else {
        return;
    };
    one(out, &f::CONFIG_CONNECTED, b"", i64::from(connected));
    if let Some(revision) = view.observed_revision {
        one(out, &f::CONFIG_OBSERVED_REVISION, b"", revision);
    }
    if let Some(at) = view.confirmed_at {
        one(out, &f::CONFIG_CONFIRMED_AT, b"", at);
    }
    one(out, &f::CONFIG_RESYNCS, b"", signed(view.resyncs));
    one(out, &f::CONFIG_WATCH_LOSSES, b"", signed(view.watch_losses));
    propagation(&view.propagation, out);
}

fn propagation(took: &Propagation, out: &mut Vec<u8>) {
    let micros = |seconds: f64| (seconds * 1e6).round() as u64;
    let bounds = PROPAGATION_BOUNDS_S.map(micros);
    let mut sums = took.counts.to_vec();
    sums.push(micros(took.sum_s));
    text::header(out, &f::CONFIG_PROPAGATION);
    text::histogram(out, &f::CONFIG_PROPAGATION, b"", &bounds, &sums);
}

fn by_kind<'k>(
    out: &mut Vec<u8>,
    family: &Family,
    counts: impl IntoIterator<Item = (&'k &'static str, &'k usize)>,
) {
    text::header(out, family);
    for (kind, count) in counts {
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        text::sample(out, family, &render([("kind", kind)]), count);
    }
}
