//! The scrape: sums what the workers counted and renders Prometheus text. [cold]

pub mod families;
pub mod process;
pub mod text;
