//! The short forms of the resources file, replaced by the fields they stand for. [pure]

use std::sync::Arc;

use sha2::{Digest, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::entry::{Entry, Index};
use crate::collection::Collection;
use crate::id;
use crate::interpolate::{Env, VariableName};
use crate::model::model::VIRTUAL_KINDS;
use crate::references::{self, By, Holder, Reference, noun};
use crate::tree::Value;

/// Replaces the short forms of one entry; what is wrong with them is noted on it.
pub(super) fn desugar(entry: &mut Entry, index: &Index, env: Env<'_>) {
    refuse_id(entry);
    for reference in references::of(entry.collection) {
        match reference.by {
            By::Id { named } => {
                for holder in reference.holders(entry.value()) {
                    name_to_id(entry, reference, &holder, named, index);
                }
            }
            By::IdInPlace => names_in_place(entry, reference, index),
            By::Name { .. } | By::LooseName => {}
        }
    }
    match entry.collection {
        Collection::Models => require_provider_key(entry),
        Collection::ApiKeys => {
            require_name(entry);
            hash_key(entry, env);
        }
        Collection::GuardrailAttachments => scope_without_reference(entry),
        _ => {}
    }
}

/// Ids are derived from names, so that they survive a reload and a move of the file.
fn refuse_id(entry: &mut Entry) {
    let id = entry
        .fields_mut()
        .and_then(|fields| fields.shift_remove("id"));
    if id.is_some() {
        entry.refuse(
            "id",
            "`id` is not accepted: ids are derived from names".to_owned(),
        );
    }
}

/// An API key has a name in a file only because something must identify the entry.
fn require_name(entry: &mut Entry) {
    if entry.name.is_none() && entry.is_mapping() && !entry.is_muted("display_name") {
        let message = "`display_name` is required: it identifies the entry".to_owned();
        entry.refuse("display_name", message);
    }
}

/// A model that has an upstream needs a credential, whose name a file would give.
fn require_provider_key(entry: &mut Entry) {
    let Some(fields) = entry.fields_mut() else {
        return;
    };
    let is_virtual = VIRTUAL_KINDS.iter().any(|kind| fields.contains_key(*kind));
    let has_key = fields.contains_key("provider_key_id");
    if !is_virtual && !has_key && !entry.is_muted("provider_key_id") {
        let message = "`provider_key` is required: the name of a provider key".to_owned();
        entry.refuse("provider_key_id", message);
    }
}

/// `<named>: <name>` becomes `<field>: <id>`.
fn name_to_id(
    entry: &mut Entry,
    reference: &Reference,
    holder: &Holder,
    named: &str,
    index: &Index,
) {
    let (short, long) = (holder.path_of(named), holder.path_of(holder.field));
    let Some(fields) = holder.fields_mut(entry.value_mut()) else {
        return;
    };
    let Some(name) = fields.shift_remove(named) else {
        return;
    };
    if fields.contains_key(holder.field) {
        let message = format!("`{short}` and `{long}` are mutually exclusive");
        return entry.refuse(&long, message);
    }
    let noun = noun(reference.to);
    let Value::String(name) = name else {
        let message = format!("`{short}` must be the name of {} {noun}", article(noun));
        return entry.refuse(&long, message);
    };
    let names = index.names(reference.to);
    if names.contains(&name) {
        let id = id::derived(reference.to.name(), &name);
        fields.insert(holder.field.to_owned(), Value::from(&*id));
        return;
    }
    if entry.is_muted(&short) {
        return entry.mute(&long);
    }
    let message = format!(
        "`{short}` references unknown {noun} {} (defined {}: {names})",
        entry.quoted(&short, &name),
        reference.to,
    );
    entry.refuse(&long, message);
}

/// Names that stand where ids belong become ids; an id of the file stays.
fn names_in_place(entry: &mut Entry, reference: &'static Reference, index: &Index) {
    let names = index.names(reference.to);
    let mut ids: Vec<(String, Arc<str>)> = Vec::new();
    let mut unknown: Vec<(String, String)> = Vec::new();
    for site in reference.sites(entry.value()) {
        if names.has_id(site.text) || entry.is_muted(&site.path) {
            continue;
        }
        // Behind a prefix, such a text always was an id: one that the checks find missing.
        let is_id = reference.has_prefix() && Uuid::try_parse(site.text).is_ok();
        if names.contains(site.text) && !is_id {
            ids.push((site.path, id::derived(reference.to.name(), site.text)));
        } else if !is_id && !site.text.is_empty() {
            let message = format!(
                "`{}` references unknown {} {} (defined {}: {names})",
                site.field,
                noun(reference.to),
                entry.quoted(&site.path, site.text),
                reference.to,
            );
            unknown.push((site.path, message));
        }
    }
    let (collection, value) = (entry.collection, entry.value_mut());
    references::rewrite(collection, value, &mut |site| {
        let of_this = site.reference == reference;
        let mut ids = ids.iter().filter(|(path, _)| of_this && *path == site.path);
        ids.next().map(|(_, id)| id.to_string())
    });
    for (path, message) in unknown {
        entry.refuse(&path, message);
    }
}

/// What `scope` says beside a scope type that names no document: a team, or nothing.
fn scope_without_reference(entry: &mut Entry) {
    let Some(fields) = entry.fields_mut() else {
        return;
    };
    let Some(scope) = fields.shift_remove("scope") else {
        return;
    };
    let message = match fields.get("scope_type").and_then(Value::as_str) {
        Some("team") if fields.contains_key("scope_id") => {
            "`scope` and `scope_id` are mutually exclusive"
        }
        Some("team") if scope.is_string() => {
            fields.insert("scope_id".to_owned(), scope);
            if entry.is_muted("scope") {
                entry.mute("scope_id");
            }
            return;
        }
        Some("team") => "`scope` must be a team",
        Some("env") if scope.is_null() => return,
        Some("env") => "`scope` is not accepted: the scope type `env` covers everything",
        // No scope type: that is reported when the document is read.
        Some(_) | None => return entry.mute("scope_id"),
    };
    entry.refuse("scope_id", message.to_owned());
}

/// `key_env: <variable>` becomes `key_hash: <hash of its value>`; the value is wiped.
fn hash_key(entry: &mut Entry, env: Env<'_>) {
    let Some(fields) = entry.fields_mut() else {
        return;
    };
    let variable = fields.shift_remove("key_env");
    let has_hash = fields.contains_key("key_hash");
    match (variable, has_hash) {
        (None, true) => {}
        (None, false) | (Some(_), true) => {
            let message = "exactly one of `key_env` and `key_hash` is required".to_owned();
            entry.refuse("key_hash", message);
        }
        (Some(variable), false) => {
            if entry.is_muted("key_env") {
                return entry.mute("key_hash");
            }
            match hash_of(entry, &variable, env) {
                Ok(hash) => {
                    if let Some(fields) = entry.fields_mut() {
                        fields.insert("key_hash".to_owned(), Value::String(hash));
                    }
                }
                Err(message) => entry.refuse("key_hash", message),
            }
        }
    }
}

fn hash_of(entry: &Entry, variable: &Value, env: Env<'_>) -> Result<String, String> {
    let Value::String(name) = variable else {
        return Err("`key_env` must be the name of an environment variable".to_owned());
    };
    if entry.is_from_env("key_env") {
        // `key_env: ${KEY}` would look for a variable named like the key, and print it.
        return Err("`key_env` must name the variable itself, without `${}`".to_owned());
    }
    let shown = VariableName::new(name);
    let plaintext = env(name)
        .map(Zeroizing::new)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| format!("`key_env`: {shown} is not set or is empty"))?;
    if plaintext.contains("${") {
        return Err(format!(
            "`key_env`: {shown} holds `${{`, which is not filled in"
        ));
    }
    // Callers' keys are trimmed before they are hashed, so such a key could never be presented.
    if plaintext.trim() != plaintext.as_str() || plaintext.contains(char::is_control) {
        return Err(format!(
            "`key_env`: {shown} holds line breaks, or blanks at its ends"
        ));
    }
    Ok(hex(&Sha256::digest(plaintext.as_bytes())))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn article(noun: &str) -> &'static str {
    match noun.as_bytes().first() {
        Some(b'A' | b'M' | b'O') => "an",
        Some(_) | None => "a",
    }
}
