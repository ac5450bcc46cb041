//! Watches the workers' heartbeats and their share of CPU time. [cold]

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::metrics::BusyRatios;
use super::metrics::process::thread_cpu_ns;
use crate::bridge::WorkerView;
use crate::bridge::shard::{HEARTBEAT_MS, STALLED_TURN_MS};

/// Time between two looks at the workers.
pub const PERIOD: Duration = Duration::from_millis(250);
/// A worker without a heartbeat for this long is reported as dead, milliseconds.
pub const DEAD_MS: u64 = 30_000;
/// Time between two reports about one worker, milliseconds.
const REPORT_EVERY_MS: u64 = 10_000;

/// The wall clock, Unix milliseconds: the clock of the heartbeats.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Something worth a line in the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Finding {
    /// The loop has not turned for this long, milliseconds.
    Stalled(u64),
    /// Not for so long that it will hardly come back.
    Dead(u64),
    /// So many turns were late since the last report.
    Slow(u64),
}

/// What is remembered of each worker.
#[derive(Debug)]
pub struct Watchdog {
    workers: Vec<Memory>,
    busy: BusyRatios,
}

#[derive(Debug, Default)]
struct Memory {
    reported_at: u64,
    slow_turns: u64,
    cpu_ns: u64,
    cpu_at: u64,
}

impl Watchdog {
    /// For as many workers as `busy` has places.
    pub fn new(busy: BusyRatios) -> Self {
        let workers = busy.iter().map(|_| Memory::default()).collect();
        Self { workers, busy }
    }

    /// Looks at all workers. Returns at most one finding per worker and [`REPORT_EVERY_MS`].
    pub fn check(&mut self, workers: &[WorkerView], now_unix_ms: u64) -> Vec<(usize, Finding)> {
        let mut findings = Vec::new();
        for (number, (worker, memory)) in workers.iter().zip(&mut self.workers).enumerate() {
            let counters = &worker.counters;
            let last = counters.last_turn_unix_ms.value();
            let slow = counters.slow_turns.value();
            if last == 0 || now_unix_ms.saturating_sub(memory.reported_at) < REPORT_EVERY_MS {
                continue;
            }
            let silent_ms = now_unix_ms
                .saturating_sub(last)
                .saturating_sub(HEARTBEAT_MS);
            let finding = if silent_ms > DEAD_MS {
                Finding::Dead(silent_ms)
            } else if silent_ms > STALLED_TURN_MS {
                Finding::Stalled(silent_ms)
            } else if slow > memory.slow_turns {
                Finding::Slow(slow - memory.slow_turns)
            } else {
                continue;
            };
            memory.slow_turns = slow;
            memory.reported_at = now_unix_ms;
            findings.push((number, finding));
        }
        findings
    }

    /// Measures each worker's share of CPU time since the last call, about every second.
    pub fn measure(&mut self, workers: &[WorkerView], now_unix_ms: u64) {
        for ((worker, memory), busy) in workers.iter().zip(&mut self.workers).zip(&*self.busy) {
            let thread = worker.counters.thread_id.value();
            let Some(cpu_ns) = (thread != 0).then(|| thread_cpu_ns(thread)).flatten() else {
                continue;
            };
            let wall_ns = now_unix_ms
                .saturating_sub(memory.cpu_at)
                .saturating_mul(1_000_000);
            if memory.cpu_at != 0 && wall_ns > 0 {
                let used = cpu_ns.saturating_sub(memory.cpu_ns);
                let millionths = u128::from(used) * 1_000_000 / u128::from(wall_ns);
                let millionths = u64::try_from(millionths)
                    .unwrap_or(1_000_000)
                    .min(1_000_000);
                busy.store(millionths, Relaxed);
            }
            memory.cpu_ns = cpu_ns;
            memory.cpu_at = now_unix_ms;
        }
    }
}

/// Writes a finding to the log.
pub fn report(worker: usize, finding: Finding) {
    match finding {
        Finding::Stalled(ms) => tracing::warn!(worker, ms, "a worker's loop is stalled"),
        Finding::Dead(ms) => tracing::error!(worker, ms, "a worker's loop has stopped"),
        Finding::Slow(turns) => tracing::warn!(worker, turns, "loop turns of a worker were late"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::build;
    use crate::bridge::histogram::BucketSettings;
    use std::sync::atomic::AtomicU64;

    fn busy() -> BusyRatios {
        [AtomicU64::new(0)].into_iter().collect()
    }

    #[test]
    fn silence_is_reported_by_its_length_and_not_too_often() {
        let (workers, cold) = build(1, &BucketSettings::default()).unwrap();
        let mut watchdog = Watchdog::new(busy());
        let start = 1_000_000;
        assert!(
            watchdog.check(&cold.workers, start).is_empty(),
            "not started is not dead"
        );
        workers[0].shard.turn(start);
        let cases = [
            (1_020, None),
            (1_021, Some(Finding::Stalled(1_001))),
            (2_000, None),
            (11_021, Some(Finding::Stalled(11_001))),
            (31_021, Some(Finding::Dead(31_001))),
        ];
        for (after, want) in cases {
            let got = watchdog.check(&cold.workers, start + after);
            assert_eq!(
                got,
                want.map(|finding| (0, finding))
                    .into_iter()
                    .collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn late_turns_are_summed_between_reports() {
        let (workers, cold) = build(1, &BucketSettings::default()).unwrap();
        let mut watchdog = Watchdog::new(busy());
        let mut now = 1_000_000;
        for _ in 0..3 {
            workers[0].shard.turn(now);
            now += 100;
        }
        workers[0].shard.turn(now);
        assert_eq!(watchdog.check(&cold.workers, now), [(0, Finding::Slow(3))]);
        workers[0].shard.turn(now + 20_000 - 1);
        workers[0].shard.turn(now + 20_000);
        assert_eq!(
            watchdog.check(&cold.workers, now + 20_000),
            [(0, Finding::Slow(1))]
        );
    }

    #[test]
    fn the_share_of_cpu_time_needs_two_looks() {
        let (workers, cold) = build(1, &BucketSettings::default()).unwrap();
        let busy = busy();
        let mut watchdog = Watchdog::new(BusyRatios::clone(&busy));
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        workers[0].shard.started(thread.try_into().unwrap(), false);
        watchdog.measure(&cold.workers, 1_000);
        assert_eq!(busy[0].load(Relaxed), 0);
        // The kernel brings the count up to date when it looks at the thread, so work until it has.
        let share = (1_001..3_000)
            .find_map(|now| {
                std::hint::black_box((0..100_000u64).map(std::hint::black_box).sum::<u64>());
                std::thread::yield_now();
                watchdog.measure(&cold.workers, now);
                Some(busy[0].load(Relaxed)).filter(|&share| share > 0)
            })
            .expect("a busy thread uses time");
        assert!(share <= 1_000_000, "{share}");
    }
}
