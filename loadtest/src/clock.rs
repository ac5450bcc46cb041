//! Time as this program reads it: one place, so that everything else takes it as a value. [cold]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The monotonic clock.
#[expect(
    clippy::disallowed_methods,
    reason = "the ban is for workers of the gateway; this program measures with this clock"
)]
pub fn now() -> Instant {
    Instant::now()
}

/// Wall clock in microseconds since 1970. Comparable between processes of one host.
pub fn unix_micros() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
        })
}

/// Wall clock in milliseconds since 1970.
pub fn unix_millis() -> u64 {
    unix_micros() / 1000
}
