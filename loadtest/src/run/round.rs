//! One round against one target, for each mode. [cold]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::clock;
use crate::run::client::Client;
use crate::run::figures::Figures;
use crate::run::load::{Kind, Load, Pace};
use crate::run::process::{Memory, Processes, own_cpu_ns};
use crate::run::target::{Ask, Target};
use crate::run::{Mode, RunArguments};
use crate::timer;

/// Time for a target to finish what a round has started, before its memory is read.
const SETTLE: Duration = Duration::from_millis(300);
/// Between two readings of resident memory.
const MEMORY_INTERVAL: Duration = Duration::from_millis(100);
/// Connections that open idle connections, so that the backlog of a target does not overflow.
const OPENERS: usize = 16;

/// One target and what it used before any load.
pub(super) struct Subject {
    target: Target,
    processes: Processes,
    /// Memory after one request.
    idle: Memory,
}

/// CPU time and wall time since some moment.
struct Watch {
    begun: Instant,
    cpu_ns: u64,
    own_cpu_ns: u64,
}

impl Subject {
    /// Sends one request, so that what a target sets up lazily is not counted as load.
    pub(super) async fn new(target: Target, arguments: &RunArguments) -> Result<Self, String> {
        let processes = Processes::new(&target.pids);
        let mut subject = Self {
            target,
            processes,
            idle: Memory::default(),
        };
        if !subject.processes.is_empty() && subject.processes.cpu_ns() == 0 {
            return Err(format!("{}: no such process", subject.target.name));
        }
        let load = subject.load(arguments, Kind::Unary, "");
        if load.once(&mut None, clock::now()).await.is_err() || load.stats().errors_total() > 0 {
            let kinds: Vec<String> = load.stats().errors.keys().cloned().collect();
            return Err(format!(
                "{}: first request: {}",
                subject.target.name,
                kinds.join(", ")
            ));
        }
        timer::sleep(SETTLE).await;
        subject.idle = subject.processes.memory();
        Ok(subject)
    }

    pub(super) fn name(&self) -> &str {
        &self.target.name
    }

    /// Runs one round and gives its figures.
    pub(super) async fn round(&self, arguments: &RunArguments) -> Figures {
        let mut figures = Figures::default();
        let before = self.processes.memory();
        let peak = Peak::watch(&self.processes);
        match arguments.mode {
            Mode::Unary | Mode::Abort => self.requests(arguments, &mut figures).await,
            Mode::Stream if arguments.rate.is_some() => {
                self.requests(arguments, &mut figures).await;
            }
            Mode::Stream | Mode::Hold => self.streams(arguments, &mut figures).await,
            Mode::Idle => self.idle(arguments, &mut figures).await,
        }
        timer::sleep(Duration::from_secs_f64(arguments.settle)).await;
        let peak_kib = peak.stop();
        if !self.processes.is_empty() {
            let after = self.processes.memory();
            figures.set("rss_idle_kib", self.idle.rss_kib as f64);
            figures.set("rss_before_kib", before.rss_kib as f64);
            figures.set("rss_peak_kib", peak_kib.max(after.rss_kib) as f64);
            figures.set("rss_after_kib", after.rss_kib as f64);
            figures.set("pss_after_kib", after.pss_kib as f64);
        }
        figures
    }

    fn load(&self, arguments: &RunArguments, kind: Kind, script: &str) -> Arc<Load> {
        let stream = kind != Kind::Unary;
        let ask = Ask {
            path: &arguments.path,
            script,
            stream,
            usage: stream && arguments.usage,
            body_bytes: arguments.body_bytes,
            headers: &arguments.header,
        };
        let lasts = if stream {
            arguments.stream_seconds()
        } else {
            0.0
        };
        Arc::new(Load {
            address: self.target.address,
            request: self.target.request(&ask),
            kind,
            timeout: Duration::from_secs_f64(arguments.timeout + lasts),
            read_pause: Duration::from_secs_f64(arguments.read_pause_ms.max(0.0) / 1000.0),
            stats: Default::default(),
        })
    }

