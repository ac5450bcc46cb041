//! Credentials taken out of documents, and `$` written so that a file means it. [pure]

use std::collections::HashMap;

use zeroize::Zeroizing;

use super::read::Row;
use super::{Secrets, Variable};
use crate::collection::Collection;
use crate::document::Document;
use crate::model::Template;
use crate::model::embeds_credentials;
use crate::tree::Value;

/// The credentials found so far.
#[derive(Default)]
pub(super) struct Taken {
    /// The variables, with the collection and name of their row.
    pub(super) variables: Vec<(Collection, String, Variable)>,
    /// What the variables stand for, to check the file with.
    pub(super) values: HashMap<String, Zeroizing<String>>,
    revealed: usize,
}

impl Taken {
    /// What to say of them.
    pub(super) fn warnings(&self, secrets: Secrets) -> Vec<String> {
        let mut warnings = Vec::new();
        if secrets == Secrets::Revealed && self.revealed > 0 {
            let count = self.revealed;
            warnings.push(format!(
                "the file holds {count} credential(s) as plain text"
            ));
        }
        let mut places: HashMap<&str, Vec<&str>> = HashMap::new();
        for (_, _, variable) in &self.variables {
            let places = places.entry(&variable.name).or_default();
            places.push(&variable.place);
        }
        let mut shared: Vec<_> = places.into_iter().filter(|(_, at)| at.len() > 1).collect();
        shared.sort();
        for (name, places) in shared {
            let places = places.join("; ");
            warnings.push(format!(
                "one variable stands in several places: {name}: {places}"
            ));
        }
        warnings
    }
}

/// Replaces the credentials of a row, and doubles each `$` of its other texts.
pub(super) fn take(row: &mut Row, secrets: Secrets, taken: &mut Taken) {
    let mut walk = Walk {
        label: row.label(),
        collection: row.collection,
        name: row.name.clone(),
        secrets,
        taken,
    };
    walk.visit(row.document.value_mut(), &mut Vec::new());
}

struct Walk<'t> {
    label: String,
    collection: Collection,
    name: String,
    secrets: Secrets,
    taken: &'t mut Taken,
}

