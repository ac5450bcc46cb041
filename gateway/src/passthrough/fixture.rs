//! Routes for tests, from documents as an operator writes them. [pure]

use std::sync::Arc;

use config_sync::collection::Collection;
use config_sync::model::ProviderKey;
use config_sync::model::passthrough_route::PassthroughRoute;
use config_sync::resource::Resource;
use config_sync::snapshot::Other;
use config_sync::tree::{Problems, Unknown, Value};
use serde_json::json;

use super::Route;

/// The document of a route called `r` at `/r`, from `extra` members; `null` removes.
pub(crate) fn document(extra: Value) -> PassthroughRoute {
    let mut base = json!({"name": "r", "path_prefix": "/r", "target_url": "http://up.example",
                          "provider_key_id": "pk"});
    let members = base.as_object_mut().unwrap();
    let Value::Object(extra) = extra else {
        panic!("documents are objects");
    };
    members.extend(extra);
    members.retain(|_, value| !value.is_null());
    let problems = Problems::default();
    let route = PassthroughRoute::read(&base, &problems, Unknown::Refused);
    assert!(problems.is_empty(), "{:?}", problems.into_vec());
    route
}

/// The same as a route with this provider key.
pub(crate) fn route(extra: Value, key: Option<&Arc<ProviderKey>>) -> Route {
    Route::new(&"r1".into(), &document(extra), key, None)
}

/// The same as a row of a snapshot.
pub(crate) fn row(id: &str, extra: Value) -> Other {
    Other {
        collection: Collection::PassthroughRoutes,
        id: id.into(),
        resource: Arc::new(Resource::PassthroughRoute(Box::new(document(extra)))),
    }
}