    /// Exchanges one after the other on some connections, or at a fixed rate.
    async fn requests(&self, arguments: &RunArguments, figures: &mut Figures) {
        let (kind, script) = arguments.exchange();
        let load = self.load(arguments, kind, &script);
        let workers = match arguments.mode {
            Mode::Stream => arguments.streams,
            _ => arguments.connections,
        };
        if arguments.warmup > 0.0 && arguments.mode == Mode::Unary {
            let pace = Arc::new(Pace::closed(None));
            let tasks = work(&load, &pace, workers);
            timer::sleep(Duration::from_secs_f64(arguments.warmup)).await;
            pace.stop();
            join(tasks).await;
            *load.stats() = Default::default();
        }
        let duration = Duration::from_secs_f64(arguments.duration);
        load.stats().measuring = true;
        let watch = Watch::start(&self.processes);
        match (arguments.rate, arguments.requests) {
            (Some(rate), _) => {
                let start = clock::now() + Duration::from_millis(10);
                let pace = Arc::new(Pace::open(start, rate, duration));
                join(work(&load, &pace, workers)).await;
                watch.stop(&load, self, figures);
            }
            (None, Some(limit)) => {
                let pace = Arc::new(Pace::closed(Some(limit)));
                join(work(&load, &pace, workers)).await;
                watch.stop(&load, self, figures);
            }
            (None, None) => {
                let pace = Arc::new(Pace::closed(None));
                let tasks = work(&load, &pace, workers);
                timer::sleep(duration).await;
                watch.stop(&load, self, figures);
                pace.stop();
                join(tasks).await;
            }
        }
    }

    /// Many streams at once, begun one after the other so that their events do not coincide.
    async fn streams(&self, arguments: &RunArguments, figures: &mut Figures) {
        let (kind, script) = arguments.exchange();
        let load = self.load(arguments, kind, &script);
        let ramp = arguments.ramp_seconds();
        let start = clock::now() + Duration::from_millis(10);
        let after = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let count = arguments.streams;
        let tasks: Vec<_> = (0..count)
            .map(|index| {
                let load = Arc::clone(&load);
                let begin = after(ramp * index as f64 / count as f64);
                tokio::spawn(async move {
                    timer::sleep_until(begin).await;
                    // What failed is in the statistics.
                    let _ = load.once(&mut None, begin).await;
                })
            })
            .collect();
        timer::sleep_until(after(ramp + SETTLE.as_secs_f64())).await;
        load.stats().measuring = true;
        let watch = Watch::start(&self.processes);
        timer::sleep_until(after(arguments.stream_seconds() - 0.1)).await;
        let open = load.stats().open;
        let held = self.processes.memory();
        watch.stop(&load, self, figures);
        if arguments.mode == Mode::Hold {
            tasks.iter().for_each(JoinHandle::abort);
        }
        join(tasks).await;
        // Streams that end in the window are none, or would distort it.
        figures.remove("requests_per_s");
        // The window is over, but streams that fail or lose events later count too.
        let stats = load.stats();
        figures.update("errors", stats.errors_total() as f64);
        for (kind, count) in &stats.errors {
            let name = format!("error_{kind}");
            figures.remove(&name);
            figures.set(&name, *count as f64);
        }
        figures.update("requests", stats.requests as f64);
        figures.update("events_all", stats.events_all as f64);
        figures.update("events_lost", stats.lost as f64);
        figures.update("events_reordered", stats.reordered as f64);
        figures.update("events_duplicated", stats.duplicated as f64);
        figures.set("streams_open", open as f64);
        self.per_unit("rss_kib_per_stream", held, open, figures);
    }

