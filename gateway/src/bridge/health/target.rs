//! How one target is doing. [bridge]

use std::rc::Rc;
use std::sync::Arc;
// Relaxed everywhere: each word is a fact of its own, what belongs together shares one word, and
// nothing else is published through any of them. A worker that sees a change some nanoseconds later
// has made the choice it would have made before. Counts are read-modify-writes, which lose nothing
// under any ordering.
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use config_sync::model::model::Cooldown;

use super::failure::{CheckOutcome, Failure, Reason};

/// Retryable failures in a row from which on a target is [`Grade::Degraded`].
pub const DEGRADED_AFTER: u32 = 4;
/// Retryable failures in a row from which on a target is [`Grade::Down`].
pub const DOWN_AFTER: u32 = 8;

/// Share of a new sample in the latency.
const SAMPLE_SHARE: f64 = 0.3;

/// Whether a target may be tried, best first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum HealthState {
    /// Yes.
    Healthy,
    /// It failed just now and is left alone for a while.
    Cooling,
    /// Its last probe failed.
    Unhealthy,
}

/// How many failures in a row there were.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Grade {
    /// Fewer than [`DEGRADED_AFTER`].
    Healthy,
    /// Fewer than [`DOWN_AFTER`].
    Degraded,
    /// [`DOWN_AFTER`] or more.
    Down,
}

impl Grade {
    /// Value of `health`: 0, 1 or 2.
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// How fast a target answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    /// Weighted mean of its successes in milliseconds, recent ones counting more.
    pub ewma_ms: f64,
    /// Age of the last sample in milliseconds.
    pub age_ms: u64,
}

/// A cooldown that a failure brought about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cooled {
    /// Why.
    pub reason: Reason,
    /// How long, 1 or more.
    pub seconds: u64,
    /// Whether the target was not cooling down before.
    pub is_new: bool,
}

/// What the status page shows of a target.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HealthView {
    /// Whether it is tried.
    pub state: HealthState,
    /// Why it is not, or what its last probe met that does not count.
    pub reason: Option<Reason>,
    /// Unix milliseconds at which its cooldown ends; `None` where there is none.
    pub cooldown_until_ms: Option<u64>,
    /// Seconds until then, rounded up.
    pub seconds_left: u64,
    /// From failures in a row.
    pub grade: Grade,
    /// Unix milliseconds of the last probe.
    pub last_checked_at_ms: Option<u64>,
    /// Status of the last probe, where it had one.
    pub last_check_status: Option<u16>,
}

/// The standing of one target, shared by all workers.
///
/// `now_ms` is always Unix time in milliseconds, of which 52 bits are kept: enough for 140,000 years.
#[derive(Debug, Default)]
pub struct TargetHealth {
    standing: Standing,
    load: Load,
}

/// Read by every request, written when something goes wrong or right again.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Standing {
    /// A [`Stamp`]: the end, and the [`Reason`]. 0: none.
    cooldown: AtomicU64,
    /// Failures in a row, hardly counted beyond [`DOWN_AFTER`].
    failures: AtomicU32,
    /// Unix milliseconds until which a failed probe counts. 0: none does.
    unhealthy_until_ms: AtomicU64,
    /// A [`Stamp`]: the time of the last probe, and its [`CheckOutcome`]. 0: none yet.
    last_check: AtomicU64,
    /// Status of the last probe; 0 where it had none.
    last_check_status: AtomicU32,
}

/// Written by every attempt, so on lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Load {
    in_flight: AtomicU32,
    /// Bits of a positive `f64`, in milliseconds. 0: no sample yet.
    latency: AtomicU64,
    sampled_at_ms: AtomicU64,
}

/// A time and a small number in one word, the later the greater.
#[derive(Clone, Copy)]
struct Stamp(u64);

impl Stamp {
    const CODE_BITS: u32 = 12;

