//! One entry of a resources file on its way to a document. [pure]

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use crate::collection::Collection;
use crate::document::Document;
use crate::id;
use crate::interpolate::{Env, interpolate_tree};
use crate::model::glob::Glob;
use crate::model::labels::printable;
use crate::references::{attachment_label, identity, identity_fields};
use crate::seal::{OpenSecrets, open_document};
use crate::tree::{Map, Problem, Problems, Value, kind};

/// Longest name quoted in a report, in bytes.
const QUOTED_BYTES_MAX: usize = 128;
/// Most names listed in one message.
const LISTED_MAX: usize = 20;

/// One entry, its identity, and what is wrong with it.
pub(super) struct Entry {
    pub(super) collection: Collection,
    index: usize,
    document: Document,
    /// What the entry is called: its identity, but for attachments, whose identity is known once
    /// names have become ids, and for the one entry of a collection that takes no more.
    pub(super) name: Option<Arc<str>>,
    pub(super) problems: Problems,
    /// Fields already reported, whose value is not what it should be: later checks keep quiet.
    muted: Vec<String>,
    /// Fields whose value came from the environment: it may be a secret, and is not quoted.
    from_env: Vec<String>,
}

impl Entry {
    /// Takes over `value`, fills in its variables and finds its name.
    pub(super) fn new(
        collection: Collection,
        index: usize,
        mut value: Value,
        env: Env<'_>,
    ) -> Self {
        let problems = Problems::default();
        let mut from_env = Vec::new();
        variables(&value, "", &mut from_env);
        interpolate_tree(&mut value, "", env, &problems);
        let name = name_of(collection, &value).map(Arc::from);
        if !value.is_object() {
            problems.push("", format!("must be a mapping, not {}", kind(&value)));
        }
        let muted = problems.paths();
        Self {
            collection,
            index,
            document: value.into(),
            name,
            problems,
            muted,
            from_env,
        }
    }

    /// The document to read.
    pub(super) fn value(&self) -> &Value {
        self.document.value()
    }

    /// The document, to be edited.
    pub(super) fn value_mut(&mut self) -> &mut Value {
        self.document.value_mut()
    }

    /// The fields of the document, unless it is no mapping (which is reported).
    pub(super) fn fields_mut(&mut self) -> Option<&mut Map<String, Value>> {
        self.document.value_mut().as_object_mut()
    }

    /// Whether the document can be read at all.
    pub(super) fn is_mapping(&self) -> bool {
        self.value().is_object()
    }

    /// The id, once names have become ids: derived from the identity. Of no use for an entry
    /// without one, which is reported.
    pub(super) fn id(&self) -> Arc<str> {
        let identity = identity(self.collection, self.value()).unwrap_or_default();
        id::derived(self.collection.name(), &identity)
    }

    /// Puts the plain text in the place of sealed values; one that does not open is a problem.
    pub(super) fn open(&mut self, opener: Option<&dyn OpenSecrets>) {
        if !self.is_mapping() {
            return;
        }
        let (collection, id) = (self.collection, self.id());
        let opened = open_document(opener, collection, &id, self.document.value_mut());
        if let Err(message) = opened {
            self.problems.push("", message);
        }
    }

    /// The name for a list of names; where the file itself does not say it, the place.
    pub(super) fn label(&self) -> Arc<str> {
        match &self.name {
            Some(name) if !self.has_hidden_name() => Arc::clone(name),
            Some(_) | None => self.place().into(),
        }
    }

    /// The scope of a problem, without the name.
    pub(super) fn place(&self) -> String {
        format!("{}[{}]", self.collection, self.index)
    }

    /// Whether the name holds what came from the environment.
    fn has_hidden_name(&self) -> bool {
        let attached_by: &[&str] = match self.collection {
            Collection::GuardrailAttachments => &["guardrail", "scope"],
            _ => &[],
        };
        let mut fields = identity_fields(self.collection).iter().chain(attached_by);
        fields.any(|field| self.is_from_env(field))
    }

    /// Notes a problem of a field, and keeps later checks of the field quiet.
    pub(super) fn refuse(&mut self, field: &str, message: String) {
        self.problems.push("", message);
        self.mute(field);
    }

    /// Keeps later checks of a field quiet.
    pub(super) fn mute(&mut self, field: &str) {
        self.muted.push(field.to_owned());
    }

    /// Whether the field was reported and holds nothing to be checked.
    pub(super) fn is_muted(&self, path: &str) -> bool {
        self.muted.iter().any(|muted| muted == path)
    }

    /// Whether the field's value came from the environment.
    pub(super) fn is_from_env(&self, path: &str) -> bool {
        self.from_env.iter().any(|field| field == path)
    }

