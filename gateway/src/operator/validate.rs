//! `sluice validate --etcd`: what a gateway would make of the rows of a store. [boot]

use config_sync::seal::OpenSecrets;
use config_sync::state::{Rejected, Report, State};
use serde_json::{Value, json};

use super::OperatorError;
use super::store::Named;
use crate::cli::{Format, StoreArgs};

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
