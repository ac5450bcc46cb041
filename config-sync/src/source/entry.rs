//! One entry of a resources file on its way to a document. [pure]

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::document::Document;
use crate::id;
use crate::interpolate::{Env, interpolate_tree};
use crate::model::labels::printable;
use crate::tree::{Map, Problem, Problems, Value, kind};

/// Longest name quoted in a report, in bytes.
const QUOTED_BYTES_MAX: usize = 128;
/// Most names listed in one message.
const LISTED_MAX: usize = 20;

/// The collections of this version, in processing order.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Collection {
    ProviderKeys,
    Models,
    ApiKeys,
}

impl Collection {
    pub(super) const ALL: [Self; 3] = [Self::ProviderKeys, Self::Models, Self::ApiKeys];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ProviderKeys => "provider_keys",
            Self::Models => "models",
            Self::ApiKeys => "api_keys",
        }
    }
}

/// One entry, its identity, and what is wrong with it.
pub(super) struct Entry {
    pub(super) collection: Collection,
    index: usize,
    document: Document,
    /// `display_name`, where it is a string.
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
        let name = value.get("display_name").and_then(Value::as_str);
        let name = name.filter(|name| !name.is_empty()).map(Arc::from);
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

    /// The fields of the document, unless it is no mapping (which is reported).
    pub(super) fn fields_mut(&mut self) -> Option<&mut Map<String, Value>> {
        self.document.value_mut().as_object_mut()
    }

    /// Whether the document can be read at all.
    pub(super) fn is_mapping(&self) -> bool {
        self.value().is_object()
    }

    /// The id: derived from the name. Empty for an entry without one, which is reported.
    pub(super) fn id(&self) -> Arc<str> {
        let name = self.name.as_deref().unwrap_or("");
        id::derived(self.collection.name(), name)
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
        write!(f, "{}[{}]", self.collection.name(), self.index)?;
        match &self.name {
            Some(name) if !self.is_from_env("display_name") => write!(f, " ({})", quoted(name)),
            Some(_) | None => Ok(()),
        }
    }
}

/// The names of one collection's entries, for references.
#[derive(Default)]
pub(super) struct Names {
    in_order: Vec<Arc<str>>,
    /// The names that are written in the file itself, for messages.
    written: Vec<Arc<str>>,
    scopes: HashMap<Arc<str>, String>,
}

impl Names {
    /// Collects names, noting on each entry whose name is taken already.
    pub(super) fn collect(entries: &[Entry]) -> Self {
        let mut names = Self::default();
        for entry in entries {
            let Some(name) = &entry.name else { continue };
            if let Some(owner) = names.scopes.get(name) {
                let message = format!("is already the name of {owner}");
                entry.problems.push("display_name", message);
                continue;
            }
            let scope = format!("{}[{}]", entry.collection.name(), entry.index);
            names.scopes.insert(Arc::clone(name), scope);
            names.in_order.push(Arc::clone(name));
            if !entry.is_from_env("display_name") {
                names.written.push(Arc::clone(name));
            }
        }
        names
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.scopes.contains_key(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        self.in_order.iter()
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
