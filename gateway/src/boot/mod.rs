//! Builds and starts everything, then waits for the end. Reads as a table of contents. [boot]

mod cold;
mod drain;
mod notify;
mod resources;
mod source;
mod tls;
mod workers;

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::cold::logging::LogGuard;
use crate::cold::runtime::ColdThread;
use crate::cold::signals::{self, Signal};
use crate::listener::bind::bind_all;
use crate::reach::{Reach, reach};
use crate::settings::{self, ClientVerify, Settings};
use crate::upstream::trust::Trust;
use crate::worker::placement::Placement;
use config_sync::status::ConfigStatus;
use drain::Drain;
use source::Source;
use tls::Listeners;
use workers::Workers;

/// How often the main thread looks whether every thread is still there.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Why the gateway did not start, or did not go on, ready to be printed.
#[derive(Debug)]
pub struct BootError(String);

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BootError {}

fn because(what: &str, cause: impl fmt::Display) -> BootError {
    BootError(format!("{what}: {cause}"))
}

/// Runs the gateway with the startup file at `path` until it is told to stop; `true` after a clean
/// drain.
///
/// # Errors
///
/// [`BootError`]: nothing is left bound.
pub fn run(path: &Path) -> Result<bool, BootError> {
    let (settings, warnings) =
        settings::load(path, settings::process_env()).map_err(|e| BootError(e.to_string()))?;
    let log = cold::start_log(&settings)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let trust = Arc::new(Trust::load(&settings.upstream.tls).map_err(BootError)?);
    let tls = Listeners::load(&settings)?;
    let status = ConfigStatus::new(Source::kind(&settings));
    let (source, cell) = Source::start(&settings, &status)?;
    raise_descriptor_limit();

    let placement = Placement::decide(settings.proxy.workers.get(), settings.proxy.pin_cpus)
        .map_err(|error| because("CPU affinity", error))?;
    let listeners = bind_all(settings.proxy.addr, placement.cpus.len())
        .map_err(|error| because(&format!("proxy.addr {}", settings.proxy.addr), error))?;
    let (status_listener, status_addr) = bind_status(&settings)?;

    let (bridges, cold_bridge) = cold::bridge(&settings, placement.cpus.len())?;
    let (workers, ready) = Workers::start(
        &settings,
        &placement,
        bridges,
        listeners,
        &trust,
        tls.proxy.as_ref(),
        &cell,
    )?;
    let views = cold_bridge.workers.clone();
    let signals = signals::listen().map_err(|error| because("signals", error))?;
    let checks = cold::checks(&cell, &trust);
    let options = cold::options(
        &settings,
        status_listener,
        &status,
        ready.engine(),
        (&tls, &log),
        checks,
    )?;
    let cold = ColdThread::start(cold_bridge, options).map_err(|e| because("cold side", e))?;
    ready.go();
    say_started(&settings, &placement, &ready, status_addr);
    warn_of_exposure(&settings);
    notify::tell(notify::READY);

    let gateway = Gateway {
        settings,
        workers,
        views,
        cold,
        log,
        signals,
        source,
        status,
        tls,
    };
    Ok(gateway.serve())
}

/// Everything that runs.
struct Gateway {
    settings: Settings,
    workers: Workers,
    views: Vec<crate::bridge::WorkerView>,
    cold: ColdThread,
    log: LogGuard,
    signals: std::sync::mpsc::Receiver<Signal>,
    source: Source,
    status: ConfigStatus,
    tls: Listeners,
}

impl Gateway {
    fn serve(mut self) -> bool {
        loop {
            match self.signals.recv_timeout(LOOK_EVERY) {
                Ok(Signal::Reload) => {
                    self.tls.reload(true);
                    self.source.reload(&self.status);
                }
                Ok(Signal::Stop(name)) => {
                    tracing::info!(signal = name, "draining");
                    break;
                }
                Err(RecvTimeoutError::Timeout) if self.is_whole() => {
                    self.tls.look();
                    self.source.look(&self.status);
                }
                Err(_) => {
                    tracing::error!("a thread of the gateway has ended; the process follows");
                    drop(self.log);
                    return false;
                }
            }
        }
        notify::tell(notify::STOPPING);
        let drain = Drain {
            settings: &self.settings.shutdown,
            views: &self.views,
            signals: &self.signals,
        };
        let outcome = drain.run();
        self.source.stop();
        let flushed = self.cold.flush_and_stop();
        tracing::info!(outcome = outcome.label(), "stopped");
        drop(self.log);
        // Operations are still in flight on the workers' rings; leaving is the clean end for them.
        flushed && outcome == drain::Outcome::Complete
    }

    fn is_whole(&self) -> bool {
        !self.workers.any_ended() && !self.cold.is_dead() && self.source.is_whole()
    }
}

fn bind_status(settings: &Settings) -> Result<(TcpListener, SocketAddr), BootError> {
    let addr = settings.observability.prometheus.addr;
    let bound = TcpListener::bind(addr).and_then(|listener| {
        let addr = listener.local_addr()?;
        Ok((listener, addr))
    });
    bound.map_err(|error| {
        because(
            &format!("observability.metrics.prometheus.addr {addr}"),
            error,
        )
    })
}

/// A stream takes two descriptors: the soft limit goes up to the hard one.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit of open files could not be raised");
        }
    }
}

/// Metrics name models, keys and providers: whoever reaches them should be meant to.
fn warn_of_exposure(settings: &Settings) {
    let prometheus = &settings.observability.prometheus;
    let client_ca = prometheus
        .tls
        .as_ref()
        .and_then(|tls| tls.client_ca.as_ref());
    let demanded = client_ca.is_some_and(|ca| ca.verify == ClientVerify::Require);
    if reach(prometheus.addr.ip()) == Reach::Any && !demanded {
        tracing::warn!(
            addr = %prometheus.addr,
            "metrics and status pages are open to every network (docs/deployment.md, \"metrics_exposed\")"
        );
    }
}

fn say_started(
    settings: &Settings,
    placement: &Placement,
    ready: &workers::Ready,
    status_addr: SocketAddr,
) {
    let engine = ready.engine();
    if let Some(reason) = ready.fell_back_because() {
        tracing::warn!(
            engine = engine.name(),
            %reason,
            "the preferred I/O engine is not to be had here (docs/operations.md, \"io_uring\")"
        );
    }
    if let Some(reason) = placement.unpinned_because {
        tracing::info!(reason, "workers are not pinned to CPUs");
    }
    tracing::info!(
        service = &*settings.observability.service_name,
        version = env!("CARGO_PKG_VERSION"),
        addr = %ready.addr(),
        workers = placement.cpus.len(),
        io_engine = engine.name(),
        open_files_max = getrlimit(Resource::Nofile).current,
        metrics = %status_addr,
        "serving"
    );
}
