//! Everything one worker owns. [ring]

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config_sync::publish::SnapshotReader;
use config_sync::snapshot::Snapshot;
use monoio::time::Instant;

use super::admission::Admission;
use super::buffers::Buffers;
use super::clock::Clock;
use super::connections::Connections;
use super::date::HttpDate;
use super::doors::Doors;
use super::turnstile::Turnstile;
use crate::bridge::WorkerBridge;
use crate::bridge::log::{Event, Level};
use crate::bridge::memory::Memory;
use crate::bridge::shard::WorkerShard;
use crate::client_ip::RealIp;
use crate::http::h1;
use crate::limit::{Buckets, Policies};
use crate::passthrough;
use crate::request_id::RequestIds;
use crate::rewrite::Rewrites;
use crate::route::{RetryBudget, Rows};
use crate::settings::{OnRedisFailure, UpstreamSettings};
use crate::tls::listener::TlsListener;
use crate::upstream::names::Names;
use crate::upstream::pool::{IDLE_PER_HOST_DEFAULT, Pool};
use crate::upstream::trust::Trust;

/// What workers take from the startup configuration, in the shape they use it.
#[derive(Clone, Debug)]
pub(crate) struct WorkerSettings {
    /// Bounds of a request head.
    pub head_limits: h1::Limits,
    /// Pause between two requests of a connection; `None` is for ever.
    pub idle_timeout: Option<Duration>,
    /// From the first byte of a head to its last.
    pub header_read_timeout: Duration,
    /// Streams that a client may have open at a time over HTTP/2; `None` where it is not spoken.
    pub http2_streams_max: Option<u32>,
    /// Longest request body, bytes.
    pub body_bytes_max: u64,
    /// Silence after which a stream gets a comment; `None` switches them off.
    pub keepalive_comment: Option<Duration>,
    /// Open connections of this worker; further ones are answered 503 and closed.
    pub connections_max: usize,
    /// Requests of this worker that upstreams serve; further ones are answered 503.
    pub requests_max: usize,
    /// Headers that may carry the caller's request id, first acceptable value wins.
    pub request_id_headers: Box<[Box<str>]>,
    /// Whose word counts for the client's address.
    pub real_ip: RealIp,
    /// Path rewriting rules.
    pub rewrites: Rewrites,
    /// Outbound timeouts and pooling.
    pub upstream: UpstreamSettings,
    /// Where limits are counted in redis: what happens while it does not answer.
    pub shared_limits: Option<OnRedisFailure>,
    /// Whether `/livez` stays 200 while draining.
    pub livez_during_drain: bool,
}

/// A worker's handle to the published snapshot. Requests clone the inner `Rc`: an `Arc` cloned per
/// request by every core would make its count the hottest cache line of the process.
pub(crate) type LocalSnapshot = Rc<Arc<Snapshot>>;

/// How far the end of the process has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) enum Phase {
    /// Serving.
    Serving,
    /// Another process accepts: connections close after their response, streams go on.
    HandedOver,
    /// Not ready, still serving; connections close after their response.
    Draining,
    /// No new connections; idle ones are closed.
    Closing,
    /// Open streams are cut.
    Cutting,
}

/// One core's share of the gateway. Never leaves its thread; tasks hold it by `Rc`.
pub(crate) struct Worker {
    pub id: u16,
    pub settings: Arc<WorkerSettings>,
    pub buffers: Buffers,
    pub pool: Pool,
    pub trust: Arc<Trust>,
    /// TLS of the callers' listener; none: it speaks plain HTTP.
    pub tls: Option<Arc<TlsListener>>,
    pub names: Names,
    pub rows: Rows,
    pub buckets: Buckets,
    pub retries: RetryBudget,
    passthrough: RefCell<(u64, Rc<passthrough::Index>)>,
    pub connections: Connections,
    pub admission: Admission,
    pub doors: Doors,
    pub bridge: WorkerBridge,
    pub ids: RequestIds,
    pub clock: Clock,
    pub turnstile: Turnstile,
    pub phase: Cell<Phase>,
    /// Upstream connections closed since the last heartbeat.
    pub upstream_closed: Rc<Cell<i64>>,
    pub date: HttpDate,
    policies: RefCell<(u64, Rc<Policies>)>,
    snapshots: RefCell<SnapshotReader>,
    local: RefCell<(u64, LocalSnapshot)>,
}

/// What [`Worker::new`] needs.
pub(crate) struct WorkerParts {
    pub settings: Arc<WorkerSettings>,
    pub trust: Arc<Trust>,
    pub tls: Option<Arc<TlsListener>>,
    pub bridge: WorkerBridge,
    pub memory: Arc<Memory>,
    pub snapshots: SnapshotReader,
}

