//! Fields in the shapes that several kinds of resources share. [pure]
//!
//! A field that is not as it must be is noted as a problem and reads as absent.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::template::is_header_value;
use crate::secret::Secret;
use crate::tree::{Fields, Unknown, Value, is_whole, kind};

/// `name`, or `display_name` as it was called before; required.
pub(super) fn name<'a>(fields: &Fields<'a>) -> &'a str {
    if fields.take_renamed("name", "display_name").is_none() {
        fields.problem("name", "is required");
        return "";
    }
    let written = match fields.take("name") {
        Some(_) => "name",
        None => "display_name",
    };
    fields.take_nonempty_str(written).unwrap_or("")
}

/// The message for a name that is not [`is_path_segment`].
pub(super) const NOT_A_PATH_SEGMENT: &str =
    "must be one segment of a path: without `/`, `?`, `#`, `%`, blanks and control characters";

/// Whether `name` can stand in a URL as one segment of its path, as it is.
pub(super) fn is_path_segment(name: &str) -> bool {
    let breaks = |c: char| "/?#%".contains(c) || c.is_whitespace() || c.is_control();
    !name.is_empty() && !name.contains(breaks)
}

/// Whether `key` is there; if not, that is a problem.
pub(super) fn required<'a>(fields: &Fields<'a>, key: &'a str) -> bool {
    let is_there = fields.take(key).is_some();
    if !is_there {
        fields.problem(key, "is required");
    }
    is_there
}

/// A text that must be there, not empty.
pub(super) fn text<'a>(fields: &Fields<'a>, key: &'a str) -> Option<Arc<str>> {
    fields.take_required_str(key).map(Arc::from)
}

/// One of a closed set of words; required.
pub(super) fn required_choice<'a, T: Copy>(
    fields: &Fields<'a>,
    key: &'a str,
    choices: &[(&str, T)],
) -> Option<T> {
    required(fields, key)
        .then(|| fields.take_choice(key, choices))
        .flatten()
}

/// One of a set of words that is closed in strict reading only.
///
/// Lenient: another word reads as `fallback`, and the field is noted as passed over.
pub(super) fn loose_choice<'a, T: Copy>(
    fields: &Fields<'a>,
    key: &'a str,
    choices: &[(&str, T)],
    fallback: T,
) -> T {
    if fields.unknown() == Unknown::Ignored
        && let Some(word) = fields.take(key).and_then(Value::as_str)
        && !choices.iter().any(|(known, _)| *known == word)
    {
        fields.problems().ignore(&fields.path_of(key));
        return fallback;
    }
    fields.take_choice(key, choices).unwrap_or(fallback)
}

/// A text of `min` to `max` characters.
pub(super) fn text_within<'a>(
    fields: &Fields<'a>,
    key: &'a str,
    min: usize,
    max: usize,
) -> Option<&'a str> {
    let text = fields.take_str(key)?;
    if (min..=max).contains(&text.chars().count()) {
        return Some(text);
    }
    fields.problem(key, format!("must be {min} to {max} characters"));
    None
}

/// The same; required.
pub(super) fn required_text_within<'a>(
    fields: &Fields<'a>,
    key: &'a str,
    min: usize,
    max: usize,
) -> Option<&'a str> {
    required(fields, key)
        .then(|| text_within(fields, key, min, max))
        .flatten()
}

/// A number of `min` to `max`.
pub(super) fn number_within<'a>(
    fields: &Fields<'a>,
    key: &'a str,
    min: f64,
    max: f64,
) -> Option<f64> {
    let number = fields.take_f64(key)?;
    if (min..=max).contains(&number) {
        return Some(number);
    }
    fields.problem(key, format!("must be {min} to {max}"));
    None
}

/// A credential; required.
pub(super) fn required_secret<'a>(fields: &Fields<'a>, key: &'a str) -> Option<Secret> {
    fields.take_required_str(key).map(Secret::from)
}

