//! One fixed window of the wall clock, counted by all workers. [bridge]
//!
//! The number of the window and its count share a word, so that one compare-exchange both turns the
//! window and counts in the new one: nothing is counted twice or lost at the turn.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use config_sync::model::rate_limit::RateLimit;

use super::bucket::Dimension;

/// A limit that is counted in windows. They are aligned to the Unix clock; a day is a UTC day.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Field {
    /// Requests per second.
    Rps,
    /// Requests per minute.
    Rpm,
    /// Requests per hour.
    Rph,
    /// Requests per day.
    Rpd,
    /// Tokens per minute.
    Tpm,
    /// Tokens per day.
    Tpd,
}

impl Field {
    /// All of them. A field's place is its number.
    pub const ALL: [Self; 6] = [
        Self::Rps,
        Self::Rpm,
        Self::Rph,
        Self::Rpd,
        Self::Tpm,
        Self::Tpd,
    ];
    /// Those that count requests, smallest window first.
    pub const REQUESTS: [Self; 4] = [Self::Rps, Self::Rpm, Self::Rph, Self::Rpd];
    /// Those that count tokens, smallest window first.
    pub const TOKENS: [Self; 2] = [Self::Tpm, Self::Tpd];

    /// Length of the window.
    pub fn window_secs(self) -> u64 {
        match self {
            Self::Rps => 1,
            Self::Rpm | Self::Tpm => 60,
            Self::Rph => 3_600,
            Self::Rpd | Self::Tpd => 86_400,
        }
    }

    /// What it counts.
    pub fn counts(self) -> Dimension {
        match self {
            Self::Rps | Self::Rpm | Self::Rph | Self::Rpd => Dimension::Requests,
            Self::Tpm | Self::Tpd => Dimension::Tokens,
        }
    }

    /// The limit of this field, if there is one.
    pub fn of(self, limits: &RateLimit) -> Option<u64> {
        match self {
            Self::Rps => limits.rps,
            Self::Rpm => limits.rpm,
            Self::Rph => limits.rph,
            Self::Rpd => limits.rpd,
            Self::Tpm => limits.tpm,
            Self::Tpd => limits.tpd,
        }
    }

    /// The largest count, which a limit above it is taken for: about 10⁹ in a second, 7·10¹⁰ in a
    /// minute, 10¹² in an hour and 7·10¹³ in a day.
    pub fn count_max(self) -> u64 {
        (1 << self.count_bits()) - 1
    }

    /// How many bits of the word hold the count. What is left holds the number of every window
    /// before the year 2480, the first to end being that of a minute (28 bits).
    const fn count_bits(self) -> u32 {
        match self {
            Self::Rps => 30,
            Self::Rpm | Self::Tpm => 36,
            Self::Rph => 40,
            Self::Rpd | Self::Tpd => 46,
        }
    }

    /// Seconds from `now_ms` to the end of the window with this number, at least 1.
    pub fn ends_in_secs(self, window: u64, now_ms: u64) -> u32 {
        let end_ms = (window + 1) * self.window_secs() * 1_000;
        let secs = end_ms.saturating_sub(now_ms).div_ceil(1_000).max(1);
        u32::try_from(secs).unwrap_or(u32::MAX)
    }

    /// The number of the window that holds `now_ms`.
    pub fn window_at(self, now_ms: u64) -> u64 {
        // Each divisor a constant of its own: divisions are multiplications then, a dozen per request.
        let window = match self {
            Self::Rps => now_ms / 1_000,
            Self::Rpm | Self::Tpm => now_ms / 60_000,
            Self::Rph => now_ms / 3_600_000,
            Self::Rpd | Self::Tpd => now_ms / 86_400_000,
        };
        window.min(u64::MAX >> self.count_bits())
    }

    /// What `word` says of the window that is current at `now_ms`.
    ///
    /// A word that is one window ahead was written by a worker that read the clock later: its window
    /// is the current one. A word further ahead is from before the clock was set back: it is void.
    fn current(self, word: u64, now_ms: u64) -> Reading {
        let now = self.window_at(now_ms);
        let window = word >> self.count_bits();
        if window == now || window == now + 1 {
            let count = word & self.count_max();
            return Reading { window, count };
        }
        Reading {
            window: now,
            count: 0,
        }
    }

