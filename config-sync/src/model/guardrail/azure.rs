//! Azure AI Content Safety: Prompt Shield and text moderation. [pure]

use super::super::field;
use super::super::http_url::{self, HttpUrl};
use super::remote::{Remote, Streaming};
use crate::secret::Secret;
use crate::tree::{Fields, Unknown, is_whole, kind};

/// Severity from which a category counts as found, where none is written.
const SEVERITY_THRESHOLD: u8 = 2;
/// Highest severity.
const SEVERITY_MAX: u32 = 7;
/// Longest text of one call, in characters.
const WINDOW_CHARS_MAX: u32 = 10_000;
/// Overlap of two pieces, where none is written.
const OVERLAP_CHARS: u32 = 256;

/// Prompt Shield.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AzureContentSafety {
    /// The Content Safety resource.
    pub endpoint: HttpUrl,
    /// Its key.
    pub api_key: Secret,
    /// How it is called.
    pub remote: Remote,
}

/// Severities by category, and blocklists.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AzureTextModeration {
    /// The Content Safety resource.
    pub endpoint: HttpUrl,
    /// Its key.
    pub api_key: Secret,
    /// How it is called.
    pub remote: Remote,
    /// The scale of its severities.
    pub scale: SeverityScale,
    /// Each category checked, never none, with the severity from which it counts as found.
    pub categories: Vec<(HarmCategory, u8)>,
    /// Blocklists of the resource to check against.
    pub blocklists: Vec<Box<str>>,
    /// A hit on a blocklist ends the analysis.
    pub halt_on_blocklist_hit: bool,
    /// Which part of a conversation is checked.
    pub text_source: TextSource,
    /// How streams are cut.
    pub streaming: Streaming,
}

/// The scale of severities.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SeverityScale {
    /// 0, 2, 4, 6.
    Four,
    /// 0 to 7.
    Eight,
}

const SCALES: [(&str, SeverityScale); 2] = [
    ("FourSeverityLevels", SeverityScale::Four),
    ("EightSeverityLevels", SeverityScale::Eight),
];

/// What is looked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HarmCategory {
    /// Hate and unfairness.
    Hate,
    /// Sexual content.
    Sexual,
    /// Self-harm.
    SelfHarm,
    /// Violence.
    Violence,
}

const CATEGORIES: [(&str, HarmCategory); 4] = [
    ("Hate", HarmCategory::Hate),
    ("Sexual", HarmCategory::Sexual),
    ("SelfHarm", HarmCategory::SelfHarm),
    ("Violence", HarmCategory::Violence),
];

/// Which part of a conversation is checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TextSource {
    /// What the user wrote.
    User,
    /// Every message.
    All,
}

const TEXT_SOURCES: [(&str, TextSource); 2] = [
    ("concatenate_user_content", TextSource::User),
    ("concatenate_all_content", TextSource::All),
];

pub(super) fn read_content_safety(fields: &Fields<'_>) -> Option<AzureContentSafety> {
    let endpoint = http_url::read_required(fields, "endpoint");
    let api_key = field::required_header_secret(fields, "api_key");
    let remote = Remote::read(fields);
    Some(AzureContentSafety {
        endpoint: endpoint?,
        api_key: api_key?,
        remote,
    })
}

pub(super) fn read_text_moderation(fields: &Fields<'_>) -> Option<AzureTextModeration> {
    let service = read_content_safety(fields);
    let scale = fields
        .take_choice("output_type", &SCALES)
        .unwrap_or(SeverityScale::Four);
    let categories = read_categories(fields);
    let blocklists = fields.take_strings("blocklist_names").unwrap_or_default();
    let halt_on_blocklist_hit = fields.take_bool("halt_on_blocklist_hit").unwrap_or(false);
    let text_source = fields.take_choice("text_source", &TEXT_SOURCES);
    let streaming = Streaming::read(fields, WINDOW_CHARS_MAX, OVERLAP_CHARS);
    let AzureContentSafety {
        endpoint,
        api_key,
        remote,
    } = service?;
    Some(AzureTextModeration {
        endpoint,
        api_key,
        remote,
        scale,
        categories,
        blocklists: blocklists.into_iter().map(Into::into).collect(),
        halt_on_blocklist_hit,
        text_source: text_source.unwrap_or(TextSource::User),
        streaming,
    })
}

/// The categories checked and their thresholds. An empty list asks the service for all of them.
fn read_categories(fields: &Fields<'_>) -> Vec<(HarmCategory, u8)> {
    let threshold = fields
        .take_u32_in("severity_threshold", 0, SEVERITY_MAX)
        .and_then(|threshold| u8::try_from(threshold).ok())
        .unwrap_or(SEVERITY_THRESHOLD);
    let own = read_own_thresholds(fields);
    let mut chosen = Vec::new();
    for (path, item) in fields.take_list("categories").unwrap_or_default() {
        match item.as_str().and_then(category) {
            Some(category) if chosen.contains(&category) => {}
            Some(category) => chosen.push(category),
            None => fields
                .problems()
                .push(path, format!("must be one of {}", category_words())),
        }
    }
    if chosen.is_empty() {
        chosen.extend(CATEGORIES.map(|(_, category)| category));
    }
    let threshold_of = |category| {
        let own = own.iter().find(|(known, _)| *known == category);
        own.map_or(threshold, |(_, own)| *own)
    };
    chosen
        .into_iter()
        .map(|category| (category, threshold_of(category)))
        .collect()
}

fn read_own_thresholds(fields: &Fields<'_>) -> Vec<(HarmCategory, u8)> {
    let mut thresholds = Vec::new();
    for (path, name, value) in fields.take_entries("severity_threshold_by_category") {
        let problems = fields.problems();
        let number = value.as_u64().and_then(|number| u8::try_from(number).ok());
        let Some(threshold) = number else {
            if is_whole(value) {
                problems.push_parse(path, "must be 0 to 255");
            } else {
                problems.push(path, format!("must be a whole number, not {}", kind(value)));
            }
            continue;
        };
        match category(name) {
            Some(category) => thresholds.push((category, threshold)),
            None if fields.unknown() == Unknown::Ignored => problems.ignore(&path),
            None => {
                let message = format!("is no category (there are {})", category_words());
                problems.push(path, message);
            }
        }
    }
    thresholds
}

fn category(word: &str) -> Option<HarmCategory> {
    let known = CATEGORIES.iter().find(|(known, _)| *known == word);
    known.map(|(_, category)| *category)
}

fn category_words() -> String {
    CATEGORIES.map(|(word, _)| word).join(", ")
}
