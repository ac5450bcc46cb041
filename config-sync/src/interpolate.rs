//! `${NAME}` in the strings of a parsed document. [pure]
//!
//! Runs after parsing, so a value cannot inject structure. Mapping keys are not touched, and what
//! was put in is not looked at again.

use std::fmt;

use zeroize::Zeroizing;

use crate::tree::{Problems, Value};

/// Reads one environment variable.
pub type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

/// Why a string cannot be completed. Names variables, never their values.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum InterpolateError {
    /// The variable is unset or empty.
    Unset(VariableName),
    /// A `${` without its `}`.
    Unterminated,
    /// `${}`.
    Unnamed,
}

/// The name of a variable, shown only where it can be one: anything else may be a pasted secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VariableName(Option<Box<str>>);

impl VariableName {
    /// Keeps `name` if it is a legal variable name of at most 128 characters.
    pub fn new(name: &str) -> Self {
        let mut bytes = name.bytes();
        let starts = bytes
            .next()
            .is_some_and(|byte| byte == b'_' || byte.is_ascii_alphabetic());
        let legal = bytes.all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
        Self((starts && legal && name.len() <= 128).then(|| name.into()))
    }
}

impl fmt::Display for VariableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(name) => write!(f, "environment variable {name}"),
            None => f.write_str("environment variable (not a legal name, not shown)"),
        }
    }
}

impl fmt::Display for InterpolateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset(name) => write!(f, "{name} is not set or is empty"),
            Self::Unterminated => f.write_str("has a `${` without `}` (write `$${` for a literal)"),
            Self::Unnamed => f.write_str("`${}` names no variable"),
        }
    }
}

/// `text` with its variables filled in; `None` where nothing changes.
///
/// `${NAME}` becomes the variable's value, `$$` becomes `$`, any other `$` stays.
///
/// # Errors
///
/// The first [`InterpolateError`] of the text.
pub fn interpolate(text: &str, env: Env<'_>) -> Result<Option<String>, InterpolateError> {
    if !text.contains('$') {
        return Ok(None);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some(tail) = after.strip_prefix('{') {
            let (name, tail) = tail.split_once('}').ok_or(InterpolateError::Unterminated)?;
            out.push_str(&lookup(name, env)?);
            rest = tail;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    Ok(Some(out))
}

/// Fills in every string below `value`, noting each failure under its path.
pub fn interpolate_tree(value: &mut Value, path: &str, env: Env<'_>, problems: &Problems) {
    match value {
        Value::String(text) => match interpolate(text, env) {
            Ok(Some(filled)) => *text = filled,
            Ok(None) => {}
            Err(error) => problems.push(path, error.to_string()),
        },
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                interpolate_tree(item, &format!("{path}[{index}]"), env, problems);
            }
        }
        Value::Object(fields) => {
            for (key, item) in fields.iter_mut() {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                interpolate_tree(item, &path, env, problems);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn lookup(name: &str, env: Env<'_>) -> Result<Zeroizing<String>, InterpolateError> {
    if name.is_empty() {
        return Err(InterpolateError::Unnamed);
    }
    env(name)
        .filter(|value| !value.is_empty())
        .map(Zeroizing::new)
        .ok_or_else(|| InterpolateError::Unset(VariableName::new(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("h".to_owned()),
            "TRICKY" => Some("${HOST} $$ \"]".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_filled_in_and_dollars_kept() {
        let cases = [
            ("plain", None),
            ("${HOST}", Some("h")),
            ("https://${HOST}/${HOST}", Some("https://h/h")),
            ("$$", Some("$")),
            ("$${HOST}", Some("${HOST}")),
            ("$$${HOST}", Some("$h")),
            ("5$ or $x", Some("5$ or $x")),
            ("${TRICKY}", Some("${HOST} $$ \"]")),
            ("$", Some("$")),
        ];
        for (text, want) in cases {
            assert_eq!(interpolate(text, &env).unwrap().as_deref(), want, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_filled_in_is_an_error() {
        let unset = |name: &str| InterpolateError::Unset(VariableName::new(name));
        let cases = [
            ("${NOPE}", unset("NOPE")),
            ("${EMPTY}", unset("EMPTY")),
            ("${ HOST }", unset(" HOST ")),
            ("${}", InterpolateError::Unnamed),
            ("a ${HOST", InterpolateError::Unterminated),
        ];
        for (text, want) in cases {
            assert_eq!(interpolate(text, &env), Err(want), "{text}");
        }
    }

    #[test]
    fn only_a_legal_name_is_shown() {
        let shown = |name| InterpolateError::Unset(VariableName::new(name)).to_string();
        assert!(shown("OPENAI_KEY2").contains("OPENAI_KEY2"));
        for secret in ["sk-live-1", "9abc", "a b", &"x".repeat(129)] {
            assert!(!shown(secret).contains(secret), "{secret}");
        }
    }

    #[test]
    fn keys_and_other_types_are_left_alone_and_failures_have_paths() {
        let mut doc = json!({"${HOST}": "${HOST}", "n": 1, "l": [true, "${NOPE}", {"x": "${"}]});
        let problems = Problems::default();
        interpolate_tree(&mut doc, "", &env, &problems);
        assert_eq!(doc["${HOST}"], "h");
        let paths: Vec<String> = problems.into_vec().into_iter().map(|p| p.path).collect();
        assert_eq!(paths, ["l[1]", "l[2].x"]);
    }

    proptest! {
        #[test]
        fn doubling_every_dollar_gives_the_text_back(text in "[a${} ]{0,24}") {
            let escaped = text.replace('$', "$$");
            let got = interpolate(&escaped, &|_| None).unwrap();
            prop_assert_eq!(got.unwrap_or(escaped), text);
        }

        #[test]
        fn values_are_inserted_verbatim(before in "[a-z]{0,4}", value in ".{1,16}", after in "[a-z]{0,4}") {
            let text = format!("{before}${{V}}{after}");
            let got = interpolate(&text, &|_| Some(value.clone())).unwrap();
            prop_assert_eq!(got, Some(format!("{before}{value}{after}")));
        }
    }
}
