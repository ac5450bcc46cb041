//! `sluice validate`: what a gateway would make of a resources file, or of the rows of a store. [boot]

use std::path::Path;
use std::time::SystemTime;

use config_sync::seal::OpenSecrets;
use config_sync::source::{LoadContext, LoadError, file};
use config_sync::state::{Rejected, Report, State};
use serde_json::{Value, json};

use super::OperatorError;
use super::store::{Named, warn};
use crate::cli::{Format, StoreArgs};
use crate::settings::SecretsSettings;
use crate::settings::store::sealer;

/// Prints every problem of the resources file at `path`; `true` where there is none.
///
/// Of `keys`, only the key ring and the environment count: no startup file is read, and no network used.
///
/// # Errors
///
/// The key ring cannot be read.
pub fn validate_file(path: &Path, keys: &StoreArgs, format: Format) -> Result<bool, OperatorError> {
    let secrets = SecretsSettings {
        keyring_file: keys.keyring_file.clone(),
        ..SecretsSettings::default()
    };
    let env_id = keys.env_id.as_deref().unwrap_or_default();
    let sealer = sealer(&secrets, env_id, &mut warn).map_err(OperatorError)?;
    let context = LoadContext {
        env: &|name| std::env::var(name).ok(),
        generation: 1,
        loaded_at: SystemTime::now(),
        previous: None,
        opener: sealer.as_ref().map(|sealer| sealer as &dyn OpenSecrets),
    };
    let loaded = file::load(path, &context);
    match (&loaded, format) {
        (Ok(loaded), Format::Text) => {
            for warning in loaded.snapshot.warnings() {
                eprintln!("warning: {warning}");
            }
            let (path, resources) = (path.display(), loaded.resources);
            println!("OK: {path} loaded {resources} resource(s)");
        }
        (Ok(_), Format::Json) => println!("[]"),
        (Err(error), Format::Text) => eprintln!("{error}"),
        (Err(error), Format::Json) => println!("{}", problems(error)),
    }
    Ok(loaded.is_ok())
}

/// A list of `{scope, path, message}`, for programs.
fn problems(error: &LoadError) -> Value {
    let problems = error.problems().iter().map(|problem| {
        let (scope, message) = problem.split_once(": ").unwrap_or(("(file)", problem));
        let path = message
            .split_once('`')
            .and_then(|(_, rest)| rest.split_once('`'))
            .map_or("", |(field, _)| field);
        json!({"scope": scope, "path": path, "message": message})
    });
    problems.collect()
}

/// Prints every row that would be refused or understood in part; `true` where none would be refused.
///
/// # Errors
///
/// The store cannot be read.
pub fn validate(args: &StoreArgs, format: Format) -> Result<bool, OperatorError> {
    let named = Named::by(args)?;
    let opener = named
        .sealer()?
        .map(|sealer| Box::new(sealer) as Box<dyn OpenSecrets + Send>);
    let listing = named.list()?;
    let rows = listing.rows.len();
    let mut state = State::new(&named.options.prefix, opener);
    state.replace(listing, 0);
    let report = state.report();
    match format {
        Format::Json => println!("{}", document(&report)),
        Format::Text => say(&report, &named.options.prefix, rows),
    }
    Ok(report.rejected_count() == 0)
}

/// A list of `{scope, path, message}`, for programs.
fn document(report: &Report) -> Value {
    let rows = report.rejected.iter().map(|row| {
        json!({"scope": scope(row), "path": "", "kind": row.why.kind.label(), "message": &*row.why.message})
    });
    rows.collect()
}

fn say(report: &Report, prefix: &str, rows: usize) {
    for row in report.rejected.iter() {
        eprintln!("{}: {}", scope(row), row.why);
    }
    for partial in report.partially_compatible.iter() {
        let (kind, count) = (&partial.resource_kind, partial.count);
        match &*partial.field {
            "*" => eprintln!("warning: {kind}: {count} row(s) without an effect in this version"),
            field => {
                eprintln!("warning: {kind}: {field} is not taken into account in {count} row(s)");
            }
        }
    }
    match report.rejected_count() {
        0 => println!("OK: {prefix} loaded {rows} resource(s)"),
        rejected => eprintln!("{rejected} of {rows} row(s) are refused"),
    }
}

fn scope(row: &Rejected) -> String {
    match &*row.resource_kind {
        "" => "(key)".to_owned(),
        kind => format!("{kind}/{}", row.resource_id),
    }
}
