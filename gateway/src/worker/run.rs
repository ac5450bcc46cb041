//! The main of a worker thread. [ring]

use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::rc::Rc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use monoio::net::UnixStream;

use super::Worker;
use super::core::{Phase, WorkerParts};
use super::engine::Footing;
use super::placement::pin_to;
use super::task;
use super::timers;
use super::turnstile::Turnstile;
use crate::bridge::WorkerBridge;
use crate::bridge::domain::Side;
use crate::bridge::log::{Event, Level};
use crate::bridge::mailbox::{ToWorker, hush};
use crate::bridge::shard::HEARTBEAT_MS;
use crate::listener;
use crate::sys::{LeftBehind, own_descriptors, return_freed, shorten_slice};

/// How often idle upstream connections are looked through.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// Runs one worker until the process ends.
///
/// Returns where the worker cannot start; boot has said why already.
pub(crate) fn main(
    parts: WorkerParts,
    cpu: Option<usize>,
    footing: Footing,
    listeners: Vec<TcpListener>,
    left: &Sender<LeftBehind>,
) {
    if let Some(cpu) = cpu
        && let Err(error) = pin_to(cpu)
    {
        let detail = format!("worker {} to CPU {cpu}: {error}", parts.bridge.worker);
        let event = Event::new(
            Level::Warn,
            "a worker could not be pinned to its CPU",
            &detail,
        );
        parts.bridge.log(event);
    }
    shorten_slice();
    let own_table = leave_table(&parts.bridge, &listeners, left);
    let Some(mut runtime) = footing.find() else {
        return;
    };
    let is_ring = runtime.is_ring();
    runtime.block_on(async {
        let turnstile = Turnstile::new(is_ring);
        let worker = Worker::new(parts, turnstile);
        let id = rustix::thread::gettid().as_raw_nonzero().get();
        worker.shard().started(id.unsigned_abs(), own_table);
        background(&worker, timers::run(Rc::clone(&worker)));
        background(&worker, heartbeat(Rc::clone(&worker)));
        background(&worker, sweep(Rc::clone(&worker)));
        background(&worker, mailbox(Rc::clone(&worker)));
        match listener::open(&worker, listeners) {
            // The worker lives as long as the process, which may outlast its listening sockets.
            Ok(()) => std::future::pending().await,
            Err(error) => worker.error("a listening socket failed", &error.to_string()),
        }
    });
}

/// Has the thread keep its descriptors in a table of its own; whether the host lets it.
fn leave_table(
    bridge: &WorkerBridge,
    listeners: &[TcpListener],
    left: &Sender<LeftBehind>,
) -> bool {
    let sockets = listeners.iter().map(AsFd::as_fd);
    match own_descriptors(bridge.descriptors().chain(sockets)) {
        Ok(behind) => {
            // Boot waits for it, or has given up.
            let _ = left.send(behind);
            true
        }
        Err(error) => {
            let text = "workers share one table of descriptors";
            bridge.log(Event::new(Level::Info, text, &error.to_string()));
            false
        }
    }
}

/// Grown buffers dropped between two sweeps that make it worth asking the allocator for the memory.
const RETURN_AFTER_BYTES: usize = 8 * 1024 * 1024;

fn background(worker: &Rc<Worker>, work: impl Future<Output = ()> + 'static) {
    let worker = Rc::clone(worker);
    task::spawn(work, move |text| worker.panicked(text));
}

/// Shows that the loop turns.
async fn heartbeat(worker: Rc<Worker>) {
    loop {
        worker.clock.calibrate();
        worker.shard().turn(worker.unix_ms().unsigned_abs());
        worker.retries.recover();
        let closed = worker.upstream_closed.take();
        worker.shard().connections(Side::Upstream, -closed);
        monoio::time::sleep(Duration::from_millis(HEARTBEAT_MS)).await;
    }
}

async fn sweep(worker: Rc<Worker>) {
    loop {
        monoio::time::sleep(SWEEP_EVERY).await;
        worker.pool.sweep(worker.now(), &worker.buffers);
        worker.rows.sweep(&worker.snapshot());
        worker.buckets.sweep(worker.unix_ms().unsigned_abs());
        if worker.buffers.take_dropped_bytes() >= RETURN_AFTER_BYTES {
            return_freed();
        }
    }
}

/// Does what the rest of the process says.
async fn mailbox(worker: Rc<Worker>) {
    if let Err(error) = listen_to(&worker).await {
        worker.error("a worker cannot be told anything", &error.to_string());
    }
}

async fn listen_to(worker: &Worker) -> io::Result<()> {
    let mut ear = StdUnixStream::from(worker.bridge.wake.try_clone()?);
    ear.set_nonblocking(true)?;
    let bell = UnixStream::from_std(ear.try_clone()?)?;
    loop {
        bell.readable(false).await?;
        hush(&mut ear);
        while let Some(message) = worker.bridge.mailbox.pop() {
            obey(worker, message);
        }
        worker.bridge.deliver_limits();
    }
}

fn obey(worker: &Worker, message: ToWorker) {
    match message {
        ToWorker::Dns(answer) => worker.names.answered(answer, worker.now()),
        ToWorker::HandOver => {
            worker.advance(Phase::HandedOver);
            worker.doors.shut();
            worker.connections.wake();
        }
        ToWorker::Drain => {
            worker.advance(Phase::Draining);
            worker.connections.wake();
        }
        ToWorker::StopAccepting => {
            worker.advance(Phase::Closing);
            worker.connections.end(false);
        }
        ToWorker::Shed => worker.connections.end(false),
        ToWorker::Cut => {
            worker.advance(Phase::Cutting);
            worker.connections.end(true);
        }
    }
}
