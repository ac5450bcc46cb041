//! The entries of a file, read, checked against each other, and made a snapshot. [pure]

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::entry::{Entry, Names, listed};
use super::file::{LoadContext, Root};
use super::{check, desugar};
use crate::interpolate::Env;
use crate::model::{
    ApiKey, ApiKeyDocument, Model, ModelDocument, ProviderKey, ProviderKeyDocument,
};
use crate::snapshot::{Snapshot, SnapshotParts};
use crate::tree::{Problems, Unknown, Value};

/// Each entry with its document, where it could be read.
pub(super) struct Rows {
    provider_keys: Vec<(Entry, Option<ProviderKeyDocument>)>,
    models: Vec<(Entry, Option<ModelDocument>)>,
    api_keys: Vec<(Entry, Option<ApiKeyDocument>)>,
}

impl Rows {
    /// Reads every entry of `root`; what is wrong is noted on the entries.
    pub(super) fn read(root: &mut Root, env: Env<'_>) -> Self {
        let key_names = Names::collect(&root.provider_keys);
        let model_names = Names::collect(&root.models);
        Names::collect(&root.api_keys);
        for entries in [
            &mut root.provider_keys,
            &mut root.models,
            &mut root.api_keys,
        ] {
            for entry in entries {
                desugar::desugar(entry, &key_names, env);
            }
        }
        let key_ids: HashSet<Arc<str>> = root.provider_keys.iter().map(Entry::id).collect();
        let mut rows = Self {
            provider_keys: read_all(&mut root.provider_keys, |value, problems| {
                Some(ProviderKeyDocument::read(value, problems, Unknown::Refused))
            }),
            models: read_all(&mut root.models, |value, problems| {
                ModelDocument::read(value, problems, Unknown::Refused)
            }),
            api_keys: read_all(&mut root.api_keys, |value, problems| {
                Some(ApiKeyDocument::read(value, problems, Unknown::Refused))
            }),
        };
        check::provider_key_ids(&mut rows.models, &key_ids);
        check::allowed_models(&mut rows.api_keys, &model_names);
        check::unique_credentials(&rows.api_keys);
        rows
    }

    /// Appends every problem with its scope, in the order of the file format.
    pub(super) fn report(&mut self, problems: &mut Vec<String>) {
        let provider_keys = self.provider_keys.iter_mut().map(|(entry, _)| entry);
        let models = self.models.iter_mut().map(|(entry, _)| entry);
        let api_keys = self.api_keys.iter_mut().map(|(entry, _)| entry);
        for entry in provider_keys.chain(models).chain(api_keys) {
            problems.extend(entry.report());
        }
    }

    /// The snapshot of rows without any problem.
    pub(super) fn build(self, context: &LoadContext<'_>) -> Snapshot {
        let warnings = self.warnings();
        let previous = Previous::of(context.previous);
        let loaded_at = unix_seconds(context.loaded_at);
        let mut keys: HashMap<Arc<str>, Arc<ProviderKey>> = HashMap::new();
        let mut provider_keys = Vec::new();
        for (entry, document) in self.provider_keys {
            let Some(document) = document else { continue };
            let key = document.into_key(entry.id());
            let key = shared(previous.provider_keys.get(&*key.id), key);
            keys.insert(Arc::clone(&key.id), Arc::clone(&key));
            provider_keys.push(key);
        }
        let mut models = Vec::new();
        for (entry, document) in self.models {
            let Some(document) = document else { continue };
            let id = entry.id();
            let before = previous.models.get(&*id);
            let created = before.map_or(loaded_at, |model| model.created);
            let key = keys.get(&document.provider_key_id).cloned();
            models.push(shared(before, document.into_model(id, key, created)));
        }
        let mut api_keys = Vec::new();
        for (entry, document) in self.api_keys {
            let Some(document) = document else { continue };
            let hash = document.key_hash;
            let key = document.into_key(entry.id());
            api_keys.push((hash, shared(previous.api_keys.get(&*key.id), key)));
        }
        Snapshot::build(SnapshotParts {
            generation: context.generation,
            provider_keys,
            models,
            api_keys,
            warnings,
        })
    }

