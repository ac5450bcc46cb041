//! Where documents come from, and how a load that failed is told. [cold]

mod check;
mod desugar;
mod entry;
pub mod etcd;
pub mod file;
pub mod report;
mod rows;
pub mod store;

pub use file::{LoadContext, Loaded, load_file};
pub use report::{LoadError, LoadErrorKind};
pub use store::{Batch, Change, Listing, Sink, StoredRow};
