//! The indexes of a snapshot, changed row by row. [pure]

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::Other;
use super::listed::Listed;
use crate::collection::Collection;
use crate::model::glob::Glob;
use crate::model::{ApiKey, Model, ProviderKey};
use crate::shards::Shards;

/// Every index. A clone costs a few pointers; the two then share whatever neither changes.
#[derive(Clone, Default)]
pub(crate) struct Indexes {
    /// Hashes names and ids; the same in every clone. Names are the operator's: a caller, who only
    /// looks them up, cannot make them collide.
    hasher: RandomState,
    provider_keys: Shards<Arc<str>, Arc<ProviderKey>>,
    api_keys: Shards<[u8; 32], Arc<ApiKey>>,
    /// By id.
    models: Shards<Arc<str>, Arc<Model>>,
    /// By name, where it is no pattern.
    exact: Shards<Arc<str>, Arc<Model>>,
    /// Those of `exact`, by name.
    listed: Listed,
    /// Most literal characters first, then lowest id. Copied whole: a lookup walks all of them too.
    wildcards: Arc<Vec<(Glob, Arc<Model>)>>,
    wildcards_copied: u64,
    others: BTreeMap<Collection, Shards<Arc<str>, Other>>,
}

/// A SHA-256 is uniform already; who could choose its first bytes would only slow his own lookup.
fn hash_of_digest(digest: &[u8; 32]) -> u64 {
    let mut head = [0; 8];
    head.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(head)
}

impl Indexes {
    pub(crate) fn api_key(&self, sha256: &[u8; 32]) -> Option<&Arc<ApiKey>> {
        self.api_keys.get(hash_of_digest(sha256), sha256)
    }

    pub(crate) fn api_keys(&self) -> impl Iterator<Item = &Arc<ApiKey>> {
        self.api_keys.values()
    }

    pub(crate) fn put_api_key(&mut self, sha256: [u8; 32], key: Arc<ApiKey>) {
        self.api_keys.insert(hash_of_digest(&sha256), sha256, key);
    }

    pub(crate) fn remove_api_key(&mut self, sha256: &[u8; 32]) {
        self.api_keys.remove(hash_of_digest(sha256), sha256);
    }

    pub(crate) fn provider_key(&self, id: &str) -> Option<&Arc<ProviderKey>> {
        self.provider_keys.get(self.hash(id), id)
    }

    pub(crate) fn provider_keys(&self) -> impl Iterator<Item = &Arc<ProviderKey>> {
        self.provider_keys.values()
    }

    pub(crate) fn put_provider_key(&mut self, key: Arc<ProviderKey>) {
        let hash = self.hash(&key.id);
        self.provider_keys.insert(hash, Arc::clone(&key.id), key);
    }

    pub(crate) fn remove_provider_key(&mut self, id: &str) {
        self.provider_keys.remove(self.hash(id), id);
    }

    pub(crate) fn model(&self, id: &str) -> Option<&Arc<Model>> {
        self.models.get(self.hash(id), id)
    }

    pub(crate) fn models(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.models.values()
    }

    /// Makes `model` reachable by its id.
    pub(crate) fn put_model(&mut self, model: Arc<Model>) {
        let hash = self.hash(&model.id);
        self.models.insert(hash, Arc::clone(&model.id), model);
    }

    pub(crate) fn remove_model(&mut self, id: &str) {
        self.models.remove(self.hash(id), id);
    }

    /// The model of this very name.
    pub(crate) fn exact(&self, name: &str) -> Option<&Arc<Model>> {
        self.exact.get(self.hash(name), name)
    }

    /// Models without a `*` in their name, by name.
    pub(crate) fn listed(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.listed.iter()
    }

    /// The most specific wildcard row that covers `name`, and what its `*` stands for.
    pub(crate) fn covering<'n>(&self, name: &'n str) -> Option<(&Arc<Model>, &'n str)> {
        self.wildcards
            .iter()
            .find_map(|(glob, model)| Some((model, glob.capture(name)?)))
    }

    /// The model that goes by this very name, be it a pattern.
    pub(crate) fn named(&self, name: &str) -> Option<&Arc<Model>> {
        if !name.contains('*') {
            return self.exact(name);
        }
        self.wildcard(name).map(|place| &self.wildcards[place].1)
    }

    /// Makes `model` the one that goes by its name.
    pub(crate) fn name(&mut self, model: &Arc<Model>) {
        let name = &model.display_name;
        if !model.is_wildcard() {
            let hash = self.hash(name);
            self.exact.insert(hash, Arc::clone(name), Arc::clone(model));
            self.listed.insert(Arc::clone(model));
            return;
        }
        self.unname(name);
        // Readers refuse names with two stars.
        let Ok(glob) = Glob::parse(name) else { return };
        let rank = |glob: &Glob, model: &Model| {
            (
                std::cmp::Reverse(glob.literal_chars()),
                Arc::clone(&model.id),
            )
        };
        let here = rank(&glob, model);
        let place = self
            .wildcards
            .partition_point(|(glob, model)| rank(glob, model) < here);
        self.wildcards_mut()
            .insert(place, (glob, Arc::clone(model)));
    }

    /// Nobody goes by `name` any more.
    pub(crate) fn unname(&mut self, name: &str) {
        if !name.contains('*') {
            self.exact.remove(self.hash(name), name);
            self.listed.remove(name);
        } else if let Some(place) = self.wildcard(name) {
            self.wildcards_mut().remove(place);
        }
    }

    pub(crate) fn others(&self, collection: Collection) -> impl Iterator<Item = &Other> {
        let rows = self.others.get(&collection);
        rows.into_iter().flat_map(Shards::values)
    }

    pub(crate) fn put_other(&mut self, other: Other) {
        let hash = self.hash(&other.id);
        let rows = self.others.entry(other.collection).or_default();
        rows.insert(hash, Arc::clone(&other.id), other);
    }

    pub(crate) fn remove_other(&mut self, collection: Collection, id: &str) {
        let hash = self.hash(id);
        if let Some(rows) = self.others.get_mut(&collection) {
            rows.remove(hash, id);
        }
    }

    /// How many entries were copied so far because a clone shared them.
    pub(crate) fn copied(&self) -> u64 {
        let others: u64 = self.others.values().map(Shards::copied).sum();
        self.provider_keys.copied()
            + self.api_keys.copied()
            + self.models.copied()
            + self.exact.copied()
            + self.listed.copied()
            + self.wildcards_copied
            + others
    }

    fn wildcard(&self, pattern: &str) -> Option<usize> {
        let mut names = self.wildcards.iter().map(|(_, model)| &model.display_name);
        names.position(|name| **name == *pattern)
    }

    fn wildcards_mut(&mut self) -> &mut Vec<(Glob, Arc<Model>)> {
        if Arc::strong_count(&self.wildcards) > 1 {
            self.wildcards_copied += self.wildcards.len() as u64;
        }
        Arc::make_mut(&mut self.wildcards)
    }

    fn hash(&self, text: &str) -> u64 {
        self.hasher.hash_one(text)
    }
}
