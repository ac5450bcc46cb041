//! `${NAME}` in the strings of the startup file. [boot]

use std::collections::{BTreeMap, BTreeSet};

use config_sync::tree::{Problem, ProblemKind, Value};

use super::env;
use super::keys;

/// What interpolation found besides the values.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The variables that the file refers to, set or not.
    pub(super) names: BTreeSet<String>,
    /// What could not be replaced. The value reads as absent.
    pub(super) problems: Vec<Problem>,
}

/// Replaces `${NAME}` by the variable's value in every string of `tree`.
///
/// `$${` stands for `${`; any other `$` for itself. Keys are left alone, and so are the templates
/// in `proxy.url_rewrites[].rewrite`, where `${` names a group. A value is put in after parsing,
/// so it cannot bring structure; but where the key wants a number or a boolean, it is read as one.
pub(super) fn interpolate(tree: &mut Value, variables: &BTreeMap<String, String>) -> Found {
    let mut found = Found::default();
    walk(tree, "", variables, &mut found);
    found
}

fn walk(value: &mut Value, path: &str, variables: &BTreeMap<String, String>, found: &mut Found) {
    match value {
        Value::Object(map) => {
            for (key, item) in map {
                let dot = if path.is_empty() { "" } else { "." };
                walk(item, &format!("{path}{dot}{key}"), variables, found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                walk(item, &format!("{path}[{index}]"), variables, found);
            }
        }
        Value::String(text) if text.contains("${") && !is_template(path) => {
            let read = replace(text, variables, &mut found.names).and_then(|text| {
                match keys::shape_of(path) {
                    Some(shape) if env::is_scalar(shape) => env::convert(shape, &text),
                    _ => Ok(Value::String(text)),
                }
            });
            *value = read.unwrap_or_else(|message| {
                let path = path.to_owned();
                let kind = ProblemKind::Schema;
                found.problems.push(Problem {
                    path,
                    message,
                    kind,
                });
                Value::Null
            });
        }
        _ => {}
    }
}

fn is_template(path: &str) -> bool {
    path.starts_with("proxy.url_rewrites[") && path.ends_with("].rewrite")
}

fn replace(
    text: &str,
    variables: &BTreeMap<String, String>,
    names: &mut BTreeSet<String>,
) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            return Err("has an unterminated `${` (write `$${` for a literal one)".into());
        };
        if !is_name(name) {
            return Err(
                "has a `${` without the name of a variable (write `$${` for a literal one)".into(),
            );
        }
        names.insert(name.to_owned());
        let value = variables
            .get(name)
            .ok_or_else(|| format!("refers to the variable `{name}`, which is not set"))?;
        out.push_str(value);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// Whether `text` can name an environment variable.
pub(super) fn is_name(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn variables() -> BTreeMap<String, String> {
        [
            ("A", "one"),
            ("B", ""),
            ("N", "8"),
            ("T", "TRUE"),
            ("Q", "a: [\"${A}\"]"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    #[test]
    fn only_a_whole_reference_is_replaced() {
        let cases = [
            ("${A}", Ok("one")),
            ("x${A}y${A}", Ok("xoneyone")),
            ("${B}", Ok("")),
            ("$${A}", Ok("${A}")),
            ("$$${A}", Ok("$${A}")),
            ("$A $ $$ }", Ok("$A $ $$ }")),
            ("${Q}", Ok("a: [\"${A}\"]")),
            ("${Z}", Err("refers to the variable `Z`, which is not set")),
        ];
        for (text, want) in cases {
            let got = replace(text, &variables(), &mut BTreeSet::new());
            assert_eq!(got.as_deref().map_err(String::as_str), want, "{text}");
        }
        for text in ["${", "${A", "a${}", "${A B}", "${1}", "${A:-x}"] {
            assert!(
                replace(text, &variables(), &mut BTreeSet::new()).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn every_string_but_templates_and_keys_is_looked_at() {
        let mut tree = json!({
            "${A}": {"admin_keys": ["${A}", "$${A}"]},
            "proxy": {"url_rewrites": [{"name": "${A}", "match": "${A}", "rewrite": "/${who}"}]},
        });
        let found = interpolate(&mut tree, &variables());
        let want = json!({
            "${A}": {"admin_keys": ["one", "${A}"]},
            "proxy": {"url_rewrites": [{"name": "one", "match": "one", "rewrite": "/${who}"}]},
        });
        assert_eq!(tree, want);
        assert!(found.problems.is_empty());
        assert_eq!(found.names.into_iter().collect::<Vec<_>>(), ["A"]);
    }

    #[test]
    fn a_scalar_is_read_as_its_key_wants() {
        let mut tree = json!({
            "proxy": {"workers": "${N}", "pin_cpus": "${T}", "addr": "${N}"},
            "admin": {"enabled": "${A}", "admin_keys": ["${N}"]},
        });
        let found = interpolate(&mut tree, &variables());
        let want = json!({
            "proxy": {"workers": 8, "pin_cpus": true, "addr": "8"},
            "admin": {"enabled": null, "admin_keys": ["8"]},
        });
        assert_eq!(tree, want);
        let said: Vec<_> = found.problems.iter().map(Problem::to_string).collect();
        assert_eq!(said, ["admin.enabled: must be true or false"]);
    }
}
