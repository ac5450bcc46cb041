//! What is counted against limits, by all workers at once. [bridge]
//!
//! A bucket is one cache line that the requests of one subject share: counts are exact whichever
//! worker serves a request, and requests of other subjects touch other lines. The table that hands
//! out buckets is locked once per bucket and worker, as long as workers keep what they were given.

mod bucket;
mod counts;
mod table;
mod terms;
mod window;

pub use bucket::{Bucket, Charge, Dimension, Full, Receipt, Room};
pub use counts::Counts;
pub use table::{BUCKETS_MAX, LimitTable};
pub use terms::Terms;
pub use window::Field;
