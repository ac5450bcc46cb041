//! The kinds of models, and what those without an upstream of their own may carry. [pure]

use std::sync::Arc;

use super::super::ensemble::Ensemble;
use super::super::field;
use super::super::routing::Routing;
use super::super::semantic::{OnEmbeddingFailure, Semantic};
use crate::tree::{Fields, Unknown};

/// What stands behind a model's name.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelKind {
    /// An upstream: also embedding models and patterns of names.
    Direct,
    /// Targets of which one answers.
    Routing(Box<Routing>),
    /// A panel whose answers are merged.
    Ensemble(Box<Ensemble>),
    /// Targets chosen by what is asked.
    Semantic(Box<Semantic>),
}

impl ModelKind {
    /// Whether this version serves it.
    pub fn is_served(&self) -> bool {
        match self {
            Self::Direct | Self::Routing(_) => true,
            Self::Ensemble(_) | Self::Semantic(_) => false,
        }
    }

    /// The marker in documents, or `direct`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Routing(_) => Marker::Routing.key(),
            Self::Ensemble(_) => Marker::Ensemble.key(),
            Self::Semantic(_) => Marker::Semantic.key(),
        }
    }

    /// The display names of the models behind this one, each with its path in the document.
    pub fn references(&self) -> Vec<(String, &Arc<str>)> {
        let indexed = |list: &str, index: usize, field: &str| format!("{list}[{index}].{field}");
        match self {
            Self::Direct => Vec::new(),
            Self::Routing(routing) => {
                let targets = routing.targets.iter().enumerate();
                targets
                    .map(|(at, target)| (indexed("routing.targets", at, "model"), &target.model))
                    .collect()
            }
            Self::Ensemble(ensemble) => {
                let panel = ensemble.panel.iter().enumerate();
                panel
                    .map(|(at, member)| (indexed("ensemble.panel", at, "model"), &member.model))
                    .chain([("ensemble.judge.model".to_owned(), &ensemble.judge.model)])
                    .collect()
            }
            Self::Semantic(semantic) => {
                let routes = semantic.routes.iter().enumerate();
                let failure = match &semantic.on_embedding_failure {
                    OnEmbeddingFailure::Target(model) => Some(model),
                    OnEmbeddingFailure::Default | OnEmbeddingFailure::Fail => None,
                };
                let own = [
                    ("semantic.embedding_model", Some(&semantic.embedding_model)),
                    ("semantic.default", Some(&semantic.default)),
                    ("semantic.on_embedding_failure.target", failure),
                ];
                own.into_iter()
                    .filter_map(|(path, model)| Some((path.to_owned(), model?)))
                    .chain(routes.map(|(at, route)| {
                        (indexed("semantic.routes", at, "target"), &route.target)
                    }))
                    .collect()
            }
        }
    }
}

/// The block that makes a model virtual.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Marker {
    Routing,
    Ensemble,
    Semantic,
}

/// Fields of an upstream, which no virtual model has.
const FOREIGN: [&str; 6] = [
    "provider",
    "model_name",
    "provider_key_id",
    "embedding",
    "cooldown",
    "background_model_check",
];

impl Marker {
    const ALL: [Self; 3] = [Self::Routing, Self::Ensemble, Self::Semantic];

    /// The one block that is there, or none.
    ///
    /// # Errors
    ///
    /// The field that is there beside another one.
    pub(super) fn find(fields: &Fields<'_>) -> Result<Option<Self>, &'static str> {
        let mut found = Self::ALL
            .into_iter()
            .filter(|marker| fields.take(marker.key()).is_some());
        let first = found.next();
        match found.next() {
            None => Ok(first),
            Some(second) => Err(second.key()),
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Routing => "routing",
            Self::Ensemble => "ensemble",
            Self::Semantic => "semantic",
        }
    }

    /// Fields without a meaning for this kind that older rows carry.
    pub(super) fn dead_knobs(self) -> &'static [&'static str] {
        match self {
            Self::Routing => &["cost", "auto_prompt_caching", "retries"],
            Self::Ensemble => &[
                "cost",
                "auto_prompt_caching",
                "retries",
                "timeout",
                "stream_timeout",
            ],
            Self::Semantic => &["cost", "auto_prompt_caching"],
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Routing => "a model group",
            Self::Ensemble => "an ensemble",
            Self::Semantic => "a semantic model",
        }
    }

    pub(super) fn not_accepted(self) -> String {
        format!("is not accepted on {}", self.noun())
    }

    /// Notes what must not stand beside the block; lenient: what merely has no meaning is stripped.
    pub(super) fn refuse_foreign(self, fields: &Fields<'_>) {
        for key in FOREIGN.into_iter().filter(|key| fields.has(key)) {
            fields.take(key);
            fields.problem(key, self.not_accepted());
        }
        let dead = self.dead_knobs().iter().copied();
        for key in dead.filter(|key| fields.has(key)) {
            fields.take(key);
            if fields.unknown() == Unknown::Refused {
                fields.problem(key, self.not_accepted());
            } else {
                fields.problems().ignore(&format!("inapplicable:{key}"));
            }
        }
    }

    /// Reads the block.
    pub(super) fn read(self, fields: &Fields<'_>) -> Option<ModelKind> {
        let block = field::block(fields, self.key())?;
        match self {
            Self::Routing => Some(ModelKind::Routing(Box::new(Routing::read(block)))),
            Self::Ensemble => Ensemble::read(block).map(Box::new).map(ModelKind::Ensemble),
            Self::Semantic => Semantic::read(block).map(Box::new).map(ModelKind::Semantic),
        }
    }
}