    fn pack(self, window: u64, count: u64) -> u64 {
        window << self.count_bits() | count.min(self.count_max())
    }
}

/// A window and what was counted in it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Reading {
    pub(super) window: u64,
    pub(super) count: u64,
}

/// The word. Always used with the same field. Orderings are relaxed: the word is all there is, and
/// no other memory is published through it.
#[derive(Debug, Default)]
pub(super) struct Window(AtomicU64);

impl Window {
    /// The current count. Changes nothing.
    pub(super) fn read(&self, field: Field, now_ms: u64) -> Reading {
        field.current(self.0.load(Relaxed), now_ms)
    }

    /// Adds `amount` if the count is below `limit`, and returns what the window holds then; otherwise
    /// changes nothing and returns what was read.
    pub(super) fn admit(
        &self,
        field: Field,
        limit: u64,
        amount: u64,
        now_ms: u64,
    ) -> Result<Reading, Reading> {
        let limit = limit.min(field.count_max());
        let mut seen = Reading::default();
        let changed = self.0.fetch_update(Relaxed, Relaxed, |word| {
            seen = field.current(word, now_ms);
            let is_below = seen.count < limit;
            if is_below {
                seen.count = seen.count.saturating_add(amount).min(field.count_max());
            }
            is_below.then(|| field.pack(seen.window, seen.count))
        });
        changed.map(|_| seen).map_err(|_| seen)
    }

    /// Takes `amount` off `window`, never below 0. Does nothing once another window has begun.
    pub(super) fn take_off(&self, field: Field, window: u64, amount: u64) {
        // Err: the window is over, and its count with it.
        let _ = self.0.fetch_update(Relaxed, Relaxed, |word| {
            let count = (word & field.count_max()).saturating_sub(amount);
            (word >> field.count_bits() == window).then(|| field.pack(window, count))
        });
    }

    /// Puts `amount` in the place of what was `reserved` in `window`.
    ///
    /// If another window has begun since, only what `amount` has more than was reserved is added to
    /// that one: what was reserved too much is gone with its window, and no count becomes negative.
    pub(super) fn settle(
        &self,
        field: Field,
        window: u64,
        reserved: u64,
        amount: u64,
        now_ms: u64,
    ) {
        let _ = self.0.fetch_update(Relaxed, Relaxed, |word| {
            let seen = field.current(word, now_ms);
            let count = if seen.window == window {
                seen.count.saturating_sub(reserved).saturating_add(amount)
            } else {
                seen.count.saturating_add(amount.saturating_sub(reserved))
            };
            Some(field.pack(seen.window, count))
        });
    }

