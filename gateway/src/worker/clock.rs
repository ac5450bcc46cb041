//! The time, read once per wake-up. [ring]

use std::cell::Cell;
use std::time::SystemTime;

use monoio::time::Instant;

/// A worker's clock. Reading the time costs a few dozen nanoseconds, a dozen times per request: so
/// the phases that begin with an arrival call [`Clock::tick`], and all else is content with
/// [`Clock::now`]. The heartbeat ticks too, which bounds how stale that can be.
#[derive(Debug)]
pub(crate) struct Clock {
    now: Cell<Instant>,
    /// The wall clock at `now`, once it was asked for.
    unix_ms: Cell<Option<i64>>,
    /// One moment on both clocks, taken again by [`Clock::calibrate`].
    anchor: Cell<(Instant, i64)>,
}

impl Clock {
    /// A clock set by the host's.
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self {
            now: Cell::new(now),
            unix_ms: Cell::new(None),
            anchor: Cell::new((now, host_unix_ms())),
        }
    }

    /// Reads the time.
    pub(crate) fn tick(&self) -> Instant {
        let now = Instant::now();
        self.now.set(now);
        self.unix_ms.set(None);
        now
    }

    /// The time of the last tick.
    pub(crate) fn now(&self) -> Instant {
        self.now.get()
    }

    /// The wall clock at the last tick, Unix milliseconds.
    pub(crate) fn unix_ms(&self) -> i64 {
        if let Some(known) = self.unix_ms.get() {
            return known;
        }
        let (at, unix_ms) = self.anchor.get();
        let since = self.now.get().saturating_duration_since(at);
        let unix_ms = unix_ms.saturating_add(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        self.unix_ms.set(Some(unix_ms));
        unix_ms
    }

    /// Ticks, and follows the host's wall clock where that was set meanwhile.
    pub(crate) fn calibrate(&self) {
        self.anchor.set((self.tick(), host_unix_ms()));
    }
}

fn host_unix_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stands_still_between_ticks_and_both_clocks_move_together() {
        let clock = Clock::new();
        let (now, unix_ms) = (clock.now(), clock.unix_ms());
        std::thread::park_timeout(std::time::Duration::from_millis(3));
        assert_eq!((clock.now(), clock.unix_ms()), (now, unix_ms));
        assert!(clock.tick() > now);
        assert!(clock.unix_ms() >= unix_ms + 3);
        clock.calibrate();
        assert!(clock.unix_ms() >= unix_ms + 3);
    }
}
