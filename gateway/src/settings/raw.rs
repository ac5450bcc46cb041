//! The startup file as written: YAML, TOML or JSON to one tree. [boot]

use std::fmt;
use std::path::Path;

use config_sync::tree::{Map, Problems, Value, kind};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::keys::{KEYS, Shape};
use super::problem::LoadError;

/// Reads `path` as the format that its extension names. An empty file is an empty mapping.
pub(super) fn read(path: &Path) -> Result<Value, LoadError> {
    let extension = path.extension().and_then(|name| name.to_str());
    let parse = match extension.map(str::to_ascii_lowercase).as_deref() {
        Some("yaml" | "yml") => yaml,
        Some("toml") => toml,
        Some("json") => json,
        _ => return Err(LoadError::UnknownFormat(path.to_owned())),
    };
    let text = std::fs::read_to_string(path)
        .map_err(|error| LoadError::Unreadable(path.to_owned(), error))?;
    parse(&text).map_err(|what| LoadError::Syntax(path.to_owned(), what))
}

// Only the parsers' bare sentences are kept, never the line at fault: it may hold a credential.

fn yaml(text: &str) -> Result<Value, String> {
    let blank = |line: &str| line.is_empty() || line.starts_with('#');
    if text.lines().map(str::trim_start).all(blank) {
        return Ok(Value::Null);
    }
    let options = serde_saphyr::options! {
        with_snippet: false,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
    };
    serde_saphyr::from_str_with_options::<Tree>(text, options)
        .map(|tree| tree.0)
        .map_err(|error| format!("no valid YAML: {}", error.without_snippet()))
}

fn toml(text: &str) -> Result<Value, String> {
    toml::from_str::<Tree>(text)
        .map(|tree| tree.0)
        .map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.unwrap_or_default().matches('\n').count() + 1;
            format!("no valid TOML: {} at line {line}", error.message())
        })
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str::<Tree>(text)
        .map(|tree| tree.0)
        .map_err(|error| format!("no valid JSON: {error}"))
}

/// A [`Value`] that refuses what `Value` reads silently: a key given twice, a number not finite.
struct Tree(Value);

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor).map(Tree)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        let number = serde_json::Number::from_f64(value);
        number
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Tree(item)) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!("the key `{key}` stands twice")));
            }
            let Tree(value) = access.next_value()?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// Replaces lists of mappings that are written as one JSON string by what they say.
pub(super) fn expand_lists(tree: &mut Value, problems: &Problems) {
    for (path, _) in KEYS.iter().filter(|(_, shape)| *shape == Shape::Objects) {
        let Some(value) = find(tree, path) else {
            continue;
        };
        if let Value::String(text) = value {
            *value = objects(text).unwrap_or_else(|message| {
                problems.push(*path, message);
                Value::Null
            });
        }
    }
}

/// One JSON array of mappings; blank text is an empty one.
pub(super) fn objects(text: &str) -> Result<Value, String> {
    if text.trim().is_empty() {
        return Ok(Value::Array(Vec::new()));
    }
    match json(text)? {
        list @ Value::Array(_) => Ok(list),
        other => Err(format!("must be a JSON array, not {}", kind(&other))),
    }
}

