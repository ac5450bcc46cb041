//! Where documents come from, and how a load that failed is told. [cold]

mod desugar;
mod entry;
pub mod report;

pub use report::{LoadError, LoadErrorKind};
