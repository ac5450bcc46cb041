//! `sluice seal`, `unseal` and `rotate`: the credentials of a store, or one value. [boot]

use std::io::{Read, Write};
use std::path::Path;

use config_sync::collection::Collection;
use config_sync::decode::{json, split_key};
use config_sync::document::Document;
use config_sync::seal::envelope::is_sealed;
use config_sync::seal::keyring::KeyringError;
use config_sync::seal::paths::{SecretPath, secret_paths};
use config_sync::seal::{Keyring, MasterKey, Sealer};
use config_sync::source::StoredRow;
use config_sync::source::etcd::Store;
use config_sync::tree::Value;
use zeroize::Zeroizing;

use super::store::{Named, blocking, warn};
use super::{OperatorError, because};
use crate::cli::{RotateArgs, SealArgs};
use crate::settings::store::master_keys;

/// Largest value read from stdin, in bytes.
const VALUE_BYTES_MAX: u64 = 1024 * 1024;
/// How often the store is gone through while others change rows meanwhile.
const PASSES_MAX: usize = 5;

/// What is done to the secrets of a document; returns how many of them changed.
type Change = fn(&Sealer, Collection, &str, &mut Value) -> Result<usize, String>;

/// Seals what `args` name.
///
/// # Errors
///
/// The key ring, the store, or a value that cannot be sealed.
pub fn seal(args: &SealArgs) -> Result<(), OperatorError> {
    let named = Named::by(&args.store)?;
    let sealer = named.required_sealer()?;
    match (&args.row, &args.field) {
        (Some(row), Some(field)) => one(row, field, &sealer, Sealer::seal_document),
        _ => blocking(whole(
            &named,
            &sealer,
            Sealer::seal_document,
            ("sealed", args.dry_run),
        )),
    }
}

/// Opens what `args` name.
///
/// # Errors
///
/// The key ring, the store, or a value that does not open.
pub fn unseal(args: &SealArgs) -> Result<(), OperatorError> {
    let named = Named::by(&args.store)?;
    let sealer = named.required_sealer()?;
    match (&args.row, &args.field) {
        (Some(row), Some(field)) => one(row, field, &sealer, Sealer::unseal_document),
        _ => blocking(whole(
            &named,
            &sealer,
            Sealer::unseal_document,
            ("unsealed", args.dry_run),
        )),
    }
}

/// Adds a key to a ring, or seals a store anew under the newest key.
///
/// # Errors
///
/// The key ring, the store, or a value that does not open.
pub fn rotate(args: &RotateArgs) -> Result<(), OperatorError> {
    let named = Named::by(&args.store)?;
    if !args.new_key {
        let sealer = named.required_sealer()?;
        return blocking(whole(
            &named,
            &sealer,
            Sealer::seal_document,
            ("sealed with the newest key", args.dry_run),
        ));
    }
    let path = named.secrets.keyring_file.as_deref().ok_or_else(|| {
        OperatorError("a key ring must be named: --keyring-file, or secrets.keyring_file".into())
    })?;
    let masters = master_keys(&named.secrets, &mut warn).map_err(OperatorError)?;
    new_key(path, &named.env_id, &masters)
}

/// Writes the ring with one more key; makes it where there is none. The last master key wraps.
fn new_key(path: &Path, env_id: &str, masters: &[MasterKey]) -> Result<(), OperatorError> {
    let failed = |error: KeyringError| OperatorError(error.to_string());
    let master = masters.last();
    let (ring, id) = if path.exists() {
        let (mut ring, warning) = Keyring::read(path, masters).map_err(failed)?;
        warning.into_iter().for_each(warn);
        let id = ring.add_key(master).map_err(failed)?;
        (ring, id)
    } else {
        let ring = Keyring::generate(env_id, master).map_err(failed)?;
        let id = ring.sealing_key().0;
        (ring, id)
    };
    ring.write(path).map_err(failed)?;
    eprintln!(
        "{}: key {id} seals from now on; give every gateway this file before anything is sealed with it",
        path.display()
    );
    Ok(())
}

