//! Single fields that several kinds of resources have alike. [pure]

use crate::secret::Secret;
use crate::tree::{Fields, Unknown, Value};

use super::template::is_header_value;

/// `name`, or `display_name` as it was called before; required.
pub(crate) fn name<'a>(fields: &Fields<'a>) -> &'a str {
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
pub(crate) const NOT_A_PATH_SEGMENT: &str =
    "must be one segment of a path: without `/`, `?`, `#`, `%`, blanks and control characters";

/// Whether `name` can stand in a URL as one segment of its path, as it is.
pub(crate) fn is_path_segment(name: &str) -> bool {
    let breaks = |c: char| "/?#%".contains(c) || c.is_whitespace() || c.is_control();
    !name.is_empty() && !name.contains(breaks)
}

/// One of a closed set of words; required.
pub(crate) fn required_choice<'a, T: Copy>(
    fields: &Fields<'a>,
    key: &'a str,
    choices: &[(&str, T)],
) -> Option<T> {
    if fields.take(key).is_none() {
        fields.problem(key, "is required");
    }
    fields.take_choice(key, choices)
}

/// One of a set of words that is closed in strict reading only.
///
/// Lenient: another word reads as `fallback`, and the field is noted as passed over.
pub(crate) fn loose_choice<'a, T: Copy>(
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
pub(crate) fn text_within<'a>(
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
pub(crate) fn required_text_within<'a>(
    fields: &Fields<'a>,
    key: &'a str,
    min: usize,
    max: usize,
) -> Option<&'a str> {
    if fields.take(key).is_none() {
        fields.problem(key, "is required");
    }
    text_within(fields, key, min, max)
}

/// A number of `min` to `max`.
pub(crate) fn number_within<'a>(
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

/// An integer of `min` to `max`; one that does not fit 32 bits cannot be decoded.
pub(crate) fn u32_within<'a>(fields: &Fields<'a>, key: &'a str, min: u32, max: u32) -> Option<u32> {
    let number = u32::try_from(fields.take_u64(key)?).ok();
    let message = || format!("must be {min} to {max}");
    match number {
        None => fields.problems().push_parse(fields.path_of(key), message()),
        Some(number) if (min..=max).contains(&number) => return Some(number),
        Some(_) => fields.problem(key, message()),
    }
    None
}

/// A required integer of 32 bits with a sign; a wider one cannot be decoded.
pub(crate) fn required_i32<'a>(fields: &Fields<'a>, key: &'a str) -> Option<i32> {
    let Some(value) = fields.take(key) else {
        fields.problem(key, "is required");
        return None;
    };
    match (value.as_i64(), value.as_u64()) {
        (None, None) => {
            fields.problem(key, "must be a whole number");
            None
        }
        (number, _) => {
            let fits = number.and_then(|number| i32::try_from(number).ok());
            if fits.is_none() {
                let message = format!("must be {} to {}", i32::MIN, i32::MAX);
                fields.problems().push_parse(fields.path_of(key), message);
            }
            fits
        }
    }
}

/// A credential; required.
pub(crate) fn required_secret<'a>(fields: &Fields<'a>, key: &'a str) -> Option<Secret> {
    fields.take_required_str(key).map(Secret::from)
}

/// A credential that is sent as a header; required.
pub(crate) fn required_header_secret<'a>(fields: &Fields<'a>, key: &'a str) -> Option<Secret> {
    let text = fields.take_required_str(key)?;
    if is_header_value(text.as_bytes()) {
        return Some(Secret::from(text));
    }
    fields.problem(key, "must not hold line breaks or other control characters");
    None
}

/// Notes each `null` of `value`'s known fields, for mappings that take none, and ends the reading.
///
/// A field of a newer writer may be `null` in lenient reading.
pub(crate) fn finish_without_nulls(fields: Fields<'_>, value: &Value) {
    let unknown = fields.unknown_keys();
    for (key, _) in value
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| value.is_null())
    {
        let path = fields.path_of(key);
        // A required field that is `null` is already noted as missing.
        if !unknown.contains(&key.as_str()) && !fields.problems().paths().contains(&path) {
            fields.refuse_null(&[key.as_str()]);
        }
    }
    fields.finish();
}

#[cfg(test)]
mod tests;
