//! What entries must agree on with each other. [pure]

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::entry::{Entry, Names};
use crate::model::glob::Glob;
use crate::model::{ApiKeyDocument, ModelDocument};

/// Notes each model whose credential is not in the file.
pub(super) fn provider_key_ids(
    models: &mut [(Entry, Option<ModelDocument>)],
    known: &HashSet<Arc<str>>,
) {
    for (entry, model) in models {
        let Some(model) = model else { continue };
        let id = &model.provider_key_id;
        if known.contains(id) || id.is_empty() || entry.is_muted("provider_key_id") {
            continue;
        }
        let message = format!(
            "`provider_key_id` references unknown provider key id {} (`provider_key` takes the name)",
            entry.quoted("provider_key_id", id),
        );
        entry.refuse("provider_key_id", message);
    }
}

/// Notes each model name that a key may use and nothing defines. A name that a wildcard model covers
/// is defined; a pattern may match nothing yet.
pub(super) fn allowed_models(keys: &mut [(Entry, Option<ApiKeyDocument>)], models: &Names) {
    let wildcards: Vec<Glob> = models
        .iter()
        .filter(|name| name.contains('*'))
        .filter_map(|name| Glob::parse(name).ok())
        .collect();
    for (entry, key) in keys {
        let Some(key) = key else { continue };
        for name in key.allowed_models().iter().filter_map(Glob::exact) {
            if models.contains(name) || wildcards.iter().any(|glob| glob.matches(name)) {
                continue;
            }
            let path = path_of_item(entry, name);
            let message = format!(
                "`allowed_models` references unknown model {} (defined models: {models})",
                entry.quoted(&path, name),
            );
            if !entry.is_muted(&path) {
                entry.problems.push("", message);
            }
        }
    }
}

/// Where `name` stands in `allowed_models`.
fn path_of_item(entry: &Entry, name: &str) -> String {
    let items = entry
        .value()
        .get("allowed_models")
        .and_then(|list| list.as_array());
    let index = items.and_then(|items| items.iter().position(|item| item.as_str() == Some(name)));
    format!("allowed_models[{}]", index.unwrap_or_default())
}

/// Notes each key that shares its hash, or its JWT subject and provider, with an earlier one.
pub(super) fn unique_credentials(keys: &[(Entry, Option<ApiKeyDocument>)]) {
    let mut hashes: HashMap<[u8; 32], &Entry> = HashMap::new();
    let mut subjects: HashMap<(&str, &str), &Entry> = HashMap::new();
    for (entry, key) in keys {
        let Some(key) = key else { continue };
        if !entry.is_muted("key_hash") {
            if let Some(first) = hashes.get(&key.key_hash) {
                entry
                    .problems
                    .push("", format!("is the same key as {first}"));
            } else {
                hashes.insert(key.key_hash, entry);
            }
        }
        let Some((subject, provider)) = &key.jwt else {
            continue;
        };
        if let Some(first) = subjects.get(&(&**subject, &**provider)) {
            let message = format!("has the same `jwt_subject` and `jwt_provider` as {first}");
            entry.problems.push("", message);
        } else {
            subjects.insert((subject, provider), entry);
        }
    }
}
