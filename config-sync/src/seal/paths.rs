//! Where documents hold secrets. [pure]

use crate::collection::Collection;
use crate::tree::Value;

/// One pattern of secret places.
#[derive(Clone, Copy, Debug)]
pub struct SecretPath {
    /// Member names from the root; `*` stands for every member of a mapping or item of a list.
    pub segments: &'static [&'static str],
    /// The whole value is one secret, sealed as its JSON text. Otherwise only a string is one.
    pub whole: bool,
    /// A mapping is a secret of several parts. It is sealed as its JSON text, and opens to that
    /// text, which stands for the same.
    pub parts: bool,
    /// What envelopes are bound to where the document uses a former spelling: the present one.
    bound_to: Option<&'static str>,
}

const fn text(segments: &'static [&'static str]) -> SecretPath {
    SecretPath {
        segments,
        whole: false,
        parts: false,
        bound_to: None,
    }
}

const fn whole(segments: &'static [&'static str]) -> SecretPath {
    SecretPath {
        whole: true,
        ..text(segments)
    }
}

const fn parts(segments: &'static [&'static str]) -> SecretPath {
    SecretPath {
        parts: true,
        ..text(segments)
    }
}

const fn formerly(path: SecretPath, now: &'static str) -> SecretPath {
    SecretPath {
        bound_to: Some(now),
        ..path
    }
}

/// The secret places of documents of `collection`. Caller keys have none: they are hashes.
pub fn secret_paths(collection: Collection) -> &'static [SecretPath] {
    match collection {
        Collection::ProviderKeys => {
            const {
                &[
                    parts(&["api_key"]),
                    formerly(parts(&["secret"]), "/api_key"),
                    text(&["request", "default_headers", "*"]),
                    whole(&["request", "default_body_fields"]),
                ]
            }
        }
        Collection::Guardrails => {
            const {
                &[
                    text(&["aws_credentials", "access_key_id"]),
                    text(&["aws_credentials", "secret_access_key"]),
                    text(&["api_key"]),
                    text(&["access_key_id"]),
                    text(&["access_key_secret"]),
                ]
            }
        }
        Collection::McpServers | Collection::A2aAgents => const { &[text(&["secret"])] },
        Collection::ObservabilityExporters => const { &[text(&["headers", "*"])] },
        Collection::Ssls => {
            const {
                &[
                    text(&["cert"]),
                    text(&["key"]),
                    text(&["extra", "*", "cert"]),
                    text(&["extra", "*", "key"]),
                ]
            }
        }
        Collection::Models
        | Collection::ApiKeys
        | Collection::GuardrailAttachments
        | Collection::McpPolicies
        | Collection::McpAuthSettings
        | Collection::CachePolicies
        | Collection::RateLimitPolicies
        | Collection::OidcProviders
        | Collection::ClaimMappings
        | Collection::PassthroughRoutes => &[],
    }
}

/// One secret place of one document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SecretPlace {
    /// JSON pointer (RFC 6901) into the document.
    pub pointer: String,
    /// The whole value is one secret, sealed as its JSON text. Otherwise only a string is one.
    pub whole: bool,
    /// A mapping is a secret of several parts, as of [`SecretPath::parts`].
    pub parts: bool,
    bound_to: Option<&'static str>,
}

impl SecretPlace {
    /// The pointer that envelopes of this place are bound to.
    pub fn bound_pointer(&self) -> &str {
        self.bound_to.unwrap_or(&self.pointer)
    }
}

/// The secret places that `document` has a value at, `null` left out, in the order of the table.
pub fn secrets_in(collection: Collection, document: &Value) -> Vec<SecretPlace> {
    let mut places = Vec::new();
    for path in secret_paths(collection) {
        expand(document, path.segments, String::new(), &mut |pointer| {
            places.push(SecretPlace {
                pointer,
                whole: path.whole,
                parts: path.parts,
                bound_to: path.bound_to,
            });
        });
    }
    places
}

