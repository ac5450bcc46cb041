//! Fields in the shapes that several kinds share. [pure]
//!
//! A field that is not as it must be is noted as a problem and reads as absent.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::tree::{Fields, Value, kind};

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

/// A text that must be there, of 1 to `chars_max` characters.
pub(super) fn short_text<'a>(
    fields: &Fields<'a>,
    key: &'a str,
    chars_max: usize,
) -> Option<Arc<str>> {
    let text = fields.take_required_str(key)?;
    if text.chars().count() > chars_max {
        fields.problem(key, format!("must be at most {chars_max} characters"));
        return None;
    }
    Some(text.into())
}

/// A word of a closed set that must be there.
pub(super) fn choice<'a, T: Copy>(
    fields: &Fields<'a>,
    key: &'a str,
    choices: &[(&str, T)],
) -> Option<T> {
    required(fields, key)
        .then(|| fields.take_choice(key, choices))
        .flatten()
}

/// A whole number of `min` to 2^32 - 1.
pub(super) fn u32_from<'a>(fields: &Fields<'a>, key: &'a str, min: u32) -> Option<u32> {
    let number = fields.take_u64_in(key, min.into(), u32::MAX.into())?;
    u32::try_from(number).ok()
}

/// A number of 0 to 1.
pub(super) fn fraction<'a>(fields: &Fields<'a>, key: &'a str) -> Option<f64> {
    let number = fields.take_f64(key)?;
    if !(0.0..=1.0).contains(&number) {
        fields.problem(key, "must be 0 to 1");
        return None;
    }
    Some(number)
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
        match status.filter(|status| range.contains(status)) {
            Some(status) => statuses.push(status),
            None => {
                let (from, to) = (range.start(), range.end());
                let message = format!("must be a status of {from} to {to}");
                fields.problems().push(path, message);
            }
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
mod tests {
    use super::*;
    use crate::tree::{Problems, Unknown};
    use serde_json::json;

    #[test]
    fn each_shape_is_read_or_told() {
        let doc = json!({"empty": "", "long": "äöü", "word": "red", "list": ["a", "", 1], "none": [],
                         "half": 0.5, "much": 1.5, "zero": 0, "wide": 4_294_967_296_u64,
                         "statuses": [400, 600, "x"], "map": {}, "text": "t"});
        let problems = Problems::default();
        let fields = Fields::new(&doc, "", &problems, Unknown::Refused);
        assert_eq!(text(&fields, "text").as_deref(), Some("t"));
        assert_eq!(text(&fields, "empty"), None);
        assert_eq!(short_text(&fields, "long", 3).as_deref(), Some("äöü"));
        assert_eq!(short_text(&fields, "long", 2), None);
        assert_eq!(choice(&fields, "word", &[("red", 1)]), Some(1));
        assert_eq!(choice(&fields, "absent", &[("red", 1)]), None);
        assert_eq!(fraction(&fields, "half"), Some(0.5));
        assert_eq!(fraction(&fields, "much"), None);
        assert_eq!(u32_from(&fields, "zero", 1), None);
        assert_eq!(u32_from(&fields, "wide", 0), None);
        assert_eq!(timeout_ms(&fields, "zero"), None);
        assert_eq!(statuses(&fields, "statuses", 400..=599), Some(vec![400]));
        assert_eq!(texts(&fields, "list"), ["a".into()]);
        assert!(texts(&fields, "none").is_empty() && required_texts(&fields, "none").is_empty());
        assert!(block(&fields, "map").is_some() && block(&fields, "absent").is_none());
        assert!(required_block(&fields, "text").is_none());
        let said: Vec<String> = problems
            .into_vec()
            .iter()
            .map(ToString::to_string)
            .collect();
        let want = [
            "empty: must not be empty",
            "long: must be at most 2 characters",
            "absent: is required",
            "much: must be 0 to 1",
            "zero: must be 1 to 4294967295",
            "wide: must be 0 to 4294967295",
            "statuses[1]: must be a status of 400 to 599",
            "statuses[2]: must be a status of 400 to 599",
            "list[1]: must not be empty",
            "list[2]: must be a string, not a number",
            "none: must hold at least one entry",
            "text: must be a mapping, not a string",
        ];
        assert_eq!(said, want);
    }
}