    /// What loads but may not do what the operator expects: one sentence per kind of field.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let keys = read_rows(&self.provider_keys);
        let models = read_rows(&self.models);
        let api_keys = read_rows(&self.api_keys);
        for (name, key) in &keys {
            if !key.verifies_certificates() {
                warnings.push(format!(
                    "tls.verify is false: any certificate is accepted for the provider key: {name}"
                ));
            }
        }
        let mut warn = |what: &str, names: Vec<Arc<str>>| {
            if !names.is_empty() {
                warnings.push(format!("{what}: {}", listed(&names)));
            }
        };
        warn(
            "provider and adapter name different vendors, the adapter decides on provider_keys",
            names_where(&keys, |key| key.adapter_disagrees),
        );
        warn(
            "no base URL or no adapter, so requests will fail, on provider_keys",
            names_where(&keys, |key| !key.is_usable()),
        );
        let unenforced = |collection: &str, fields: Vec<(&'static str, Vec<Arc<str>>)>| {
            fields
                .into_iter()
                .map(move |(field, names)| {
                    let names = listed(&names);
                    format!("{field} on {collection} is not enforced by this version: {names}")
                })
                .collect::<Vec<_>>()
        };
        let of_keys = unenforced("provider_keys", by_field(&keys, |key| &key.unenforced));
        let of_models = unenforced("models", by_field(&models, |model| &model.unenforced));
        let of_api_keys = unenforced("api_keys", by_field(&api_keys, |key| &key.unenforced));
        warnings.extend(of_keys.into_iter().chain(of_models).chain(of_api_keys));
        warnings
    }
}

/// What is served now, by id.
#[derive(Default)]
struct Previous<'p> {
    provider_keys: HashMap<&'p str, &'p Arc<ProviderKey>>,
    models: HashMap<&'p str, &'p Arc<Model>>,
    api_keys: HashMap<&'p str, &'p Arc<ApiKey>>,
}

impl<'p> Previous<'p> {
    fn of(snapshot: Option<&'p Snapshot>) -> Self {
        let Some(snapshot) = snapshot else {
            return Self::default();
        };
        Self {
            provider_keys: snapshot
                .provider_keys()
                .map(|key| (&*key.id, key))
                .collect(),
            models: snapshot.models().map(|model| (&*model.id, model)).collect(),
            api_keys: snapshot.api_keys().map(|key| (&*key.id, key)).collect(),
        }
    }
}

/// `fresh`, or what was served before where nothing changed.
fn shared<T: PartialEq>(before: Option<&&Arc<T>>, fresh: T) -> Arc<T> {
    match before {
        Some(before) if ***before == fresh => Arc::clone(before),
        Some(_) | None => Arc::new(fresh),
    }
}

fn read_all<T>(
    entries: &mut Vec<Entry>,
    read: impl Fn(&Value, &Problems) -> Option<T>,
) -> Vec<(Entry, Option<T>)> {
    let mut rows = Vec::with_capacity(entries.len());
    for mut entry in entries.drain(..) {
        let found = Problems::default();
        let document = if entry.is_mapping() {
            read(entry.value(), &found)
        } else {
            None
        };
        entry.note(found);
        rows.push((entry, document));
    }
    rows
}

/// The rows that could be read, by name.
fn read_rows<T>(rows: &[(Entry, Option<T>)]) -> Vec<(Arc<str>, &T)> {
    rows.iter()
        .filter_map(|(entry, document)| Some((entry.name.clone()?, document.as_ref()?)))
        .collect()
}

fn names_where<T>(rows: &[(Arc<str>, &T)], holds: impl Fn(&T) -> bool) -> Vec<Arc<str>> {
    let matching = rows.iter().filter(|(_, row)| holds(row));
    matching.map(|(name, _)| Arc::clone(name)).collect()
}

/// The names of the rows that set each field, in the order in which the fields are met.
fn by_field<T>(
    rows: &[(Arc<str>, &T)],
    fields_of: impl Fn(&T) -> &Vec<&'static str>,
) -> Vec<(&'static str, Vec<Arc<str>>)> {
    let mut found: Vec<(&'static str, Vec<Arc<str>>)> = Vec::new();
    for (name, row) in rows {
        for field in fields_of(row) {
            match found.iter_mut().find(|(known, _)| known == field) {
                Some((_, names)) => names.push(Arc::clone(name)),
                None => found.push((field, vec![Arc::clone(name)])),
            }
        }
    }
    found
}

/// Whole seconds since 1970; 0 for a clock before it.
fn unix_seconds(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
