//! The resources file: whether it loads, and the credentials that stand in it. [boot]

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::SystemTime;

use config_sync::collection::Collection;
use config_sync::seal::OpenSecrets;
use config_sync::seal::envelope::is_sealed;
use config_sync::seal::paths::{SecretPath, secret_paths};
use config_sync::source::{LoadContext, file};
use serde_json::Value;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::super::facts::Resources;
use crate::settings::{Settings, store};

/// Caller keys that stand in the documentation and the examples.
const EXAMPLE_CALLER_KEYS: [&str; 3] = ["sk-sluice-demo", "sk-demo", "changeme"];
/// Largest file that is looked into for credentials, bytes.
const TEXT_BYTES_MAX: u64 = 64 << 20;
/// Places that are named; there may be thousands.
const PLACES_MAX: usize = 20;

pub(super) fn resources(path: &Path, settings: &Settings) -> Resources {
    let mut found = Resources {
        path: path.to_owned(),
        in_the_clear: in_the_clear(path),
        ..Resources::default()
    };
    let sealer = match store::sealer(&settings.secrets, &settings.env_id, &mut drop) {
        Ok(sealer) => sealer,
        Err(error) => {
            found.refused = Some(error);
            return found;
        }
    };
    let context = LoadContext {
        env: &|name| std::env::var(name).ok(),
        generation: 1,
        loaded_at: SystemTime::now(),
        previous: None,
        opener: sealer.as_ref().map(|sealer| sealer as &dyn OpenSecrets),
    };
    match file::load(path, &context) {
        Ok(loaded) => {
            let keys = EXAMPLE_CALLER_KEYS.iter();
            let known = keys.filter_map(|key| loaded.snapshot.api_key(&Sha256::digest(key).into()));
            let names: BTreeSet<String> = known
                .map(|key| key.name.as_deref().unwrap_or(&key.id).to_owned())
                .collect();
            found.of_examples = names.into_iter().collect();
        }
        Err(error) => found.refused = Some(error.to_string()),
    }
    found
}

/// Places of credentials that are neither a variable nor sealed. What cannot be read is refused by
/// the loader, which says why.
fn in_the_clear(path: &Path) -> Vec<String> {
    let mut text = Zeroizing::new(String::new());
    let read =
        File::open(path).and_then(|file| file.take(TEXT_BYTES_MAX).read_to_string(&mut text));
    if read.is_err() {
        return Vec::new();
    }
    let Ok(tree) = serde_saphyr::from_str::<Value>(&text) else {
        return Vec::new();
    };
    places(&tree)
}

fn places(tree: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (name, rows) in tree.as_object().into_iter().flatten() {
        let Some(collection) = Collection::from_name(name) else {
            continue;
        };
        for (index, row) in rows.as_array().into_iter().flatten().enumerate() {
            for path in secret_paths(collection) {
                walk(path, 0, row, format!("{name}[{index}]"), &mut found);
            }
        }
    }
    found.truncate(PLACES_MAX);
    found
}

fn walk(path: &SecretPath, depth: usize, value: &Value, at: String, found: &mut Vec<String>) {
    match path.segments.get(depth) {
        None => {
            if value.as_str().is_some_and(is_clear) {
                found.push(at);
            }
        }
        Some(&"*") => {
            for (name, value) in value.as_object().into_iter().flatten() {
                walk(path, depth + 1, value, format!("{at}.{name}"), found);
            }
            for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                walk(path, depth + 1, value, format!("{at}[{index}]"), found);
            }
        }
        Some(name) => {
            if let Some(value) = value.get(name) {
                walk(path, depth + 1, value, format!("{at}.{name}"), found);
            }
        }
    }
}

fn is_clear(text: &str) -> bool {
    let variable = text.replace("$${", "").contains("${");
    !text.trim().is_empty() && !variable && !is_sealed(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn credentials_in_the_clear_are_named_by_their_place() {
        let tree = json!({
            "_format_version": "1",
            "provider_keys": [
                {"api_key": "${NAME}"},
                {"api_key": "sk-1", "request": {"default_headers": {"x-org": "o", "x-key": "${K}"}}},
                {"api_key": ""},
                {"api_key": "$${NOT_A_VARIABLE}"},
            ],
            "models": [{"display_name": "m"}],
            "unknown": [{"api_key": "sk-2"}],
        });
        let want = [
            "provider_keys[1].api_key",
            "provider_keys[1].request.default_headers.x-org",
            "provider_keys[3].api_key",
        ];
        assert_eq!(places(&tree), want);
        let many: Vec<Value> = (0..100).map(|_| json!({"api_key": "sk"})).collect();
        assert_eq!(places(&json!({"provider_keys": many})).len(), PLACES_MAX);
    }
}
