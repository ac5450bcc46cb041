//! The families of admission: what was refused for want of room, and how much there is. [cold]

use super::families as f;
use super::families::Family;
use super::groups::render as labels;
use super::text::{header, sample, signed};
use crate::bridge::WorkerView;
use crate::bridge::domain::Overload;
use crate::bridge::memory::Memory;

/// Appends them; those of memory where it is watched, that of bodies where they are bounded.
pub(super) fn render(workers: &[WorkerView], memory: &Memory, out: &mut Vec<u8>) {
    header(out, &f::ADMISSION_REFUSED);
    for what in Overload::ALL {
        let of = |worker: &WorkerView| worker.counters.overloads[what as usize].value();
        let sum: u64 = workers.iter().map(of).sum();
        let labels = labels([("reason", what.label())]);
        sample(out, &f::ADMISSION_REFUSED, &labels, signed(sum));
    }
    let unanswered = workers
        .iter()
        .map(|worker| worker.counters.unanswered.value());
    one(out, &f::ADMISSION_UNANSWERED, unanswered.sum());
    if let Some(bounds) = memory.bounds() {
        one(out, &f::MEMORY_USED, memory.used());
        one(out, &f::MEMORY_MARK, bounds.mark);
        one(out, &f::MEMORY_LIMIT, bounds.limit);
        one(out, &f::MEMORY_HIGH, memory.pace().is_high().into());
        one(out, &f::MEMORY_CROSSINGS, memory.crossings());
    }
    if let (held, Some(max)) = memory.bodies() {
        one(out, &f::BODIES_HELD, held);
        one(out, &f::BODIES_MAX, max);
    }
}

fn one(out: &mut Vec<u8>, family: &Family, value: u64) {
    header(out, family);
    sample(out, family, b"", signed(value));
}
