//! The worker threads. [boot]

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use config_sync::publish::SnapshotCell;

use super::{BootError, because};
use crate::bridge::WorkerBridge;
use crate::bridge::memory::Memory;
use crate::http::h1;
use crate::settings::{IoEngine, Settings};
use crate::sys::LeftBehind;
use crate::tls::listener::TlsListener;
use crate::upstream::trust::Trust;
use crate::worker::core::{WorkerParts, WorkerSettings};
use crate::worker::engine::{Engine, EngineChoice, Ladder, Settled};
use crate::worker::placement::Placement;
use crate::worker::run;

/// The running worker threads.
#[derive(Debug)]
pub(super) struct Workers(Vec<JoinHandle<()>>);

/// Workers that have found their engine and wait to be let go.
pub(super) struct Ready {
    settled: Settled,
    addr: SocketAddr,
}

impl Workers {
    /// Starts one thread per entry of `listeners` and settles them on one engine.
    ///
    /// # Errors
    ///
    /// A thread could not be started, or the wanted engine is not to be had.
    pub(super) fn start(
        settings: &Settings,
        placement: &Placement,
        bridges: Vec<WorkerBridge>,
        listeners: Vec<Vec<TcpListener>>,
        trust: &Arc<Trust>,
        tls: Option<&Arc<TlsListener>>,
        (cell, memory): (&SnapshotCell, &Arc<Memory>),
    ) -> Result<(Self, Ready), BootError> {
        let addr = local_addr(listeners.first()).map_err(|error| because("proxy.addr", error))?;
        let shared = Arc::new(worker_settings(settings, memory));
        let mut ladder = Ladder::new();
        let (left, behind) = channel();
        let mut threads = Vec::with_capacity(bridges.len());
        for ((bridge, own), cpu) in bridges.into_iter().zip(listeners).zip(&placement.cpus) {
            let parts = WorkerParts {
                settings: Arc::clone(&shared),
                trust: Arc::clone(trust),
                tls: tls.cloned(),
                memory: Arc::clone(memory),
                snapshots: cell.reader(),
                bridge,
            };
            let (footing, cpu, left) = (ladder.add_worker(), *cpu, left.clone());
            let thread = std::thread::Builder::new()
                .name(format!("sluice-{}", parts.bridge.worker))
                .spawn(move || run::main(parts, cpu, footing, own, &left))
                .map_err(|error| because("worker thread", error))?;
            threads.push(thread);
        }
        let choice = match settings.proxy.io_engine {
            IoEngine::Auto => EngineChoice::Auto,
            IoEngine::IoUring => EngineChoice::IoUring,
            IoEngine::Epoll => EngineChoice::Epoll,
        };
        let settled = ladder
            .settle(choice)
            .map_err(|error| because("proxy.io_engine", error))?;
        // Said before a worker tries an engine.
        behind.try_iter().for_each(LeftBehind::close);
        Ok((Self(threads), Ready { settled, addr }))
    }

    /// Whether a worker is gone: then the process must go too, because its listening socket would
    /// take connections that nobody serves.
    pub(super) fn any_ended(&self) -> bool {
        self.0.iter().any(JoinHandle::is_finished)
    }
}

impl Ready {
    /// What the workers run on.
    pub(super) fn engine(&self) -> Engine {
        self.settled.engine
    }

    /// Why it is not the preferred engine.
    pub(super) fn fell_back_because(&self) -> Option<&io::Error> {
        self.settled.reason.as_ref()
    }

    /// Where the workers listen.
    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Lets the workers accept.
    pub(super) fn go(&self) {
        self.settled.go();
    }
}

fn local_addr(listeners: Option<&Vec<TcpListener>>) -> io::Result<SocketAddr> {
    let first = listeners.and_then(|own| own.first());
    first.map_or(Err(io::ErrorKind::NotFound.into()), TcpListener::local_addr)
}

fn worker_settings(settings: &Settings, memory: &Memory) -> WorkerSettings {
    let proxy = &settings.proxy;
    let limit = proxy.json_body_bytes_max.unwrap_or(u64::MAX);
    let (_, bodies_max) = memory.bodies();
    WorkerSettings {
        head_limits: h1::Limits::default(),
        idle_timeout: settings.downstream.idle_timeout,
        header_read_timeout: proxy.header_read_timeout,
        http2_streams_max: proxy.http2_streams_max,
        body_bytes_max: limit.min(bodies_max.unwrap_or(u64::MAX)),
        keepalive_comment: settings.downstream.sse_keepalive_interval,
        connections_max: proxy
            .max_connections_per_worker
            .map_or(usize::MAX, Into::into),
        requests_max: proxy.max_requests_per_worker.map_or(usize::MAX, Into::into),
        request_id_headers: proxy.request_id_headers.clone(),
        real_ip: proxy.real_ip.clone(),
        rewrites: proxy.rewrites.clone(),
        upstream: settings.upstream.clone(),
        shared_limits: settings.ratelimit.shared(),
        livez_during_drain: settings.shutdown.livez_during_drain,
    }
}
