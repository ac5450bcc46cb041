//! What a call used: tokens reported or estimated, and their cost. [pure]

mod cost;
mod estimate;
mod meter;

pub use cost::cost_micro_usd;
pub use estimate::{BYTES_PER_TOKEN, tokens_of};
pub use meter::{Counts, Meter};
