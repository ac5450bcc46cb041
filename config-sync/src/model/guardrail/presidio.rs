//! A self-hosted Presidio: an analyzer and an anonymizer. [pure]

use super::super::field;
use super::super::http_url::{self, HttpUrl};
use super::remote::{BufferLimit, Remote};
use super::{ACTIONS, Action};
use crate::tree::Fields;

/// Personal data, as Presidio sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Presidio {
    /// Finds.
    pub analyzer_url: HttpUrl,
    /// Replaces.
    pub anonymizer_url: HttpUrl,
    /// What is looked for; none: everything the analyzer knows.
    pub entities: Vec<Entity>,
    /// What is done with findings that no entity names.
    pub default_action: Action,
    /// How findings are replaced.
    pub operator: MaskOperator,
    /// Language of the texts.
    pub language: Box<str>,
    /// Score from which a finding counts, 0 to 1; `None`: the analyzer's own.
    pub score_threshold: Option<f64>,
    /// How it is called.
    pub remote: Remote,
    /// How much of an answer is held back.
    pub buffer: BufferLimit,
}

/// One kind of finding.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entity {
    /// The analyzer's word for it, never empty.
    pub finds: Box<str>,
    /// What is done with it.
    pub action: Action,
}

/// How the anonymizer replaces a finding.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MaskOperator {
    /// By its kind.
    Replace,
    /// Character by character.
    Mask,
    /// By a hash.
    Hash,
    /// By nothing.
    Redact,
}

const OPERATORS: [(&str, MaskOperator); 4] = [
    ("replace", MaskOperator::Replace),
    ("mask", MaskOperator::Mask),
    ("hash", MaskOperator::Hash),
    ("redact", MaskOperator::Redact),
];

pub(super) fn read(fields: &Fields<'_>) -> Option<Presidio> {
    let analyzer_url = http_url::read_required(fields, "analyzer_url");
    let anonymizer_url = http_url::read_required(fields, "anonymizer_url");
    let default_action = fields
        .take_choice("default_action", &ACTIONS)
        .unwrap_or(Action::Mask);
    let entities = fields.take_list("entities").unwrap_or_default().into_iter();
    let entities = entities.filter_map(|(path, item)| {
        let entity = Fields::new(item, &path, fields.problems(), fields.unknown());
        let finds = entity.take_required_str("type");
        let action = entity
            .take_choice("action", &ACTIONS)
            .unwrap_or(default_action);
        entity.finish();
        Some(Entity {
            finds: finds?.into(),
            action,
        })
    });
    let entities = entities.collect();
    let operator = fields
        .take_choice("operator", &OPERATORS)
        .unwrap_or(MaskOperator::Replace);
    let language = fields.take_nonempty_str("language").unwrap_or("en").into();
    let score_threshold = field::number_within(fields, "score_threshold", 0.0, 1.0);
    let remote = Remote::read(fields);
    let buffer = BufferLimit::read(fields);
    Some(Presidio {
        analyzer_url: analyzer_url?,
        anonymizer_url: anonymizer_url?,
        entities,
        default_action,
        operator,
        language,
        score_threshold,
        remote,
        buffer,
    })
}
