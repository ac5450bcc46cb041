//! Snapshots for tests, from documents as an operator writes them. [pure]

use std::sync::Arc;

use config_sync::model::model::ModelKind;
use config_sync::model::routing::Routing;
use config_sync::model::{ApiKeyDocument, Model, ModelDocument, ProviderKey, ProviderKeyDocument};
use config_sync::snapshot::{Snapshot, SnapshotParts};
use config_sync::tree::{Problems, Unknown, Value};
use sha2::{Digest, Sha256};

/// A provider key with id `pk`, from `extra` members on top of the required ones.
pub(crate) fn provider_key(extra: Value) -> Arc<ProviderKey> {
    let base = serde_json::json!({
        "display_name": "up", "provider": "openai", "api_key": "sk-up-canary",
        "api_base": "http://up.test:8080/v1",
    });
    let document = merged(base, extra);
    let problems = Problems::default();
    let read = ProviderKeyDocument::read(&document, &problems, Unknown::Refused);
    assert!(problems.is_empty(), "{:?}", problems.into_vec());
    Arc::new(read.into_key("pk".into()))
}

/// A model with id `m-<name>` and provider key `pk`, created at 1700000000, from `extra` members.
pub(crate) fn model(name: &str, extra: Value) -> Arc<Model> {
    let base = serde_json::json!({
        "display_name": name, "provider": "openai", "model_name": "gpt-up", "provider_key_id": "pk",
    });
    let document = merged(base, extra);
    let problems = Problems::default();
    let read = ModelDocument::read(&document, &problems, Unknown::Refused);
    assert!(problems.is_empty(), "{:?}", problems.into_vec());
    Arc::new(
        read.unwrap()
            .into_model(format!("m-{name}").into(), 1_700_000_000),
    )
}

/// The settings of a group.
pub(crate) fn group(name: &str, targets: Value, extra: Value) -> Routing {
    let Value::Object(mut routing) = extra else {
        panic!("documents are objects");
    };
    routing.insert("targets".to_owned(), targets);
    let document = serde_json::json!({"display_name": name, "routing": routing});
    let problems = Problems::default();
    let read = ModelDocument::read(&document, &problems, Unknown::Refused);
    assert!(problems.is_empty(), "{:?}", problems.into_vec());
    match read.unwrap().kind {
        ModelKind::Routing(routing) => *routing,
        other => panic!("{other:?}"),
    }
}

/// A snapshot with `models`, their keys, and caller keys: plaintext and document members beside
/// `key_hash`.
pub(crate) fn snapshot(
    models: Vec<Arc<Model>>,
    provider_keys: &[&Arc<ProviderKey>],
    callers: &[(&str, Value)],
) -> Snapshot {
    let api_keys = callers
        .iter()
        .enumerate()
        .map(|(index, (plaintext, extra))| {
            let digest: [u8; 32] = Sha256::digest(plaintext).into();
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            let document = merged(serde_json::json!({ "key_hash": hex }), extra.clone());
            let problems = Problems::default();
            let read = ApiKeyDocument::read(&document, &problems, Unknown::Refused);
            assert!(problems.is_empty(), "{:?}", problems.into_vec());
            let id = format!("k{index}");
            (read.key_hash, Arc::new(read.into_key(id.as_str().into())))
        });
    Snapshot::build(SnapshotParts {
        generation: 1,
        models,
        provider_keys: provider_keys.iter().copied().cloned().collect(),
        api_keys: api_keys.collect(),
        ..SnapshotParts::default()
    })
}

/// Members of `extra` replace those of `base`; `null` removes.
fn merged(base: Value, extra: Value) -> Value {
    let (Value::Object(mut members), Value::Object(extra)) = (base, extra) else {
        panic!("documents are objects");
    };
    members.extend(extra);
    members.retain(|_, value| !value.is_null());
    Value::Object(members)
}