impl Walk<'_> {
    fn visit(&mut self, value: &mut Value, path: &mut Vec<String>) {
        let at: Vec<&str> = path.iter().map(String::as_str).collect();
        // A credential of several parts is one text to whoever uses it.
        let whole = self.collection == Collection::ProviderKeys && at == ["api_key"];
        match value {
            Value::Object(_) if whole => {
                if self.secrets == Secrets::AsVariables {
                    let parts = Document::from(value.take());
                    *value = Value::String(parts.value().to_string());
                    return self.visit(value, path);
                }
                self.taken.revealed += 1;
                double_dollars(value);
            }
            Value::String(text) => {
                let found = Zeroizing::new(std::mem::take(text));
                *text = if is_secret(self.collection, &at, &found) {
                    self.secret(&found, path)
                } else {
                    found.replace('$', "$$")
                };
            }
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    path.push(index.to_string());
                    self.visit(item, path);
                    path.pop();
                }
            }
            Value::Object(fields) => {
                for (key, value) in fields.iter_mut() {
                    path.push(key.clone());
                    self.visit(value, path);
                    path.pop();
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// What to write for a credential.
    fn secret(&mut self, text: &str, path: &[String]) -> String {
        if self.secrets == Secrets::Revealed {
            self.taken.revealed += 1;
            return text.replace('$', "$$");
        }
        let place = format!("{}: {}", self.label, path.join("."));
        let parts = [self.collection.name(), &self.name];
        let parts = parts.into_iter().chain(path.iter().map(String::as_str));
        let name = variable_name(parts);
        let value = Zeroizing::new(text.to_owned());
        self.taken.values.insert(name.clone(), value);
        let reference = format!("${{{name}}}");
        let variable = Variable { name, place };
        let row = (self.collection, self.name.clone());
        self.taken.variables.push((row.0, row.1, variable));
        reference
    }
}

fn double_dollars(value: &mut Value) {
    match value {
        Value::String(text) => *text = text.replace('$', "$$"),
        Value::Array(items) => items.iter_mut().for_each(double_dollars),
        Value::Object(fields) => fields.values_mut().for_each(double_dollars),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// `SLUICESECRET_<KIND>_<NAME>_<FIELD>`, in what a variable's name may consist of.
fn variable_name<'p>(parts: impl Iterator<Item = &'p str>) -> String {
    let mut name = "SLUICESECRET".to_owned();
    for part in parts {
        name.push('_');
        name.extend(part.chars().map(|c| match c {
            c if c.is_ascii_alphanumeric() => c.to_ascii_uppercase(),
            _ => '_',
        }));
    }
    name
}

/// Whether the text at `path` is a credential. An empty one hides nothing, and no variable could
/// stand for it.
fn is_secret(collection: Collection, path: &[&str], text: &str) -> bool {
    if text.is_empty() {
        return false;
    }
    let by_place = match (collection, path) {
        (Collection::ProviderKeys, ["request", "default_headers", _]) => !is_pure_template(text),
        (Collection::ProviderKeys, ["api_key"] | ["request", "default_body_fields", ..])
        | (Collection::McpServers | Collection::A2aAgents, ["secret"])
        | (Collection::ObservabilityExporters, ["headers", _])
        | (Collection::Ssls, ["cert" | "key"] | ["extra", _, "cert" | "key"])
        | (
            Collection::Guardrails,
            [
                ..,
                "api_key" | "access_key_id" | "access_key_secret" | "secret_access_key",
            ],
        ) => true,
        _ => false,
    };
    by_place || is_url(text) && embeds_credentials(text)
}

/// A header value that only says what to fill in.
fn is_pure_template(text: &str) -> bool {
    Template::parse(text).is_ok_and(|template| template.literals().next().is_none())
}

fn is_url(text: &str) -> bool {
    let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    !scheme.is_empty() && scheme.bytes().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_known_by_their_place_or_their_look() {
        use Collection::{
            A2aAgents, Guardrails, McpServers, Models, ObservabilityExporters, ProviderKeys, Ssls,
        };
        let cases: &[(Collection, &[&str], &str, bool)] = &[
            (ProviderKeys, &["api_key"], "x", true),
            (ProviderKeys, &["api_key"], "", false),
            (ProviderKeys, &["display_name"], "x", false),
            (
                ProviderKeys,
                &["request", "default_headers", "h"],
                "x",
                true,
            ),
            (
                ProviderKeys,
                &["request", "default_headers", "h"],
                "${request.id}",
                false,
            ),
            (
                ProviderKeys,
                &["request", "default_headers", "h"],
                "x ${request.id}",
                true,
            ),
            (
                ProviderKeys,
                &["request", "default_body_fields", "a", "0", "b"],
                "x",
                true,
            ),
            (ProviderKeys, &["request", "param_renames", "a"], "x", false),
            (ProviderKeys, &["api_base"], "https://u:p@h/", true),
            (ProviderKeys, &["api_base"], "https://h/?x=1", false),
            (McpServers, &["secret"], "x", true),
            (McpServers, &["url"], "https://h/?api_key=1", true),
            (A2aAgents, &["secret"], "x", true),
            (Models, &["secret"], "x", false),
            (Guardrails, &["api_key"], "x", true),
            (
                Guardrails,
                &["aws_credentials", "secret_access_key"],
                "x",
                true,
            ),
            (
                Guardrails,
                &["custom_patterns", "0", "regex"],
                "[a-z]+?://x@y",
                false,
            ),
            (Guardrails, &["detectors", "0", "type"], "api_key", false),
            (ObservabilityExporters, &["headers", "x-token"], "x", true),
            (Ssls, &["extra", "1", "key"], "x", true),
            (Ssls, &["client_ca"], "x", false),
        ];
        for (collection, path, text, want) in cases {
            assert_eq!(
                is_secret(*collection, path, text),
                *want,
                "{collection} {path:?} {text}"
            );
        }
    }

    #[test]
    fn variables_are_named_in_legal_characters() {
        let parts = ["provider_keys", "eu-open ai/é", "request", "x.y"];
        assert_eq!(
            variable_name(parts.into_iter()),
            "SLUICESECRET_PROVIDER_KEYS_EU_OPEN_AI___REQUEST_X_Y"
        );
    }
}
