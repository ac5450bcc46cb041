//! The entries of a file, read, checked against each other, and made a snapshot. [pure]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::entry::{Entry, Index, listed};
use super::file::LoadContext;
use super::{check, desugar};
use crate::collection::Collection;
use crate::decode::OpenSecrets;
use crate::interpolate::Env;
use crate::model::model::VIRTUAL_KINDS;
use crate::model::{
    ApiKey, ApiKeyDocument, Model, ModelDocument, ProviderKey, ProviderKeyDocument,
};
use crate::resource::Resource;
use crate::snapshot::{Other, Snapshot, SnapshotParts};
use crate::state::SERVED;
use crate::tree::{Problems, Unknown};

/// Each entry with its document, where it could be read; in processing order.
pub(super) struct Rows(Vec<(Entry, Option<Resource>)>);

impl Rows {
    /// Reads every entry; what is wrong is noted on the entries.
    pub(super) fn read(
        mut entries: Vec<Entry>,
        env: Env<'_>,
        opener: Option<&dyn OpenSecrets>,
    ) -> Self {
        let index = prepare(&mut entries, env);
        for entry in &mut entries {
            entry.open(opener);
        }
        let documents = entries.iter_mut().map(read);
        let documents: Vec<Option<Resource>> = documents.collect();
        check::check(&mut entries, &index);
        Self(entries.into_iter().zip(documents).collect())
    }

    /// Appends every problem with its scope, in the order of the file format.
    pub(super) fn report(&mut self, problems: &mut Vec<String>) {
        for (entry, _) in &mut self.0 {
            problems.extend(entry.report());
        }
    }

    /// What rows without any problem come to.
    pub(super) fn build(self, context: &LoadContext<'_>) -> SnapshotParts {
        let mut parts = SnapshotParts {
            generation: context.generation,
            warnings: self.warnings(),
            ..SnapshotParts::default()
        };
        let previous = Previous::of(context.previous);
        let loaded_at = unix_seconds(context.loaded_at);
        for (entry, resource) in self.0 {
            let Some(resource) = resource else { continue };
            let id = entry.id();
            match resource {
                Resource::ProviderKey(document) => {
                    let key = document.into_key(id);
                    let key = shared(previous.provider_keys.get(&*key.id), key);
                    parts.provider_keys.push(key);
                }
                Resource::Model(document) => {
                    let before = previous.models.get(&*id);
                    let created = before.map_or(loaded_at, |model| model.created);
                    let model = shared(before, document.into_model(id, created));
                    parts.models.push(model);
                }
                Resource::ApiKey(document) => {
                    let hash = document.key_hash;
                    let key = shared(previous.api_keys.get(&*id), document.into_key(id));
                    parts.api_keys.push((hash, key));
                }
                resource => parts.others.push(Other {
                    collection: entry.collection,
                    id,
                    resource: Arc::new(resource),
                }),
            }
        }
        parts
    }

    /// What loads but may not do what the operator expects: one sentence per kind of field.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let keys: Named<'_, ProviderKeyDocument> = self.named(|resource| match resource {
            Resource::ProviderKey(document) => Some(document),
            _ => None,
        });
        let models: Named<'_, ModelDocument> = self.named(|resource| match resource {
            Resource::Model(document) => Some(document),
            _ => None,
        });
        let api_keys: Named<'_, ApiKeyDocument> = self.named(|resource| match resource {
            Resource::ApiKey(document) => Some(document),
            _ => None,
        });
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
        let mut of_models = by_field(&models, |model| &model.unenforced);
        // Told as whole models below.
        of_models.retain(|(field, _)| !VIRTUAL_KINDS.contains(field));
        let of_models = unenforced("models", of_models);
        let of_api_keys = unenforced("api_keys", by_field(&api_keys, |key| &key.unenforced));
        warnings.extend(of_keys.into_iter().chain(of_models).chain(of_api_keys));
        let entries: Vec<&Entry> = self.0.iter().map(|(entry, _)| entry).collect();
        warnings.extend(not_served(&entries));
        warnings
    }

    /// The rows of one kind that could be read, by name.
    fn named<'r, T>(&'r self, of: impl Fn(&'r Resource) -> Option<&'r Box<T>>) -> Named<'r, T> {
        let rows = self.0.iter();
        rows.filter_map(|(entry, resource)| {
            let document = of(resource.as_ref()?)?;
            Some((entry.label(), &**document))
        })
        .collect()
    }
}

/// Documents by name.
type Named<'r, T> = Vec<(Arc<str>, &'r T)>;

/// Puts ids in the place of names and short forms; what is wrong is noted on the entries.
pub(super) fn prepare(entries: &mut [Entry], env: Env<'_>) -> Index {
    let index = Index::collect(entries);
    for entry in entries {
        desugar::desugar(entry, &index, env);
    }
    index
}

/// The document of an entry, with what is wrong with it noted.
fn read(entry: &mut Entry) -> Option<Resource> {
    let found = Problems::default();
    let document = if entry.is_mapping() {
        Resource::read(entry.collection, entry.value(), &found, Unknown::Refused)
    } else {
        None
    };
    entry.note(found);
    document
}

/// The marker of a model that has no upstream of its own.
fn virtual_kind(entry: &Entry) -> Option<&'static str> {
    if entry.collection != Collection::Models {
        return None;
    }
    let mut kinds = VIRTUAL_KINDS.into_iter();
    kinds.find(|kind| entry.value().get(kind).is_some())
}

/// One sentence for each kind of model, then for each collection, that is only data so far.
pub(super) fn not_served(entries: &[&Entry]) -> Vec<String> {
    let named = |wanted: &dyn Fn(&Entry) -> bool| -> Vec<Arc<str>> {
        let of = entries.iter().filter(|entry| wanted(entry));
        of.map(|entry| entry.label()).collect()
    };
    let mut found = Vec::new();
    for kind in VIRTUAL_KINDS.into_iter().filter(|kind| *kind != "routing") {
        let what = format!("models of kind {kind} are not served by this version");
        found.push((what, named(&|entry| virtual_kind(entry) == Some(kind))));
    }
    for collection in Collection::ALL {
        if !SERVED.contains(&collection) {
            let what = format!("{collection} are loaded and not enforced by this version");
            found.push((what, named(&|entry| entry.collection == collection)));
        }
    }
    found.retain(|(_, names)| !names.is_empty());
    let sentence = |(what, names): (String, Vec<Arc<str>>)| format!("{what}: {}", listed(&names));
    found.into_iter().map(sentence).collect()
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
