//! What a caller may use: the limits of its key, of the model and of policies. [pure]
//!
//! Each limit that applies to a request is a layer with a bucket of its own. A request is admitted
//! by all of its layers or by none, and holds a [`Permit`] until its answer has ended. A request that
//! nothing limits touches nothing that workers share.
//!
//! ```text
//! Claim (who asks for what) -> Plan (its layers, kept) -> Buckets (this worker's hold)
//!                                                     -> bridge::limits (counts)
//! ```

mod admit;
mod buckets;
mod claim;
mod condition;
mod few;
mod headroom;
mod key;
mod permit;
mod plan;
mod policies;
mod schedule;
mod shared;
#[cfg(test)]
mod tests;

pub use admit::Limited;
pub use buckets::Buckets;
pub use claim::{Claim, Parent, Subject};
pub use headroom::Headroom;
pub use permit::Permit;
pub use policies::{Part, Policies, Policy, PolicyName};
pub use shared::SharedAsk;

pub use crate::bridge::limits::{Dimension, LimitTable, Room};
