//! Whatever blocks or needs tokio: metrics, status, logs, DNS. [cold]
//!
//! Knows the workers only through `bridge`; nothing here runs on a worker's thread.

pub mod access_log;
pub mod checks;
pub mod client_type;
pub mod dns;
pub mod events;
pub mod limited;
pub mod limits;
pub mod logging;
pub mod memory;
pub mod metrics;
pub mod own;
pub mod rotate;
pub mod runtime;
pub mod signals;
pub mod status;
pub mod tls;
pub mod watchdog;
pub mod writer;

/// Steps of niceness that threads of this side are behind the workers. Where they share a processor a worker that wakes
/// goes first, and one that never sleeps still leaves them a quarter of it, several times what they take.
const BEHIND: i32 = 5;

/// Puts the calling thread behind the workers.
fn stand_behind() {
    // Not a right that can be missing; a host that forbids it loses the order, nothing else.
    let _ = rustix::process::nice(BEHIND);
}
