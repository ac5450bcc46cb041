//! The rows that a worker routes to, held so that workers share no count. [pure]

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use config_sync::model::labels::TargetLabels;
use config_sync::model::model::Model;
use config_sync::model::provider_key::ProviderKey;
use config_sync::snapshot::Snapshot;

use super::group::Group;
use super::select::Turns;
use super::{Route, group};
use crate::bridge::health::{HealthTable, TargetHealth};
use crate::bridge::shard::PointerHash;
use crate::short_text::ShortText;

/// A row in the hands of one worker: its requests change the worker's own count. All workers
/// changing that of a popular model would make it the hottest cache line of the process.
pub type Row<T> = Rc<Arc<T>>;

/// Rows that requests of one worker were routed to since the last sweep, and those of the generation
/// before it.
#[derive(Debug, Default)]
pub struct Rows {
    swept: Cell<u64>,
    by_model: RefCell<HashMap<usize, Held, PointerHash>>,
    /// Groups with the generation that they are prepared for.
    groups: RefCell<HashMap<usize, (u64, Rc<Group>), PointerHash>>,
    pub(super) turns: RefCell<Turns>,
    /// How targets are doing, as all workers know it.
    health: Arc<HealthTable>,
    /// Whether a group was seen that looks at latencies or loads: only then they are kept.
    samples: Cell<bool>,
}

#[derive(Debug)]
struct Held {
    /// The last generation in which it was found to be current.
    seen: u64,
    target: Target,
}

/// A model with all that a request needs of it.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) model: Row<Model>,
    pub(super) provider_key: Row<ProviderKey>,
    /// The worker's own: what a record takes along is counted on a line that this worker and the cold
    /// side share, and no other worker.
    pub(super) labels: Row<TargetLabels>,
    pub(super) health: Row<TargetHealth>,
}

impl Target {
    /// The way of one request to it.
    pub(super) fn route(&self, upstream_model: ShortText) -> Route {
        Route {
            target: Rc::clone(&self.model),
            provider_key: Rc::clone(&self.provider_key),
            labels: Rc::clone(&self.labels),
            health: Rc::clone(&self.health),
            upstream_model,
        }
    }
}

impl Rows {
    /// Of a worker that shares `health` with the others.
    pub fn new(health: Arc<HealthTable>) -> Self {
        Self {
            health,
            ..Self::default()
        }
    }

    /// Whether anybody looks at how fast or busy targets are.
    pub fn keeps_samples(&self) -> bool {
        self.samples.get()
    }

    /// `model` of `snapshot` as a group; `None` where it is none.
    pub(super) fn group(&self, snapshot: &Snapshot, model: &Arc<Model>) -> Option<Rc<Group>> {
        let routing = group::routing_of(model)?;
        let generation = snapshot.generation();
        // As long as it is held, no other row can lie at this address.
        let place = Arc::as_ptr(model).addr();
        let known = self.groups.borrow().get(&place).cloned();
        if let Some((seen, group)) = &known
            && *seen == generation
        {
            return Some(Rc::clone(group));
        }
        let before = known.as_ref().map(|(_, group)| &**group);
        let group = Rc::new(Group::prepare(self, snapshot, model, routing, before));
        self.samples
            .set(self.samples.get() || group.wants_samples());
        let mut groups = self.groups.borrow_mut();
        groups.insert(place, (generation, Rc::clone(&group)));
        Some(group)
    }

    /// The worker's hold on `model` of `snapshot`; `None` where its provider key is not there.
    pub(super) fn hold(&self, snapshot: &Snapshot, model: &Arc<Model>) -> Option<Target> {
        let generation = snapshot.generation();
        // As long as it is held, no other row can lie at this address.
        let place = Arc::as_ptr(model).addr();
        let mut held = self.by_model.borrow_mut();
        if let Some(known) = held.get_mut(&place) {
            // Each generation may have another key under the same id.
            if known.seen == generation || is_key_of(&known.target, snapshot) {
                known.seen = generation;
                return Some(known.target.clone());
            }
        }
        let key = snapshot.provider_key(&model.provider_key_id)?;
        let target = Target {
            model: Rc::new(Arc::clone(model)),
            provider_key: Rc::new(Arc::clone(key)),
            labels: Rc::new(Arc::new(model.labels(key))),
            health: Rc::new(self.health.hold(&model.id)),
        };
        let known = Held {
            seen: generation,
            target: target.clone(),
        };
        held.insert(place, known);
        Some(target)
    }

