//! Passthrough routes: which request is whose, and how it is written both ways. [pure]
//!
//! A route relays paths or hosts to an upstream without a model. What the gateway does not need to
//! know of a request it leaves alone; credentials and what belongs to one hop it does not let pass.

mod confine;
mod credential;
mod headers;
mod index;
mod query;
mod route;
mod target;
mod understand;
mod usage;
mod witness;

#[cfg(test)]
pub(crate) mod fixture;

pub use confine::is_confined;
pub use credential::Credential;
pub use headers::{Outgoing, write_request, write_response};
pub use index::{Index, Lookup};
pub use route::Route;
pub use target::{host_of, write_target};
pub use understand::{Understood, understand};
pub use witness::{EventWitness, OBSERVED_BYTES_MAX, whole_usage};
