//! The open client connections of a worker, so that a drain can reach them. [ring]

use std::cell::{Cell, RefCell};
use std::task::Waker;

use crate::sys::Socket;

/// A slab of open connections.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    slots: RefCell<Vec<Slot>>,
    free: RefCell<Vec<usize>>,
    open: Cell<usize>,
}

#[derive(Debug, Default)]
struct Slot {
    socket: Option<Socket>,
    busy: bool,
    /// Who wants to know how far the end of the process has come.
    watcher: Option<Waker>,
}

/// One connection's place; give it back with [`Connections::remove`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct ConnectionId(usize);

impl Connections {
    /// Registers an accepted connection.
    pub(crate) fn add(&self, socket: &Socket) -> ConnectionId {
        let slot = Slot {
            socket: Some(socket.clone()),
            ..Slot::default()
        };
        self.open.set(self.open.get() + 1);
        let mut slots = self.slots.borrow_mut();
        if let Some(index) = self.free.borrow_mut().pop() {
            slots[index] = slot;
            return ConnectionId(index);
        }
        slots.push(slot);
        ConnectionId(slots.len() - 1)
    }

    /// Forgets a closed connection.
    pub(crate) fn remove(&self, id: ConnectionId) {
        self.slots.borrow_mut()[id.0] = Slot::default();
        self.free.borrow_mut().push(id.0);
        self.open.set(self.open.get() - 1);
    }

    /// Says whether a request is being served on the connection.
    pub(crate) fn set_busy(&self, id: ConnectionId, busy: bool) {
        self.slots.borrow_mut()[id.0].busy = busy;
    }

    /// Has `waker` woken by [`Connections::wake`].
    pub(crate) fn watch(&self, id: ConnectionId, waker: &Waker) {
        let watcher = &mut self.slots.borrow_mut()[id.0].watcher;
        match watcher {
            Some(known) => known.clone_from(waker),
            None => *watcher = Some(waker.clone()),
        }
    }

    /// Wakes the connections that watch for the end of the process.
    pub(crate) fn wake(&self) {
        let slots = self.slots.borrow();
        slots
            .iter()
            .filter_map(|slot| slot.watcher.as_ref())
            .for_each(Waker::wake_by_ref);
    }

    /// Open connections.
    pub(crate) fn len(&self) -> usize {
        self.open.get()
    }

    /// Ends the reading side of every connection, or only of those without a request: whoever waits
    /// for their bytes sees them closed.
    pub(crate) fn end(&self, busy_too: bool) {
        for slot in self.slots.borrow().iter() {
            if let Some(socket) = slot.socket.as_ref().filter(|_| busy_too || !slot.busy) {
                socket.shutdown_read();
            }
        }
    }
}
