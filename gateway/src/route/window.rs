//! How long the beginning of a stream waits before its caller gets any of it. [pure]
//!
//! Until then the stream may be given up for another target's. Times are measured from any fixed
//! instant before the first event.

use std::time::Duration;

use config_sync::model::routing::HoldBack;

/// The beginning of one stream. Opens with the first content, closes once, and stays closed.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    limits: HoldBack,
    /// When it closes by itself; `None` before the first content.
    closes_at: Option<Duration>,
    closed: bool,
}

impl Window {
    /// That of a stream which has said nothing yet.
    pub fn new(limits: HoldBack) -> Self {
        Self {
            limits,
            closes_at: None,
            closed: false,
        }
    }

    /// Takes note of what has come by `now`: whether there was content, and the tokens written so far.
    pub fn saw(&mut self, has_content: bool, tokens: u64, now: Duration) {
        if has_content && self.closes_at.is_none() {
            self.closes_at = Some(now + Duration::from_millis(self.limits.max_ms.into()));
        }
        let is_due = self.closes_at.is_some_and(|at| now >= at);
        self.closed |= is_due || (has_content && tokens >= u64::from(self.limits.tokens));
    }

    /// Whether what has come is still held back.
    pub fn is_open(&self) -> bool {
        !self.closed
    }

    /// When it closes by itself; `None` before the first content, and once it is closed.
    pub fn closes_at(&self) -> Option<Duration> {
        self.closes_at.filter(|_| !self.closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HoldBack = HoldBack {
        tokens: 4,
        max_ms: 100,
    };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn it_closes_with_enough_tokens_or_after_its_time_whichever_is_first() {
        // (at, has content, tokens) -> open, closes at
        type Step = (u64, bool, u64);
        let cases: [(&[Step], bool, Option<u64>); 7] = [
            (&[], true, None),
            (&[(500, false, 0)], true, None),
            (&[(500, false, 9)], true, None),
            (&[(500, true, 3)], true, Some(600)),
            (&[(500, true, 4)], false, None),
            (&[(500, true, 1), (599, true, 3)], true, Some(600)),
            (&[(500, true, 1), (600, true, 2)], false, None),
        ];
        for (steps, open, closes_at) in cases {
            let mut window = Window::new(LIMITS);
            for &(at, has_content, tokens) in steps {
                window.saw(has_content, tokens, ms(at));
            }
            assert_eq!(window.is_open(), open, "{steps:?}");
            assert_eq!(window.closes_at(), closes_at.map(ms), "{steps:?}");
        }
    }

    #[test]
    fn over_random_streams_it_holds_no_longer_and_no_more_than_it_says() {
        for seed in 1..=2_000_u64 {
            let mut state = seed;
            let mut random = |below: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % below
            };
            let limits = HoldBack {
                tokens: 1 + random(50) as u32,
                max_ms: 1 + random(300) as u32,
            };
            let mut window = Window::new(limits);
            let (mut now, mut tokens, mut said, mut first) = (0, 0, false, None);
            let mut was_open = true;
            for _ in 0..60 {
                now += random(40);
                let more = random(3);
                tokens += more;
                said |= more > 0;
                window.saw(said, tokens, ms(now));
                if said && first.is_none() {
                    first = Some(now);
                }
                let is_over = first.is_some_and(|at| {
                    now >= at + u64::from(limits.max_ms) || tokens >= u64::from(limits.tokens)
                });
                assert!(
                    was_open || !window.is_open(),
                    "seed {seed}: it opened again"
                );
                assert_eq!(window.is_open(), !is_over, "seed {seed} at {now} ms");
                assert_eq!(
                    window.closes_at().is_some(),
                    said && !is_over,
                    "seed {seed}"
                );
                was_open = window.is_open();
            }
        }
    }
}
