//! The short forms of the resources file, replaced by the fields they stand for. [pure]

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::entry::{Collection, Entry, Names};
use crate::id;
use crate::interpolate::{Env, VariableName};
use crate::model::model::VIRTUAL_KINDS;
use crate::tree::Value;

/// Replaces the short forms of one entry; what is wrong with them is noted on it.
pub(super) fn desugar(entry: &mut Entry, provider_keys: &Names, env: Env<'_>) {
    refuse_id(entry);
    match entry.collection {
        Collection::ProviderKeys => {}
        Collection::Models => name_provider_key(entry, provider_keys),
        Collection::ApiKeys => {
            require_name(entry);
            hash_key(entry, env);
        }
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

/// `provider_key: <name>` becomes `provider_key_id: <id>`.
fn name_provider_key(entry: &mut Entry, provider_keys: &Names) {
    let Some(fields) = entry.fields_mut() else {
        return;
    };
    let Some(name) = fields.shift_remove("provider_key") else {
        let is_virtual = VIRTUAL_KINDS.iter().any(|kind| fields.contains_key(*kind));
        if !is_virtual && !fields.contains_key("provider_key_id") {
            let message = "`provider_key` is required: the name of a provider key".to_owned();
            entry.refuse("provider_key_id", message);
        }
        return;
    };
    if fields.contains_key("provider_key_id") {
        let message = "`provider_key` and `provider_key_id` are mutually exclusive".to_owned();
        return entry.refuse("provider_key_id", message);
    }
    let Value::String(name) = name else {
        let message = "`provider_key` must be the name of a provider key".to_owned();
        return entry.refuse("provider_key_id", message);
    };
    if provider_keys.contains(&name) {
        let id = id::derived(Collection::ProviderKeys.name(), &name);
        fields.insert("provider_key_id".to_owned(), Value::from(&*id));
        return;
    }
    if entry.is_muted("provider_key") {
        return entry.mute("provider_key_id");
    }
    let message = format!(
        "`provider_key` references unknown provider key {} (defined provider_keys: {provider_keys})",
        entry.quoted("provider_key", &name),
    );
    entry.refuse("provider_key_id", message);
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
