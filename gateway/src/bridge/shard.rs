//! Everything one worker counts. [bridge]
//!
//! A [`WorkerShard`] belongs to its worker and cannot be shared; what it counts sits in
//! [`Counters`], which the scrape reads. After the first request of a series, counting costs one
//! look-up in a private map and a few stores: no allocation, no lock, no shared cache line.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use config_sync::model::labels::{CallerLabels, TargetLabels};

use super::counter::{Counter, Gauge};
use super::domain::{AuthDecision, BodyLimitOutcome, ENDPOINTS, Overload, Side, endpoint_slot};
use super::histogram::BucketSettings;
use super::rare::{HedgeEvent, Rare};
use super::record::RequestRecord;
use super::series::{Series, SeriesLabels, TargetSeries, target_identity};
use crate::tls::handshakes::Handshakes;

/// Most series of one worker. Worst case about 700 bytes each, 7 MB per worker; requests beyond
/// it count in a series whose caller and model are `other`.
pub const SERIES_MAX: usize = 10_000;
/// Most targets of one worker with counters of their own.
pub const TARGETS_MAX: usize = 10_000;
/// Most remembered pointers. New label sets come with every reload, the series stay: at the limit
/// all pointers are forgotten and learnt again.
const POINTERS_MAX: usize = 2 * SERIES_MAX;

/// Time between two calls of [`WorkerShard::turn`], milliseconds.
pub const HEARTBEAT_MS: u64 = 20;
/// A loop turn later than this counts as slow, milliseconds.
pub const SLOW_TURN_MS: u64 = 50;
/// A loop turn later than this counts as stalled, milliseconds.
pub const STALLED_TURN_MS: u64 = 1_000;

/// What one worker has counted. Written by that worker only.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    /// Requests being served, by [`endpoint_slot`].
    pub in_flight: [Gauge; ENDPOINTS.len()],
    /// Open connections, by [`Side`].
    pub connections: [Gauge; Side::ALL.len()],
    /// Connections opened so far, by [`Side`].
    pub connections_opened: [Counter; Side::ALL.len()],
    /// Upstream requests sent on a pooled connection.
    pub upstream_reused: Counter,
    /// Decisions, by [`AuthDecision`].
    pub auth: [Counter; AuthDecision::ALL.len()],
    /// Refused bodies, by [`endpoint_slot`] and [`BodyLimitOutcome`].
    pub body_limit: [[Counter; BodyLimitOutcome::ALL.len()]; ENDPOINTS.len()],
    /// Requests and connections refused for want of room, by [`Overload`].
    pub overloads: [Counter; Overload::ALL.len()],
    /// Connections closed without an answer for the same reason.
    pub unanswered: Counter,
    /// Panics caught.
    pub panics: Counter,
    /// Records lost because the queue to the cold side was full.
    pub records_dropped: Counter,
    /// Log events lost for the same reason.
    pub log_dropped: Counter,
    /// DNS requests lost for the same reason.
    pub dns_dropped: Counter,
    /// Requests counted in an `other` series.
    pub series_overflow: Counter,
    /// Stream events relayed.
    pub events: Counter,
    /// Comments sent to keep a silent stream open.
    pub keep_alives: Counter,
    /// Unix milliseconds of the last loop turn; 0 before the first.
    pub last_turn_unix_ms: Counter,
    /// Longest delay of a loop turn so far, milliseconds.
    pub longest_stall_ms: Counter,
    /// Turns later than [`SLOW_TURN_MS`].
    pub slow_turns: Counter,
    /// Turns later than [`STALLED_TURN_MS`].
    pub stalled_turns: Counter,
    /// Kernel id of the worker's thread; 0 until it runs.
    pub thread_id: Counter,
    /// 1 where that thread has a table of descriptors of its own.
    pub own_table: Counter,
    /// Limits in the way, and fallbacks.
    pub rare: Rare,
    /// Handshakes of the callers' listener.
    pub handshakes: Handshakes,
    series: Mutex<Vec<Arc<Series>>>,
    targets: Mutex<Vec<Arc<TargetSeries>>>,
}