impl Worker {
    /// Sets a worker up on its own thread.
    pub(crate) fn new(parts: WorkerParts, turnstile: Turnstile) -> Rc<Self> {
        let mut snapshots = parts.snapshots;
        let snapshot = Arc::clone(snapshots.load());
        let upstream = &parts.settings.upstream;
        let per_host_max = upstream
            .pool_max_idle_per_host
            .unwrap_or(IDLE_PER_HOST_DEFAULT);
        let settings = &parts.settings;
        let admission = Admission::new(
            parts.memory,
            settings.connections_max,
            settings.requests_max,
        );
        Rc::new(Self {
            id: parts.bridge.worker,
            admission,
            pool: Pool::new(upstream.pool_idle_timeout, per_host_max),
            settings: parts.settings,
            buffers: Buffers::default(),
            trust: parts.trust,
            tls: parts.tls,
            names: Names::default(),
            rows: Rows::new(Arc::clone(&parts.bridge.health)),
            buckets: Buckets::new(Arc::clone(&parts.bridge.buckets)),
            retries: RetryBudget::default(),
            policies: RefCell::default(),
            passthrough: RefCell::default(),
            connections: Connections::default(),
            doors: Doors::default(),
            bridge: parts.bridge,
            ids: RequestIds::from_os(),
            clock: Clock::new(),
            turnstile,
            phase: Cell::new(Phase::Serving),
            upstream_closed: Rc::default(),
            date: HttpDate::default(),
            local: RefCell::new((snapshot.generation(), Rc::new(snapshot))),
            snapshots: RefCell::new(snapshots),
        })
    }

    /// The rate-limit policies of `snapshot`, prepared once per generation.
    pub(crate) fn policies(&self, snapshot: &Snapshot) -> Rc<Policies> {
        let mut known = self.policies.borrow_mut();
        if known.0 != snapshot.generation() {
            *known = (snapshot.generation(), Rc::new(Policies::of(snapshot)));
        }
        Rc::clone(&known.1)
    }

    /// The time of the last wake-up.
    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// The time, read anew: once per wake-up.
    pub(crate) fn tick(&self) -> Instant {
        self.clock.tick()
    }

    /// The wall clock at the last wake-up, Unix milliseconds.
    pub(crate) fn unix_ms(&self) -> i64 {
        self.clock.unix_ms()
    }

    /// This worker's counters.
    pub(crate) fn shard(&self) -> &WorkerShard {
        &self.bridge.shard
    }

    /// The configuration, to be held for one request: the request sees a single generation.
    ///
    /// Costs one load of a rarely written line; workers share no reference count.
    pub(crate) fn snapshot(&self) -> LocalSnapshot {
        let mut reader = self.snapshots.borrow_mut();
        let current = reader.load();
        let mut local = self.local.borrow_mut();
        if current.generation() != local.0 {
            *local = (current.generation(), Rc::new(Arc::clone(current)));
        }
        Rc::clone(&local.1)
    }

    /// The passthrough routes of `snapshot`, indexed once per generation.
    pub(crate) fn passthrough(&self, snapshot: &Snapshot) -> Rc<passthrough::Index> {
        let mut known = self.passthrough.borrow_mut();
        if known.0 != snapshot.generation() {
            *known = (
                snapshot.generation(),
                Rc::new(passthrough::Index::of(snapshot)),
            );
        }
        Rc::clone(&known.1)
    }

    /// Hands a line to the log. Bounded: a full queue drops and counts it.
    pub(crate) fn warn(&self, message: &'static str, detail: &str) {
        self.bridge.log(Event::new(Level::Warn, message, detail));
    }

    /// Hands a line to the log that an operator must act on.
    pub(crate) fn error(&self, message: &'static str, detail: &str) {
        self.bridge.log(Event::new(Level::Error, message, detail));
    }

    /// Counts and logs a panic that was caught.
    pub(crate) fn panicked(&self, text: &str) {
        self.shard().panic();
        self.error("a task panicked; its connection was closed", text);
    }

    /// Moves on towards the end of the process; never back.
    pub(crate) fn advance(&self, phase: Phase) {
        self.phase.set(self.phase.get().max(phase));
    }

    /// Whether this process is on its way out, so that its connections end with their responses.
    pub(crate) fn is_leaving(&self) -> bool {
        self.phase.get() > Phase::Serving
    }

    /// Whether nobody is going to serve here: what probes are told. After a handover somebody does.
    pub(crate) fn is_draining(&self) -> bool {
        self.phase.get() >= Phase::Draining
    }
}
