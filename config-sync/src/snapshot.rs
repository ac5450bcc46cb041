//! One generation of the configuration, indexed for the hot path. [pure]
//!
//! An index is cut into parts that generations share, so that a changed row costs its part alone.

use std::fmt;
use std::sync::Arc;

pub(crate) use self::indexes::Indexes;
use crate::collection::Collection;
use crate::model::{ApiKey, Model, ProviderKey};
use crate::resource::Resource;

mod indexes;
mod listed;

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
    /// Rows of the other collections.
    pub others: Vec<Other>,
    /// Sentences for the operator.
    pub warnings: Vec<String>,
}

/// A row that this crate indexes by nothing but its id.
#[derive(Clone)]
pub struct Other {
    /// Its collection.
    pub collection: Collection,
    /// Resource id.
    pub id: Arc<str>,
    /// The checked document.
    pub resource: Arc<Resource>,
}

/// Names only: a document may hold credentials.
impl fmt::Debug for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Other({}/{})", self.collection, self.id)
    }
}

/// An immutable view of the configuration; a request holds one from its start to its end.
pub struct Snapshot {
    generation: u64,
    indexes: Indexes,
    warnings: Vec<String>,
}

/// The model that a caller's name stands for.
#[derive(Clone, Debug)]
pub struct Resolved<'s> {
    /// The row; its display name is a pattern where `capture` is set.
    pub model: &'s Arc<Model>,
    /// What the `*` of a wildcard row's name stands for.
    pub capture: Option<&'s str>,
}

impl Snapshot {
    /// The configuration before the first load: knows nobody and nothing.
    pub fn empty() -> Self {
        Self::build(SnapshotParts::default())
    }

    /// Indexes `parts`.
    pub fn build(parts: SnapshotParts) -> Self {
        let mut indexes = Indexes::default();
        for key in parts.provider_keys {
            if indexes.provider_key(&key.id).is_none() {
                indexes.put_provider_key(key);
            }
        }
        for (hash, key) in parts.api_keys {
            if indexes.api_key(&hash).is_none() {
                indexes.put_api_key(hash, key);
            }
        }
        for model in parts.models {
            if indexes.model(&model.id).is_none() {
                if indexes.named(&model.display_name).is_none() {
                    indexes.name(&model);
                }
                indexes.put_model(model);
            }
        }
        for other in parts.others {
            indexes.put_other(other);
        }
        Self::of(parts.generation, indexes, parts.warnings)
    }

    /// A generation of ready indexes, which others may share.
    pub(crate) fn of(generation: u64, indexes: Indexes, warnings: Vec<String>) -> Self {
        Self {
            generation,
            indexes,
            warnings,
        }
    }

    /// 0 before the first load, then counting the loads.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The caller key with this SHA-256, be it disabled or expired.
    pub fn api_key(&self, sha256: &[u8; 32]) -> Option<&Arc<ApiKey>> {
        self.indexes.api_key(sha256)
    }

    /// The model called `name`: the row of that very name, else the most specific wildcard row that
    /// covers it. Allocates nothing.
    pub fn resolve<'s>(&'s self, name: &'s str) -> Option<Resolved<'s>> {
        if let Some(model) = self.indexes.exact(name) {
            return Some(Resolved {
                model,
                capture: None,
            });
        }
        let (model, capture) = self.indexes.covering(name)?;
        Some(Resolved {
            model,
            capture: Some(capture),
        })
    }

    /// Models without a `*` in their name, by name.
    pub fn model_names(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.indexes.listed()
    }

    /// All models, in no order, also those whose name belongs to another row.
    pub fn models(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.indexes.models()
    }

    /// The model with this id.
    pub fn model(&self, id: &str) -> Option<&Arc<Model>> {
        self.indexes.model(id)
    }

    /// All upstream credentials, in no order.
    pub fn provider_keys(&self) -> impl Iterator<Item = &Arc<ProviderKey>> {
        self.indexes.provider_keys()
    }

    /// The upstream credential with this id.
    pub fn provider_key(&self, id: &str) -> Option<&Arc<ProviderKey>> {
        self.indexes.provider_key(id)
    }

    /// All caller keys, in no order.
    pub fn api_keys(&self) -> impl Iterator<Item = &Arc<ApiKey>> {
        self.indexes.api_keys()
    }

    /// The rows of a collection that has no index of its own, in no order.
    pub fn others(&self, collection: Collection) -> impl Iterator<Item = &Other> {
        self.indexes.others(collection)
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
            .field("provider_keys", &self.provider_keys().count())
            .field("models", &self.models().count())
            .field("api_keys", &self.api_keys().count())
            .field("warnings", &self.warnings)
            .finish()
    }
}

#[cfg(test)]
mod tests;
