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
