//! Whether one more request or connection is taken. [ring]

use std::cell::Cell;
use std::sync::Arc;

use crate::bridge::domain::Overload;
use crate::bridge::memory::{Memory, Pace};

/// Connections beyond a limit that are answered at the same time. Those beyond are closed without
/// a word: whoever floods the gateway needs no explanation.
const GUESTS_MAX: usize = 256;
/// As many while memory is above its mark: with a TLS session each, 2 MiB.
const GUESTS_WHILE_HIGH_MAX: usize = 32;

/// What one worker has taken in, and may.
#[derive(Debug)]
pub(crate) struct Admission {
    memory: Arc<Memory>,
    connections_max: usize,
    requests_max: usize,
    requests: Cell<usize>,
    guests: Cell<usize>,
    pace: Cell<Pace>,
    grants: Cell<u32>,
}

/// How a new connection is met.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Welcome {
    /// Like any other.
    Resident,
    /// There is no room: one request is answered, and refused unless the gateway answers it by itself.
    /// Counted until [`Admission::guest_left`].
    Guest(Overload),
    /// There is no room to say so either.
    Nobody,
}

/// The place of a request, free again when dropped.
#[derive(Debug)]
pub(crate) struct Admitted<'a>(&'a Cell<usize>);

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl Admission {
    /// Takes at most so many connections and requests at a time, and what `memory` has room for.
    pub(crate) fn new(memory: Arc<Memory>, connections_max: usize, requests_max: usize) -> Self {
        Self {
            memory,
            connections_max,
            requests_max,
            requests: Cell::new(0),
            guests: Cell::new(0),
            pace: Cell::new(Pace::Free),
            grants: Cell::new(0),
        }
    }

    /// The memory of the process.
    pub(crate) fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Takes a request that an upstream is to serve.
    ///
    /// # Errors
    ///
    /// What there is no more of.
    pub(crate) fn request(&self) -> Result<Admitted<'_>, Overload> {
        if !self.is_granted() {
            return Err(Overload::Memory);
        }
        let open = self.requests.get();
        if open >= self.requests_max {
            return Err(Overload::Requests);
        }
        self.requests.set(open + 1);
        Ok(Admitted(&self.requests))
    }

    /// How a connection is met that comes to `open` others, guests among them.
    pub(crate) fn connection(&self, open: usize) -> Welcome {
        let (why, guests_max) = match self.is_granted() {
            true if open < self.connections_max => return Welcome::Resident,
            true => (Overload::Connections, GUESTS_MAX),
            false => (Overload::Memory, GUESTS_WHILE_HIGH_MAX),
        };
        let guests = self.guests.get();
        if guests >= guests_max {
            return Welcome::Nobody;
        }
        self.guests.set(guests + 1);
        Welcome::Guest(why)
    }

    /// A guest's connection is closed.
    pub(crate) fn guest_left(&self) {
        self.guests.set(self.guests.get().saturating_sub(1));
    }

    /// Uses one grant of the present measurement up.
    fn is_granted(&self) -> bool {
        let pace = self.memory.pace();
        let Pace::Granted { grants, .. } = pace else {
            return true;
        };
        if self.pace.replace(pace) != pace {
            self.grants.set(grants);
        }
        match self.grants.get().checked_sub(1) {
            Some(left) => {
                self.grants.set(left);
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::memory::Bounds;

    const MIB: u64 = 1024 * 1024;

    fn with_bounds(bounds: Option<Bounds>) -> (Arc<Memory>, Admission) {
        let memory = Arc::new(Memory::new(bounds, None, 1));
        let admission = Admission::new(Arc::clone(&memory), 2, 3);
        (memory, admission)
    }

    #[test]
    fn requests_are_taken_up_to_the_limit_and_again_once_one_ends() {
        let (_, admission) = with_bounds(None);
        let mut held: Vec<_> = (0..3).map(|_| admission.request().unwrap()).collect();
        assert_eq!(admission.request().unwrap_err(), Overload::Requests);
        held.pop();
        assert!(admission.request().is_ok());
    }

    #[test]
    fn connections_beyond_the_limit_are_guests_and_then_nobody() {
        let (_, admission) = with_bounds(None);
        assert_eq!(admission.connection(1), Welcome::Resident);
        let guest = Welcome::Guest(Overload::Connections);
        for _ in 0..GUESTS_MAX {
            assert_eq!(admission.connection(2), guest);
        }
        assert_eq!(admission.connection(2), Welcome::Nobody);
        assert_eq!(admission.connection(1), Welcome::Resident);
        admission.guest_left();
        assert_eq!(admission.connection(2), guest);
        assert_eq!(admission.connection(2), Welcome::Nobody);
    }

    #[test]
    fn grants_are_used_up_until_the_next_measurement() {
        let bounds = Bounds {
            limit: MIB,
            mark: MIB / 2,
        };
        let (memory, admission) = with_bounds(Some(bounds));
        memory.measured(MIB / 4);
        // Half of 768 KiB in pieces of 64 KiB.
        for _ in 0..6 {
            drop(admission.request().unwrap());
        }
        assert_eq!(admission.request().unwrap_err(), Overload::Memory);
        for _ in 0..GUESTS_WHILE_HIGH_MAX {
            assert_eq!(admission.connection(0), Welcome::Guest(Overload::Memory));
        }
        assert_eq!(admission.connection(0), Welcome::Nobody);
        memory.measured(MIB / 4);
        assert!(admission.request().is_ok());
        memory.measured(MIB);
        assert_eq!(admission.request().unwrap_err(), Overload::Memory);
    }
}