    /// Connections that have carried one request each and then wait.
    async fn idle(&self, arguments: &RunArguments, figures: &mut Figures) {
        let (kind, script) = arguments.exchange();
        let load = self.load(arguments, kind, &script);
        load.stats().measuring = true;
        let next = Arc::new(AtomicU64::new(0));
        let count = arguments.connections as u64;
        let watch = Watch::start(&self.processes);
        let openers: Vec<_> = (0..OPENERS)
            .map(|_| {
                let (load, next) = (Arc::clone(&load), Arc::clone(&next));
                tokio::spawn(async move {
                    let mut clients: Vec<Client> = Vec::new();
                    while next.fetch_add(1, Ordering::Relaxed) < count {
                        let mut client = None;
                        // What failed is in the statistics.
                        let _ = load.once(&mut client, clock::now()).await;
                        clients.extend(client);
                    }
                    clients
                })
            })
            .collect();
        let mut clients = Vec::new();
        for opener in openers {
            clients.extend(opener.await.unwrap_or_default());
        }
        watch.stop(&load, self, figures);
        timer::sleep(SETTLE + SETTLE).await;
        let held = self.processes.memory();
        figures.set("connections_open", clients.len() as f64);
        self.per_unit(
            "rss_kib_per_connection",
            held,
            clients.len() as u64,
            figures,
        );
    }

    /// Memory beyond that of the idle target, per open stream or connection.
    fn per_unit(&self, name: &str, held: Memory, count: u64, figures: &mut Figures) {
        if !self.processes.is_empty() && count > 0 {
            figures.set("rss_held_kib", held.rss_kib as f64);
            let more = held.rss_kib as f64 - self.idle.rss_kib as f64;
            figures.set(name, more / count as f64);
        }
    }
}

fn work(load: &Arc<Load>, pace: &Arc<Pace>, workers: usize) -> Vec<JoinHandle<()>> {
    let task = |_| tokio::spawn(Arc::clone(load).work(Arc::clone(pace)));
    (0..workers).map(task).collect()
}

async fn join(tasks: Vec<JoinHandle<()>>) {
    for task in tasks {
        // Aborted on purpose, or a panic that has been printed.
        let _ = task.await;
    }
}

impl Watch {
    fn start(processes: &Processes) -> Self {
        Self {
            begun: clock::now(),
            cpu_ns: processes.cpu_ns(),
            own_cpu_ns: own_cpu_ns(),
        }
    }

    /// Ends the window of `load` and gives its figures.
    fn stop(&self, load: &Load, subject: &Subject, figures: &mut Figures) {
        let cpu_ns = subject.processes.cpu_ns().saturating_sub(self.cpu_ns) as f64;
        let own_ns = own_cpu_ns().saturating_sub(self.own_cpu_ns) as f64;
        let wall = clock::now().saturating_duration_since(self.begun);
        let mut stats = load.stats();
        stats.measuring = false;
        figures.stats(&stats, wall.as_secs_f64());
        if !subject.processes.is_empty() {
            figures.set("cpu_share", cpu_ns / wall.as_nanos() as f64);
            if stats.requests > 0 && stats.events_all == 0 {
                figures.set("cpu_us_per_request", cpu_ns / 1e3 / stats.requests as f64);
            }
            if stats.events > 0 {
                figures.set("cpu_ms_per_1000_events", cpu_ns / 1e3 / stats.events as f64);
            }
        }
        figures.set("client_cpu_share", own_ns / wall.as_nanos() as f64);
    }
}

/// Follows resident memory in the background.
struct Peak {
    kib: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Peak {
    fn watch(processes: &Processes) -> Self {
        let (processes, kib) = (processes.clone(), Arc::new(AtomicU64::new(0)));
        let seen = Arc::clone(&kib);
        let task = tokio::spawn(async move {
            while !processes.is_empty() {
                seen.fetch_max(processes.rss_kib(), Ordering::Relaxed);
                timer::sleep(MEMORY_INTERVAL).await;
            }
        });
        Self { kib, task }
    }

    fn stop(self) -> u64 {
        self.task.abort();
        self.kib.load(Ordering::Relaxed)
    }
}