/// One value, from stdin to stdout.
fn one(row: &str, field: &str, sealer: &Sealer, change: Change) -> Result<(), OperatorError> {
    let (collection, id) = row
        .split_once('/')
        .and_then(|(name, id)| Some((Collection::from_name(name)?, id)))
        .filter(|(_, id)| !id.is_empty())
        .ok_or_else(|| OperatorError("--row must be COLLECTION/ID".to_owned()))?;
    let mut input = Zeroizing::new(String::new());
    std::io::stdin()
        .take(VALUE_BYTES_MAX + 1)
        .read_to_string(&mut input)
        .map_err(|error| because("stdin", error))?;
    if input.len() as u64 > VALUE_BYTES_MAX {
        let message = format!("stdin holds more than {VALUE_BYTES_MAX} bytes");
        return Err(OperatorError(message));
    }
    // `echo` ends its line; no credential ends with one.
    let text = input.strip_suffix('\n').unwrap_or(&input);
    let mut document = around(field, value_of(collection, field, text)?);
    let changed = change(sealer, collection, id, document.value_mut()).map_err(OperatorError)?;
    if changed == 0 {
        let message = format!(
            "{field} of {collection} holds nothing to change: not a secret field, or not sealed"
        );
        return Err(OperatorError(message));
    }
    let output = match document.value().pointer(field) {
        Some(Value::String(text)) => Zeroizing::new(text.clone()),
        other => Zeroizing::new(other.map(Value::to_string).unwrap_or_default()),
    };
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", &**output).map_err(|error| because("stdout", error))
}

/// `text` as the field holds it: where a whole value is one secret, it is JSON.
fn value_of(collection: Collection, field: &str, text: &str) -> Result<Value, OperatorError> {
    let of_field = |path: &&SecretPath| field == format!("/{}", path.segments.join("/"));
    let path = secret_paths(collection).iter().find(of_field);
    if path.is_some_and(|path| path.whole) && !is_sealed(text) {
        return serde_json::from_str(text)
            .map_err(|_| OperatorError(format!("{field} takes JSON")));
    }
    Ok(Value::from(text))
}

/// A document with nothing but `value` at the JSON pointer `field`.
fn around(field: &str, value: Value) -> Document {
    let names = field.split('/').skip(1).collect::<Vec<_>>();
    let wrap = |value: Value, name: &&str| {
        let name = name.replace("~1", "/").replace("~0", "~");
        serde_json::json!({ name: value })
    };
    Document::from(names.iter().rev().fold(value, wrap))
}

/// Every row of the store, each replaced only if nobody changed it meanwhile.
async fn whole(
    named: &Named,
    sealer: &Sealer,
    change: Change,
    (done, dry_run): (&str, bool),
) -> Result<(), OperatorError> {
    let mut store = named.connect().await?;
    let mut total = Tally::default();
    for _ in 0..PASSES_MAX {
        let listing = store.list().await.map_err(|error| because("etcd", error))?;
        let mut pass = Tally::default();
        for row in &listing.rows {
            let Some((values, text)) = changed(named, sealer, change, row, &mut pass) else {
                continue;
            };
            if dry_run || put(&mut store, row, &text).await? {
                pass.rows += 1;
                pass.values += values;
                println!("{}: {values} value(s) {done}", row.key);
            } else {
                pass.raced += 1;
            }
        }
        total.rows += pass.rows;
        total.values += pass.values;
        (total.raced, total.failed) = (pass.raced, pass.failed);
        if pass.raced == 0 {
            break;
        }
    }
    total.report(done, dry_run)
}

/// The new text of a row, with the number of values that differ; `None` where nothing is to be done.
fn changed(
    named: &Named,
    sealer: &Sealer,
    change: Change,
    row: &StoredRow,
    pass: &mut Tally,
) -> Option<(usize, Zeroizing<Vec<u8>>)> {
    let parts = split_key(&named.options.prefix, &row.key).ok()?;
    let collection = Collection::from_name(parts.collection)?;
    let made = json::parse(&row.value)
        .map_err(|rejection| rejection.to_string())
        .and_then(|mut document| {
            let values = change(sealer, collection, parts.id, document.value_mut())?;
            let text = serde_json::to_vec(document.value()).map_err(|error| error.to_string())?;
            Ok((values, Zeroizing::new(text)))
        });
    match made {
        Ok((0, _)) => None,
        Ok(made) => Some(made),
        Err(message) => {
            eprintln!("{}: {message}", row.key);
            pass.failed += 1;
            None
        }
    }
}

async fn put(store: &mut Store<'_>, row: &StoredRow, text: &[u8]) -> Result<bool, OperatorError> {
    let put = store
        .put_if_unchanged(&row.key, row.mod_revision, text)
        .await;
    put.map_err(|error| because("etcd", error))
}

#[derive(Debug, Default)]
struct Tally {
    rows: usize,
    values: usize,
    /// Rows that others changed at the same time.
    raced: usize,
    /// Rows that were left as they are.
    failed: usize,
}

impl Tally {
    fn report(&self, done: &str, dry_run: bool) -> Result<(), OperatorError> {
        let would = if dry_run {
            " (dry run: nothing was written)"
        } else {
            ""
        };
        eprintln!(
            "{} value(s) in {} row(s) {done}{would}",
            self.values, self.rows
        );
        match self.raced + self.failed {
            0 => Ok(()),
            left => Err(OperatorError(format!(
                "{left} row(s) were left as they are"
            ))),
        }
    }
}
