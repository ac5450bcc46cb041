//! The rows that a worker routes to, held so that workers share no count. [pure]

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use config_sync::model::labels::TargetLabels;
use config_sync::model::model::Model;
use config_sync::model::provider_key::ProviderKey;
use config_sync::snapshot::Snapshot;

use crate::bridge::shard::PointerHash;

/// A row in the hands of one worker: its requests change the worker's own count. All workers
/// changing that of a popular model would make it the hottest cache line of the process.
pub type Row<T> = Rc<Arc<T>>;

/// Rows that requests of one worker were routed to since the last sweep, and those of the generation
/// before it.
#[derive(Debug, Default)]
pub struct Rows {
    swept: Cell<u64>,
    by_model: RefCell<HashMap<usize, Target, PointerHash>>,
}

/// A model with all that a request needs of it.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) model: Row<Model>,
    pub(super) provider_key: Row<ProviderKey>,
    /// A copy of the model's: what a record takes along is counted on a line that this worker and
    /// the cold side share, and no other worker.
    pub(super) labels: Row<TargetLabels>,
}

impl Rows {
    /// The worker's hold on `model`.
    pub(super) fn hold(&self, model: &Arc<Model>, provider_key: &Arc<ProviderKey>) -> Target {
        let mut held = self.by_model.borrow_mut();
        // As long as it is held, no other row can lie at this address.
        let target = held.entry(Arc::as_ptr(model).addr());
        target
            .or_insert_with(|| Target {
                model: Rc::new(Arc::clone(model)),
                provider_key: Rc::new(Arc::clone(provider_key)),
                labels: Rc::new(Arc::new(TargetLabels::clone(&model.labels))),
            })
            .clone()
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
        held.retain(|_, target| is_current(&target.model));
    }
}

#[cfg(test)]
mod tests {
    use config_sync::snapshot::SnapshotParts;
    use serde_json::json;

    use super::*;
    use crate::route::fixture;

    #[test]
    fn requests_share_the_workers_own_count_and_rows_that_left_the_snapshot_are_let_go() {
        let rows = Rows::default();
        let key = fixture::provider_key(json!({}));
        let model = fixture::model("m", Some(&key), json!({}));
        let before = (Arc::strong_count(&model), Arc::strong_count(&key));
        let held: Vec<Target> = (0..3).map(|_| rows.hold(&model, &key)).collect();
        let counts = (Arc::strong_count(&model), Arc::strong_count(&key));
        assert_eq!(counts, (before.0 + 1, before.1 + 1));
        assert!(!Arc::ptr_eq(&held[0].labels, &model.labels));
        assert_eq!(**held[0].labels, *model.labels);

        rows.sweep(&fixture::snapshot(vec![Arc::clone(&model)], &[]));
        assert_eq!(rows.by_model.borrow().len(), 1);
        let another = Snapshot::build(SnapshotParts {
            generation: 2,
            models: vec![fixture::model("m", Some(&key), json!({}))],
            ..SnapshotParts::default()
        });
        rows.sweep(&another);
        assert!(rows.by_model.borrow().is_empty());
        assert_eq!(*held[2].model.display_name, *"m");
    }
}
