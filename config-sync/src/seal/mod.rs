//! Secrets at rest: the envelope, the keys that open it, and where it stands in documents. [pure]
//!
//! ```text
//! master key ── wraps ──► data keys (key ring) ── seal ──► `$enc:` texts at the secret paths
//! ```
//! Only [`keyring`] and [`master_key`] touch files.

mod aes;
pub mod data_key;
pub mod envelope;
pub mod keyring;
pub mod master_key;
pub mod paths;
pub(crate) mod private_file;
mod scope;
mod sealer;

pub use data_key::DataKey;
pub use envelope::{OpenError, Place, SealError};
pub use keyring::Keyring;
pub use master_key::MasterKey;
pub use scope::Scope;
pub use sealer::{OpenSecrets, Sealer, open_document, refuse_sealed};