    /// A name written in the field at `path`, in quotes; a value from the environment is not shown.
    pub(super) fn quoted(&self, path: &str, text: &str) -> String {
        if self.is_from_env(path) {
            "(from the environment)".to_owned()
        } else {
            quoted(text)
        }
    }

    /// Notes what a reader found, but for fields already reported, and keeps later checks quiet.
    pub(super) fn note(&mut self, found: Problems) {
        for problem in found.into_vec() {
            if !self.is_muted(&problem.path) {
                self.problems.push(problem.path.clone(), problem.message);
                self.muted.push(problem.path);
            }
        }
    }

    /// Every problem of the entry with its scope.
    pub(super) fn report(&mut self) -> Vec<String> {
        let problems = std::mem::take(&mut self.problems).into_vec();
        let line = |problem: &Problem| format!("{self}: {problem}");
        problems.iter().map(line).collect()
    }
}

/// The scope of a problem: `models[1]`, or `models[1] ("name")` where the file itself says the name.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place())?;
        match &self.name {
            Some(name) if !self.has_hidden_name() => write!(f, " ({})", quoted(name)),
            Some(_) | None => Ok(()),
        }
    }
}

/// The names and ids of one collection's entries, for references.
#[derive(Default)]
pub(super) struct Names {
    /// The names that are written in the file itself, for messages.
    written: Vec<Arc<str>>,
    scopes: HashMap<Arc<str>, String>,
    ids: HashSet<Arc<str>>,
    /// Model names with a `*`: they stand for the names they match.
    wildcards: Vec<Glob>,
}

impl Names {
    /// Adds the name of `entry`, noting on it if the name is taken already.
    fn add(&mut self, entry: &Entry) {
        let Some(name) = &entry.name else { return };
        if let Some(owner) = self.scopes.get(name) {
            let field = identity_fields(entry.collection).first().unwrap_or(&"");
            let message = match entry.collection {
                Collection::McpPolicies => format!("is already the scope of {owner}"),
                _ => format!("is already the name of {owner}"),
            };
            entry.problems.push(*field, message);
            return;
        }
        self.scopes.insert(Arc::clone(name), entry.place());
        self.ids.insert(entry.id());
        if !entry.has_hidden_name() {
            self.written.push(Arc::clone(name));
        }
        if entry.collection == Collection::Models && name.contains('*') {
            self.wildcards.extend(Glob::parse(name).ok());
        }
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.scopes.contains_key(name)
    }

    /// Whether an entry has this name, or a name with `*` that matches it.
    pub(super) fn cover(&self, name: &str) -> bool {
        self.contains(name) || self.wildcards.iter().any(|glob| glob.matches(name))
    }

    pub(super) fn has_id(&self, id: &str) -> bool {
        self.ids.contains(id)
    }
}

/// The names of every collection.
pub(super) struct Index([Names; Collection::ALL.len()]);

impl Index {
    /// Collects the names that entries may be referred to by, noting on each entry whose name is
    /// taken already.
    pub(super) fn collect(entries: &[Entry]) -> Self {
        let mut index = Self(Collection::ALL.map(|_| Names::default()));
        for entry in entries {
            // An attachment is not referred to, and what it is for may be written in two ways.
            if entry.collection != Collection::GuardrailAttachments {
                index.0[entry.collection as usize].add(entry);
            }
        }
        index
    }

    pub(super) fn names(&self, of: Collection) -> &Names {
        &self.0[of as usize]
    }
}

/// The names as an operator reads them: `a, b and 3 more`, or `none`.
impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&listed(&self.written))
    }
}

/// Up to [`LISTED_MAX`] names, separated by commas.
pub(super) fn listed(names: &[Arc<str>]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let shown: Vec<String> = names
        .iter()
        .take(LISTED_MAX)
        .map(|name| printable(name, QUOTED_BYTES_MAX))
        .collect();
    let mut text = shown.join(", ");
    if names.len() > LISTED_MAX {
        text.push_str(&format!(" and {} more", names.len() - LISTED_MAX));
    }
    text
}

/// What an entry is called; see [`Entry::name`].
fn name_of(collection: Collection, value: &Value) -> Option<String> {
    match collection {
        Collection::McpAuthSettings => None,
        Collection::GuardrailAttachments => attachment_label(value),
        named => identity(named, value),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", printable(text, QUOTED_BYTES_MAX))
}

/// The paths of all strings below `value` that name a variable.
fn variables(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::String(text) if text.contains("${") => found.push(path.to_owned()),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                variables(item, &format!("{path}[{index}]"), found);
            }
        }
        Value::Object(fields) => {
            for (key, item) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                variables(item, &format!("{path}{dot}{key}"), found);
            }
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
