//! What is served: the indexes, with names resolved as rows change. [pure]

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::names::{Names, Shift};
use super::report::{DUPLICATE_NAME, Reports, WHOLE, count};
use super::row::{Place, Shown};
use super::warn;
use crate::collection::Collection;
use crate::resource::Resource;
use crate::snapshot::{Indexes, Other, Snapshot};

/// Collections that this version serves; rows of the others load, and nothing enforces them.
pub const SERVED: [Collection; 6] = [
    Collection::ProviderKeys,
    Collection::Models,
    Collection::ApiKeys,
    Collection::RateLimitPolicies,
    Collection::PassthroughRoutes,
    Collection::Ssls,
];

/// The indexes of the next snapshot, and what it takes to keep them up to date.
#[derive(Default)]
pub(super) struct Serving {
    indexes: Indexes,
    names: Names,
    /// Under which hash a caller key was indexed, by its id.
    key_hashes: HashMap<Arc<str>, [u8; 32]>,
    /// Names of models whose owner, or its row, may have changed.
    dirty_names: BTreeSet<Arc<str>>,
    changed: bool,
}

impl Serving {
    /// Serves `next` in place of `before`, the same row as it was.
    pub(super) fn put(
        &mut self,
        place: &Place,
        before: Option<&Shown>,
        next: &Shown,
        appeared: i64,
        reports: &mut Reports,
    ) {
        match before {
            None => {
                count(&mut reports.served_by_kind, place.collection.name(), true);
                reports.touch();
            }
            Some(before) => self.unnote(place, before, Some(next), reports),
        }
        self.note(place, before, next, reports);
        warn::of_row(place, &next.decoded, reports);
        if before.is_none_or(|before| !same(before, next)) {
            self.index(place, &next.decoded.resource, appeared);
        }
    }

    /// Serves the row `before` no more.
    pub(super) fn remove(&mut self, place: &Place, before: &Shown, reports: &mut Reports) {
        count(&mut reports.served_by_kind, place.collection.name(), false);
        reports.touch();
        self.unnote(place, before, None, reports);
        let id = &place.id;
        match place.collection {
            Collection::ProviderKeys => self.indexes.remove_provider_key(id),
            Collection::Models => self.indexes.remove_model(id),
            Collection::ApiKeys => self.drop_api_key(id),
            other => self.indexes.remove_other(other, id),
        }
        self.changed = true;
    }

    /// Gives names to their owners. Tells whether the next snapshot differs from the last.
    pub(super) fn finish(&mut self) -> bool {
        for name in std::mem::take(&mut self.dirty_names) {
            let owner = self.names.owner(Collection::Models, &name);
            let model = owner.and_then(|id| self.indexes.model(id)).cloned();
            match (self.indexes.named(&name), model) {
                (Some(now), Some(model)) if Arc::ptr_eq(now, &model) => continue,
                (None, None) => continue,
                (_, Some(model)) => self.indexes.name(&model),
                (Some(_), None) => self.indexes.unname(&name),
            }
            self.changed = true;
        }
        std::mem::take(&mut self.changed)
    }

    /// A snapshot that shares the indexes.
    pub(super) fn snapshot(&self, generation: u64) -> Snapshot {
        Snapshot::of(generation, self.indexes.clone(), Vec::new())
    }

    /// Entries copied so far.
    pub(super) fn copied(&self) -> u64 {
        self.indexes.copied()
    }

