//! Commands for operators: those that read or change a store, the doctor, the health check, and the one
//! that asks a running gateway to hand over. [boot]
//!
//! What a program may read goes to stdout, everything else to stderr. No command prints a credential
//! unless it is told to.

mod doctor;
mod export;
mod healthcheck;
mod seal;
mod store;
mod upgrade;
mod validate;

pub use doctor::doctor;
pub use export::export;
pub use healthcheck::healthcheck;
pub use seal::{rotate, seal, unseal};
pub use upgrade::upgrade;
pub use validate::{validate, validate_file};

use std::fmt;

/// Why a command failed, ready to be printed.
#[derive(Debug)]
pub struct OperatorError(String);

impl fmt::Display for OperatorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OperatorError {}

fn because(what: &str, cause: impl fmt::Display) -> OperatorError {
    OperatorError(format!("{what}: {cause}"))
}