    fn new(at_ms: u64, code: u8) -> Self {
        let at_ms = at_ms.min(u64::MAX >> Self::CODE_BITS);
        Self(at_ms << Self::CODE_BITS | u64::from(code))
    }

    fn at_ms(self) -> u64 {
        self.0 >> Self::CODE_BITS
    }

    fn code(self) -> usize {
        (self.0 & ((1 << Self::CODE_BITS) - 1)) as usize
    }
}

impl TargetHealth {
    /// Whether the target may be tried. Two loads of a line that rarely changes.
    #[inline]
    pub fn state(&self, now_ms: u64) -> HealthState {
        if now_ms < self.standing.unhealthy_until_ms.load(Relaxed) {
            HealthState::Unhealthy
        } else if now_ms < self.cooldown().at_ms() {
            HealthState::Cooling
        } else {
            HealthState::Healthy
        }
    }

    /// Notes a failed attempt. Returns the cooldown it brings about, if it does.
    ///
    /// The upstream's `Retry-After` takes the place of the default, up to the greatest length; 0 of it
    /// means that the target may be tried at once. A cooldown never ends earlier for a later failure.
    ///
    /// # Source
    ///
    /// proxy.md §6.4 and §6.6.
    pub fn failed(&self, failure: Failure, cooldown: &Cooldown, now_ms: u64) -> Option<Cooled> {
        let failures = &self.standing.failures;
        if failure.is_retryable && failures.load(Relaxed) < DOWN_AFTER {
            failures.fetch_add(1, Relaxed);
        }
        let reason = failure.class.trigger(cooldown)?;
        let asked = failure
            .retry_after_secs
            .filter(|_| cooldown.honor_retry_after);
        let seconds = match (cooldown.default_seconds, asked) {
            (0, _) | (_, Some(0)) => return None,
            (_, Some(asked)) => u64::from(asked).min(cooldown.max_seconds),
            (default, None) => default,
        };
        let until_ms = now_ms.saturating_add(seconds.saturating_mul(1_000));
        let until = Stamp::new(until_ms, reason as u8);
        let before = Stamp(self.standing.cooldown.fetch_max(until.0, Relaxed));
        Some(Cooled {
            reason,
            seconds,
            is_new: before.at_ms() <= now_ms,
        })
    }

    /// Notes a success: it ends a cooldown and a row of failures. `latency` is a sample, where samples
    /// are kept.
    ///
    /// Writes nothing where there is nothing to end.
    pub fn succeeded(&self, now_ms: u64, latency: Option<Duration>) {
        if self.standing.cooldown.load(Relaxed) != 0 {
            self.standing.cooldown.store(0, Relaxed);
        }
        if self.standing.failures.load(Relaxed) != 0 {
            self.standing.failures.store(0, Relaxed);
        }
        if let Some(latency) = latency {
            self.sample(now_ms, latency.as_secs_f64() * 1e3);
        }
    }

    /// Notes a probe that ended at `now_ms`, with the status it met. A failed one counts for
    /// `stale_after_seconds`.
    ///
    /// A probe leaves cooldown and grade alone, which are about callers' requests.
    pub fn checked(
        &self,
        outcome: CheckOutcome,
        status: Option<u16>,
        stale_after_seconds: u64,
        now_ms: u64,
    ) {
        let unhealthy_until_ms = match outcome {
            CheckOutcome::Passed => Some(0),
            CheckOutcome::Failed => {
                Some(now_ms.saturating_add(stale_after_seconds.saturating_mul(1_000)))
            }
            CheckOutcome::Ignored => None,
        };
        let standing = &self.standing;
        if let Some(until_ms) = unhealthy_until_ms {
            standing.unhealthy_until_ms.store(until_ms, Relaxed);
        }
        let status = status.map_or(0, u32::from);
        standing.last_check_status.store(status, Relaxed);
        let stamp = Stamp::new(now_ms, outcome as u8);
        standing.last_check.store(stamp.0, Relaxed);
    }

