//! Measures the memory of the process, and says what workers may take. [cold]

mod leaving;
pub mod measure;

use std::sync::Arc;

use crate::bridge::WorkerView;
use crate::bridge::counter::Gauge;
use crate::bridge::domain::Side;
use crate::bridge::mailbox::ToWorker;
use crate::bridge::memory::{Memory, Standing};
use crate::sys::return_freed;
use leaving::Leaving;
use measure::{Measure, Meter};

/// Measurements between two attempts to bring memory down while it is above its mark: a second.
const RELIEVE_EVERY: u32 = 50;
/// Measurements between two looks whether callers have left: 5 s.
const LEAVE_EVERY: u32 = 250;
/// What callers leave behind is given back where this part of the mark is in use: less is no burden.
const WORTH_PART: u64 = 8;
/// How often freed memory is still given back once memory is below its mark, every second: what a wave
/// leaves is freed bit by bit.
const AFTERCARE: u32 = 30;

/// Takes the measurements.
#[derive(Debug)]
pub struct Watch {
    meter: Meter,
    memory: Arc<Memory>,
    /// Measurements since memory was last brought down.
    since_relief: u32,
    /// Measurements since it was last looked whether callers have left.
    since_leave: u32,
    leaving: Leaving,
    /// How often freed memory is still to be given back.
    aftercare: u32,
    /// Whether a measurement failed, which is said once.
    is_blind: bool,
}

impl Watch {
    /// Tells `memory` what `measure` finds.
    pub fn new(measure: Measure, memory: Arc<Memory>) -> Self {
        Self {
            meter: Meter::new(measure),
            memory,
            since_relief: 0,
            aftercare: 0,
            since_leave: 0,
            leaving: Leaving::default(),
            is_blind: false,
        }
    }

    /// Measures once; to be called every `SAMPLE_EVERY`. Where nothing can be measured, what was
    /// measured last counts as measured again: a worker keeps its grants.
    pub fn look(&mut self, workers: &[WorkerView]) {
        let Some(bounds) = self.memory.bounds() else {
            return;
        };
        let used = match self.meter.used(bounds.mark) {
            Ok(used) => used,
            Err(error) => {
                if !std::mem::replace(&mut self.is_blind, true) {
                    tracing::error!(%error, "memory cannot be measured: its mark is not watched");
                }
                self.memory.used()
            }
        };
        let standing = self.memory.measured(used);
        self.see_off(workers, used >= bounds.mark / WORTH_PART);
        match standing {
            None => return,
            Some(Standing::Low) if self.aftercare == 0 => return,
            Some(Standing::Low | Standing::High) => self.since_relief += 1,
            Some(Standing::Rose) => {
                tracing::warn!(
                    used,
                    mark = bounds.mark,
                    limit = bounds.limit,
                    "memory is above its mark: new requests are refused, streams go on"
                );
                self.since_relief = RELIEVE_EVERY;
            }
            Some(Standing::Fell) => {
                tracing::info!(used, mark = bounds.mark, "memory is below its mark again");
                self.aftercare = AFTERCARE;
                return;
            }
        }
        if self.since_relief >= RELIEVE_EVERY {
            self.since_relief = 0;
            self.relieve(workers);
        }
    }

    /// Gives freed memory back once callers have left, where enough of it `is_used`: what a connection
    /// held is small, and stays with the allocator.
    fn see_off(&mut self, workers: &[WorkerView], is_used: bool) {
        self.since_leave += 1;
        if self.since_leave < LEAVE_EVERY {
            return;
        }
        self.since_leave = 0;
        let load: i64 = workers.iter().map(load_of).sum();
        if self.leaving.look(load) && is_used {
            return_freed();
        }
    }

    /// Brings memory down: above the mark connections without a request close, and the allocator
    /// gives back what it keeps of freed memory.
    fn relieve(&mut self, workers: &[WorkerView]) {
        if self.memory.pace().is_high() {
            for worker in workers {
                worker.mailbox.send(ToWorker::Shed);
            }
        } else {
            self.aftercare -= 1;
        }
        return_freed();
    }
}

/// Connections of callers and requests of theirs that are open on a worker.
fn load_of(worker: &WorkerView) -> i64 {
    let counters = &worker.counters;
    let requests = counters.in_flight.iter().map(Gauge::value);
    counters.connections[Side::Downstream as usize].value() + requests.sum::<i64>()
}
