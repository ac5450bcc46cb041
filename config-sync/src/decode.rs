//! A row of a store to a resource, or to the reason why not. [pure]

use std::fmt;
use std::sync::Arc;

use crate::collection::Collection;
use crate::document::Document;
use crate::references;
use crate::resource::Resource;
use crate::seal;
pub use crate::seal::OpenSecrets;
use crate::tree::{Problem, ProblemKind, Problems, Unknown, Value};

pub mod json;

/// Most ignored fields named of one row; the last entry then reads [`TRUNCATED`].
pub const IGNORED_MAX: usize = 64;
/// Stands for the ignored fields that are not named.
pub const TRUNCATED: &str = "...truncated";
/// Longest message of a rejection, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 1024;
/// Most problems that a message lists.
const PROBLEMS_MAX: usize = 16;

/// Why a row was rejected.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum RejectionKind {
    /// The key is not `<prefix>/<collection>/<id>`.
    BadKey,
    /// The value is not JSON, or nested too deeply.
    NonJson,
    /// The document breaks a rule of its collection.
    SchemaFailed,
    /// The document is ambiguous, or a number does not fit its type.
    ParseFailed,
    /// The collection is of a newer version.
    UnknownKind,
}

impl RejectionKind {
    /// The name in status answers.
    pub fn label(self) -> &'static str {
        match self {
            Self::BadKey => "bad_key",
            Self::NonJson => "non_json",
            Self::SchemaFailed => "schema_failed",
            Self::ParseFailed => "parse_failed",
            Self::UnknownKind => "unknown_kind",
        }
    }
}

/// A row that is not served, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rejection {
    /// What went wrong.
    pub kind: RejectionKind,
    /// Fields and constraints, never values; at most [`MESSAGE_BYTES_MAX`] bytes.
    pub message: Arc<str>,
}

impl Rejection {
    /// A rejection; the message is cut where it is too long.
    pub fn new(kind: RejectionKind, message: &str) -> Self {
        Self {
            kind,
            message: cut(message, MESSAGE_BYTES_MAX).into(),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.label(), self.message)
    }
}

/// A row that can be served.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The checked document.
    pub resource: Arc<Resource>,
    /// Its identity, in collections whose rows are known by a name.
    pub name: Option<Arc<str>>,
    /// Fields left out of account, each once; at most [`IGNORED_MAX`] and [`TRUNCATED`].
    pub ignored: Vec<String>,
}

/// The parts of a key below a prefix.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyParts<'k> {
    /// The collection's name, known or not.
    pub collection: &'k str,
    /// What follows; it may hold `/`.
    pub id: &'k str,
}

/// The parts of `key`, which must be `<prefix>/<collection>/<id>`. `prefix` ends without `/`.
///
/// # Errors
///
/// [`RejectionKind::BadKey`] outside the prefix, without an id, or with an empty segment.
pub fn split_key<'k>(prefix: &str, key: &'k str) -> Result<KeyParts<'k>, Rejection> {
    let bad = |why| Rejection::new(RejectionKind::BadKey, why);
    let rest = key
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('/'))
        .ok_or_else(|| bad("the key is outside the prefix"))?;
    if rest.split('/').any(str::is_empty) {
        return Err(bad("the key has an empty segment"));
    }
    let (collection, id) = rest
        .split_once('/')
        .ok_or_else(|| bad("the key has no id after its collection"))?;
    Ok(KeyParts { collection, id })
}

/// The collection called `name`.
///
/// # Errors
///
/// [`RejectionKind::UnknownKind`].
pub fn collection_of(name: &str) -> Result<Collection, Rejection> {
    Collection::from_name(name).ok_or_else(|| {
        let why = "this version has no collection of this name";
        Rejection::new(RejectionKind::UnknownKind, why)
    })
}

/// Reads the row at `key`: [`split_key`], [`collection_of`], [`json::parse`] and [`read`].
///
/// # Errors
///
/// The first of them that fails.
pub fn decode(
    prefix: &str,
    key: &str,
    value: &[u8],
    opener: Option<&dyn OpenSecrets>,
) -> Result<Decoded, Rejection> {
    let parts = split_key(prefix, key)?;
    let collection = collection_of(parts.collection)?;
    read(collection, parts.id, json::parse(value)?, opener)
}

/// Reads the lenient form of a document: unknown fields are ignored, all other rules apply.
///
/// Sealed secrets are opened first; without an `opener` a document that holds any is rejected, so
/// that ciphertext is never used as a credential. Elsewhere a `$enc:` text is a text like any other.
/// The document is wiped.
///
/// # Errors
///
/// [`RejectionKind::SchemaFailed`] if a rule is broken, else [`RejectionKind::ParseFailed`] if the
/// document cannot be decoded.
pub fn read(
    collection: Collection,
    id: &str,
    mut document: Document,
    opener: Option<&dyn OpenSecrets>,
) -> Result<Decoded, Rejection> {
    seal::open_document(opener, collection, id, document.value_mut())
        .map_err(|why| Rejection::new(RejectionKind::SchemaFailed, &why))?;
    let problems = Problems::default();
    let value = document.value();
    if !value.is_object() {
        problems.push("", "the document must be an object");
        return Err(rejection(&problems.into_vec()));
    }
    let resource = Resource::read(collection, value, &problems, Unknown::Ignored);
    let name = name_of(collection, value);
    let ignored = bounded(problems.ignored());
    let problems = problems.into_vec();
    match resource {
        Some(resource) if problems.is_empty() => Ok(Decoded {
            resource: Arc::new(resource),
            name,
            ignored,
        }),
        _ => Err(rejection(&problems)),
    }
}

/// The text of a row's identity, where rows of its collection are known by a name.
fn name_of(collection: Collection, document: &Value) -> Option<Arc<str>> {
    match collection {
        Collection::ApiKeys
        | Collection::GuardrailAttachments
        | Collection::McpPolicies
        | Collection::McpAuthSettings
        | Collection::Ssls => None,
        named => references::identity(named, document).map(Arc::from),
    }
}

/// Each once, in the order met, at most [`IGNORED_MAX`].
fn bounded(paths: Vec<String>) -> Vec<String> {
    let mut named: Vec<String> = Vec::new();
    for path in paths {
        if named.contains(&path) {
            continue;
        }
        if named.len() == IGNORED_MAX {
            named.push(TRUNCATED.to_owned());
            break;
        }
        named.push(path);
    }
    named
}

fn rejection(problems: &[Problem]) -> Rejection {
    let breaks_a_rule = |problem: &Problem| problem.kind == ProblemKind::Schema;
    let kind = if problems.is_empty() || problems.iter().any(breaks_a_rule) {
        RejectionKind::SchemaFailed
    } else {
        RejectionKind::ParseFailed
    };
    let mut texts: Vec<String> = problems
        .iter()
        .take(PROBLEMS_MAX)
        .map(Problem::to_string)
        .collect();
    if problems.len() > PROBLEMS_MAX {
        texts.push(format!("and {} more", problems.len() - PROBLEMS_MAX));
    }
    if texts.is_empty() {
        texts.push("cannot be read".to_owned());
    }
    Rejection::new(kind, &texts.join("; "))
}

/// The longest prefix of at most `bytes_max` bytes that ends between characters.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests;
