//! From a group to its targets in the order they are tried. [pure]
//!
//! ```text
//! snapshot -> Plan                     once per group, generation and worker
//! request: tags -> address -> health -> order of each tier -> cut
//! ```
//!
//! What changes from request to request comes in from outside: [`Facts`] of the request, [`Turns`] of
//! the worker, [`Samples`] of the targets.

mod key;
mod list;
mod order;
mod plan;
mod ring;
mod strategy;
mod turns;

#[cfg(test)]
mod tests;

pub use key::{HashKey, KeySource, hash_key};
pub use list::Order;
pub use order::{ALL_UNAVAILABLE_RETRY_SECS, Facts, NoTarget, Samples, order};
pub use plan::{Offer, Plan, TARGETS_MAX};
pub use strategy::{EXPLORE_EVERY, STALE_AFTER_MS};
pub use turns::Turns;
