//! Builds and starts everything, then waits for the end. Reads as a table of contents. [boot]

mod cold;
mod counts;
mod drain;
mod handover;
mod inherit;
mod memory;
mod notify;
mod resources;
mod source;
mod tls;
mod trust;
pub(crate) mod upgrade;
mod workers;

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::bridge::WorkerView;
use crate::bridge::limits::LimitTable;
use crate::cold::logging::LogGuard;
use crate::cold::memory::Watch;
use crate::cold::runtime::ColdThread;
use crate::cold::signals::{self, Signal};
use crate::listener::bind::{bind_all, spread};
use crate::reach::{Reach, reach};
use crate::settings::{self, ClientVerify, Settings, ShutdownSettings};
use crate::sys::forget_code;
use crate::worker::placement::Placement;
use config_sync::publish::SnapshotCell;
use config_sync::status::ConfigStatus;
use drain::Drain;
use handover::Handover;
use inherit::Inherited;
use source::Source;
use tls::Listeners;
use trust::FollowedTrust;
use upgrade::{Passed, Progress, Upgrade};
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
    let mut inherited = Inherited::take()?;
    upgrade::call_itself(upgrade::STARTING);
    let (settings, warnings) =
        settings::load(path, settings::process_env()).map_err(|e| BootError(e.to_string()))?;
    let log = cold::start_log(&settings)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let (trust, seen) = FollowedTrust::load(&settings.upstream.tls)?;
    let mut tls = Listeners::load(&settings)?;
    let status = ConfigStatus::new(Source::kind(&settings));
    let (source, cell) = Source::start(&settings, &status)?;
    let trust = FollowedTrust::new((trust, seen), &settings.upstream.tls, &cell);
    raise_descriptor_limit();

    let placement = Placement::decide(settings.proxy.workers.get(), settings.proxy.pin_cpus)
        .map_err(|error| because("CPU affinity", error))?;
    let passed = listening(&settings, &mut inherited, placement.cpus.len())?;
    let listeners = spread(&passed.proxy, placement.cpus.len());
    let listeners = listeners.map_err(|error| because("proxy.addr", error))?;
    let (status_listener, status_addr) = status_listener(&passed)?;

    let (memory, measure) = memory::memory(&settings, placement.cpus.len())?;
    let (bridges, cold_bridge) = cold::bridge(&settings, placement.cpus.len())?;
    let (workers, ready) = Workers::start(
        &settings,
        &placement,
        bridges,
        listeners,
        &trust.trust,
        tls.proxy.as_ref(),
        (&cell, &memory),
    )?;
    let views = cold_bridge.workers.clone();
    let buckets = Arc::clone(&cold_bridge.buckets);
    let signals = signals::listen().map_err(|error| because("signals", error))?;
    let checks = cold::checks(&cell, &trust.trust);
    let options = cold::options(
        &settings,
        status_listener,
        &status,
        ready.engine(),
        (&tls, &trust.shown, &log),
        (checks, Watch::new(measure, Arc::clone(&memory)), &memory),
    )?;
    upgrade::until_able(&mut inherited, &status, &buckets)?;
    tls.follow_rows(&cell);
    let cold = ColdThread::start(cold_bridge, options).map_err(|e| because("cold side", e))?;
    ready.go();
    say_started(&settings, &placement, &ready, status_addr);
    announce(inherited);
    // Most of what ran until here never runs again.
    forget_code();

    let gateway = Gateway {
        passed,
        settings,
        workers,
        views,
        buckets,
        cold,
        log,
        signals,
        source,
        cell,
        status,
        tls,
        trust,
    };
    Ok(gateway.serve())
}

/// Everything that runs.
struct Gateway {
    passed: Passed,
    settings: Settings,
    workers: Workers,
    views: Vec<WorkerView>,
    buckets: Arc<LimitTable>,
    cold: ColdThread,
    log: LogGuard,
    signals: std::sync::mpsc::Receiver<Signal>,
    source: Source,
    cell: SnapshotCell,
    status: ConfigStatus,
    tls: Listeners,
    trust: FollowedTrust,
}

/// Why a gateway stops serving.
enum End {
    /// It was told to end.
    Drain,
    /// Another process has become ready to serve in its place.
    HandOver(Upgrade),
    /// A thread of it has ended.
    Broken,
}

impl Gateway {
    fn serve(mut self) -> bool {
        match self.until_end() {
            End::Drain => {
                notify::tell(notify::STOPPING);
                let outcome = self.drain(&self.settings.shutdown);
                self.leave(outcome)
            }
            End::HandOver(upgrade) => self.hand_over(upgrade),
            End::Broken => self.broken(),
        }
    }

