//! One document as a file writes it: named, and naming others. [pure]

use std::collections::HashMap;

use super::read::{Row, rename};
use crate::collection::Collection;
use crate::id;
use crate::references::{self, By, attachment_label, identity_fields};
use crate::tree::Value;

/// How many digits of a key's hash name it.
const HASH_DIGITS: usize = 16;

/// What the file calls the document of each row.
pub(super) type Names = HashMap<(Collection, String), String>;

/// Names every row; API keys, which a store tells apart by their hash, are given a name here.
pub(super) fn name_rows(rows: &mut [Row], warnings: &mut Vec<String>) -> Names {
    name_api_keys(rows, warnings);
    rows.iter()
        .map(|row| ((row.collection, row.id.clone()), row.name.clone()))
        .collect()
}

/// A key keeps a name that no other has; else its hash names it.
fn name_api_keys(rows: &mut [Row], warnings: &mut Vec<String>) {
    let stored = |row: &Row| {
        let name = row.document.value().get("display_name")?.as_str()?;
        (row.collection == Collection::ApiKeys && !name.is_empty()).then(|| name.to_owned())
    };
    let mut owners: HashMap<String, usize> = HashMap::new();
    for name in rows.iter().filter_map(stored) {
        *owners.entry(name).or_default() += 1;
    }
    for row in rows.iter_mut() {
        if row.collection != Collection::ApiKeys {
            continue;
        }
        if let Some(name) = stored(row) {
            if owners.get(&name) == Some(&1) {
                continue;
            }
            warnings.push(format!(
                "{}: several keys have this name: named by its hash instead",
                row.label()
            ));
        }
        let hash = row.document.value().get("key_hash").and_then(Value::as_str);
        let digits: String = hash.unwrap_or("").chars().take(HASH_DIGITS).collect();
        row.name = format!("apikey-{}", digits.to_ascii_lowercase());
        let name = Value::from(row.name.as_str());
        if let Some(fields) = row.document.value_mut().as_object_mut() {
            fields.insert("display_name".to_owned(), name);
        }
    }
}

/// Writes names in the place of ids. An id that no row has stays, and is found when the file is
/// checked.
pub(super) fn use_names(row: &mut Row, names: &Names) {
    let name_of = |collection: Collection, id: &str| names.get(&(collection, id.to_owned()));
    let (collection, value) = (row.collection, row.document.value_mut());
    for reference in references::of(collection) {
        let By::Id { named } = reference.by else {
            continue;
        };
        for holder in reference.holders(value) {
            let Some(fields) = holder.fields_mut(value) else {
                continue;
            };
            let id = fields.get(holder.field).and_then(Value::as_str);
            let Some(name) = id.and_then(|id| name_of(reference.to, id)) else {
                continue;
            };
            let name = Value::from(name.as_str());
            rename(fields, holder.field, named);
            fields.insert(named.to_owned(), name);
        }
    }
    references::rewrite(collection, value, &mut |site| {
        if site.reference.by != By::IdInPlace {
            return None;
        }
        let to = site.reference.to;
        let name = name_of(to, site.text)?;
        // Behind a prefix other readers of the file take ids only.
        let derived = || id::derived(to.name(), name).to_string();
        Some(if site.reference.has_prefix() {
            derived()
        } else {
            name.clone()
        })
    });
    if collection == Collection::GuardrailAttachments {
        name_attachment(row);
    }
}

/// A scope that names no document, and what the row is called in messages.
fn name_attachment(row: &mut Row) {
    let Some(fields) = row.document.value_mut().as_object_mut() else {
        return;
    };
    match fields.get("scope_type").and_then(Value::as_str) {
        Some("env") => {
            fields.shift_remove("scope_id");
        }
        Some("team") => rename(fields, "scope_id", "scope"),
        Some(_) | None => {}
    }
    if let Some(label) = attachment_label(row.document.value()) {
        row.name = label;
    }
}

/// Puts the fields that say what the document is before all others.
pub(super) fn order_fields(row: &mut Row) {
    let first: &[&str] = match row.collection {
        Collection::GuardrailAttachments => &["guardrail", "scope_type", "scope"],
        other => identity_fields(other),
    };
    if let Some(fields) = row.document.value_mut().as_object_mut() {
        for field in first.iter().rev() {
            if let Some(value) = fields.shift_remove(*field) {
                fields.shift_insert(0, (*field).to_owned(), value);
            }
        }
    }
}
