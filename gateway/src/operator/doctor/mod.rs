//! `sluice doctor`: what of this host and of the startup file will hurt, and what mends it. [boot]
//!
//! ```text
//! /proc, /sys, settings, files -> facts -> checks (pure) -> findings -> text or JSON
//! ```

mod check;
mod facts;
mod finding;
mod gather;

use std::io::Write;
use std::path::Path;

use super::{OperatorError, because};
use crate::cli::DoctorArgs;

/// Prints the report; `true` where there is nothing to mend.
///
/// # Errors
///
/// The startup file cannot be read, or the report not printed: the checks could not run.
pub fn doctor(args: &DoctorArgs) -> Result<bool, OperatorError> {
    let facts = gather::facts(args.config.as_deref())?;
    let findings = check::all(&facts);
    let report = match args.json {
        true => {
            let config = args.config.as_deref().map(Path::to_string_lossy);
            format!("{:#}\n", finding::document(&findings, config.as_deref()))
        }
        false => finding::text(&findings),
    };
    std::io::stdout()
        .write_all(report.as_bytes())
        .map_err(|error| because("stdout", error))?;
    Ok(finding::is_clean(&findings))
}
