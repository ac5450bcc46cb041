//! Idle upstream connections of one worker. [ring]

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;

use monoio::time::Instant;

use super::transport::Transport;
use crate::worker::buffers::Buffers;

/// Idle connections kept per upstream and worker where the operator sets no bound.
pub(crate) const IDLE_PER_HOST_DEFAULT: usize = 1024;

/// Idle connections, newest first: the one most likely to be still open and warm.
///
/// Keyed by scheme, host, port and TLS settings (`BaseUrl::pool_key`), never by credential.
#[derive(Debug)]
pub(crate) struct Pool {
    idle: RefCell<HashMap<u128, Vec<Idle>, BuildHasherDefault<Uniform>>>,
    idle_timeout: Option<Duration>,
    per_host_max: usize,
}

#[derive(Debug)]
struct Idle {
    transport: Transport,
    since: Instant,
}

/// Takes a pool key as its own hash: it is a piece of a digest.
#[derive(Debug, Default)]
struct Uniform(u64);

impl Hasher for Uniform {
    fn write(&mut self, bytes: &[u8]) {
        let fold = |hash: u64, &byte: &u8| hash.rotate_left(8) ^ u64::from(byte);
        self.0 = bytes.iter().fold(self.0, fold);
    }

    fn write_u128(&mut self, key: u128) {
        // The low half is as uniform as the whole.
        self.0 = key as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Pool {
    /// An empty pool. `idle_timeout` of `None` keeps connections until the upstream closes them.
    pub(crate) fn new(idle_timeout: Option<Duration>, per_host_max: usize) -> Self {
        Self {
            idle: RefCell::default(),
            idle_timeout,
            per_host_max,
        }
    }

    /// A connection that is open and has nothing unasked in it.
    pub(crate) fn take(&self, key: u128, now: Instant, buffers: &Buffers) -> Option<Transport> {
        loop {
            let mut idle = self.idle.borrow_mut().get_mut(&key)?.pop()?;
            if !self.is_stale(&idle, now) && idle.transport.is_quiet(buffers) {
                return Some(idle.transport);
            }
        }
    }

    /// Keeps a connection whose last response was final and read to its end, if it is quiet. It is
    /// watched from here on, so that [`Pool::take`] knows without asking the kernel.
    pub(crate) fn give(
        &self,
        key: u128,
        mut transport: Transport,
        now: Instant,
        buffers: &Buffers,
    ) {
        let mut idle = self.idle.borrow_mut();
        let kept = idle.entry(key).or_default();
        if kept.len() < self.per_host_max && transport.is_quiet(buffers) {
            kept.push(Idle {
                transport,
                since: now,
            });
        }
    }

    /// Closes what has been idle for too long (the oldest lie at the front), and what the upstream
    /// has closed or sent unasked bytes over.
    pub(crate) fn sweep(&self, now: Instant, buffers: &Buffers) {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|_, kept| {
            let stale = kept.partition_point(|idle| self.is_stale(idle, now));
            kept.drain(..stale);
            kept.retain_mut(|idle| idle.transport.is_quiet(buffers));
            !kept.is_empty()
        });
    }

    fn is_stale(&self, idle: &Idle, now: Instant) -> bool {
        self.idle_timeout
            .is_some_and(|timeout| now.saturating_duration_since(idle.since) >= timeout)
    }
}