    /// The word, as [`Window::follow`] reads it.
    pub(super) fn word(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Adds what the word `now` of another process has counted since its word `before`. Does nothing
    /// where that window is over here.
    pub(super) fn follow(&self, field: Field, now: u64, before: u64) {
        let (window, count) = (now >> field.count_bits(), now & field.count_max());
        let is_same = before >> field.count_bits() == window;
        let before = if is_same {
            before & field.count_max()
        } else {
            0
        };
        if count == before {
            return;
        }
        // Err: a later window has begun.
        let _ = self.0.fetch_update(Relaxed, Relaxed, |word| {
            let here = word >> field.count_bits();
            let counted = if here == window {
                word & field.count_max()
            } else {
                0
            };
            let sum = counted.saturating_add(count).saturating_sub(before);
            (here <= window).then(|| field.pack(window, sum))
        });
    }

    /// Whether it holds no count that matters at `now_ms` or after.
    pub(super) fn is_past(&self, field: Field, now_ms: u64) -> bool {
        self.read(field, now_ms).count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_counts_up_to_its_limit_and_begins_again_at_the_turn() {
        for field in Field::ALL {
            let length_ms = field.window_secs() * 1_000;
            let start = 1_700_006_400_000 / length_ms * length_ms;
            let number = start / length_ms;
            let window = Window::default();
            let admit = |now_ms| window.admit(field, 2, 1, now_ms);
            let full = Err(Reading {
                window: number,
                count: 2,
            });
            let counted = |windows: i64, count| {
                Ok(Reading {
                    window: number.strict_add_signed(windows),
                    count,
                })
            };
            for (now_ms, want) in [
                (start, counted(0, 1)),
                (start + 1, counted(0, 2)),
                (start + 2, full),
                (start + length_ms - 1, full),
                (start + length_ms, counted(1, 1)),
                // Another worker still has the time of the window before.
                (start + length_ms - 1, counted(1, 2)),
                (start + length_ms + 1, full.map_err(|full| next(full, 1))),
                // The clock was set back by two windows.
                (start - length_ms, counted(-1, 1)),
                (start + length_ms * 9, counted(9, 1)),
            ] {
                assert_eq!(admit(now_ms), want, "{field:?} at {now_ms}");
            }
        }
    }

    fn next(reading: Reading, windows: u64) -> Reading {
        Reading {
            window: reading.window + windows,
            ..reading
        }
    }

    #[test]
    fn zero_admits_nothing_and_a_limit_beyond_the_word_is_its_largest_count() {
        for field in Field::ALL {
            let window = Window::default();
            assert!(window.admit(field, 0, 1, 5_000).is_err());
            assert!(window.is_past(field, 5_000));
            assert!(window.admit(field, u64::MAX, u64::MAX, 5_000).is_ok());
            let full = window.admit(field, u64::MAX, 1, 5_000).unwrap_err();
            assert_eq!(full.count, field.count_max());
            assert_eq!(full.window, field.window_at(5_000));
        }
    }

    #[test]
    fn what_is_taken_off_or_settled_stays_in_its_window() {
        let field = Field::Tpm;
        let at = |minute: u64| minute * 60_000;
        let count = |window: &Window, minute| window.read(field, at(minute)).count;

        let window = Window::default();
        window.admit(field, 100, 40, at(7)).unwrap();
        window.take_off(field, 6, 40);
        assert_eq!(count(&window, 7), 40);
        window.take_off(field, 7, 50);
        assert_eq!(count(&window, 7), 0);

        for (reserved, tokens, settled_at, want) in [
            (40, 25, 7, 30 + 25),
            (40, 55, 7, 30 + 55),
            (0, 25, 7, 30 + 25),
            (40, 25, 8, 0),
            (40, 55, 8, 15),
            (0, 25, 9, 25),
        ] {
            let window = Window::default();
            window.admit(field, 100, 30, at(7)).unwrap();
            window.admit(field, 100, reserved, at(7)).unwrap();
            window.settle(field, 7, reserved, tokens, at(settled_at));
            let case = (reserved, tokens, settled_at);
            assert_eq!(count(&window, settled_at), want, "{case:?}");
        }
    }

    #[test]
    fn the_end_of_a_window_is_at_least_a_second_away() {
        for (field, now_ms, want) in [
            (Field::Rps, 999, 1),
            (Field::Rps, 1_000, 1),
            (Field::Rpm, 60_000, 60),
            (Field::Rpm, 60_001, 60),
            (Field::Rpm, 119_001, 1),
            (Field::Rph, 0, 3_600),
            (Field::Tpd, 86_400_000 + 1_500, 86_399),
        ] {
            let window = field.window_at(now_ms);
            assert_eq!(
                field.ends_in_secs(window, now_ms),
                want,
                "{field:?} {now_ms}"
            );
        }
    }

    #[test]
    fn the_last_instant_of_all_is_no_overflow() {
        for field in Field::ALL {
            let window = Window::default();
            assert!(window.admit(field, 1, 1, u64::MAX).is_ok());
            assert!(window.admit(field, 1, 1, u64::MAX).is_err());
            let number = field.window_at(u64::MAX);
            assert!(field.ends_in_secs(number, u64::MAX) >= 1);
        }
    }
}
