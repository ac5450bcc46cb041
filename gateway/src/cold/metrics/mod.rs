//! The scrape: sums what the workers counted and renders Prometheus text. [cold]

mod admission;
mod config;
pub mod families;
pub mod groups;
pub mod process;
mod rare;
pub mod requests;
pub mod runtime;
pub mod text;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::bridge::WorkerView;
use crate::bridge::health::HealthTable;
use crate::bridge::histogram::BucketSettings;
use crate::bridge::memory::Memory;
use crate::tls::listener::TlsListener;
use crate::tls::upstream::UpstreamTrust;
use config_sync::status::ConfigStatus;
use families as f;
use groups::render;

/// What the scrape is told at boot.
#[derive(Clone, Debug)]
pub struct MetricsOptions {
    /// Bounds of the histograms; the same that the shards were built with.
    pub buckets: BucketSettings,
    /// Caller labels shown.
    pub detailed: DetailedLabels,
    /// What is running.
    pub version: &'static str,
    /// From which commit, or empty.
    pub commit: &'static str,
    /// `io_uring` or `epoll`.
    pub io_engine: &'static str,
    /// Unix milliseconds of the start.
    pub start_unix_ms: u64,
    /// The listeners that speak TLS.
    pub tls: Vec<Arc<TlsListener>>,
    /// The memory of the process.
    pub memory: Arc<Memory>,
    /// How upstreams are trusted.
    pub upstream_trust: Arc<UpstreamTrust>,
}

/// Which labels of the caller the detailed families show.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DetailedLabels {
    /// Show `api_key_id`.
    pub api_key_id: bool,
    /// Show `team_id`.
    pub team_id: bool,
    /// Show `user_id`.
    pub user_id: bool,
    /// Show `user_name`.
    pub user_name: bool,
}

impl DetailedLabels {
    /// The full set, the default.
    pub const ALL: Self = Self {
        api_key_id: true,
        team_id: true,
        user_id: true,
        user_name: true,
    };
    /// None of them.
    pub const NONE: Self = Self {
        api_key_id: false,
        team_id: false,
        user_id: false,
        user_name: false,
    };
}

/// Shares of CPU time, in millionths, by worker: written by the watchdog, read by the scrape.
pub type BusyRatios = Arc<[AtomicU64]>;

/// Renders scrapes. One at a time: it keeps the lines it has seen.
#[derive(Debug)]
pub struct Scrape {
    options: MetricsOptions,
    workers: Vec<WorkerView>,
    config: ConfigStatus,
    busy: BusyRatios,
    health: Arc<HealthTable>,
    requests: requests::Requests,
    bytes_last: usize,
}

impl Scrape {
    /// A renderer for these workers.
    pub fn new(
        options: MetricsOptions,
        workers: Vec<WorkerView>,
        config: ConfigStatus,
        busy: BusyRatios,
        health: Arc<HealthTable>,
    ) -> Self {
        let requests = requests::Requests::new(&options);
        Self {
            options,
            workers,
            config,
            busy,
            health,
            requests,
            bytes_last: 0,
        }
    }

    /// The workers it sums over.
    pub fn workers(&self) -> &[WorkerView] {
        &self.workers
    }

    /// The state of the configuration it shows.
    pub fn config(&self) -> &ConfigStatus {
        &self.config
    }

    /// How the targets are doing.
    pub fn health(&self) -> &Arc<HealthTable> {
        &self.health
    }

    /// How upstreams are trusted.
    pub fn upstream_trust(&self) -> &Arc<UpstreamTrust> {
        &self.options.upstream_trust
    }

    /// The memory of the process.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.options.memory
    }

    /// The text of one scrape, without the cold side's own families.
    pub fn render(&mut self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes_last + 4_096);
        self.requests.render(&self.workers, &mut out);
        runtime::render(&self.workers, &mut out);
        rare::render(&self.workers, &mut out);
        rare::render_states(&self.workers, &self.health, &mut out);
        tls::render(&self.workers, &self.options.tls, &mut out);
        tls::render_upstream(&self.options.upstream_trust, &mut out);
        admission::render(&self.workers, &self.options.memory, &mut out);
        self.render_busy(&mut out);
        config::render_config(&self.config.view(), &mut out);
        let engine = render([("engine", self.options.io_engine)]);
        one(&mut out, &f::IO_ENGINE, &engine, 1);
        let build = [
            ("version", self.options.version),
            ("commit", self.options.commit),
        ];
        one(&mut out, &f::BUILD, &render(build), 1);
        process::render(self.options.start_unix_ms, &self.workers, &mut out);
        self.bytes_last = out.len();
        out
    }

    fn render_busy(&self, out: &mut Vec<u8>) {
        text::header(out, &f::CORE_BUSY);
        for (worker, ratio) in self.busy.iter().enumerate() {
            let labels = render([("core", itoa::Buffer::new().format(worker))]);
            text::sample_micros(out, &f::CORE_BUSY, &labels, ratio.load(Relaxed));
        }
    }
}

fn one(out: &mut Vec<u8>, family: &families::Family, labels: &[u8], value: i64) {
    text::header(out, family);
    text::sample(out, family, labels, value);
}

#[cfg(test)]
mod tests;