/// Recurses once per segment.
fn expand(value: &Value, segments: &[&str], pointer: String, found: &mut impl FnMut(String)) {
    let Some((segment, rest)) = segments.split_first() else {
        if !value.is_null() {
            found(pointer);
        }
        return;
    };
    match (value, *segment) {
        (Value::Object(members), "*") => {
            for (name, member) in members {
                expand(member, rest, joined(&pointer, name), found);
            }
        }
        (Value::Array(items), "*") => {
            for (index, item) in items.iter().enumerate() {
                expand(item, rest, format!("{pointer}/{index}"), found);
            }
        }
        (Value::Object(members), name) => {
            if let Some(member) = members.get(name) {
                expand(member, rest, joined(&pointer, name), found);
            }
        }
        _ => {}
    }
}

/// `pointer` with one more member name, escaped.
fn joined(pointer: &str, name: &str) -> String {
    let name = name.replace('~', "~0").replace('/', "~1");
    format!("{pointer}/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pointers(collection: Collection, document: &Value) -> Vec<String> {
        let places = secrets_in(collection, document);
        for place in &places {
            assert!(document.pointer(&place.pointer).is_some(), "{place:?}");
        }
        places.into_iter().map(|place| place.pointer).collect()
    }

    #[test]
    fn every_secret_of_the_table_is_found_and_nothing_else() {
        let cases = [
            (
                Collection::ProviderKeys,
                json!({"name": "a", "api_key": "s", "secret": "s", "base_url": "u", "request": {
                    "default_headers": {"x-a/b": "s", "x~c": 1, "x-n": null},
                    "default_body_fields": {"x": 1}, "param_renames": {"a": "b"}}}),
                &[
                    "/api_key",
                    "/secret",
                    "/request/default_headers/x-a~1b",
                    "/request/default_headers/x~0c",
                    "/request/default_body_fields",
                ][..],
            ),
            (
                Collection::Guardrails,
                json!({"api_key": "s", "access_key_id": "s", "access_key_secret": "s", "secret": "t",
                    "aws_credentials": {"kind": "static", "access_key_id": "s", "secret_access_key": "s"}}),
                &[
                    "/aws_credentials/access_key_id",
                    "/aws_credentials/secret_access_key",
                    "/api_key",
                    "/access_key_id",
                    "/access_key_secret",
                ],
            ),
            (
                Collection::McpServers,
                json!({"secret": "s", "client_id": "c"}),
                &["/secret"],
            ),
            (Collection::A2aAgents, json!({"secret": "s"}), &["/secret"]),
            (
                Collection::ObservabilityExporters,
                json!({"headers": {"authorization": "s"}, "credential_ref": "r"}),
                &["/headers/authorization"],
            ),
            (
                Collection::Ssls,
                json!({"cert": "s", "key": "s", "client_ca": "c",
                    "extra": [{"cert": "s", "key": "s"}, 1, {"key": "s"}]}),
                &[
                    "/cert",
                    "/key",
                    "/extra/0/cert",
                    "/extra/0/key",
                    "/extra/2/key",
                ],
            ),
            (
                Collection::ApiKeys,
                json!({"key_hash": "h", "secret": "t"}),
                &[],
            ),
            (Collection::Models, json!({"api_key": "t"}), &[]),
        ];
        for (collection, document, want) in cases {
            let mut found = pointers(collection, &document);
            let mut want: Vec<String> = want.iter().map(|&pointer| pointer.to_owned()).collect();
            found.sort();
            want.sort();
            assert_eq!(found, want, "{collection}");
        }
    }

    #[test]
    fn documents_of_another_shape_have_no_secrets() {
        for document in [
            json!(null),
            json!("$enc:x"),
            json!([{"api_key": "s"}]),
            json!({"api_key": null, "request": "x"}),
            json!({"request": {"default_headers": "x", "default_body_fields": null}}),
        ] {
            let found = pointers(Collection::ProviderKeys, &document);
            assert_eq!(found, [] as [String; 0], "{document}");
        }
    }
}
