//! The families that follow from request records. [cold]

use std::sync::Arc;

use super::families as f;
use super::families::Family;
use super::groups::{GROUPS_MAX, Groups, Values, render};
use super::text::{self, signed};
use super::{DetailedLabels, MetricsOptions};
use crate::bridge::WorkerView;
use crate::bridge::domain;
use crate::bridge::histogram::{Bounds, BucketSettings};
use crate::bridge::rare::Superseded;
use crate::bridge::series::{CallerId, OTHER, Series, SeriesLabels, TargetId, TargetSeries};

/// The endpoint whose requests are no usage.
const TOKEN_COUNTS: &str = "/v1/messages/count_tokens";

// Cells of a line under the detailed labels.
const PROMPT: usize = 0;
const COMPLETION: usize = 1;
const TOTAL: usize = 2;
const MICRO_USD: usize = 3;
const LLM: usize = 4;
const FIRST_TOKEN: usize = 5;

/// Sums over all workers, with the lines remembered between scrapes.
#[derive(Debug)]
pub struct Requests {
    buckets: BucketSettings,
    keep: DetailedLabels,
    /// Per worker, per series: its lines. Both only grow at the end.
    lines: Vec<Vec<Lines>>,
    attempts_lines: Vec<Vec<u32>>,
    by_outcome: Groups,
    by_status: Groups,
    results: Groups,
    durations: Groups,
    latencies: Groups,
    detailed: Groups,
    models: Groups,
    cancelled: Groups,
    usage_events: Groups,
    attempts: Groups,
    estimated: u64,
}

/// Where a series is added.
#[derive(Clone, Copy, Debug)]
struct Lines {
    by_outcome: u32,
    authenticated: Option<Authenticated>,
}

#[derive(Clone, Copy, Debug)]
struct Authenticated {
    by_status: u32,
    result: u32,
    duration: u32,
    latency: u32,
    detailed: u32,
    model: u32,
    cancelled: u32,
    usage_event: Option<u32>,
    llm: bool,
    failed: bool,
    times_first_token: bool,
}

/// Cells of a histogram: buckets, the one beyond, the sum.
fn width(bounds: &Bounds) -> usize {
    bounds.micros().len() + 2
}

impl Requests {
    /// Nothing counted yet.
    pub fn new(options: &MetricsOptions) -> Self {
        let buckets = options.buckets.clone();
        let keep = options.detailed;
        let (e2e, ttft) = (width(&buckets.e2e), width(&buckets.ttft));
        let duration = width(&buckets.duration);
        let other = SeriesLabels {
            fallback: false,
            endpoint: OTHER,
            inbound_protocol: OTHER,
            caller: CallerId::Other,
            target: TargetId::Other,
            stream: false,
            status: 0,
        };
        let v = Values::of(&other);
        let groups = |width, other| Groups::new(width, GROUPS_MAX, other);
        Self {
            keep,
            lines: Vec::new(),
            attempts_lines: Vec::new(),
            by_outcome: groups(1, v.by_status(true)),
            by_status: groups(duration, v.by_status(false)),
            results: groups(3, v.detailed_result(keep, true)),
            durations: groups(1 + duration, v.detailed_result(keep, false)),
            latencies: groups(e2e + ttft, v.latency()),
            detailed: groups(FIRST_TOKEN + ttft, v.detailed(keep)),
            models: groups(1, v.model()),
            cancelled: groups(1, v.cancelled()),
            usage_events: groups(1, v.usage_event()),
            attempts: groups(4, target_labels(None)),
            estimated: 0,
            buckets,
        }
    }

    /// Sums the workers and appends all families.
    pub fn render(&mut self, workers: &[WorkerView], out: &mut Vec<u8>) {
        self.clear();
        self.lines.resize_with(workers.len(), Vec::new);
        self.attempts_lines.resize_with(workers.len(), Vec::new);
        for (at, worker) in workers.iter().enumerate() {
            // The lock is held for as long as it takes to copy pointers: a worker that meets a
            // new series must not wait for a scrape.
            let series: Vec<Arc<Series>> = worker.counters.series().clone();
            let targets: Vec<Arc<TargetSeries>> = worker.counters.targets().clone();
            for (place, series) in series.iter().enumerate() {
                self.add(at, place, series);
            }
            for (place, target) in targets.iter().enumerate() {
                self.add_attempts(at, place, target);
            }
            let superseded = worker.counters.rare.read().superseded.clone();
            for (attempt, count) in &superseded {
                self.add_superseded(attempt, *count);
            }
        }
        self.write(out);
    }