/// A credential that is sent as a header; required.
pub(super) fn required_header_secret<'a>(fields: &Fields<'a>, key: &'a str) -> Option<Secret> {
    let text = fields.take_required_str(key)?;
    if is_header_value(text.as_bytes()) {
        return Some(Secret::from(text));
    }
    fields.problem(key, "must not hold line breaks or other control characters");
    None
}

/// A time in ms where 0 is the same as none.
pub(super) fn timeout_ms<'a>(fields: &Fields<'a>, key: &'a str) -> Option<u64> {
    fields.take_u64(key).filter(|&ms| ms > 0)
}

/// HTTP statuses within `range`.
pub(super) fn statuses<'a>(
    fields: &Fields<'a>,
    key: &'a str,
    range: RangeInclusive<u16>,
) -> Option<Vec<u16>> {
    let mut statuses = Vec::new();
    for (path, item) in fields.take_list(key)? {
        let status = item.as_u64().and_then(|status| u16::try_from(status).ok());
        let message = || format!("must be a status of {} to {}", range.start(), range.end());
        match status {
            Some(status) if range.contains(&status) => statuses.push(status),
            None if is_whole(item) => fields.problems().push_parse(path, message()),
            Some(_) | None => fields.problems().push(path, message()),
        }
    }
    Some(statuses)
}

/// The mapping at `key`; `None` where there is none.
pub(super) fn block<'a>(fields: &Fields<'a>, key: &'a str) -> Option<Fields<'a>> {
    mapping(fields, &fields.path_of(key), fields.take(key)?)
}

/// The mapping at `key`, which must be there.
pub(super) fn required_block<'a>(fields: &Fields<'a>, key: &'a str) -> Option<Fields<'a>> {
    required(fields, key).then(|| block(fields, key)).flatten()
}

/// `item` as a mapping read like `fields`.
pub(super) fn mapping<'a>(fields: &Fields<'a>, path: &str, item: &'a Value) -> Option<Fields<'a>> {
    let problems = fields.problems();
    if !item.is_object() {
        problems.push(path, format!("must be a mapping, not {}", kind(item)));
        return None;
    }
    Some(Fields::new(item, path, problems, fields.unknown()))
}

/// The items of a list that must not be empty; an absent one has none.
pub(super) fn some_items<'a>(fields: &Fields<'a>, key: &'a str) -> Vec<(String, &'a Value)> {
    let items = fields.take_list(key);
    if items.as_ref().is_some_and(Vec::is_empty) {
        fields.problem(key, "must hold at least one entry");
    }
    items.unwrap_or_default()
}

/// The items of a list that must be there, not empty.
pub(super) fn items<'a>(fields: &Fields<'a>, key: &'a str) -> Vec<(String, &'a Value)> {
    if required(fields, key) {
        some_items(fields, key)
    } else {
        Vec::new()
    }
}

/// A list of texts, none of them empty; an absent one has none.
pub(super) fn texts<'a>(fields: &Fields<'a>, key: &'a str) -> Vec<Arc<str>> {
    texts_of(fields, fields.take_list(key).unwrap_or_default())
}

/// A list of texts that must be there, not empty, and none of its texts empty.
pub(super) fn required_texts<'a>(fields: &Fields<'a>, key: &'a str) -> Vec<Arc<str>> {
    texts_of(fields, items(fields, key))
}

fn texts_of<'a>(fields: &Fields<'a>, items: Vec<(String, &'a Value)>) -> Vec<Arc<str>> {
    let mut texts = Vec::with_capacity(items.len());
    for (path, item) in items {
        match item.as_str() {
            Some("") => fields.problems().push(path, "must not be empty"),
            Some(text) => texts.push(text.into()),
            None => {
                let message = format!("must be a string, not {}", kind(item));
                fields.problems().push(path, message);
            }
        }
    }
    texts
}

#[cfg(test)]
mod tests;
