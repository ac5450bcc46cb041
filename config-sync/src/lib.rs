//! Stored documents to an immutable configuration snapshot.
//!
//! Sources hand over documents, [`tree`] reads them, the model checks them, and the result is one
//! immutable snapshot that is swapped in whole.
//!
//! ```text
//! file -> document -> interpolate -> desugar -> model -> checks -> snapshot -> publish -> workers
//! ```
#![forbid(unsafe_code)]

pub mod collection;
pub mod decode;
pub mod disk;
pub mod document;
pub mod export;
pub mod id;
pub mod interpolate;
pub mod model;
pub mod publish;
pub mod references;
pub mod resource;
pub mod seal;
pub mod secret;
pub mod shards;
pub mod snapshot;
pub mod source;
pub mod state;
pub mod status;
pub mod thread;
pub mod tree;
