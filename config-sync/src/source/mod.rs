//! Where documents come from, and how a load that failed is told. [cold]

mod check;
mod desugar;
mod entry;
pub mod file;
pub mod report;
mod rows;

pub use file::{LoadContext, Loaded, load_file};
pub use report::{LoadError, LoadErrorKind};