    /// Forgets what probes have found: nobody probes the target any more.
    pub fn unchecked(&self) {
        let standing = &self.standing;
        standing.unhealthy_until_ms.store(0, Relaxed);
        standing.last_check.store(0, Relaxed);
        standing.last_check_status.store(0, Relaxed);
    }

    /// How fast it answers; `None` before the first sample.
    pub fn latency(&self, now_ms: u64) -> Option<Latency> {
        let ewma_ms = f64::from_bits(self.load.latency.load(Relaxed));
        let age_ms = now_ms.saturating_sub(self.load.sampled_at_ms.load(Relaxed));
        (ewma_ms > 0.0).then_some(Latency { ewma_ms, age_ms })
    }

    /// Attempts under way in all workers.
    pub fn in_flight(&self) -> u32 {
        self.load.in_flight.load(Relaxed)
    }

    /// From failures in a row.
    pub fn grade(&self) -> Grade {
        match self.standing.failures.load(Relaxed) {
            0..DEGRADED_AFTER => Grade::Healthy,
            DEGRADED_AFTER..DOWN_AFTER => Grade::Degraded,
            DOWN_AFTER.. => Grade::Down,
        }
    }

    /// What the status page shows.
    pub fn view(&self, now_ms: u64) -> HealthView {
        let state = self.state(now_ms);
        let cooldown = self.cooldown();
        let left_ms = cooldown.at_ms().saturating_sub(now_ms);
        let last_check = Stamp(self.standing.last_check.load(Relaxed));
        let has_check = last_check.0 != 0;
        let outcome = CheckOutcome::ALL.get(last_check.code()).copied();
        let reason = match (state, outcome.filter(|_| has_check)) {
            (HealthState::Unhealthy, _) => Some(Reason::BackgroundCheckFailed),
            (HealthState::Cooling, _) => Reason::ALL.get(cooldown.code()).copied(),
            (HealthState::Healthy, Some(CheckOutcome::Ignored)) => {
                Some(Reason::IgnoredTransientError)
            }
            (HealthState::Healthy, _) => None,
        };
        let status = self.standing.last_check_status.load(Relaxed);
        HealthView {
            state,
            reason,
            cooldown_until_ms: (left_ms > 0).then_some(cooldown.at_ms()),
            seconds_left: left_ms.div_ceil(1_000),
            grade: self.grade(),
            last_checked_at_ms: has_check.then_some(last_check.at_ms()),
            last_check_status: u16::try_from(status).ok().filter(|status| *status != 0),
        }
    }

    fn cooldown(&self) -> Stamp {
        Stamp(self.standing.cooldown.load(Relaxed))
    }

    fn sample(&self, now_ms: u64, sample_ms: f64) {
        // Never 0, which says that there is none.
        let sample_ms = sample_ms.max(f64::MIN_POSITIVE);
        let mixed = |bits| {
            let old = f64::from_bits(bits);
            let new = SAMPLE_SHARE * sample_ms + (1.0 - SAMPLE_SHARE) * old;
            let ewma_ms = if bits == 0 { sample_ms } else { new };
            Some(ewma_ms.max(f64::MIN_POSITIVE).to_bits())
        };
        // The update never declines.
        let _ = self.load.latency.fetch_update(Relaxed, Relaxed, mixed);
        self.load.sampled_at_ms.store(now_ms, Relaxed);
    }
}

/// What is shared by all workers, in the hands of one: its requests change the worker's own count.
pub type Held<T> = Rc<Arc<T>>;

/// An attempt under way. Counts from its making until it is dropped: for a stream, at its end.
#[derive(Debug)]
pub struct InFlight(Held<TargetHealth>);

impl InFlight {
    /// One attempt more.
    pub fn enter(target: &Held<TargetHealth>) -> Self {
        target.load.in_flight.fetch_add(1, Relaxed);
        Self(Rc::clone(target))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.load.in_flight.fetch_sub(1, Relaxed);
    }
}