    fn clear(&mut self) {
        self.estimated = 0;
        for groups in [
            &mut self.by_outcome,
            &mut self.by_status,
            &mut self.results,
            &mut self.durations,
            &mut self.latencies,
            &mut self.detailed,
            &mut self.models,
            &mut self.cancelled,
            &mut self.usage_events,
            &mut self.attempts,
        ] {
            groups.clear();
        }
    }

    fn lines_of(&mut self, series: &Series) -> Lines {
        let labels = &series.labels;
        let values = Values::of(labels);
        let by_outcome = self.by_outcome.line(&values.by_status(true));
        if matches!(labels.caller, CallerId::Absent) {
            return Lines {
                by_outcome,
                authenticated: None,
            };
        }
        let llm = series.is_llm();
        let authenticated = Authenticated {
            by_status: self.by_status.line(&values.by_status(false)),
            result: self.results.line(&values.detailed_result(self.keep, true)),
            duration: self
                .durations
                .line(&values.detailed_result(self.keep, false)),
            latency: self.latencies.line(&values.latency()),
            detailed: self.detailed.line(&values.detailed(self.keep)),
            model: self.models.line(&values.model()),
            cancelled: self.cancelled.line(&values.cancelled()),
            // Model lists and token counts are no usage (observability.md §5.1).
            usage_event: (llm && labels.endpoint != TOKEN_COUNTS)
                .then(|| self.usage_events.line(&values.usage_event())),
            llm,
            failed: domain::outcome(labels.status) != "success",
            times_first_token: domain::times_first_token(labels.endpoint),
        };
        Lines {
            by_outcome,
            authenticated: Some(authenticated),
        }
    }

    fn add(&mut self, worker: usize, place: usize, series: &Series) {
        if self.lines[worker].len() == place {
            let lines = self.lines_of(series);
            self.lines[worker].push(lines);
        }
        let lines = self.lines[worker][place];
        let requests = series.requests.value();
        self.by_outcome.cells(lines.by_outcome)[0] += requests;
        self.estimated += series.estimated_tokens.value();
        let Some(lines) = lines.authenticated else {
            return;
        };
        series
            .duration
            .add_to(self.by_status.cells(lines.by_status));
        let cells = self.results.cells(lines.result);
        cells[0] += requests;
        cells[1] += if lines.failed { requests } else { 0 };
        cells[2] += if lines.llm { requests } else { 0 };
        let cells = self.durations.cells(lines.duration);
        cells[0] += if lines.llm { requests } else { 0 };
        series.duration.add_to(&mut cells[1..]);
        let (e2e, ttft) = self
            .latencies
            .cells(lines.latency)
            .split_at_mut(width(&self.buckets.e2e));
        series.e2e.add_to(e2e);
        series.ttft.add_to(ttft);
        let cells = self.detailed.cells(lines.detailed);
        cells[PROMPT] += series.prompt_tokens.value();
        cells[COMPLETION] += series.completion_tokens.value();
        cells[TOTAL] += series.total_tokens.value();
        cells[MICRO_USD] += series.micro_usd.value();
        cells[LLM] |= u64::from(lines.llm);
        if lines.times_first_token {
            series.ttft.add_to(&mut cells[FIRST_TOKEN..]);
        }
        self.models.cells(lines.model)[0] +=
            series.prompt_tokens.value() + series.completion_tokens.value();
        self.cancelled.cells(lines.cancelled)[0] += series.cancelled.value();
        if let Some(line) = lines.usage_event {
            self.usage_events.cells(line)[0] += requests;
        }
    }

    /// Attempts that others followed are usage events too.
    fn add_superseded(&mut self, attempt: &Superseded, count: u64) {
        if attempt.endpoint == TOKEN_COUNTS {
            return;
        }
        let names = attempt.target.as_ref();
        let [model, key_id, key_name] =
            names.map_or([OTHER; 3], |names| [&*names[0], &*names[1], &*names[2]]);
        let labels = render([
            ("handler", attempt.endpoint),
            ("status_code", domain::status_class(attempt.status)),
            ("inbound_protocol", attempt.inbound_protocol),
            ("model", model),
            ("provider_key_id", key_id),
            ("provider_key_name", key_name),
        ]);
        let line = self.usage_events.line(&labels);
        self.usage_events.cells(line)[0] += count;
    }

    fn add_attempts(&mut self, worker: usize, place: usize, target: &TargetSeries) {
        if self.attempts_lines[worker].len() == place {
            let line = self.attempts.line(&target_labels(Some(target)));
            self.attempts_lines[worker].push(line);
        }
        let cells = self.attempts.cells(self.attempts_lines[worker][place]);
        cells[0] += target.success.value();
        cells[1] += target.failure.value();
        cells[2] += target.cooled_down.value();
        cells[3] += target.left.value();
    }