fn find<'t>(tree: &'t mut Value, path: &str) -> Option<&'t mut Value> {
    path.split('.').try_fold(tree, |at, step| at.get_mut(step))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_as(name: &str, text: &str) -> Result<Value, String> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        read(&path).map_err(|error| {
            let text = error.to_string();
            text.replace(dir.path().to_str().expect("UTF-8"), "")
        })
    }

    #[test]
    fn the_three_formats_read_alike_and_keep_their_order() {
        let want = json!({"z": {"n": 1, "f": 0.5, "on": true}, "a": ["x", "0123"]});
        let cases = [
            ("c.yaml", "z: {n: 1, f: 0.5, on: true}\na: [x, 0123]\n"),
            (
                "c.YML",
                "# first\nz:\n  n: 1\n  f: 0.5\n  on: true\na:\n- x\n- '0123'\n",
            ),
            (
                "c.json",
                r#"{"z":{"n":1,"f":0.5,"on":true},"a":["x","0123"]}"#,
            ),
        ];
        for (name, text) in cases {
            let got = read_as(name, text).expect(name);
            assert_eq!(got.to_string(), want.to_string(), "{name}");
        }
        let toml = "[z]\nn = 1\nf = 0.5\non = true\n[a]\nx = '0123'\n";
        let want = json!({"z": {"n": 1, "f": 0.5, "on": true}, "a": {"x": "0123"}});
        let got = read_as("c.toml", toml).expect("TOML");
        assert_eq!(got.to_string(), want.to_string());
    }

    #[test]
    fn an_empty_file_is_an_empty_mapping() {
        for (name, text) in [
            ("c.yaml", ""),
            ("c.yaml", "\n# all defaults\n"),
            ("c.json", "null"),
        ] {
            assert_eq!(read_as(name, text), Ok(Value::Null), "{name}");
        }
        assert_eq!(read_as("c.toml", ""), Ok(json!({})));
    }

    #[test]
    fn yes_and_on_are_strings() {
        let got = read_as("c.yaml", "a: yes\nb: on\nc: null\nd: ~\n").expect("YAML");
        assert_eq!(got, json!({"a": "yes", "b": "on", "c": null, "d": null}));
    }

    #[test]
    fn broken_text_names_the_place_but_quotes_nothing() {
        let cases = [
            ("c.yaml", "a: 1\nb: [hunter2\n"),
            ("c.yaml", "a: 1\nb: \"hunter2\n"),
            ("c.yaml", "a: hunter2\na: hunter2\n"),
            ("c.yaml", "a: hunter2: hunter2\n"),
            ("c.yaml", "a: .inf # hunter2\n"),
            ("c.yaml", "a: hunter2\n---\na: hunter2\n"),
            ("c.toml", "a = 1\nb = hunter2\n"),
            ("c.toml", "a = 'hunter2'\na = 'hunter2'\n"),
            ("c.toml", "a = inf # hunter2\n"),
            ("c.json", "{\"a\": \"hunter2\", \"b\": hunter2}"),
            ("c.json", "{\"a\": \"hunter2\", \"a\": 1}"),
        ];
        for (name, text) in cases {
            let error = read_as(name, text).expect_err(text);
            assert!(error.contains("line "), "{error}");
            assert!(
                !error.contains("hunter2") && !error.contains('\n'),
                "{error}"
            );
        }
    }

    #[test]
    fn a_missing_file_and_an_unknown_extension_are_told_apart() {
        let missing = read(Path::new("/nowhere/c.yaml")).expect_err("missing");
        assert!(matches!(missing, LoadError::Unreadable(..)), "{missing}");
        for name in ["c.ini", "c", ".yaml"] {
            let error = read_as(name, "").expect_err(name);
            assert!(
                error.ends_with("must end in .yaml, .yml, .toml or .json"),
                "{error}"
            );
        }
    }

    #[test]
    fn lists_of_mappings_may_be_a_json_string() {
        let rewrites = |value: Value| json!({"proxy": {"url_rewrites": value}});
        let cases = [
            (json!(r#"[{"match":"^/a"}]"#), json!([{"match": "^/a"}]), 0),
            (json!(" "), json!([]), 0),
            (json!("{}"), json!(null), 1),
            (json!("[{]"), json!(null), 1),
            (json!([1]), json!([1]), 0),
        ];
        for (value, want, count) in cases {
            let problems = Problems::default();
            let mut tree = rewrites(value);
            expand_lists(&mut tree, &problems);
            assert_eq!(tree, rewrites(want));
            assert_eq!(problems.len(), count);
        }
    }
}