    fn index(&mut self, place: &Place, resource: &Arc<Resource>, appeared: i64) {
        let id = Arc::clone(&place.id);
        match (&**resource, place.collection) {
            (Resource::ProviderKey(document), Collection::ProviderKeys) => {
                let key = (**document).clone().into_key(Arc::clone(&id));
                if self
                    .indexes
                    .provider_key(&id)
                    .is_some_and(|now| **now == key)
                {
                    return;
                }
                self.indexes.put_provider_key(Arc::new(key));
            }
            (Resource::Model(document), Collection::Models) => {
                let model = (**document).clone().into_model(Arc::clone(&id), appeared);
                if self.indexes.model(&id).is_some_and(|now| **now == model) {
                    return;
                }
                self.dirty_names.insert(Arc::clone(&model.display_name));
                self.indexes.put_model(Arc::new(model));
            }
            (Resource::ApiKey(document), Collection::ApiKeys) => {
                let hash = document.key_hash;
                let key = (**document).clone().into_key(Arc::clone(&id));
                if self.indexes.api_key(&hash).is_some_and(|now| **now == key) {
                    return;
                }
                self.drop_api_key(&id);
                self.indexes.put_api_key(hash, Arc::new(key));
                self.key_hashes.insert(id, hash);
            }
            (_, collection) => self.indexes.put_other(Other {
                collection,
                id,
                resource: Arc::clone(resource),
            }),
        }
        self.changed = true;
    }

    /// Takes a caller key out of the index, unless another row has come to own its hash.
    fn drop_api_key(&mut self, id: &Arc<str>) {
        if let Some(hash) = self.key_hashes.remove(id)
            && self.indexes.api_key(&hash).is_some_and(|key| key.id == *id)
        {
            self.indexes.remove_api_key(&hash);
        }
    }

    /// Notes what is left out of account of `next`, where that differs from `before`.
    fn note(&mut self, place: &Place, before: Option<&Shown>, next: &Shown, reports: &mut Reports) {
        let kind = place.collection.name();
        if before.is_none_or(|before| before.decoded.ignored != next.decoded.ignored) {
            for field in &next.decoded.ignored {
                reports.note(kind, &place.id, field);
            }
        }
        if before.is_none() && !SERVED.contains(&place.collection) {
            reports.note(kind, &place.id, WHOLE);
        }
        if let Some(name) = &next.decoded.name
            && before.is_none_or(|before| !same_name(before, next))
        {
            let shift = self.names.join(place.collection, name, next.order.clone());
            self.shift(place.collection, name, shift, reports);
        }
    }

    /// Takes back what was noted of `before`, where that differs from `next`.
    fn unnote(
        &mut self,
        place: &Place,
        before: &Shown,
        next: Option<&Shown>,
        reports: &mut Reports,
    ) {
        let kind = place.collection.name();
        if next.is_none_or(|next| before.decoded.ignored != next.decoded.ignored) {
            for field in &before.decoded.ignored {
                reports.forget(kind, &place.id, field);
            }
        }
        if next.is_none() && !SERVED.contains(&place.collection) {
            reports.forget(kind, &place.id, WHOLE);
        }
        if let Some(name) = &before.decoded.name
            && next.is_none_or(|next| !same_name(before, next))
        {
            if self.names.owner(place.collection, name) != Some(&place.id) {
                reports.forget(kind, &place.id, DUPLICATE_NAME);
            }
            let shift = self.names.part(place.collection, name, &before.order);
            let others = shift.filter(|shift| shift.id != place.id);
            self.shift(place.collection, name, others, reports);
        }
    }

    /// A name of `collection` gained or lost a row.
    fn shift(
        &mut self,
        collection: Collection,
        name: &Arc<str>,
        shift: Option<Shift>,
        reports: &mut Reports,
    ) {
        match shift {
            Some(Shift { id, duplicate }) if duplicate => {
                reports.note(collection.name(), &id, DUPLICATE_NAME);
                let owner = self.names.owner(collection, name);
                warn::of_duplicate(collection, &id, owner, reports);
            }
            Some(Shift { id, .. }) => reports.forget(collection.name(), &id, DUPLICATE_NAME),
            None => {}
        }
        if collection == Collection::Models {
            self.dirty_names.insert(Arc::clone(name));
        }
    }
}

fn same(before: &Shown, next: &Shown) -> bool {
    Arc::ptr_eq(&before.decoded.resource, &next.decoded.resource)
}

fn same_name(before: &Shown, next: &Shown) -> bool {
    before.decoded.name == next.decoded.name && before.order == next.order
}
