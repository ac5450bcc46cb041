//! The thread `sluice-cold`: one tokio runtime for all of this side. [cold]

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::Duration;

use metrics::counter;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};

use super::access_log::{AccessLog, BATCHES_MAX, BUSY_DRAIN_PERIOD, BUSY_RECORDS};
use super::checks::{self, ChecksOptions};
use super::events::Events;
use super::limits::{self, RedisLimits};
use super::memory::Watch;
use super::metrics::{BusyRatios, MetricsOptions, Scrape};
use super::status::Status;
use super::watchdog::{self, Watchdog, unix_ms};
use super::writer::{Output, Writer};
use super::{dns, own};
use crate::bridge::health::HealthTable;
use crate::bridge::limits::LimitTable;
use crate::bridge::memory::SAMPLE_EVERY;
use crate::bridge::{ColdBridge, WorkerView};
use crate::client_type::ClientTypes;
use crate::tls::listener::TlsListener;
use config_sync::status::ConfigStatus;

/// Blocking threads at most: lookups, those of checks, and scrapes.
const BLOCKING_THREADS_MAX: usize = dns::LOOKUPS_MAX + checks::CHECKS_AT_ONCE + 4;
/// Wait at most this long for the last access lines.
pub const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// Looks between two sweeps of what workers share: half a minute or so.
const SWEEP_EVERY_LOOKS: u32 = 128;

/// What the cold side is told at boot.
#[derive(Debug)]
pub struct ColdOptions {
    /// The metrics and status listener, already bound; none when it is not wanted.
    pub status_listener: Option<TcpListener>,
    /// Its TLS; none: it speaks plain HTTP.
    pub status_tls: Option<Arc<TlsListener>>,
    /// Path of the scrape, with its leading slash; none answers 404 there.
    pub metrics_path: Option<String>,
    /// What a scrape shows.
    pub metrics: MetricsOptions,
    /// Where access lines go; none writes none.
    pub access_log: Option<Output>,
    /// Tells the kind of client.
    pub client_types: ClientTypes,
    /// State of the configuration.
    pub config: ConfigStatus,
    /// The counters that gateways share; none: limits are counted in this process.
    pub limits: Option<Arc<RedisLimits>>,
    /// What checking models takes; none: they are not checked.
    pub checks: Option<ChecksOptions>,
    /// Measures memory.
    pub memory: Watch,
    /// The process log's writer, for its losses and for reopening on SIGHUP.
    pub log: Option<Writer>,
}

/// The running thread.
#[derive(Debug)]
pub struct ColdThread {
    stop: oneshot::Sender<()>,
    /// Dropped or sent: the status listener is another process's.
    leave: Option<oneshot::Sender<()>>,
    thread: JoinHandle<()>,
}

