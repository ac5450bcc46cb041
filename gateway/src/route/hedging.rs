//! When a second target is asked beside the first one, and how often that may be. [pure]
//!
//! One [`Hedging`] per group that hedges and worker, for as long as the group's row stands.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use config_sync::model::routing::{Hedge, HedgeAfter};

/// Samples of a target that are kept, the newest ones: 256 bytes.
const SAMPLES_MAX: usize = 64;
/// Samples without which nothing is said about a target.
const SAMPLES_MIN: usize = 20;
/// The share of samples that are no longer than what is waited for, in hundredths.
const QUANTILE: usize = 95;
/// What a hedge costs, in hundredths; a stream earns the group's percentage.
const HEDGE: u32 = 100;
/// Most that is saved up: ten hedges.
const SAVED_MAX: u32 = 10 * HEDGE;

/// How a group hedges, and what one worker knows for it.
#[derive(Debug)]
pub struct Hedging {
    settings: Hedge,
    /// In hundredths of a hedge. Begins with none, so that the share is never exceeded.
    left: Cell<u32>,
    /// By position in the group.
    targets: RefCell<Vec<Recent>>,
}

impl Hedging {
    /// That of a group of `targets` targets, which knows nothing yet.
    pub fn new(settings: Hedge, targets: usize) -> Self {
        Self {
            settings,
            left: Cell::new(0),
            targets: RefCell::new(vec![Recent::default(); targets]),
        }
    }

    /// A stream of the group began.
    pub fn earn(&self) {
        let left = self.left.get().saturating_add(self.settings.max_percent);
        self.left.set(left.min(SAVED_MAX));
    }

    /// Takes one hedge; `false` where the share is used up.
    pub fn spend(&self) -> bool {
        let left = self.left.get().checked_sub(HEDGE);
        left.inspect(|left| self.left.set(*left)).is_some()
    }

    /// Gives back what was spent: nobody was asked after all.
    pub fn refund(&self) {
        let left = self.left.get().saturating_add(HEDGE);
        self.left.set(left.min(SAVED_MAX));
    }

    /// How long the target at `position` is waited for; `None` while that is not known.
    pub fn delay(&self, position: usize) -> Option<Duration> {
        match self.settings.after {
            HedgeAfter::Ms(ms) => Some(Duration::from_millis(ms.into())),
            HedgeAfter::P95 => self.targets.borrow().get(position)?.quantile(),
        }
    }

    /// The target at `position` took `time` to its first content, or at least that where it was not
    /// waited for any longer.
    pub fn sample(&self, position: usize, time: Duration) {
        if let Some(target) = self.targets.borrow_mut().get_mut(position) {
            target.add(time);
        }
    }
}

/// Times to the first content of one target, microseconds.
#[derive(Clone, Debug)]
struct Recent {
    times: [u32; SAMPLES_MAX],
    known: usize,
    /// Where the next one goes.
    next: usize,
}

impl Default for Recent {
    fn default() -> Self {
        Self {
            times: [0; SAMPLES_MAX],
            known: 0,
            next: 0,
        }
    }
}

impl Recent {
    fn add(&mut self, time: Duration) {
        // More than an hour counts as an hour and eleven minutes.
        self.times[self.next] = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        self.next = (self.next + 1) % SAMPLES_MAX;
        self.known = (self.known + 1).min(SAMPLES_MAX);
    }

    /// The smallest sample that [`QUANTILE`] % of them do not exceed.
    fn quantile(&self) -> Option<Duration> {
        if self.known < SAMPLES_MIN {
            return None;
        }
        let mut times = self.times;
        let known = &mut times[..self.known];
        let rank = (self.known * QUANTILE).div_ceil(100).max(1);
        let (_, at, _) = known.select_nth_unstable(rank - 1);
        Some(Duration::from_micros((*at).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hedging(after: HedgeAfter, max_percent: u32) -> Hedging {
        let settings = Hedge { after, max_percent };
        Hedging::new(settings, 2)
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn nothing_is_waited_for_before_enough_is_known_and_old_samples_are_forgotten() {
        let hedging = hedging(HedgeAfter::P95, 5);
        for sample in 1..SAMPLES_MIN as u64 {
            hedging.sample(0, ms(sample));
            assert_eq!(hedging.delay(0), None);
        }
        hedging.sample(0, ms(1_000));
        assert_eq!(hedging.delay(0), Some(ms(19)));
        assert_eq!((hedging.delay(1), hedging.delay(2)), (None, None));
        hedging.sample(2, ms(1));
        for sample in 1..=SAMPLES_MAX as u64 {
            hedging.sample(0, ms(sample * 10));
        }
        // 61 of 64.
        assert_eq!(hedging.delay(0), Some(ms(610)));
        hedging.sample(0, Duration::MAX);
        assert_eq!(hedging.delay(0), Some(ms(620)));
        let fixed = self::hedging(HedgeAfter::Ms(7), 5);
        assert_eq!((fixed.delay(0), fixed.delay(9)), (Some(ms(7)), Some(ms(7))));
    }

    #[test]
    fn the_quantile_is_that_of_a_sorted_list() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let hedging = hedging(HedgeAfter::P95, 5);
        let mut all = Vec::new();
        for _ in 0..1_000 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let time = Duration::from_micros(state % 5_000_000);
            hedging.sample(0, time);
            all.push(time);
            let mut recent = all[all.len().saturating_sub(SAMPLES_MAX)..].to_vec();
            recent.sort();
            let rank = (recent.len() * 95).div_ceil(100);
            let want = (recent.len() >= SAMPLES_MIN).then(|| recent[rank - 1]);
            assert_eq!(hedging.delay(0), want);
        }
    }

    #[test]
    fn hedges_never_exceed_their_share_of_the_streams() {
        for percent in [1, 5, 33, 100] {
            let hedging = hedging(HedgeAfter::Ms(1), percent);
            let (mut streams, mut hedges) = (0_u32, 0_u32);
            let mut state = u64::from(percent);
            for _ in 0..20_000 {
                hedging.earn();
                streams += 1;
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                // Bursts of slow streams between times in which none is.
                if (state >> 60) < 8 && hedging.spend() {
                    hedges += 1;
                }
                assert!(hedges * 100 <= streams * percent, "{hedges} of {streams}");
            }
            assert!(hedges > 0);
        }
    }

    #[test]
    fn what_is_saved_up_has_a_bound_and_a_refund_is_spent_again() {
        let hedging = hedging(HedgeAfter::Ms(1), 50);
        assert!(!hedging.spend());
        (0..1_000).for_each(|_| hedging.earn());
        assert_eq!((0..100).filter(|_| hedging.spend()).count(), 10);
        hedging.refund();
        assert!(hedging.spend() && !hedging.spend());
    }
}