    fn write(&self, out: &mut Vec<u8>) {
        let b = &self.buckets;
        let always = |_: &[u64]| true;
        counters(out, &f::REQUESTS, &self.by_outcome, |c| c[0], always);
        histograms(
            out,
            &f::REQUEST_DURATION,
            &self.by_status,
            &b.duration,
            |c| Some(c),
        );
        counters(out, &f::PROXY_REQUESTS, &self.results, |c| c[0], always);
        counters(out, &f::PROXY_FAILED, &self.results, |c| c[1], |c| c[1] > 0);
        histograms(out, &f::PROXY_DURATION, &self.durations, &b.duration, |c| {
            Some(&c[1..])
        });
        counters(out, &f::LLM_REQUESTS, &self.results, |c| c[2], |c| c[2] > 0);
        histograms(out, &f::LLM_DURATION, &self.durations, &b.duration, |c| {
            (c[0] > 0).then_some(&c[1..])
        });
        let e2e = width(&b.e2e);
        histograms(out, &f::E2E, &self.latencies, &b.e2e, |c| Some(&c[..e2e]));
        histograms(out, &f::TTFT, &self.latencies, &b.ttft, |c| Some(&c[e2e..]));
        histograms(out, &f::LLM_TTFT, &self.detailed, &b.ttft, |c| {
            Some(&c[FIRST_TOKEN..])
        });
        counters(out, &f::CANCELLED, &self.cancelled, |c| c[0], |c| c[0] > 0);
        counters(out, &f::TOKENS, &self.models, |c| c[0], always);
        for (family, cell) in [
            (&f::INPUT_TOKENS, PROMPT),
            (&f::OUTPUT_TOKENS, COMPLETION),
            (&f::TOTAL_TOKENS, TOTAL),
            (&f::SPEND, MICRO_USD),
        ] {
            counters(out, family, &self.detailed, |c| c[cell], |c| c[LLM] > 0);
        }
        text::header(out, &f::ESTIMATED);
        text::sample(out, &f::ESTIMATED, b"", signed(self.estimated));
        counters(
            out,
            &f::DEPLOYMENT_REQUESTS,
            &self.attempts,
            |c| c[0] + c[1] + c[3],
            always,
        );
        counters(
            out,
            &f::DEPLOYMENT_SUCCESS,
            &self.attempts,
            |c| c[0],
            always,
        );
        counters(
            out,
            &f::DEPLOYMENT_FAILURE,
            &self.attempts,
            |c| c[1],
            always,
        );
        counters(
            out,
            &f::DEPLOYMENT_COOLED,
            &self.attempts,
            |c| c[2],
            |c| c[2] > 0,
        );
        counters(out, &f::USAGE_EVENTS, &self.usage_events, |c| c[0], always);
    }
}

fn counters(
    out: &mut Vec<u8>,
    family: &Family,
    groups: &Groups,
    value: impl Fn(&[u64]) -> u64,
    shown: impl Fn(&[u64]) -> bool,
) {
    text::header(out, family);
    for (labels, cells) in groups.lines().filter(|(_, cells)| shown(cells)) {
        text::sample(out, family, labels, signed(value(cells)));
    }
}

/// Histograms without observations are left out.
fn histograms(
    out: &mut Vec<u8>,
    family: &Family,
    groups: &Groups,
    bounds: &Bounds,
    cells_of: impl Fn(&[u64]) -> Option<&[u64]>,
) {
    text::header(out, family);
    for (labels, cells) in groups.lines() {
        let Some(cells) = cells_of(cells) else {
            continue;
        };
        let buckets = &cells[..cells.len() - 1];
        if buckets.iter().any(|count| *count > 0) {
            text::histogram(out, family, labels, bounds.micros(), cells);
        }
    }
}

/// The labels of a target.
pub(super) fn target_labels(series: Option<&TargetSeries>) -> Vec<u8> {
    let names = ["provider", "model", "upstream_model", "provider_key_id"];
    let values = match series.and_then(|series| series.target.as_ref()) {
        Some(t) => {
            [&t.provider, &t.model, &t.upstream_model, &t.provider_key_id].map(|value| &**value)
        }
        None => [OTHER; 4],
    };
    let mut out = Vec::new();
    for pair in names.into_iter().zip(values) {
        let one = render([pair]);
        if !out.is_empty() {
            out.push(b',');
        }
        out.extend_from_slice(&one);
    }
    out
}
