//! One generation of the configuration, indexed for the hot path. [pure]

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use crate::model::glob::Glob;
use crate::model::{ApiKey, Model, ProviderKey};

/// What a snapshot is built from. Where two rows claim one name or hash, the first one gets it.
#[derive(Default)]
pub struct SnapshotParts {
    /// 0: nothing was ever loaded; 1 at the first load, then one more per load.
    pub generation: u64,
    /// Credentials, also those that no model uses.
    pub provider_keys: Vec<Arc<ProviderKey>>,
    /// All models.
    pub models: Vec<Arc<Model>>,
    /// Caller keys by the SHA-256 of what callers present.
    pub api_keys: Vec<([u8; 32], Arc<ApiKey>)>,
    /// Sentences for the operator.
    pub warnings: Vec<String>,
}

/// An immutable view of the configuration; a request holds one from its start to its end.
pub struct Snapshot {
    generation: u64,
    provider_keys: Vec<Arc<ProviderKey>>,
    api_keys: HashMap<[u8; 32], Arc<ApiKey>, BuildHasherDefault<DigestHasher>>,
    exact: HashMap<Arc<str>, Arc<Model>>,
    /// Most literal characters first, then lowest id.
    wildcards: Vec<(Glob, Arc<Model>)>,
    /// Models without `*`, by name.
    listed: Vec<Arc<Model>>,
    warnings: Vec<String>,
}

/// The model that a caller's name stands for.
#[derive(Clone, Debug)]
pub struct Resolved<'s> {
    /// The row; its display name is a pattern where `capture` is set.
    pub model: &'s Arc<Model>,
    /// What the `*` of a wildcard row's name stands for.
    pub capture: Option<Box<str>>,
}

impl Snapshot {
    /// The configuration before the first load: knows nobody and nothing.
    pub fn empty() -> Self {
        Self::build(SnapshotParts::default())
    }

    /// Indexes `parts`.
    pub fn build(parts: SnapshotParts) -> Self {
        let mut api_keys =
            HashMap::with_capacity_and_hasher(parts.api_keys.len(), BuildHasherDefault::default());
        for (hash, key) in parts.api_keys {
            api_keys.entry(hash).or_insert(key);
        }
        let mut exact = HashMap::with_capacity(parts.models.len());
        let mut wildcards = Vec::new();
        for model in parts.models {
            if !model.is_wildcard() {
                exact
                    .entry(Arc::clone(&model.display_name))
                    .or_insert(model);
            } else if let Ok(glob) = Glob::parse(&model.display_name) {
                wildcards.push((glob, model));
            }
        }
        wildcards.sort_by(|(a, x), (b, y)| {
            let longer = b.literal_chars().cmp(&a.literal_chars());
            longer.then_with(|| x.id.cmp(&y.id))
        });
        let mut listed: Vec<Arc<Model>> = exact.values().cloned().collect();
        listed.sort_by(|a, b| a.display_name.cmp(&b.display_name));
        Self {
            generation: parts.generation,
            provider_keys: parts.provider_keys,
            api_keys,
            exact,
            wildcards,
            listed,
            warnings: parts.warnings,
        }
    }

    /// 0 before the first load, then counting the loads.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The caller key with this SHA-256, be it disabled or expired.
    pub fn api_key(&self, sha256: &[u8; 32]) -> Option<&Arc<ApiKey>> {
        self.api_keys.get(sha256)
    }

    /// The model called `name`: the row of that very name, else the most specific wildcard row that
    /// covers it. Allocates only for a wildcard's capture.
    pub fn resolve<'s>(&'s self, name: &str) -> Option<Resolved<'s>> {
        if let Some(model) = self.exact.get(name) {
            return Some(Resolved {
                model,
                capture: None,
            });
        }
        self.wildcards.iter().find_map(|(glob, model)| {
            glob.capture(name).map(|capture| Resolved {
                model,
                capture: Some(capture.into()),
            })
        })
    }

    /// Models without a `*` in their name, by name.
    pub fn model_names(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.listed.iter()
    }

    /// All models, wildcard rows last.
    pub fn models(&self) -> impl Iterator<Item = &Arc<Model>> {
        let wildcards = self.wildcards.iter().map(|(_, model)| model);
        self.listed.iter().chain(wildcards)
    }

    /// All upstream credentials.
    pub fn provider_keys(&self) -> impl Iterator<Item = &Arc<ProviderKey>> {
        self.provider_keys.iter()
    }

    /// All caller keys, in no order.
    pub fn api_keys(&self) -> impl Iterator<Item = &Arc<ApiKey>> {
        self.api_keys.values()
    }

    /// What the operator should know of this generation; logged at each load.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// Counts only: rows hold credentials, and the index holds their hashes.
impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("generation", &self.generation)
            .field("provider_keys", &self.provider_keys.len())
            .field("models", &(self.listed.len() + self.wildcards.len()))
            .field("api_keys", &self.api_keys.len())
            .field("warnings", &self.warnings)
            .finish()
    }
}

/// Takes the first bytes of a SHA-256 as they are: they are uniform already, and a caller who could
/// choose them would only slow his own lookup.
#[derive(Default)]
struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(head) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*head);
        }
    }

    /// The length of the array, always 32.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ApiKeyDocument, ModelDocument};
    use crate::tree::{Problems, Unknown};
    use serde_json::json;

    fn model(id: &str, name: &str) -> Arc<Model> {
        let doc = json!({"display_name": name, "provider": "p", "model_name": "*", "provider_key_id": "k"});
        let problems = Problems::default();
        let document = ModelDocument::read(&doc, &problems, Unknown::Refused).unwrap();
        assert!(problems.is_empty());
        Arc::new(document.into_model(id.into(), None, 0))
    }

    fn api_key(hash: [u8; 32], id: &str) -> ([u8; 32], Arc<ApiKey>) {
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let doc = json!({"key_hash": hex, "allowed_models": []});
        let problems = Problems::default();
        let document = ApiKeyDocument::read(&doc, &problems, Unknown::Refused);
        assert!(problems.is_empty());
        (document.key_hash, Arc::new(document.into_key(id.into())))
    }

    fn with_models(models: &[(&str, &str)]) -> Snapshot {
        Snapshot::build(SnapshotParts {
            models: models.iter().map(|(id, name)| model(id, name)).collect(),
            ..SnapshotParts::default()
        })
    }

    #[test]
    fn exact_names_win_then_the_most_literal_pattern_then_the_lowest_id() {
        let rows = [
            ("9", "openai/*"),
            ("3", "openai/gpt-*"),
            ("2", "*-4o-chat1"),
            ("1", "openai/gpt-4o"),
            ("8", "a*c"),
            ("7", "*ac"),
            ("0", "*"),
        ];
        let cases = [
            ("openai/gpt-4o", "1", None),
            ("openai/gpt-5", "3", Some("5")),
            ("openai/o3", "9", Some("o3")),
            ("openai/", "9", Some("")),
            ("ac", "7", Some("")), // two literals each: lowest id
            ("abc", "8", Some("b")),
            ("openai/*", "9", Some("*")),
            ("OPENAI/o3", "0", Some("OPENAI/o3")),
        ];
        let mut reversed = rows;
        reversed.reverse();
        for rows in [rows, reversed] {
            let snapshot = with_models(&rows);
            for (name, id, capture) in cases {
                let found = snapshot.resolve(name).unwrap();
                assert_eq!(&*found.model.id, id, "{name}");
                assert_eq!(found.capture.as_deref(), capture, "{name}");
            }
        }
        assert!(
            with_models(&[("1", "a"), ("2", "b*")])
                .resolve("c")
                .is_none()
        );
    }

    #[test]
    fn listed_names_are_sorted_and_hold_no_patterns() {
        let snapshot = with_models(&[("1", "b"), ("2", "x*"), ("3", "a"), ("4", "B")]);
        let names: Vec<&str> = snapshot.model_names().map(|m| &*m.display_name).collect();
        assert_eq!(names, ["B", "a", "b"]);
        assert_eq!(snapshot.models().count(), 4);
    }

    #[test]
    fn the_first_row_owns_a_name_or_a_hash() {
        let snapshot = Snapshot::build(SnapshotParts {
            models: vec![model("1", "a"), model("0", "a")],
            api_keys: vec![api_key([7; 32], "1"), api_key([7; 32], "0")],
            ..SnapshotParts::default()
        });
        assert_eq!(&*snapshot.resolve("a").unwrap().model.id, "1");
        assert_eq!(&*snapshot.api_key(&[7; 32]).unwrap().id, "1");
    }

    #[test]
    fn keys_are_found_by_their_whole_hash() {
        let mut twin = [7; 32];
        twin[31] = 8; // same first bytes, same bucket
        let snapshot = Snapshot::build(SnapshotParts {
            api_keys: vec![api_key([7; 32], "1"), api_key(twin, "2")],
            ..SnapshotParts::default()
        });
        assert_eq!(&*snapshot.api_key(&[7; 32]).unwrap().id, "1");
        assert_eq!(&*snapshot.api_key(&twin).unwrap().id, "2");
        assert!(snapshot.api_key(&[8; 32]).is_none());
        assert!(Snapshot::empty().api_key(&[7; 32]).is_none());
        assert!(!format!("{snapshot:?}").contains("0707"));
    }
}
