//! The resources file: a YAML document to a snapshot, whole or not at all. [cold]

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::entry::Entry;
use super::report::{LoadError, LoadErrorKind, file_problem};
use super::rows::Rows;
use crate::collection::Collection;
use crate::decode::OpenSecrets;
use crate::document::{Document, parse_yaml};
use crate::interpolate::Env;
use crate::model::labels::printable;
use crate::snapshot::Snapshot;
use crate::tree::{Value, kind};

/// Largest resources file, in bytes. It is held in memory several times while it is loaded.
pub const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Longest unknown key shown in a report, in bytes.
const KEY_BYTES_MAX: usize = 128;
/// The format that this version reads.
const FORMAT_VERSION: &str = "1";
/// A file that was loaded without any error.
#[derive(Debug)]
pub struct Loaded {
    /// What to publish.
    pub snapshot: Snapshot,
    /// Number of entries.
    pub resources: usize,
    /// SHA-256 of the file's bytes.
    pub file_sha256: [u8; 32],
    /// Number of entries of each collection that has any.
    pub counts: Vec<(&'static str, usize)>,
}

/// What a load needs beside the file.
#[derive(Clone, Copy)]
pub struct LoadContext<'c> {
    /// Reads environment variables.
    pub env: Env<'c>,
    /// Number of the snapshot, if the load succeeds.
    pub generation: u64,
    /// `created` of models that were not there before.
    pub loaded_at: SystemTime,
    /// What is served now: its rows are shared where nothing changed, and `created` stays.
    pub previous: Option<&'c Snapshot>,
    /// Opens sealed values; without it they are refused.
    pub opener: Option<&'c dyn OpenSecrets>,
}

/// Loads the file at `path` without regard to what is served now.
///
/// # Errors
///
/// [`LoadError`] with every problem of the file; nothing of a file with a problem is used.
pub fn load_file(
    path: &Path,
    env: Env<'_>,
    generation: u64,
    loaded_at: SystemTime,
) -> Result<Loaded, LoadError> {
    let context = LoadContext {
        env,
        generation,
        loaded_at,
        previous: None,
        opener: None,
    };
    load(path, &context)
}

/// Loads the file at `path`. Blocks on the file.
///
/// # Errors
///
/// [`LoadError`] with every problem of the file; nothing of a file with a problem is used.
pub fn load(path: &Path, context: &LoadContext<'_>) -> Result<Loaded, LoadError> {
    let bytes = read(path).map_err(|error| {
        LoadError::of_file(
            LoadErrorKind::Fetch,
            path,
            format!("cannot be read: {error}"),
        )
    })?;
    load_bytes(path, &bytes, context)
}

/// Loads `bytes` as the content of `path`, which is only named.
///
/// # Errors
///
/// As [`load`].
pub fn load_bytes(
    path: &Path,
    bytes: &[u8],
    context: &LoadContext<'_>,
) -> Result<Loaded, LoadError> {
    let (rows, counts) = open(path, bytes, context.env, context.opener)?;
    let parts = rows.build(context);
    Ok(Loaded {
        resources: counts.iter().map(|(_, count)| count).sum(),
        snapshot: Snapshot::build(parts),
        file_sha256: Sha256::digest(bytes).into(),
        counts,
    })
}

/// Each problem for which a file of this text would be refused.
pub(crate) fn problems_of(text: &str, env: Env<'_>) -> Vec<String> {
    match open(Path::new(""), text.as_bytes(), env, None) {
        Ok(_) => Vec::new(),
        Err(error) => error.problems().to_vec(),
    }
}

/// The documents of a file that fits together, each with its id, ids in the place of names.
#[cfg(test)]
pub(crate) fn documents_of(
    text: &str,
    env: Env<'_>,
) -> Vec<(Collection, std::sync::Arc<str>, Value)> {
    let mut entries = Root::open(parse_yaml(text).unwrap(), env).unwrap().entries;
    super::rows::prepare(&mut entries, env);
    let document = |entry: Entry| (entry.collection, entry.id(), entry.value().clone());
    entries.into_iter().map(document).collect()
}

