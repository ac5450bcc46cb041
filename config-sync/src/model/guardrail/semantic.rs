//! Likeness to examples, found by a model of the node. [pure]

use std::collections::HashSet;

use super::super::field;
use crate::tree::{Fields, Unknown, kind};

/// Most categories.
const CATEGORIES_MAX: usize = 30;
/// Longest name of a category, in characters.
const NAME_CHARS_MAX: usize = 64;
/// Longest description, in characters.
const DESCRIPTION_CHARS_MAX: usize = 1_000;
/// Most texts that a category is like.
const CANDIDATES_MAX: usize = 10;
/// Most texts that it is not like.
const NEGATIVES_MAX: usize = 20;
/// Most groups of hot words.
const HOTWORD_GROUPS_MAX: usize = 10;
/// Most words of a group.
const TERMS_MAX: usize = 50;
/// Longest replacement, in characters.
const REPLACEMENT_CHARS_MAX: usize = 256;

/// Categories described by examples; masks, never blocks.
#[derive(Clone, Debug, PartialEq)]
pub struct Semantic {
    /// 1 to 30, of different names.
    pub categories: Vec<SemanticCategory>,
}

/// What is looked for, and what replaces it.
#[derive(Clone, Debug, PartialEq)]
pub struct SemanticCategory {
    /// 1 to 64 characters.
    pub name: Box<str>,
    /// 1 to 1000 characters.
    pub description: Box<str>,
    /// Texts it is like; a document of a store may have none.
    pub candidate_patterns: Vec<Box<str>>,
    /// Texts it is not like.
    pub negative_patterns: Vec<Box<str>>,
    /// Words of which each group asks for one.
    pub hotword_groups: Vec<Vec<Box<str>>>,
    /// What a finding is replaced by; `None`: a mark with the name.
    pub replacement: Option<Box<str>>,
    /// Likeness from which a text counts as found, -1 to 1; `None`: the model's own.
    pub threshold: Option<f64>,
}

pub(super) fn read(fields: &Fields<'_>) -> Option<Semantic> {
    if fields.take("categories").is_none() {
        fields.problem("categories", "is required");
    }
    let items = fields.take_list("categories")?;
    if !(1..=CATEGORIES_MAX).contains(&items.len()) {
        fields.problem(
            "categories",
            format!("must have 1 to {CATEGORIES_MAX} entries"),
        );
        return None;
    }
    let mut names = HashSet::new();
    let categories = items.into_iter().filter_map(|(path, item)| {
        let category = Fields::new(item, &path, fields.problems(), fields.unknown());
        let read = read_category(&category);
        let name = read.as_ref().map(|category| category.name.clone());
        if name.is_some_and(|name| !names.insert(name)) {
            category.problem("name", "is the name of an earlier category");
        }
        category.finish();
        read
    });
    Some(Semantic {
        categories: categories.collect(),
    })
}

fn read_category(fields: &Fields<'_>) -> Option<SemanticCategory> {
    let name = field::required_text_within(fields, "name", 1, NAME_CHARS_MAX);
    let description = field::required_text_within(fields, "description", 1, DESCRIPTION_CHARS_MAX);
    let candidates_min = match fields.unknown() {
        Unknown::Refused => 1,
        Unknown::Ignored => 0,
    };
    if candidates_min > 0 && fields.take("candidate_patterns").is_none() {
        fields.problem("candidate_patterns", "is required");
    }
    let candidate_patterns =
        read_texts(fields, "candidate_patterns", candidates_min, CANDIDATES_MAX);
    let negative_patterns = read_texts(fields, "negative_patterns", 0, NEGATIVES_MAX);
    let hotword_groups = read_hotword_groups(fields);
    // The only one there is.
    fields.take_choice("action", &[("mask", ())]);
    let replacement = field::text_within(fields, "replacement", 0, REPLACEMENT_CHARS_MAX);
    let threshold = field::number_within(fields, "threshold", -1.0, 1.0);
    Some(SemanticCategory {
        name: name?.into(),
        description: description?.into(),
        candidate_patterns,
        negative_patterns,
        hotword_groups,
        replacement: replacement.map(Into::into),
        threshold,
    })
}

fn read_hotword_groups(fields: &Fields<'_>) -> Vec<Vec<Box<str>>> {
    let groups = fields.take_list("hotword_groups").unwrap_or_default();
    if groups.len() > HOTWORD_GROUPS_MAX {
        let message = format!("must have 0 to {HOTWORD_GROUPS_MAX} entries");
        fields.problem("hotword_groups", message);
        return Vec::new();
    }
    let groups = groups.into_iter().map(|(path, item)| {
        let group = Fields::new(item, &path, fields.problems(), fields.unknown());
        if group.take("terms").is_none() {
            group.problem("terms", "is required");
        }
        let terms = read_texts(&group, "terms", 1, TERMS_MAX);
        group.finish();
        terms
    });
    groups.collect()
}

/// A list of `min` to `max` texts, none of them empty.
fn read_texts<'a>(fields: &Fields<'a>, key: &'a str, min: usize, max: usize) -> Vec<Box<str>> {
    let Some(items) = fields.take_list(key) else {
        return Vec::new();
    };
    if !(min..=max).contains(&items.len()) {
        fields.problem(key, format!("must have {min} to {max} entries"));
        return Vec::new();
    }
    let texts = items
        .into_iter()
        .filter_map(|(path, item)| match item.as_str() {
            Some("") => {
                fields.problems().push(path, "must not be empty");
                None
            }
            Some(text) => Some(text.into()),
            None => {
                fields
                    .problems()
                    .push(path, format!("must be a string, not {}", kind(item)));
                None
            }
        });
    texts.collect()
}
