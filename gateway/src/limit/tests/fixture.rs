//! Policies, keys and models for tests, from documents as an operator writes them. [pure]

use std::sync::Arc;

use config_sync::collection::Collection;
use config_sync::model::api_key::ApiKey;
use config_sync::model::model::Model;
use config_sync::model::rate_limit_policy::{Condition, PolicyRule, RateLimitPolicy};
use config_sync::resource::Resource;
use config_sync::snapshot::{Other, Snapshot, SnapshotParts};
use config_sync::tree::{Problems, Unknown, Value};

use crate::limit::Policies;
use crate::route::fixture;

pub(in crate::limit) fn policy(doc: &Value) -> RateLimitPolicy {
    let problems = Problems::default();
    let read = RateLimitPolicy::read(doc, &problems, Unknown::Ignored);
    assert!(problems.is_empty(), "{:?} in {doc}", problems.into_vec());
    read.unwrap()
}

pub(in crate::limit) fn conditions(doc: &Value) -> Vec<Condition> {
    match policy(doc).rule {
        PolicyRule::Conditional(rule) => rule.conditions,
        PolicyRule::Classic(_) => panic!("{doc}"),
    }
}

/// Policies by their ids.
pub(in crate::limit) fn policies(rows: &[(&str, Value)]) -> Policies {
    let others = rows.iter().map(|(id, doc)| Other {
        collection: Collection::RateLimitPolicies,
        id: (*id).into(),
        resource: Arc::new(Resource::RateLimitPolicy(Box::new(policy(doc)))),
    });
    let parts = SnapshotParts {
        others: others.collect(),
        ..SnapshotParts::default()
    };
    Policies::of(&Snapshot::build(parts))
}

/// The key with id `k0`, from `extra` members.
pub(in crate::limit) fn api_key(mut extra: Value) -> Arc<ApiKey> {
    extra["allowed_models"] = serde_json::json!([]);
    let snapshot = fixture::snapshot(Vec::new(), &[], &[("sk", extra)]);
    snapshot.api_keys().next().unwrap().clone()
}

/// The model with id `m-<name>`, with these limits of its own.
pub(in crate::limit) fn model(name: &str, limits: &Value) -> Arc<Model> {
    fixture::model(name, serde_json::json!({ "rate_limit": limits }))
}
