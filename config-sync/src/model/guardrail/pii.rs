//! Personal data and credentials found in a text, in process. [pure]

use super::super::field;
use super::expression::{Compiler, Expression};
use super::remote::BufferLimit;
use super::{ACTIONS, Action};
use crate::tree::Fields;

/// Longest name of a custom pattern, in characters.
const NAME_CHARS_MAX: usize = 64;
/// Longest replacement, in characters.
const REPLACEMENT_CHARS_MAX: usize = 256;

/// Detectors matched in process; none at all is inert.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pii {
    /// Built-in detectors.
    pub detectors: Vec<Detector>,
    /// The operator's own expressions.
    pub custom_patterns: Vec<CustomPattern>,
    /// How much of an answer is held back.
    pub buffer: BufferLimit,
}

/// A built-in detector.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Detector {
    /// What it finds.
    pub finds: PiiType,
    /// What is done with it.
    pub action: Action,
}

/// What a built-in detector finds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PiiType {
    /// E-mail addresses.
    Email,
    /// Mobile numbers of mainland China.
    ChinaMobile,
    /// Identity card numbers of mainland China.
    ChinaIdCard,
    /// Payment card numbers.
    BankCard,
    /// US social security numbers.
    UsSsn,
    /// IP addresses.
    IpAddress,
    /// API keys.
    ApiKey,
    /// JSON web tokens.
    Jwt,
    /// Private keys in PEM.
    PrivateKey,
}

const PII_TYPES: [(&str, PiiType); 9] = [
    ("email", PiiType::Email),
    ("china_mobile", PiiType::ChinaMobile),
    ("china_id_card", PiiType::ChinaIdCard),
    ("bank_card", PiiType::BankCard),
    ("us_ssn", PiiType::UsSsn),
    ("ip_address", PiiType::IpAddress),
    ("api_key", PiiType::ApiKey),
    ("jwt", PiiType::Jwt),
    ("private_key", PiiType::PrivateKey),
];

/// An expression of the operator.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CustomPattern {
    /// 1 to 64 characters.
    pub name: Box<str>,
    /// With a capture group only the first group is masked.
    pub expression: Expression,
    /// What is done with a match.
    pub action: Action,
    /// What a match is replaced by; `None`: `[<NAME>_REDACTED]`.
    pub replacement: Option<Box<str>>,
}

pub(super) fn read(fields: &Fields<'_>) -> Option<Pii> {
    let default_action = fields
        .take_choice("default_action", &ACTIONS)
        .unwrap_or(Action::Mask);
    let detectors = fields
        .take_list("detectors")
        .unwrap_or_default()
        .into_iter();
    let detectors = detectors.filter_map(|(path, item)| {
        let detector = Fields::new(item, &path, fields.problems(), fields.unknown());
        let finds = field::required_choice(&detector, "type", &PII_TYPES);
        let action = detector
            .take_choice("action", &ACTIONS)
            .unwrap_or(default_action);
        detector.finish();
        Some(Detector {
            finds: finds?,
            action,
        })
    });
    let detectors = detectors.collect();
    let mut compiler = Compiler::default();
    let patterns = fields
        .take_list("custom_patterns")
        .unwrap_or_default()
        .into_iter();
    let custom_patterns = patterns.filter_map(|(path, item)| {
        let pattern = Fields::new(item, &path, fields.problems(), fields.unknown());
        let read = read_custom_pattern(&pattern, default_action, &mut compiler);
        pattern.finish();
        read
    });
    Some(Pii {
        custom_patterns: custom_patterns.collect(),
        detectors,
        buffer: BufferLimit::read(fields),
    })
}

fn read_custom_pattern(
    fields: &Fields<'_>,
    default_action: Action,
    compiler: &mut Compiler,
) -> Option<CustomPattern> {
    let name = field::required_text_within(fields, "name", 1, NAME_CHARS_MAX);
    let expression = fields.take_required_str("regex").and_then(|text| {
        let compiled = compiler.compile(text);
        compiled
            .map_err(|message| fields.problem("regex", message))
            .ok()
    });
    let action = fields
        .take_choice("action", &ACTIONS)
        .unwrap_or(default_action);
    let replacement = field::text_within(fields, "replacement", 0, REPLACEMENT_CHARS_MAX);
    if replacement.is_some() && action == Action::Block {
        fields.problem("replacement", "has no use where matches are blocked");
    }
    Some(CustomPattern {
        name: name?.into(),
        expression: expression?,
        action,
        replacement: replacement.map(Into::into),
    })
}