impl ColdThread {
    /// Starts the cold side.
    ///
    /// # Errors
    ///
    /// A thread or the runtime could not be made; nothing runs then.
    pub fn start(bridge: ColdBridge, options: ColdOptions) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .thread_name("sluice-cold-io")
            .build()?;
        let writer = match options.access_log {
            Some(output) => Some(Writer::start("sluice-access", output, BATCHES_MAX)?),
            None => None,
        };
        let busy: BusyRatios = bridge.workers.iter().map(|_| AtomicU64::new(0)).collect();
        let workers = bridge.workers.clone();
        let io_engine = options.metrics.io_engine;
        let own = own::install();
        let scrape = Scrape::new(
            options.metrics,
            workers.clone(),
            options.config,
            Arc::clone(&busy),
            Arc::clone(&bridge.health),
        );
        let status = Status::new(options.metrics_path, scrape, own, io_engine);
        let side = Side {
            access_log: AccessLog::new(writer.clone(), options.client_types),
            watchdog: Watchdog::new(busy),
            events: Events::default(),
            losses: [("access", writer), ("process", options.log)].map(Loss::new),
            workers,
            health: Arc::clone(&bridge.health),
            buckets: Arc::clone(&bridge.buckets),
            memory: options.memory,
        };
        let (stop, stopped) = oneshot::channel();
        let (leave, left) = oneshot::channel();
        let tls = options.status_tls;
        let listener = options
            .status_listener
            .map(|listener| (listener, tls, left));
        let shared = options.limits;
        let checks = options.checks;
        let thread = std::thread::Builder::new()
            .name("sluice-cold".to_owned())
            .spawn(move || {
                super::stand_behind();
                if let Some(checks) = checks {
                    runtime.spawn(checks::serve(checks, Arc::clone(&bridge.health)));
                }
                runtime.block_on(run(bridge, (status, listener), shared, side, stopped));
                // A lookup may hang in its thread: it is left behind.
                runtime.shutdown_background();
            })?;
        let leave = Some(leave);
        Ok(Self {
            stop,
            leave,
            thread,
        })
    }

    /// Writes everything the workers have queued, at most [`FLUSH_LIMIT`], and ends the thread.
    /// Call it after the workers have ended.
    ///
    /// Returns false when the thread had panicked.
    pub fn flush_and_stop(self) -> bool {
        let _ = self.stop.send(());
        self.thread.join().is_ok()
    }

    /// Stops accepting on the status listener and closes its connections once they are idle.
    pub fn leave_status(&mut self) {
        // Gone already where the cold side has ended, and its listener with it.
        drop(self.leave.take());
    }

    /// Whether the thread has ended by itself, which only a panic can bring about.
    pub fn is_dead(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Where the status listener is bound, its TLS, and what ends with its time.
type StatusListener = (TcpListener, Option<Arc<TlsListener>>, oneshot::Receiver<()>);

/// What the ticking task owns.
struct Side {
    workers: Vec<WorkerView>,
    health: Arc<HealthTable>,
    buckets: Arc<LimitTable>,
    access_log: AccessLog,
    watchdog: Watchdog,
    events: Events,
    losses: [Loss; 2],
    memory: Watch,
}

/// Lost writes of one log, as far as they have been counted.
struct Loss {
    name: &'static str,
    writer: Option<Writer>,
    counted: u64,
}

impl Loss {
    fn new((name, writer): (&'static str, Option<Writer>)) -> Self {
        Self {
            name,
            writer,
            counted: 0,
        }
    }

    fn count(&mut self) {
        let Some(writer) = &self.writer else { return };
        let lost = writer.lost();
        let fresh = lost.saturating_sub(self.counted);
        counter!("sluice_log_dropped_total", "log" => self.name).increment(fresh);
        self.counted = lost;
    }
}

async fn run(
    bridge: ColdBridge,
    (status, listener): (Status, Option<StatusListener>),
    shared: Option<Arc<RedisLimits>>,
    mut side: Side,
    mut stopped: oneshot::Receiver<()>,
) {
    let ColdBridge {
        workers,
        questions,
        questions_wake,
        limits: inbox,
        ..
    } = bridge;
    if let Some(shared) = shared {
        let workers = workers.clone();
        tokio::spawn(async move {
            if let Err(error) = limits::serve(inbox, workers, shared).await {
                tracing::error!(%error, "limits are not counted in redis any more");
            }
        });
    }
    tokio::spawn(async move {
        let served = dns::serve(questions, questions_wake, workers, dns::SystemResolver).await;
        if let Err(error) = served {
            tracing::error!(%error, "name resolution has stopped");
        }
    });
    if let Some((listener, tls, left)) = listener {
        let left = async move { drop(left.await) };
        tokio::spawn(async move {
            if let Err(error) = status.serve(listener, tls, left).await {
                tracing::error!(%error, "the status listener has stopped");
            }
        });
    }
    let mut hang_up = signal(SignalKind::hangup()).ok();
    let [mut turn, mut again, mut look] =
        [SAMPLE_EVERY, BUSY_DRAIN_PERIOD, watchdog::PERIOD].map(|period| {
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
    let mut is_busy = false;
    let mut looks = 0u32;
    loop {
        tokio::select! {
            // First: what workers may take waits for it.
            biased;
            // Both at once: where a worker shares its processor with this thread, each wake-up costs it a request's time.
            _ = turn.tick() => {
                side.memory.look(&side.workers);
                is_busy = side.drain();
                again.reset();
            }
            _ = again.tick(), if is_busy => is_busy = side.drain(),
            _ = look.tick() => {
                looks = looks.wrapping_add(1);
                side.look(looks);
            }
            () = hung_up(&mut hang_up) => side.reopen(),
            // Also when boot has dropped its end.
            _ = &mut stopped => break,
        }
    }
    side.events.drain(&side.workers, unix_ms());
    side.access_log.flush_and_stop(&side.workers, FLUSH_LIMIT);
}

async fn hung_up(signal: &mut Option<tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

impl Side {
    /// Returns whether there was much to write.
    fn drain(&mut self) -> bool {
        self.access_log.drain(&self.workers) >= BUSY_RECORDS
    }

    fn look(&mut self, looks: u32) {
        let now = unix_ms();
        self.events.drain(&self.workers, now);
        for (worker, finding) in self.watchdog.check(&self.workers, now) {
            watchdog::report(worker, finding);
        }
        // Every second: a shorter time would mostly show the kernel's own rounding.
        if looks.is_multiple_of(4) {
            self.watchdog.measure(&self.workers, now);
            self.losses.iter_mut().for_each(Loss::count);
        }
        if looks.is_multiple_of(SWEEP_EVERY_LOOKS) {
            self.health.sweep();
            self.buckets.sweep(now);
        }
    }

    fn reopen(&self) {
        for writer in self.losses.iter().filter_map(|loss| loss.writer.as_ref()) {
            writer.reopen();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::build;
    use crate::bridge::histogram::BucketSettings;
    use crate::bridge::memory::Memory;
    use crate::bridge::record::tests::record;
    use crate::cold::memory::measure::Measure;
    use crate::cold::metrics::DetailedLabels;
    use crate::cold::rotate::{FileOptions, RotatingFile};
    use crate::tls::upstream::UpstreamTrust;
    use config_sync::publish::Publisher;
    use config_sync::snapshot::Snapshot;

    fn options(access_log: Option<Output>) -> ColdOptions {
        let memory = Arc::new(Memory::new(None, None, 1));
        let (_, snapshots) = Publisher::new(Snapshot::empty());
        ColdOptions {
            status_listener: Some(TcpListener::bind("127.0.0.1:0").unwrap()),
            metrics_path: Some("/metrics".to_owned()),
            metrics: MetricsOptions {
                buckets: BucketSettings::default(),
                detailed: DetailedLabels::ALL,
                version: "1",
                commit: "",
                io_engine: "epoll",
                start_unix_ms: 0,
                tls: Vec::new(),
                memory: Arc::clone(&memory),
                upstream_trust: Arc::new(UpstreamTrust::new(true, snapshots)),
            },
            memory: Watch::new(Measure::Process, memory),
            access_log,
            client_types: ClientTypes::default(),
            config: ConfigStatus::new("file"),
            limits: None,
            checks: None,
            log: None,
            status_tls: None,
        }
    }

    #[test]
    fn stopping_writes_what_is_queued_and_ends_the_thread() {
        let (workers, bridge) = build(2, &BucketSettings::default()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access");
        let file = RotatingFile::open(FileOptions::new(path.clone())).unwrap();
        let cold = ColdThread::start(bridge, options(Some(Output::File(file)))).unwrap();
        for worker in &workers {
            for _ in 0..100 {
                worker.finish(Box::new(record()));
            }
        }
        assert!(!cold.is_dead());
        assert!(cold.flush_and_stop());
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 200);
    }
}
