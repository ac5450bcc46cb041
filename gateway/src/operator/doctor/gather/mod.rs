//! Reads the facts: all that the doctor reads is read here. [boot]

mod engine;
mod files;
mod host;
mod process;
mod resources;
mod settings;

use std::path::Path;
use std::time::SystemTime;

use super::facts::{Facts, Wanted};
use crate::operator::OperatorError;
use crate::settings::{LoadError, load, process_env};

/// The facts of this host, and of the startup file at `config`.
///
/// Sets up rings, as many as there are workers, and frees them; binds nothing, writes nothing, uses no
/// network.
///
/// # Errors
///
/// The startup file cannot be read at all.
pub(super) fn facts(config: Option<&Path>) -> Result<Facts, OperatorError> {
    let mut facts = Facts {
        now: unix_now(),
        host: host::host(),
        process: process::process(),
        ..Facts::default()
    };
    let mut wanted = Wanted::Auto;
    match config.map(|path| (path, load(path, process_env()))) {
        None => {}
        Some((path, Ok((settings, warnings)))) => {
            wanted = settings::wanted(&settings);
            facts.gateway = Some(settings::gateway(path, &settings, warnings));
        }
        Some((_, Err(error @ (LoadError::Unreadable(..) | LoadError::UnknownFormat(_))))) => {
            return Err(OperatorError(error.to_string()));
        }
        Some((_, Err(error))) => facts.refused = Some(error.to_string()),
    }
    let workers = facts
        .gateway
        .as_ref()
        .map_or(facts.process.usable_cpus, |gateway| gateway.workers);
    facts.engine = engine::rehearsed(wanted, workers);
    Ok(facts)
}

fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}
