//! Documents below a prefix of an etcd cluster, followed for good. [cold]
//!
//! ```text
//! connect -> list, paged, at one revision R -> watch from R + 1 -> (ended, failed) -> connect …
//! ```
//!
//! One member at a time, so that it is clear who said what. Reads need a quorum and watches a
//! leader: a member that was cut off is an error and not an old truth. A watch is asked for its
//! progress; one that stays silent is dead, whatever TCP believes.

mod backoff;
mod blocking;
mod client;
mod error;
mod files;
mod follow;
mod options;
mod store;
mod watch;

pub use blocking::{block_on, pause};
pub use error::StoreError;
pub use files::check;
pub use follow::{Command, follow};
pub use options::{
    Clocks, DEFAULT_PORT, DIAL_TIMEOUT, Endpoint, EtcdOptions, Login, REQUEST_TIMEOUT, TlsFiles,
};
pub use store::Store;
