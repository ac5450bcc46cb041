//! Limits counted in redis, for many gateways at once. [cold]
//!
//! Keys, with `P` for `sluice:rl` or `sluice:rl:<env_id>` and `W` for the start of a window:
//!
//! ```text
//! P:{<bucket>}:<field>:W   a count, e.g. `rpm`; expires with its window and 5 s
//! P:{<bucket>}:conc        requests in flight, a sorted set: who, and when last heard of (Unix ms)
//! P:{probe}:probe          written when redis is tried again after an outage
//! ```
//!
//! The braces keep what belongs to a bucket on one slot of a cluster. One script admits a request by
//! all buckets it is given, or by none: on one server that is a single round trip for all layers. In
//! a cluster each bucket has its own, all at once, and what was counted is taken back where one
//! refuses. The clock is that of redis.

mod breaker;
mod connection;
mod counters;
mod owed;
mod script;
mod serve;
mod servers;
mod trust;
mod upkeep;

pub use breaker::Breaker;
pub use counters::{RedisLimits, RedisLimitsOptions};
pub use serve::serve;
pub use servers::ServersError;