impl Counters {
    /// The worker's series, oldest first; grows only at its end.
    pub fn series(&self) -> MutexGuard<'_, Vec<Arc<Series>>> {
        // A vector of Arcs is whole after every push: poison says nothing here.
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The worker's targets, oldest first; grows only at its end.
    pub fn targets(&self) -> MutexGuard<'_, Vec<Arc<TargetSeries>>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A worker's own handle: the only way to count.
#[derive(Debug)]
pub struct WorkerShard {
    counters: Arc<Counters>,
    buckets: BucketSettings,
    known: RefCell<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_pointer: PointerMap<Key, Pinned>,
    by_labels: HashMap<Box<[u8]>, Arc<Series>>,
    targets: PointerMap<usize, (Arc<TargetLabels>, Arc<TargetSeries>)>,
    targets_by_labels: HashMap<Box<[u8]>, Arc<TargetSeries>>,
    other_target: Option<Arc<TargetSeries>>,
}

/// A series with the label sets whose addresses lead to it: while they live, so do the addresses.
#[derive(Debug)]
struct Pinned {
    series: Arc<Series>,
    _caller: Option<Arc<CallerLabels>>,
    _target: Option<Arc<TargetLabels>>,
}

/// Addresses instead of label text. Two equal texts at two addresses only cost a second entry.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Key {
    caller: usize,
    target: usize,
    endpoint: (usize, usize),
    protocol: usize,
    status: u32,
}

impl Key {
    fn of(record: &RequestRecord) -> Self {
        let flags = u32::from(record.stream) << 16
            | u32::from(record.requested_model.is_empty()) << 17
            | u32::from(record.fallbacks > 0) << 18;
        Self {
            caller: record.caller.as_ref().map_or(0, address),
            target: record.target.as_ref().map_or(0, address),
            endpoint: (record.endpoint.as_ptr().addr(), record.endpoint.len()),
            protocol: record.inbound_protocol.as_ptr().addr(),
            status: u32::from(record.status) | flags,
        }
    }
}

fn address<T>(arc: &Arc<T>) -> usize {
    Arc::as_ptr(arc).addr()
}

impl WorkerShard {
    /// A shard that has counted nothing, and what the scrape reads of it.
    pub fn new(buckets: BucketSettings) -> (Self, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        let shard = Self {
            counters: Arc::clone(&counters),
            buckets,
            known: RefCell::default(),
        };
        (shard, counters)
    }

    /// Counts one finished request: every family that a record moves.
    pub fn request(&self, record: &RequestRecord) {
        self.counters.rare.count(record);
        let key = Key::of(record);
        let mut known = self.known.borrow_mut();
        if let Some(pinned) = known.by_pointer.get(&key) {
            pinned.series.count(record);
            return;
        }
        let series = self.learn(&mut known, record);
        series.count(record);
        if known.by_pointer.len() >= POINTERS_MAX {
            known.by_pointer.clear();
        }
        let _caller = record.caller.clone();
        let _target = record.target.clone();
        known.by_pointer.insert(
            key,
            Pinned {
                series,
                _caller,
                _target,
            },
        );
    }

    #[cold]
    fn learn(&self, known: &mut Known, record: &RequestRecord) -> Arc<Series> {
        let mut labels = SeriesLabels::of(record);
        let mut identity = labels.identity();
        if let Some(series) = known.by_labels.get(&identity) {
            return Arc::clone(series);
        }
        if known.by_labels.len() >= SERIES_MAX {
            // The overflow series are few: endpoints × protocols × streams × status classes.
            self.counters.series_overflow.add(1);
            labels = labels.overflow();
            identity = labels.identity();
            if let Some(series) = known.by_labels.get(&identity) {
                return Arc::clone(series);
            }
        }
        let series = Arc::new(Series::new(labels, &self.buckets));
        self.counters.series().push(Arc::clone(&series));
        known.by_labels.insert(identity, Arc::clone(&series));
        series
    }

    /// Counts one upstream attempt.
    pub fn attempt(&self, target: &Arc<TargetLabels>, succeeded: bool) {
        self.of_target(target, |series| {
            let counter = if succeeded {
                &series.success
            } else {
                &series.failure
            };
            counter.add(1);
        });
    }

    /// Counts one upstream attempt whose caller left before anything came of it.
    pub fn attempt_left(&self, target: &Arc<TargetLabels>) {
        self.of_target(target, |series| series.left.add(1));
    }

    /// Counts a cooldown that began.
    pub fn cooled_down(&self, target: &Arc<TargetLabels>) {
        self.of_target(target, |series| series.cooled_down.add(1));
    }

    /// Counts what happened to a stream of `group` whose first target was slow.
    pub fn hedge(&self, group: &Arc<str>, event: HedgeEvent) {
        self.counters.rare.hedge(group, event);
    }

    fn of_target(&self, target: &Arc<TargetLabels>, count: impl FnOnce(&TargetSeries)) {
        let mut known = self.known.borrow_mut();
        if let Some((_, series)) = known.targets.get(&address(target)) {
            return count(series);
        }
        let series = self.learn_target(&mut known, target);
        count(&series);
        if known.targets.len() >= POINTERS_MAX {
            known.targets.clear();
        }
        known
            .targets
            .insert(address(target), (Arc::clone(target), series));
    }

