//! One YAML text to a tree of plain values that is wiped when dropped. [pure]

use std::fmt;

use serde_saphyr::options::DuplicateKeyPolicy;
use zeroize::Zeroize;

use crate::tree::Value;

/// Most nodes (mappings, lists, scalars) of one document, aliases expanded. A caller key with all
/// its fields is about 40: room for 50,000 of them, and an end to alias bombs.
const NODES_MAX: usize = 2_000_000;
/// Most parser events that aliases may repeat: a block of ten shared by 20,000 entries.
const ALIASED_EVENTS_MAX: usize = 200_000;
/// Deepest nesting. Resources need 8; the rest is room for free-form body fields.
const DEPTH_MAX: usize = 64;

/// A parsed document. It may hold credentials: every string is overwritten when it is dropped.
pub struct Document(Value);

impl Document {
    /// The root value.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// The root value, to be edited.
    pub fn value_mut(&mut self) -> &mut Value {
        &mut self.0
    }
}

impl From<Value> for Document {
    fn from(value: Value) -> Self {
        Self(value)
    }
}

impl Drop for Document {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Document(***)")
    }
}

/// Overwrites every string value below `value`.
fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Why a text is no single YAML document. Quotes nothing of the text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct YamlError {
    what: &'static str,
    /// Line and column, from 1; `None` where the parser does not say.
    position: Option<(u64, u64)>,
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)?;
        match self.position {
            Some((line, column)) => write!(f, " at line {line}, column {column}"),
            None => Ok(()),
        }
    }
}

/// Parses one YAML 1.2 document (JSON is one too).
///
/// Duplicate keys, several documents, unknown tags, non-finite numbers and expansions past the
/// limits are errors; `yes`, `on` and numbers with underscores are strings.
///
/// # Errors
///
/// [`YamlError`], with the place but never the text.
pub fn parse_yaml(text: &str) -> Result<Document, YamlError> {
    let mut options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::Error,
        strict_booleans: true,
        underscored_numbers_as_strings: true,
        reject_unsupported_tags: true,
        reject_tagged_field_names: true,
        // A snippet would quote credentials.
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_events: 2 * NODES_MAX,
            max_nodes: NODES_MAX,
            max_depth: DEPTH_MAX,
            max_documents: 2,
        },
    };
    options.alias_limits.max_total_replayed_events = ALIASED_EVENTS_MAX;
    serde_saphyr::from_str_with_options::<Value>(text, options)
        .map(Document)
        .map_err(|error| describe(&error))
}

/// The parser's own messages may quote the text, so only its kind of error and place are told.
fn describe(error: &serde_saphyr::Error) -> YamlError {
    use serde_saphyr::Error;
    let what = match error.without_snippet() {
        // Wraps what went wrong behind an alias.
        Error::AliasError { error, .. } => return describe(error),
        Error::DuplicateMappingKey { .. } => "a key is written twice in one mapping",
        Error::MultipleDocuments { .. } => "more than one YAML document",
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => "too large, too deep or too many aliases",
        Error::UnknownAnchor { .. } => "an alias without its anchor",
        Error::NonFiniteFloat { .. } => "a number that is not finite",
        Error::UnsupportedTag { .. } | Error::TaggedStructFieldName { .. } => "an unknown tag",
        Error::Eof { .. } => "the document ends too early or is empty",
        _ => "not valid YAML",
    };
    let position = error
        .location()
        .map(|location| (location.line(), location.column()))
        .filter(|(line, _)| *line > 0);
    YamlError { what, position }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn scalars_follow_yaml_1_2() {
        let text = "a: yes\nb: on\nc: true\nd: 12\ne: 0x10\nf: 1_000\ng: 1.5\nh: ~\ni: '1'\n\
                    j: 2030-01-01T00:00:00Z\nk: !!str 1\nl: {x: [1, -2]}\nm: |\n  two\n  lines\nn: null\no: !!int '7'\n";
        let got = parse_yaml(text).unwrap();
        let want = json!({
            "a": "yes", "b": "on", "c": true, "d": 12, "e": 16, "f": "1_000", "g": 1.5, "h": null,
            "i": "1", "j": "2030-01-01T00:00:00Z", "k": "1", "l": {"x": [1, -2]},
            "m": "two\nlines\n", "n": null, "o": 7
        });
        assert_eq!(got.value(), &want);
    }

    #[test]
    fn anchors_and_merges_are_expanded() {
        let got = parse_yaml("a: &x {k: 1, l: 2}\nb: *x\nc:\n  <<: *x\n  l: 3\n").unwrap();
        assert_eq!(got.value()["b"], json!({"k": 1, "l": 2}));
        assert_eq!(got.value()["c"]["k"], 1);
        assert_eq!(got.value()["c"]["l"], 3);
    }

    #[test]
    fn what_is_no_single_document_is_refused_without_quoting_it() {
        let mut bomb =
            "a: &a [canary, canary, canary, canary, canary, canary, canary, canary]\n".to_owned();
        for (name, last) in ('b'..='j').zip('a'..) {
            let list = vec![format!("*{last}"); 9].join(", ");
            bomb.push_str(&format!("{name}: &{name} [{list}]\n"));
        }
        let deep = format!("canary: {}{}", "[".repeat(100), "]".repeat(100));
        let cases = [
            ("canary: 1\ncanary: 2\n", "a key is written twice"),
            ("a: {canary: 1, 'canary': 2}\n", "a key is written twice"),
            ("canary: 1\n---\ncanary: 2\n", "more than one YAML document"),
            ("canary: *canary\n", ""),
            ("canary: .nan\n", "not finite"),
            ("canary: .inf\n", "not finite"),
            ("a: !canary x\n", "an unknown tag"),
            ("a: [canary\n", ""),
            ("a: 'canary\n", ""),
            ("canary: a: b\n", ""),
            ("a:\n\tcanary: x\n", ""),
            (&bomb, "too large"),
            (&deep, "too large"),
        ];
        for (text, want) in cases {
            let error = parse_yaml(text).expect_err(text).to_string();
            assert!(error.contains(want), "{text:?}: {error}");
            assert!(!error.contains("canary"), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_document_is_not_printed_and_wiped() {
        let mut document = parse_yaml("a: [canary, {b: canary}]").unwrap();
        assert!(!format!("{document:?}").contains("canary"));
        wipe(&mut document.0);
        assert_eq!(document.value(), &json!({"a": ["", {"b": ""}]}));
    }
}