    fn until_end(&mut self) -> End {
        let mut upgrade: Option<Upgrade> = None;
        loop {
            let every = upgrade.as_ref().map_or(LOOK_EVERY, |_| upgrade::LOOK_EVERY);
            match self.signals.recv_timeout(every) {
                Ok(Signal::Reload) => self.reload(),
                Ok(Signal::Upgrade) => {
                    upgrade = upgrade::begin(upgrade, &self.passed, &self.buckets);
                }
                Ok(Signal::Stop(name)) => {
                    tracing::info!(signal = name, "draining");
                    if let Some(upgrade) = upgrade {
                        upgrade.give_up("this process was told to stop");
                    }
                    return End::Drain;
                }
                Err(RecvTimeoutError::Timeout) if self.is_whole() => self.look(),
                Err(_) => return End::Broken,
            }
            upgrade = match upgrade.map(Upgrade::look) {
                Some(Progress::Ready(upgrade)) => return End::HandOver(upgrade),
                Some(Progress::Waiting(upgrade)) => Some(upgrade),
                Some(Progress::Failed) | None => None,
            };
        }
    }

    fn drain(&self, settings: &ShutdownSettings) -> drain::Outcome {
        let drain = Drain {
            settings,
            views: &self.views,
            signals: &self.signals,
        };
        drain.run()
    }

    /// Serves what it has to the end, while another process accepts.
    fn hand_over(mut self, upgrade: Upgrade) -> bool {
        let mut handover = Handover::begin(upgrade, &self.views);
        self.cold.leave_status();
        // The other process has them too. If it were to end, callers would rather be refused than
        // wait for this one.
        self.passed.proxy.clear();
        loop {
            match self.signals.recv_timeout(drain::LOOK_EVERY) {
                Ok(Signal::Reload) => self.reload(),
                Ok(Signal::Upgrade) => tracing::warn!("no upgrade: this process has handed over"),
                Ok(Signal::Stop(name)) => {
                    tracing::info!(signal = name, "draining");
                    let settings = ShutdownSettings {
                        min_drain: Duration::ZERO,
                        ..self.settings.shutdown
                    };
                    let outcome = self.drain(&settings);
                    return self.leave(outcome);
                }
                Err(RecvTimeoutError::Timeout) if self.is_whole() => self.look(),
                Err(_) => return self.broken(),
            }
            if handover.is_done(&self.views) {
                return self.leave(drain::Outcome::HandedOver);
            }
        }
    }

    /// Writes what is left to be written; whether the end was a clean one.
    fn leave(self, outcome: drain::Outcome) -> bool {
        self.source.stop();
        let flushed = self.cold.flush_and_stop();
        tracing::info!(outcome = outcome.label(), "stopped");
        drop(self.log);
        // Operations are still in flight on the workers' rings; leaving is the clean end for them.
        flushed && outcome.is_clean()
    }

    fn broken(self) -> bool {
        tracing::error!("a thread of the gateway has ended; the process follows");
        drop(self.log);
        false
    }

    fn reload(&mut self) {
        self.tls.reload(true);
        self.trust.reload(true);
        self.source.reload(&self.status);
        self.tls.follow_rows(&self.cell);
    }

    fn look(&mut self) {
        if self.tls.look() {
            self.trust.reload(false);
        }
        self.source.look(&self.status);
        self.tls.follow_rows(&self.cell);
    }

    fn is_whole(&self) -> bool {
        !self.workers.any_ended() && !self.cold.is_dead() && self.source.is_whole()
    }
}

/// A handle to the socket of metrics and status, and its address.
fn status_listener(passed: &Passed) -> Result<(TcpListener, SocketAddr), BootError> {
    let handle = passed.metrics.try_clone();
    let handle = handle.map_err(|error| because("metrics", error))?;
    let addr = handle.local_addr();
    let addr = addr.map_err(|error| because("metrics", error))?;
    Ok((handle, addr))
}

/// The listening sockets: those that the process was started with, else bound now.
fn listening(
    settings: &Settings,
    inherited: &mut Inherited,
    workers: usize,
) -> Result<Passed, BootError> {
    let addr = settings.proxy.addr;
    let mut proxy = std::mem::take(&mut inherited.proxy);
    if proxy.is_empty() {
        let bound = bind_all(addr, workers);
        proxy = bound.map_err(|error| because(&format!("proxy.addr {addr}"), error))?;
    }
    for socket in &proxy {
        inherit::say_where(addr, "proxy.addr", socket);
    }
    let addr = settings.observability.prometheus.addr;
    let key = "observability.metrics.prometheus.addr";
    let metrics = inherited.metrics.take();
    let metrics = metrics.map_or_else(|| TcpListener::bind(addr), Ok);
    let metrics = metrics.map_err(|error| because(&format!("{key} {addr}"), error))?;
    inherit::say_where(addr, key, &metrics);
    Ok(Passed { proxy, metrics })
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
        pid = std::process::id(),
        workers = placement.cpus.len(),
        io_engine = engine.name(),
        open_files_max = getrlimit(Resource::Nofile).current,
        metrics = %status_addr,
        "serving"
    );
    warn_of_exposure(settings);
}

/// Tells everybody who waits for it that this process serves.
fn announce(inherited: Inherited) {
    upgrade::call_itself(upgrade::SERVING);
    notify::tell(notify::READY);
    if let Some(ready) = inherited.ready {
        upgrade::say_ready(ready);
    }
}