    #[cold]
    fn learn_target(&self, known: &mut Known, target: &Arc<TargetLabels>) -> Arc<TargetSeries> {
        let identity = target_identity(target);
        if let Some(series) = known.targets_by_labels.get(&identity) {
            return Arc::clone(series);
        }
        if known.targets_by_labels.len() >= TARGETS_MAX {
            let other = known.other_target.get_or_insert_with(|| {
                let series = Arc::new(TargetSeries::new(None));
                self.counters.targets().push(Arc::clone(&series));
                series
            });
            return Arc::clone(other);
        }
        let series = Arc::new(TargetSeries::new(Some(Arc::clone(target))));
        self.counters.targets().push(Arc::clone(&series));
        known
            .targets_by_labels
            .insert(identity, Arc::clone(&series));
        series
    }

    /// Moves the number of requests being served at `endpoint`: +1 on entry, -1 after the body.
    #[inline]
    pub fn in_flight(&self, endpoint: &'static str, delta: i64) {
        self.counters.in_flight[endpoint_slot(endpoint)].add(delta);
    }

    /// Moves the number of open connections.
    #[inline]
    pub fn connections(&self, side: Side, delta: i64) {
        self.counters.connections[side as usize].add(delta);
        if delta > 0 {
            self.counters.connections_opened[side as usize].add(delta.unsigned_abs());
        }
    }

    /// Counts an upstream request that found a pooled connection.
    #[inline]
    pub fn upstream_reused(&self) {
        self.counters.upstream_reused.add(1);
    }

    /// Counts one decision of authentication.
    #[inline]
    pub fn auth(&self, decision: AuthDecision) {
        self.counters.auth[decision as usize].add(1);
    }

    /// Counts a request, or a connection without one, that was told there is no room.
    pub fn overloaded(&self, what: Overload) {
        self.counters.overloads[what as usize].add(1);
    }

    /// Counts a connection that was closed without being told.
    pub fn unanswered(&self) {
        self.counters.unanswered.add(1);
    }

    /// Counts one request refused for the length of its body.
    pub fn body_limit(&self, endpoint: &'static str, outcome: BodyLimitOutcome) {
        self.counters.body_limit[endpoint_slot(endpoint)][outcome as usize].add(1);
    }

    /// Handshakes, to be counted.
    pub(crate) fn handshakes(&self) -> &Handshakes {
        &self.counters.handshakes
    }

    /// Counts a panic that was caught.
    pub fn panic(&self) {
        self.counters.panics.add(1);
    }

    /// Counts a record that found the queue full.
    pub fn dropped_record(&self) {
        self.counters.records_dropped.add(1);
    }

    /// Counts a log event that found the queue full.
    pub fn dropped_log(&self) {
        self.counters.log_dropped.add(1);
    }

    /// Counts a DNS request that found the queue full.
    pub fn dropped_dns(&self) {
        self.counters.dns_dropped.add(1);
    }

    /// Counts events relayed to a caller.
    #[inline]
    pub fn events(&self, count: u64) {
        self.counters.events.add(count);
    }

    /// Counts a comment sent to keep a stream open.
    #[inline]
    pub fn keep_alive(&self) {
        self.counters.keep_alives.add(1);
    }

    /// Says which kernel thread the worker runs on, for its share of CPU time, and whether its descriptors are in a table
    /// that it has for itself.
    pub fn started(&self, thread_id: u32, own_table: bool) {
        self.counters.own_table.set(u64::from(own_table));
        self.counters.thread_id.set(u64::from(thread_id));
    }

    /// The heartbeat: called every [`HEARTBEAT_MS`] from a task of the worker's loop.
    pub fn turn(&self, now_unix_ms: u64) {
        let counters = &self.counters;
        let last = counters.last_turn_unix_ms.value();
        counters.last_turn_unix_ms.set(now_unix_ms);
        if last == 0 {
            return;
        }
        let late_ms = now_unix_ms
            .saturating_sub(last)
            .saturating_sub(HEARTBEAT_MS);
        counters.longest_stall_ms.raise(late_ms);
        if late_ms > SLOW_TURN_MS {
            counters.slow_turns.add(1);
        }
        if late_ms > STALLED_TURN_MS {
            counters.stalled_turns.add(1);
        }
    }
}

/// Builds the hashers of maps whose keys are addresses.
pub(crate) type PointerHash = BuildHasherDefault<PointerHasher>;

type PointerMap<K, V> = HashMap<K, V, PointerHash>;

/// Multiplies and folds. Keys are our own addresses, so nobody outside can make them collide.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PointerHasher(u64);

impl Hasher for PointerHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes
            .iter()
            .for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    #[inline]
    fn write_u64(&mut self, value: u64) {
        // An odd constant near 2^64 divided by the golden ratio spreads low bits upwards.
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        // The map takes low bits for the bucket: fold the well-mixed high half down.
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests;
