//! Accepting connections and keeping them alive. [ring]

pub(crate) mod bind;
pub(crate) mod client;
mod connection;
pub(crate) mod handshake;
mod http2;
pub(crate) mod wire;

use std::cell::Cell;
use std::future::poll_fn;
use std::net::{TcpListener as StdListener, TcpStream as StdStream};
use std::pin::pin;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use monoio::net::TcpStream;

use crate::bridge::domain::Side;
use crate::sys::{Listening, Socket};
use crate::worker::Worker;
use crate::worker::admission::Welcome;
use crate::worker::core::Phase;
use crate::worker::doors::Door;
use crate::worker::race::{Either, race};
use crate::worker::task;

/// Pause after a failed accept: most likely the process is out of descriptors, and the connection
/// is still waiting, so that trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections accepted from one socket before the others of the worker have their turn.
const ACCEPTS_PER_TURN: usize = 64;

/// Begins to accept connections from `listeners`.
///
/// # Errors
///
/// A socket cannot be handed to the runtime; nothing is accepted then.
pub(crate) fn open(worker: &Rc<Worker>, listeners: Vec<StdListener>) -> std::io::Result<()> {
    let listeners: std::io::Result<Vec<_>> = listeners.into_iter().map(Listening::new).collect();
    for listening in listeners? {
        let door = worker.doors.add();
        let panicked = Rc::clone(worker);
        let worker = Rc::clone(worker);
        task::spawn(
            async move {
                accept(&worker, &listening, door).await;
                // Closed before it is said that nothing more comes.
                drop(listening);
                if worker.doors.leave() {
                    worker.bridge.mailbox.say_accepts_no_more();
                }
            },
            move |text| panicked.panicked(text),
        );
    }
    Ok(())
}

/// Accepts connections until the listening sockets are handed over.
///
/// What waits here is a question for readiness, which takes no connection: dropped, it leaves those
/// that arrive at that moment to whoever else accepts from the socket.
async fn accept(worker: &Rc<Worker>, listening: &Listening, door: Door) {
    loop {
        let shut = pin!(poll_fn(|cx| worker.doors.poll_shut(door, cx)));
        let failed = match race(shut, pin!(listening.readable())).await {
            Either::Left(()) => return,
            Either::Right(ready) => ready.and_then(|()| accept_some(worker, listening)),
        };
        if let Err(error) = failed {
            worker.error("accepting a connection failed", &error.to_string());
            monoio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

/// Accepts what waits, a turn's worth at most.
fn accept_some(worker: &Rc<Worker>, listening: &Listening) -> std::io::Result<()> {
    for _ in 0..ACCEPTS_PER_TURN {
        match listening.try_accept()? {
            Some(stream) if worker.phase.get() < Phase::Closing => start(worker, stream),
            Some(_) => {}
            None => break,
        }
    }
    Ok(())
}

fn start(worker: &Rc<Worker>, stream: StdStream) {
    let opened = TcpStream::from_std(stream)
        .and_then(Socket::new)
        .and_then(|socket| Ok((socket.peer_addr()?, socket)));
    // A connection that died before it was looked at was nobody's request.
    let Ok((peer, socket)) = opened else { return };
    let welcome = worker.admission.connection(worker.connections.len());
    let guest = match welcome {
        Welcome::Resident => None,
        Welcome::Guest(why) => Some(why),
        Welcome::Nobody => return worker.shard().unanswered(),
    };
    let open = Open::new(worker, &socket, guest.is_some());
    let panicked = Rc::clone(worker);
    let worker = Rc::clone(worker);
    task::spawn(
        async move {
            let open = open;
            match guest {
                Some(why) => connection::turn_away(&worker, (socket, why), peer, &open).await,
                None => connection::run(&worker, socket, peer, &open).await,
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
    is_guest: bool,
}

impl Open {
    fn new(worker: &Rc<Worker>, socket: &Socket, is_guest: bool) -> Self {
        worker.shard().connections(Side::Downstream, 1);
        Self {
            worker: Rc::clone(worker),
            id: worker.connections.add(socket),
            busy: Cell::new(false),
            is_guest,
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
        if self.is_guest {
            self.worker.admission.guest_left();
        }
        self.worker.shard().connections(Side::Downstream, -1);
    }
}
