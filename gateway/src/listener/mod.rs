//! Accepting connections and keeping them alive. [ring]

pub(crate) mod bind;
pub(crate) mod client;
mod connection;
pub(crate) mod handshake;
mod http2;
pub(crate) mod wire;

use std::cell::Cell;
use std::net::TcpListener as StdListener;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use monoio::net::{TcpListener, TcpStream};

use crate::bridge::domain::Side;
use crate::sys::Socket;
use crate::worker::Worker;
use crate::worker::core::Phase;
use crate::worker::task;

/// Pause after a failed accept: most likely the process is out of descriptors, and the connection
/// is still waiting, so that trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections beyond the limit that are told so (503) at the same time. Those beyond are closed
/// without a word: whoever floods the gateway needs no explanation.
const TURNED_AWAY_MAX: usize = 256;

/// Accepts connections until the worker closes.
///
/// A pending accept is never dropped: on the ring a connection that arrives at that moment would
/// be lost with its descriptor. The process ends with it.
///
/// # Errors
///
/// The socket cannot be handed to the runtime.
pub(crate) async fn run(worker: Rc<Worker>, listener: StdListener) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) if worker.phase.get() < Phase::Closing => start(&worker, stream),
            Ok(_) => {}
            Err(error) => {
                worker.error("accepting a connection failed", &error.to_string());
                monoio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn start(worker: &Rc<Worker>, stream: TcpStream) {
    let opened = Socket::new(stream).and_then(|socket| {
        socket.set_close_on_exec()?;
        Ok((socket.peer_addr()?, socket))
    });
    // A connection that died before it was looked at was nobody's request.
    let Ok((peer, socket)) = opened else { return };
    let limit = worker.settings.connections_max;
    let full = worker.connections.len() >= limit;
    if worker.connections.len() >= limit.saturating_add(TURNED_AWAY_MAX) {
        return;
    }
    let open = Open::new(worker, &socket);
    let panicked = Rc::clone(worker);
    let worker = Rc::clone(worker);
    task::spawn(
        async move {
            let open = open;
            if full {
                connection::turn_away(&worker, socket, peer).await;
            } else {
                connection::run(&worker, socket, peer, &open).await;
            }
        },
        move |text| panicked.panicked(text),
    );
}

/// An open connection, counted for as long as this lives.
pub(crate) struct Open {
    worker: Rc<Worker>,
    id: crate::worker::connections::ConnectionId,
    busy: Cell<bool>,
}

impl Open {
    fn new(worker: &Rc<Worker>, socket: &Socket) -> Self {
        worker.shard().connections(Side::Downstream, 1);
        Self {
            worker: Rc::clone(worker),
            id: worker.connections.add(socket),
            busy: Cell::new(false),
        }
    }

    /// Has `waker` woken when the process begins to end.
    pub(crate) fn watch(&self, waker: &Waker) {
        self.worker.connections.watch(self.id, waker);
    }

    /// Says whether a request is being served.
    pub(crate) fn set_busy(&self, busy: bool) {
        if self.busy.replace(busy) != busy {
            self.worker.connections.set_busy(self.id, busy);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.worker.connections.remove(self.id);
        self.worker.shard().connections(Side::Downstream, -1);
    }
}