/// The number of entries by collection.
type Counts = Vec<(&'static str, usize)>;

/// The rows of a file without any problem, and the number of each collection that has any.
fn open(
    path: &Path,
    bytes: &[u8],
    env: Env<'_>,
    opener: Option<&dyn OpenSecrets>,
) -> Result<(Rows, Counts), LoadError> {
    let of_file = |kind, message: String| LoadError::of_file(kind, path, message);
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let message = format!("is larger than {FILE_BYTES_MAX} bytes");
        return Err(of_file(LoadErrorKind::ParseFailed, message));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|_| of_file(LoadErrorKind::NonJson, "is not UTF-8".to_owned()))?;
    let document = parse_yaml(text)
        .map_err(|error| of_file(LoadErrorKind::NonJson, format!("not readable: {error}")))?;
    let root = Root::open(document, env)
        .map_err(|message| of_file(LoadErrorKind::ParseFailed, message))?;
    let mut rows = Rows::read(root.entries, env, opener);
    let mut problems = root.problems;
    rows.report(&mut problems);
    if !problems.is_empty() {
        let kind = if root.well_formed {
            LoadErrorKind::SchemaFailed
        } else {
            LoadErrorKind::ParseFailed
        };
        return Err(LoadError::new(kind, path, problems));
    }
    let mut counts = root.counts;
    counts.retain(|(_, count)| *count > 0);
    Ok((rows, counts))
}

/// The file's bytes, at most one more than the limit; wiped when dropped.
fn read(path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len().min(FILE_BYTES_MAX);
    // Room for all, so that growing leaves no copy of a credential behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1));
    file.by_ref()
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The top level of the file, taken apart.
struct Root {
    /// The entries of every collection, in processing order.
    entries: Vec<Entry>,
    counts: Counts,
    problems: Vec<String>,
    /// The version is right and collections are lists.
    well_formed: bool,
}

impl Root {
    fn open(mut document: Document, env: Env<'_>) -> Result<Self, String> {
        let Value::Object(fields) = document.value_mut() else {
            let found = kind(document.value());
            return Err(format!("must be a mapping, not {found}"));
        };
        let mut root = Self {
            entries: Vec::new(),
            counts: Vec::new(),
            problems: Vec::new(),
            well_formed: true,
        };
        root.check_version(fields.get("_format_version"));
        for key in fields.keys() {
            root.check_key(key);
        }
        for collection in Collection::ALL {
            let list = fields.get_mut(collection.name()).map(Value::take);
            let entries = root.take_list(collection, list, env);
            root.counts.push((collection.name(), entries.len()));
            root.entries.extend(entries);
        }
        Ok(root)
    }

    fn check_version(&mut self, version: Option<&Value>) {
        let message = match version {
            Some(Value::String(text)) if text == FORMAT_VERSION => return,
            None | Some(Value::Null) => "`_format_version` is required: \"1\"",
            Some(Value::String(_)) => "`_format_version` must be \"1\"",
            Some(_) => "`_format_version` must be a string: \"1\"",
        };
        self.well_formed = false;
        self.problems.push(file_problem(message));
    }

    fn check_key(&mut self, key: &str) {
        if key == "_format_version" || Collection::from_name(key).is_some() {
            return;
        }
        let known = Collection::ALL.map(Collection::name).join(", ");
        let key = printable(key, KEY_BYTES_MAX);
        let message = format!("unknown top-level key `{key}` (known: _format_version, {known})");
        self.problems.push(file_problem(message));
    }

    fn take_list(
        &mut self,
        collection: Collection,
        list: Option<Value>,
        env: Env<'_>,
    ) -> Vec<Entry> {
        match list {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(items)) => items
                .into_iter()
                .enumerate()
                .map(|(index, value)| Entry::new(collection, index, value, env))
                .collect(),
            Some(other) => {
                let (name, found) = (collection.name(), kind(&other));
                self.well_formed = false;
                self.problems.push(file_problem(format!(
                    "`{name}` must be a list, not {found}"
                )));
                drop(Document::from(other));
                Vec::new()
            }
        }
    }
}

#[cfg(test)]
mod tests;
