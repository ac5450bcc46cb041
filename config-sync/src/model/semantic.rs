//! Semantic models: the target is the one whose examples are nearest to the request. [pure]

use std::sync::Arc;

use super::field;
use crate::tree::{Fields, Value, kind};

/// How a request finds its target. Nearness is the highest cosine over a route's examples.
#[derive(Clone, Debug, PartialEq)]
pub struct Semantic {
    /// Display name of the embedding model that is asked.
    pub embedding_model: Arc<str>,
    /// Display name of the model used when no route is near enough.
    pub default: Arc<str>,
    /// At least one.
    pub routes: Vec<SemanticRoute>,
    /// Deadline of the embedding call in ms, never 0; `None`: none.
    pub embedding_timeout_ms: Option<u64>,
    /// What happens when there is no embedding. Default: the default model.
    pub on_embedding_failure: OnEmbeddingFailure,
}

/// One target and what it is for.
#[derive(Clone, Debug, PartialEq)]
pub struct SemanticRoute {
    /// Name, for the response header.
    pub name: Arc<str>,
    /// Display name of the model.
    pub target: Arc<str>,
    /// Requests it is meant for, at least one.
    pub examples: Vec<Arc<str>>,
    /// Least nearness, 0 to 1. Default: that of `match`.
    pub threshold: f64,
}

/// The target when the embedding model fails.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum OnEmbeddingFailure {
    /// The default model.
    #[default]
    Default,
    /// None: 503.
    Fail,
    /// The model of this display name.
    Target(Arc<str>),
}

impl Semantic {
    /// Reads the block of a semantic model. The result is usable only if no problem was noted.
    pub(super) fn read(fields: Fields<'_>) -> Option<Self> {
        let embedding_model = field::text(&fields, "embedding_model");
        let default = field::text(&fields, "default");
        let threshold = field::required_block(&fields, "match").and_then(read_match);
        let routes = read_routes(&fields, threshold);
        let embedding_timeout_ms = field::timeout_ms(&fields, "embedding_timeout_ms");
        let on_embedding_failure = read_failure(&fields);
        fields.finish();
        threshold?;
        Some(Self {
            embedding_model: embedding_model?,
            default: default?,
            routes,
            embedding_timeout_ms,
            on_embedding_failure: on_embedding_failure?,
        })
    }
}

/// The threshold; of metric and aggregation there is one each.
fn read_match(block: Fields<'_>) -> Option<f64> {
    field::required(&block, "threshold");
    let threshold = field::number_within(&block, "threshold", 0.0, 1.0);
    block.take_choice("distance_metric", &[("cosine", ())]);
    block.take_choice("aggregation", &[("max", ())]);
    block.finish();
    threshold
}

fn read_routes(fields: &Fields<'_>, threshold: Option<f64>) -> Vec<SemanticRoute> {
    let mut routes = Vec::new();
    for (path, item) in field::items(fields, "routes") {
        let Some(block) = field::mapping(fields, &path, item) else {
            continue;
        };
        let name = field::text(&block, "name");
        let target = field::text(&block, "target");
        let examples = field::required_texts(&block, "examples");
        let threshold = field::number_within(&block, "threshold", 0.0, 1.0).or(threshold);
        block.take_str("description");
        block.finish();
        if let (Some(name), Some(target), Some(threshold)) = (name, target, threshold) {
            routes.push(SemanticRoute {
                name,
                target,
                examples,
                threshold,
            });
        }
    }
    routes
}

fn read_failure(fields: &Fields<'_>) -> Option<OnEmbeddingFailure> {
    const KEY: &str = "on_embedding_failure";
    match fields.take(KEY) {
        None => Some(OnEmbeddingFailure::Default),
        Some(Value::String(word)) if word == "default" => Some(OnEmbeddingFailure::Default),
        Some(Value::String(word)) if word == "fail" => Some(OnEmbeddingFailure::Fail),
        Some(Value::Object(_)) => {
            let block = field::block(fields, KEY)?;
            let target = field::text(&block, "target");
            block.finish();
            target.map(OnEmbeddingFailure::Target)
        }
        Some(other) => {
            let mut message = "must be default, fail or a mapping with `target`".to_owned();
            if !other.is_string() {
                message.push_str(&format!(", not {}", kind(other)));
            }
            fields.problem(KEY, message);
            None
        }
    }
}
