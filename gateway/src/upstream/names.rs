//! Addresses of upstream hosts, as a worker knows them. [ring]
//!
//! The cold side resolves; a worker keeps the answers and the tasks that wait for one.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use monoio::time::Instant;

use crate::bridge::dns::{DnsAnswer, DnsError};
use crate::worker::Worker;

/// Hosts remembered. Hosts come from the configuration, so this is far beyond any real one; at the
/// bound the answers are forgotten and asked for again.
const HOSTS_MAX: usize = 4096;
/// Longer than the resolver's own limit.
const ASK_AGAIN: Duration = Duration::from_secs(6);

/// Answers by host name.
#[derive(Debug, Default)]
pub(crate) struct Names(RefCell<HashMap<Arc<str>, Entry>>);

#[derive(Debug, Default)]
struct Entry {
    answer: Option<Known>,
    waiting: Vec<Waker>,
    /// When the question was sent. Asked again after [`ASK_AGAIN`]: an answer can be lost.
    asked: Option<Instant>,
}

#[derive(Debug)]
struct Known {
    addresses: Result<Arc<[IpAddr]>, DnsError>,
    fresh_until: Instant,
    usable_until: Instant,
}

impl Names {
    /// The addresses of `host`. An answer past its time is used while a new one is on its way; where
    /// there is none the caller waits, bounded by its connect deadline.
    ///
    /// # Errors
    ///
    /// The resolver's reason.
    pub(crate) async fn lookup(
        &self,
        worker: &Worker,
        host: &Arc<str>,
    ) -> Result<Arc<[IpAddr]>, DnsError> {
        poll_fn(|cx| {
            let now = worker.now();
            let mut names = self.0.borrow_mut();
            if names.len() >= HOSTS_MAX && !names.contains_key(host) {
                names.retain(|_, entry| !entry.waiting.is_empty());
            }
            let entry = names.entry(Arc::clone(host)).or_default();
            let usable = entry
                .answer
                .as_ref()
                .filter(|known| now < known.usable_until);
            let asked = entry.asked.is_some_and(|at| now < at + ASK_AGAIN);
            if !asked && usable.is_none_or(|known| now >= known.fresh_until) {
                if worker.bridge.resolve(host) {
                    entry.asked = Some(now);
                } else if usable.is_none() {
                    return Poll::Ready(Err(DnsError::Busy));
                }
            }
            if let Some(known) = usable {
                return Poll::Ready(known.addresses.clone());
            }
            if !entry
                .waiting
                .iter()
                .any(|waker| waker.will_wake(cx.waker()))
            {
                entry.waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Takes an answer in and wakes whoever waits for it.
    pub(crate) fn answered(&self, answer: DnsAnswer, now: Instant) {
        let waiting = {
            let mut names = self.0.borrow_mut();
            let entry = names.entry(answer.host).or_default();
            entry.asked = None;
            entry.answer = Some(Known {
                addresses: answer.addrs,
                fresh_until: now + answer.fresh_for,
                usable_until: now + answer.usable_for,
            });
            std::mem::take(&mut entry.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}
