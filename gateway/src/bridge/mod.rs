//! The only types that both sides of the thread boundary touch. [bridge]

pub mod counter;
pub mod domain;
pub mod histogram;
pub mod record;
pub mod series;
pub mod shard;
