//! `sluice export`: the rows of a store as a resources file. [boot]

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use config_sync::export::{self, Secrets};
use config_sync::seal::OpenSecrets;

use super::store::{Named, warn};
use super::{OperatorError, because};
use crate::cli::ExportArgs;

/// Writes the file; `true` where it holds all that the store does.
///
/// # Errors
///
/// The store cannot be read, or the file not written.
pub fn export(args: &ExportArgs) -> Result<bool, OperatorError> {
    let named = Named::by(&args.store)?;
    let sealer = named.sealer()?;
    let opener = sealer.as_ref().map(|sealer| sealer as &dyn OpenSecrets);
    let listing = named.list()?;
    let secrets = match args.reveal_secrets {
        true => Secrets::Revealed,
        false => Secrets::AsVariables,
    };
    let made = export::export(&listing.rows, &named.options.prefix, secrets, opener);
    if args.reveal_secrets {
        warn("the file holds credentials in plain text".to_owned());
    }
    made.warnings.iter().cloned().for_each(warn);
    write(args.output.as_deref(), &made.yaml).map_err(|error| match &args.output {
        Some(path) => because(&path.display().to_string(), error),
        None => because("stdout", error),
    })?;
    if !made.variables.is_empty() {
        eprintln!("set these variables where the file is loaded:");
        for variable in &made.variables {
            eprintln!("  {}: {}", variable.name, variable.place);
        }
    }
    for problem in &made.blocking {
        eprintln!("error: {problem}");
    }
    Ok(made.blocking.is_empty())
}

fn write(path: Option<&Path>, yaml: &str) -> io::Result<()> {
    let Some(path) = path else {
        return io::stdout().write_all(yaml.as_bytes());
    };
    let mut file = private(path)?;
    file.write_all(yaml.as_bytes())?;
    file.sync_all()
}

/// The file at `path`, empty and for its owner alone.
fn private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    // One that was there may be open to others.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.set_len(0)?;
    Ok(file)
}
