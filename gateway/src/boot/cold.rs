//! The cold side's options, made from the settings. [boot]

use std::net::TcpListener;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::SystemTime;

use super::tls::Listeners;
use super::{BootError, because};
use crate::bridge::histogram::{Bounds, BucketSettings};
use crate::bridge::memory::Memory;
use crate::bridge::{self, ColdBridge, WorkerBridge};
use crate::cold::checks::ChecksOptions;
use crate::cold::limits::{RedisLimits, RedisLimitsOptions};
use crate::cold::logging::{self, LogFormat, LogGuard, LogOptions};
use crate::cold::memory::Watch;
use crate::cold::metrics::{DetailedLabels, MetricsOptions};
use crate::cold::rotate::{FileOptions, RotatingFile};
use crate::cold::runtime::ColdOptions;
use crate::cold::writer::Output;
use crate::settings::{self, ObservabilitySettings, Settings};
use crate::tls::upstream::UpstreamTrust;
use crate::upstream::trust::Trust;
use crate::worker::engine::Engine;
use config_sync::publish::SnapshotCell;
use config_sync::status::ConfigStatus;

/// Starts the process log.
pub(super) fn start_log(settings: &Settings) -> Result<LogGuard, BootError> {
    let observability = &settings.observability;
    let options = LogOptions {
        filter: observability.log_filter.to_string(),
        format: match observability.log_format {
            settings::LogFormat::Text => LogFormat::Text,
            settings::LogFormat::Json => LogFormat::Json,
        },
        output: output(&observability.log_output, observability)
            .map_err(|error| because("observability.log_output", error))?,
    };
    let guard =
        logging::init(options).map_err(|error| because("observability.log_level", error))?;
    logging::log_panics();
    Ok(guard)
}

/// Both sides of the thread boundary.
pub(super) fn bridge(
    settings: &Settings,
    workers: usize,
) -> Result<(Vec<WorkerBridge>, ColdBridge), BootError> {
    let count = u16::try_from(workers).map_err(|error| because("proxy.workers", error))?;
    bridge::build(count, &buckets(settings)).map_err(|error| because("worker sockets", error))
}

/// What the cold side is told.
pub(super) fn options(
    settings: &Settings,
    status_listener: TcpListener,
    status: &ConfigStatus,
    engine: Engine,
    (tls, trust, log): (&Listeners, &Arc<UpstreamTrust>, &LogGuard),
    (checks, watch, memory): (ChecksOptions, Watch, &Arc<Memory>),
) -> Result<ColdOptions, BootError> {
    let observability = &settings.observability;
    let access_log = match observability.access_log {
        false => None,
        true => Some(
            output(&observability.access_log_output, observability)
                .map_err(|error| because("observability.access_log_output", error))?,
        ),
    };
    let prometheus = &observability.prometheus;
    Ok(ColdOptions {
        status_listener: Some(status_listener),
        status_tls: tls.metrics.clone(),
        metrics_path: prometheus.enabled.then(|| prometheus.path.to_string()),
        metrics: MetricsOptions {
            buckets: buckets(settings),
            detailed: DetailedLabels::ALL,
            version: env!("CARGO_PKG_VERSION"),
            commit: option_env!("SLUICE_COMMIT").unwrap_or_default(),
            io_engine: engine.name(),
            start_unix_ms: unix_ms(),
            tls: tls.all(),
            memory: Arc::clone(memory),
            upstream_trust: Arc::clone(trust),
        },
        access_log,
        client_types: observability.client_types.clone(),
        config: status.clone(),
        limits: shared_limits(settings)?,
        checks: Some(checks),
        memory: watch,
        log: Some(log.writer()),
    })
}

/// What checking models takes: the configuration, and the trust of requests.
pub(super) fn checks(cell: &SnapshotCell, trust: &Arc<Trust>) -> ChecksOptions {
    let trust = Arc::clone(trust);
    ChecksOptions {
        snapshots: cell.clone(),
        tls: Arc::new(move |host, key| trust.client_for(host, key)),
    }
}

/// The counters that gateways share, if they are wanted. Redis need not be there yet.
fn shared_limits(settings: &Settings) -> Result<Option<Arc<RedisLimits>>, BootError> {
    let ratelimit = &settings.ratelimit;
    let Some(redis) = &ratelimit.redis else {
        return Ok(None);
    };
    let options = RedisLimitsOptions {
        env_id: settings.env_id.clone(),
        concurrency_ttl: ratelimit.concurrency_ttl,
        timeout: ratelimit.redis_timeout,
    };
    let limits = RedisLimits::new(redis, options);
    let limits = limits.map_err(|error| BootError(format!("ratelimit.{error}")))?;
    Ok(Some(Arc::new(limits)))
}

fn output(
    output: &settings::Output,
    observability: &ObservabilitySettings,
) -> std::io::Result<Output> {
    Ok(match output {
        settings::Output::Stderr => Output::Stderr,
        settings::Output::Stdout => Output::Stdout,
        settings::Output::File(path) => {
            let mut options = FileOptions::new(path.clone());
            options.keep = observability.access_log_keep;
            options.bytes_max = observability
                .access_log_rotate_bytes
                .map_or(0, NonZeroU64::get);
            Output::File(RotatingFile::open(options)?)
        }
    })
}

fn buckets(settings: &Settings) -> BucketSettings {
    let buckets = &settings.observability.buckets;
    BucketSettings {
        e2e: Bounds::from_seconds(&buckets.request_e2e_latency),
        ttft: Bounds::from_seconds(&buckets.request_ttft),
        ..BucketSettings::default()
    }
}

pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
