//! The rows of a store as documents, without what a file would not take. [pure]

use crate::collection::Collection;
use crate::decode::{self, OpenSecrets, Rejection, RejectionKind};
use crate::document::Document;
use crate::model::labels::printable;
use crate::references::{identity, identity_fields};
use crate::resource::Resource;
use crate::seal;
use crate::source::StoredRow;
use crate::tree::{Map, Problems, Unknown, Value};

/// Longest name or id quoted in a message, in bytes.
const QUOTED_BYTES_MAX: usize = 128;

/// One row that the loader takes.
pub(super) struct Row {
    pub(super) collection: Collection,
    pub(super) id: String,
    /// What the file calls it; the id where the row says nothing to call it by.
    pub(super) name: String,
    pub(super) document: Document,
}

impl Row {
    /// The row in a message: `models ("chat")`.
    pub(super) fn label(&self) -> String {
        let name = printable(&self.name, QUOTED_BYTES_MAX);
        format!("{} (\"{name}\")", self.collection)
    }
}

/// What could be read, and what to say of the rest.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) rows: Vec<Row>,
    pub(super) warnings: Vec<String>,
    pub(super) blocking: Vec<String>,
}

/// Reads every row below `prefix` as leniently as the loader of a store does.
pub(super) fn read(stored: &[StoredRow], prefix: &str, opener: Option<&dyn OpenSecrets>) -> Rows {
    let mut rows = Rows::default();
    let prefix = prefix.trim_end_matches('/');
    for row in stored {
        let shown = printable(&row.key, 2 * QUOTED_BYTES_MAX);
        let opened = open(row, prefix, opener);
        match opened.and_then(|(place, document)| rows.add(place, document)) {
            Ok(()) => {}
            Err(Refusal::UnknownCollection) => rows.warnings.push(format!(
                "{shown}: left out: a collection that this version does not know"
            )),
            Err(Refusal::Rejected(whys)) => {
                let texts = whys
                    .into_iter()
                    .map(|why| format!("{shown}: rejected: {why}"));
                rows.blocking.extend(texts);
            }
        }
    }
    rows
}

/// Why a row is not in the file.
enum Refusal {
    UnknownCollection,
    /// For each of these.
    Rejected(Vec<String>),
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        match rejection.kind {
            RejectionKind::UnknownKind => Self::UnknownCollection,
            _ => Self::Rejected(vec![rejection.message.to_string()]),
        }
    }
}

/// The row's place and its document, without sealed secrets.
fn open<'r>(
    stored: &'r StoredRow,
    prefix: &str,
    opener: Option<&dyn OpenSecrets>,
) -> Result<((Collection, &'r str), Document), Refusal> {
    let parts = decode::split_key(prefix, &stored.key)?;
    let collection = decode::collection_of(parts.collection)?;
    let mut document = decode::json::parse(&stored.value)?;
    seal::open_document(opener, collection, parts.id, document.value_mut())
        .map_err(|why| Refusal::Rejected(vec![why]))?;
    Ok(((collection, parts.id), document))
}

impl Rows {
    fn add(
        &mut self,
        (collection, id): (Collection, &str),
        mut document: Document,
    ) -> Result<(), Refusal> {
        let problems = Problems::default();
        Resource::read(collection, document.value(), &problems, Unknown::Ignored);
        let ignored = problems.ignored();
        let found = problems.into_vec().into_iter();
        let rejected: Vec<String> = found.map(|problem| problem.to_string()).collect();
        if !rejected.is_empty() {
            return Err(Refusal::Rejected(rejected));
        }
        tidy(collection, document.value_mut(), &ignored);
        let name = identity(collection, document.value());
        let row = Row {
            collection,
            id: id.to_owned(),
            name: name.unwrap_or_else(|| id.to_owned()),
            document,
        };
        if !ignored.is_empty() {
            let fields = ignored.join(", ");
            let message = format!("{}: left out, of no effect: {fields}", row.label());
            self.warnings.push(message);
        }
        self.rows.push(row);
        Ok(())
    }
}

/// Leaves out what the lenient reader passed over, and writes former spellings as present ones.
fn tidy(collection: Collection, value: &mut Value, ignored: &[String]) {
    strip(value, "", ignored);
    drop_nulls(collection, value, &mut Vec::new());
    let Some(fields) = value.as_object_mut() else {
        return;
    };
    match collection {
        Collection::ProviderKeys => rename(fields, "secret", "api_key"),
        Collection::ApiKeys => {
            let access = fields.get_mut("mcp_access").and_then(Value::as_object_mut);
            if let Some(access) = access {
                // Written by old versions; a file does not take it.
                access.shift_remove("mode");
                access
                    .entry("allow")
                    .or_insert_with(|| Value::Array(Vec::new()));
            }
        }
        Collection::McpPolicies => {
            fields
                .entry("allow")
                .or_insert_with(|| Value::Array(Vec::new()));
        }
        Collection::GuardrailAttachments => {
            fields.shift_remove("env_id");
        }
        other => {
            if let [now, before] = identity_fields(other) {
                rename(fields, before, now);
            }
        }
    }
}

/// Moves a value to another key, where it stands.
pub(super) fn rename(fields: &mut Map<String, Value>, from: &str, to: &str) {
    let at = fields.keys().position(|key| key == from);
    if let (Some(at), Some(value)) = (at, fields.shift_remove(from)) {
        fields.shift_insert(at, to.to_owned(), value);
    }
}

/// Removes the fields of `ignored`, as [`Problems::ignored`] writes their paths.
fn strip(value: &mut Value, path: &str, ignored: &[String]) {
    match value {
        Value::Object(fields) => {
            let path_of = |key: &str| match path {
                "" => key.to_owned(),
                path => format!("{path}.{key}"),
            };
            fields.retain(|key, _| {
                let path = path_of(key);
                let inapplicable = format!("inapplicable:{path}");
                !ignored
                    .iter()
                    .any(|known| *known == path || *known == inapplicable)
            });
            for (key, value) in fields.iter_mut() {
                strip(value, &path_of(key), ignored);
            }
        }
        Value::Array(items) => {
            let path = if path.is_empty() {
                "[]".to_owned()
            } else {
                format!("{path}.[]")
            };
            for item in items {
                strip(item, &path, ignored);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Removes fields that are `null`, which is how a store writes an absent one. Free-form blocks keep
/// theirs: there it is a value.
fn drop_nulls(collection: Collection, value: &mut Value, path: &mut Vec<String>) {
    let at: Vec<&str> = path.iter().map(String::as_str).collect();
    let is_free = matches!(
        (collection, at.as_slice()),
        (Collection::ProviderKeys, ["request", "default_body_fields"])
            | (Collection::ProviderKeys, ["api_key"])
            | (Collection::McpServers, ["spec"])
    );
    if is_free {
        return;
    }
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            for (key, value) in fields.iter_mut() {
                path.push(key.clone());
                drop_nulls(collection, value, path);
                path.pop();
            }
        }
        Value::Array(items) => {
            path.push("[]".to_owned());
            for item in items {
                drop_nulls(collection, item, path);
            }
            path.pop();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
