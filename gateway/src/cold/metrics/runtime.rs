//! The families of single workers: connections, loop turns, losses. [cold]

use super::families as f;
use super::families::Family;
use super::groups::render as labels;
use super::text::{header, sample, sample_micros, signed};
use crate::bridge::WorkerView;
use crate::bridge::counter::Counter;
use crate::bridge::domain::{AuthDecision, BodyLimitOutcome, ENDPOINTS, Side};
use crate::bridge::shard::Counters;

/// Picks one counter of a worker.
type Cell = fn(&Counters) -> &Counter;

/// Counters with `core` as their only label.
const PER_CORE: [(&Family, Cell); 5] = [
    (&f::UPSTREAM_REUSED, |c| &c.upstream_reused),
    (&f::CORE_PANICS, |c| &c.panics),
    (&f::CORE_EVENTS, |c| &c.events),
    (&f::CORE_KEEP_ALIVES, |c| &c.keep_alives),
    (&f::CORE_OVERFLOW, |c| &c.series_overflow),
];

/// Appends them all.
pub fn render(workers: &[WorkerView], out: &mut Vec<u8>) {
    in_flight(workers, out);
    body_limit(workers, out);
    auth(workers, out);
    connections(workers, out);
    for (family, cell) in PER_CORE {
        header(out, family);
        each(workers, |core, counters| {
            sample(
                out,
                family,
                &labels([("core", core)]),
                signed(cell(counters).value()),
            );
        });
    }
    turns(workers, out);
    header(out, &f::CORE_DROPPED);
    each(workers, |core, counters| {
        for (queue, lost) in [
            ("records", &counters.records_dropped),
            ("log", &counters.log_dropped),
            ("dns", &counters.dns_dropped),
        ] {
            let labels = labels([("core", core), ("queue", queue)]);
            sample(out, &f::CORE_DROPPED, &labels, signed(lost.value()));
        }
    });
}

fn in_flight(workers: &[WorkerView], out: &mut Vec<u8>) {
    header(out, &f::IN_FLIGHT);
    for (slot, row) in ENDPOINTS.iter().enumerate() {
        let labels = labels([
            ("endpoint", row.endpoint),
            ("inbound_protocol", row.inbound_protocol),
        ]);
        let sum = workers
            .iter()
            .map(|w| w.counters.in_flight[slot].value())
            .sum();
        sample(out, &f::IN_FLIGHT, &labels, sum);
    }
}

fn body_limit(workers: &[WorkerView], out: &mut Vec<u8>) {
    header(out, &f::BODY_LIMIT);
    for (slot, row) in ENDPOINTS.iter().enumerate() {
        for outcome in BodyLimitOutcome::ALL {
            let cell = |w: &WorkerView| w.counters.body_limit[slot][outcome as usize].value();
            let sum: u64 = workers.iter().map(cell).sum();
            if sum > 0 {
                let labels = labels([
                    ("endpoint", row.endpoint),
                    ("inbound_protocol", row.inbound_protocol),
                    ("outcome", outcome.label()),
                ]);
                sample(out, &f::BODY_LIMIT, &labels, signed(sum));
            }
        }
    }
}

fn auth(workers: &[WorkerView], out: &mut Vec<u8>) {
    header(out, &f::AUTH);
    for decision in AuthDecision::ALL {
        let (method, result, reason) = decision.labels();
        let labels = labels([("method", method), ("result", result), ("reason", reason)]);
        let sum = workers
            .iter()
            .map(|w| w.counters.auth[decision as usize].value())
            .sum();
        sample(out, &f::AUTH, &labels, signed(sum));
    }
}

fn connections(workers: &[WorkerView], out: &mut Vec<u8>) {
    header(out, &f::CORE_CONNECTIONS);
    each(workers, |core, counters| {
        for side in Side::ALL {
            let labels = labels([("core", core), ("side", side.label())]);
            let open = counters.connections[side as usize].value();
            sample(out, &f::CORE_CONNECTIONS, &labels, open);
        }
    });
    header(out, &f::CONNECTIONS_OPENED);
    each(workers, |core, counters| {
        for side in Side::ALL {
            let labels = labels([("core", core), ("side", side.label())]);
            let opened = counters.connections_opened[side as usize].value();
            sample(out, &f::CONNECTIONS_OPENED, &labels, signed(opened));
        }
    });
}

fn turns(workers: &[WorkerView], out: &mut Vec<u8>) {
    let milliseconds: [(&Family, Cell); 2] = [
        (&f::CORE_LAST_TURN, |c| &c.last_turn_unix_ms),
        (&f::CORE_LONGEST_STALL, |c| &c.longest_stall_ms),
    ];
    for (family, cell) in milliseconds {
        header(out, family);
        each(workers, |core, counters| {
            let micros = cell(counters).value().saturating_mul(1_000);
            sample_micros(out, family, &labels([("core", core)]), micros);
        });
    }
    header(out, &f::CORE_SLOW_TURNS);
    each(workers, |core, counters| {
        for (over, turns) in [
            ("50ms", &counters.slow_turns),
            ("1s", &counters.stalled_turns),
        ] {
            let labels = labels([("core", core), ("over", over)]);
            sample(out, &f::CORE_SLOW_TURNS, &labels, signed(turns.value()));
        }
    });
}

fn each(workers: &[WorkerView], mut write: impl FnMut(&str, &Counters)) {
    for (core, worker) in workers.iter().enumerate() {
        write(itoa::Buffer::new().format(core), &worker.counters);
    }
}
