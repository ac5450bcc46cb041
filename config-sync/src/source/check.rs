//! What entries must agree on with each other. [pure]
//!
//! Runs on the values of documents, ids in place of names, whether or not a document could be read.

use std::collections::{HashMap, HashSet};

use super::entry::{Entry, Index};
use crate::collection::Collection;
use crate::model::model::VIRTUAL_KINDS;
use crate::references::{self, By, Site, identity, noun};
use crate::tree::Value;

/// Notes on each entry where it does not fit the others.
pub(super) fn check(entries: &mut [Entry], index: &Index) {
    let groups = model_groups(entries);
    for entry in &mut *entries {
        let problems = unknown_references(entry, index);
        for (path, message) in problems {
            entry.refuse(&path, message);
        }
        direct_targets(entry, &groups);
    }
    unique_credentials(entries);
    unique_attachments(entries);
    unique_issuers(entries);
    one_entry(entries);
}

/// Each id and name that nothing in the file has. A name that a wildcard model covers is defined; a
/// pattern may match nothing yet.
fn unknown_references(entry: &Entry, index: &Index) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    for site in references::sites(entry.collection, entry.value()) {
        let names = index.names(site.reference.to);
        let is_known = match site.reference.by {
            By::Id { .. } | By::IdInPlace => names.has_id(site.text),
            By::Name { free: true } => site.text.contains('*') || names.cover(site.text),
            By::Name { free: false } => names.contains(site.text),
            By::LooseName => true,
        };
        if !is_known && !site.text.is_empty() && !entry.is_muted(&site.path) {
            let message = unknown(entry, &site, index);
            problems.push((site.path, message));
        }
    }
    problems
}

fn unknown(entry: &Entry, site: &Site<'_>, index: &Index) -> String {
    let (to, field) = (site.reference.to, &site.field);
    let noun = noun(to);
    let text = entry.quoted(&site.path, site.text);
    match site.reference.by {
        By::Id { named } => {
            let short = match field.rsplit_once('.') {
                Some((holder, _)) => format!("{holder}.{named}"),
                None => named.to_owned(),
            };
            format!("`{field}` references unknown {noun} id {text} (`{short}` takes the name)")
        }
        By::IdInPlace => format!("`{field}` references unknown {noun} id {text}"),
        By::Name { .. } | By::LooseName => {
            let names = index.names(to);
            format!("`{field}` references unknown {noun} {text} (defined {to}: {names})")
        }
    }
}

/// The names of models without an upstream of their own.
fn model_groups(entries: &[Entry]) -> HashSet<String> {
    let is_group = |entry: &&Entry| {
        entry.collection == Collection::Models
            && VIRTUAL_KINDS
                .iter()
                .any(|kind| entry.value().get(kind).is_some())
    };
    let names = entries.iter().filter(is_group);
    names
        .filter_map(|entry| entry.name.as_deref().map(str::to_owned))
        .collect()
}

/// A group routes to models that have an upstream.
fn direct_targets(entry: &mut Entry, groups: &HashSet<String>) {
    let mut problems = Vec::new();
    for site in references::sites(entry.collection, entry.value()) {
        let is_target = site.reference.path.starts_with("routing.targets[]");
        if is_target && groups.contains(site.text) && !entry.is_muted(&site.path) {
            let text = entry.quoted(&site.path, site.text);
            let message = format!("`{}` must be a direct model: {text} is a group", site.path);
            problems.push((site.path, message));
        }
    }
    for (path, message) in problems {
        entry.refuse(&path, message);
    }
}

/// Notes each key that shares its hash, or its JWT subject and provider, with an earlier one.
fn unique_credentials(entries: &[Entry]) {
    let mut hashes: HashMap<String, &Entry> = HashMap::new();
    let mut subjects: HashMap<(&str, &str), &Entry> = HashMap::new();
    for entry in of(entries, Collection::ApiKeys) {
        let text = |field| entry.value().get(field).and_then(Value::as_str);
        if let Some(hash) = text("key_hash").filter(|_| !entry.is_muted("key_hash")) {
            let hash = hash.to_ascii_lowercase();
            if let Some(first) = hashes.get(&hash) {
                entry
                    .problems
                    .push("", format!("is the same key as {first}"));
            } else {
                hashes.insert(hash, entry);
            }
        }
        let (Some(subject), Some(provider)) = (text("jwt_subject"), text("jwt_provider")) else {
            continue;
        };
        if let Some(first) = subjects.get(&(subject, provider)) {
            let message = format!("has the same `jwt_subject` and `jwt_provider` as {first}");
            entry.problems.push("", message);
        } else {
            subjects.insert((subject, provider), entry);
        }
    }
}

/// Notes each attachment of one guardrail to a scope it is attached to already.
fn unique_attachments(entries: &[Entry]) {
    let mut attached: HashMap<String, &Entry> = HashMap::new();
    for entry in of(entries, Collection::GuardrailAttachments) {
        let Some(identity) = identity(entry.collection, entry.value()) else {
            continue;
        };
        if let Some(first) = attached.get(&identity) {
            let message = format!("attaches the same guardrail to the same scope as {first}");
            entry.problems.push("", message);
        } else {
            attached.insert(identity, entry);
        }
    }
}

/// Notes each enabled OIDC provider whose issuer an earlier one has.
fn unique_issuers(entries: &[Entry]) {
    let mut issuers: HashMap<&str, &Entry> = HashMap::new();
    for entry in of(entries, Collection::OidcProviders) {
        let issuer = entry.value().get("issuer").and_then(Value::as_str);
        let is_enabled = entry.value().get("enabled") != Some(&Value::Bool(false));
        let Some(issuer) = issuer.filter(|_| is_enabled && !entry.is_muted("issuer")) else {
            continue;
        };
        if let Some(first) = issuers.get(issuer) {
            let message = format!("has the same `issuer` as {first}, and both are enabled");
            entry.problems.push("", message);
        } else {
            issuers.insert(issuer, entry);
        }
    }
}

/// Notes every entry but the first of a collection that takes one.
fn one_entry(entries: &[Entry]) {
    let settings = of(entries, Collection::McpAuthSettings);
    for entry in settings.skip(1) {
        let message = "at most one entry is accepted in this collection";
        entry.problems.push("", message);
    }
}

fn of(entries: &[Entry], collection: Collection) -> impl Iterator<Item = &Entry> {
    entries
        .iter()
        .filter(move |entry| entry.collection == collection)
}