    /// Lets go of rows that are not in `snapshot`. Requests under way keep theirs.
    pub fn sweep(&self, snapshot: &Snapshot) {
        if self.swept.replace(snapshot.generation()) == snapshot.generation() {
            return;
        }
        let is_current = |model: &Row<Model>| {
            let current = snapshot.model(&model.id);
            current.is_some_and(|current| Arc::ptr_eq(current, model))
        };
        let mut held = self.by_model.borrow_mut();
        held.retain(|_, Held { target, .. }| {
            is_current(&target.model) && is_key_of(target, snapshot)
        });
        let mut groups = self.groups.borrow_mut();
        groups.retain(|_, (_, group)| is_current(&group.model));
        let names = |name: &str| snapshot.resolve(name).is_some();
        self.turns.borrow_mut().retain(names);
    }
}

/// Whether the key of `target` is still the one of its id.
fn is_key_of(target: &Target, snapshot: &Snapshot) -> bool {
    let current = snapshot.provider_key(&target.model.provider_key_id);
    current.is_some_and(|current| Arc::ptr_eq(current, &target.provider_key))
}

#[cfg(test)]
mod tests {
    use config_sync::snapshot::SnapshotParts;
    use serde_json::json;

    use super::*;
    use crate::route::fixture;

    fn snapshot(generation: u64, model: &Arc<Model>, key: Option<&Arc<ProviderKey>>) -> Snapshot {
        Snapshot::build(SnapshotParts {
            generation,
            models: vec![Arc::clone(model)],
            provider_keys: key.into_iter().cloned().collect(),
            ..SnapshotParts::default()
        })
    }

    #[test]
    fn requests_share_the_workers_own_count_and_rows_that_left_the_snapshot_are_let_go() {
        let rows = Rows::default();
        let key = fixture::provider_key(json!({}));
        let model = fixture::model("m", json!({}));
        let first = snapshot(1, &model, Some(&key));
        let before = (Arc::strong_count(&model), Arc::strong_count(&key));
        let held: Vec<Target> = (0..3).map(|_| rows.hold(&first, &model).unwrap()).collect();
        let counts = (Arc::strong_count(&model), Arc::strong_count(&key));
        assert_eq!(counts, (before.0 + 1, before.1 + 1));
        assert_eq!(&*held[0].labels.provider_key_id, "pk");

        rows.sweep(&first);
        assert_eq!(rows.by_model.borrow().len(), 1);
        rows.sweep(&snapshot(2, &fixture::model("m", json!({})), Some(&key)));
        assert!(rows.by_model.borrow().is_empty());
        assert_eq!(*held[2].model.display_name, *"m");
    }

    #[test]
    fn a_key_that_is_replaced_serves_with_the_next_generation_and_one_that_left_no_more() {
        let rows = Rows::default();
        let model = fixture::model("m", json!({}));
        let [old, new] =
            ["sk-old", "sk-new"].map(|key| fixture::provider_key(json!({"api_key": key})));
        let key_in = |generation, key: Option<&Arc<ProviderKey>>| {
            let target = rows.hold(&snapshot(generation, &model, key), &model);
            target.map(|target| target.provider_key.api_key.expose().to_owned())
        };
        assert_eq!(key_in(1, Some(&old)).as_deref(), Some("sk-old"));
        assert_eq!(key_in(2, Some(&new)).as_deref(), Some("sk-new"));
        assert_eq!(key_in(3, None), None);
        assert_eq!(key_in(4, Some(&old)).as_deref(), Some("sk-old"));
        rows.sweep(&snapshot(5, &model, Some(&new)));
        assert!(rows.by_model.borrow().is_empty(), "the old key is let go");
    }
}
