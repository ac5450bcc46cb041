//! The only types that both sides of the thread boundary touch. [bridge]

pub mod counter;
pub mod dns;
pub mod domain;
pub mod histogram;
pub mod log;
pub mod mailbox;
pub mod record;
pub mod series;
pub mod shard;
