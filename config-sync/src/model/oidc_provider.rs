//! Issuers whose tokens callers may present. [pure]

use std::sync::Arc;

use super::origin::{AddressClass, Origin, embeds_credentials};
use super::{field, refuse_nulls};
use crate::tree::{Fields, Problems, Unknown, Value, kind};

/// Most seconds that clocks may differ.
const LEEWAY_SECONDS_MAX: u64 = 300;

/// One issuer and what its tokens must hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OidcProvider {
    /// Name that keys and claim mappings refer to.
    pub name: Arc<str>,
    /// Equal to the token's `iss`, byte for byte.
    pub issuer: Arc<str>,
    /// At least one; the token must be for one of them.
    pub audiences: Vec<Arc<str>>,
    /// Where the signing keys are; `None`: as the issuer's discovery document says.
    pub jwks_uri: Option<Arc<str>>,
    /// The claim that says who it is; dots traverse objects. Default `sub`.
    pub identity_claim: Arc<str>,
    /// Scopes that the token must all have.
    pub required_scopes: Vec<Arc<str>>,
    /// Claims that must all hold: each with the values of which one must be there.
    pub bound_claims: Vec<(Arc<str>, Vec<Arc<str>>)>,
    /// Seconds by which clocks may differ, at most 300. Default 0.
    pub leeway_seconds: u64,
    /// Whether its tokens count. Default: yes.
    pub enabled: bool,
}

impl OidcProvider {
    /// Reads a document. The result is usable only if no problem was noted.
    pub fn read(value: &Value, problems: &Problems, unknown: Unknown) -> Option<Self> {
        let fields = Fields::new(value, "", problems, unknown);
        let name = field::text(&fields, "name");
        let issuer = field::text(&fields, "issuer");
        check_url(&fields, "issuer");
        let audiences = field::required_texts(&fields, "audiences");
        let jwks_uri = fields.take_nonempty_str("jwks_uri");
        check_url(&fields, "jwks_uri");
        let identity_claim = fields.take_nonempty_str("identity_claim").unwrap_or("sub");
        let required_scopes = fields.take_strings("required_scopes").unwrap_or_default();
        let bound_claims = read_bound_claims(&fields);
        let leeway_seconds = fields.take_u64_in("leeway_secs", 0, LEEWAY_SECONDS_MAX);
        let enabled = fields.take_bool("enabled").unwrap_or(true);
        fields.finish();
        refuse_nulls(value, "", problems);
        Some(Self {
            name: name?,
            issuer: issuer?,
            audiences,
            jwks_uri: jwks_uri.map(Arc::from),
            identity_claim: identity_claim.into(),
            required_scopes: required_scopes.into_iter().map(Arc::from).collect(),
            bound_claims,
            leeway_seconds: leeway_seconds.unwrap_or(0),
            enabled,
        })
    }
}

/// No credentials; strict: keys that anyone on the way could replace are refused too.
fn check_url<'a>(fields: &Fields<'a>, key: &'a str) {
    let Some(text) = fields.take(key).and_then(Value::as_str) else {
        return;
    };
    if text.is_empty() {
        return;
    }
    if embeds_credentials(text) {
        fields.problem(key, "must not hold a user name, password or token");
    } else if fields.unknown() == Unknown::Refused {
        let is_safe = Origin::parse(text)
            .is_some_and(|url| url.https || url.authority.class() == AddressClass::Loopback);
        if !is_safe {
            let message = "must be an absolute https URL (http only to a loopback address)";
            fields.problem(key, message);
        }
    }
}

fn read_bound_claims(fields: &Fields<'_>) -> Vec<(Arc<str>, Vec<Arc<str>>)> {
    let mut claims = Vec::new();
    for (path, claim, value) in fields.take_entries("bound_claims") {
        let problem = |path: &str, message: String| fields.problems().push(path, message);
        let mut accepted: Vec<Arc<str>> = Vec::new();
        match value {
            Value::String(text) => accepted.push(text.as_str().into()),
            Value::Array(items) if items.is_empty() => {
                problem(&path, "must hold at least one entry".to_owned());
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    match item.as_str() {
                        Some(text) => accepted.push(text.into()),
                        None => problem(
                            &format!("{path}[{index}]"),
                            format!("must be a string, not {}", kind(item)),
                        ),
                    }
                }
            }
            other => problem(
                &path,
                format!("must be a string or a list of strings, not {}", kind(other)),
            ),
        }
        claims.push((claim.into(), accepted));
    }
    claims
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with(extra: &Value) -> Value {
        let mut doc = json!({"name":"corp","issuer":"https://sso.example.net/realms/ai","audiences":["sluice"],
            "bound_claims":{"department":["r-and-d"]}});
        for (key, value) in extra.as_object().unwrap() {
            doc[key] = value.clone();
        }
        doc
    }

    #[test]
    fn each_field_is_read_or_its_mistake_is_named() {
        // Fields, paths of problems: strict, lenient.
        let cases = [
            (json!({}), "", ""),
            (
                json!({"jwks_uri": "https://sso.example.net/keys?v=1", "leeway_secs": 300, "enabled": false}),
                "",
                "",
            ),
            (
                json!({"name": "", "issuer": ""}),
                "name issuer",
                "name issuer",
            ),
            (
                json!({"issuer": "http://127.0.0.1:8080/x", "jwks_uri": "http://localhost/keys"}),
                "",
                "",
            ),
            (json!({"issuer": "http://sso.example.net"}), "issuer", ""),
            (json!({"issuer": "corp"}), "issuer", ""),
            (
                json!({"issuer": "https://u:canary@sso.example.net"}),
                "issuer",
                "issuer",
            ),
            (
                json!({"jwks_uri": "https://sso.example.net/keys?token=canary"}),
                "jwks_uri",
                "jwks_uri",
            ),
            (json!({"jwks_uri": "http://10.0.0.1/keys"}), "jwks_uri", ""),
            (json!({"jwks_uri": ""}), "jwks_uri", "jwks_uri"),
            (json!({"jwks_uri": null}), "jwks_uri", "jwks_uri"),
            (json!({"audiences": []}), "audiences", "audiences"),
            (json!({"audiences": "sluice"}), "audiences", "audiences"),
            (
                json!({"audiences": ["", 1]}),
                "audiences[0] audiences[1]",
                "audiences[0] audiences[1]",
            ),
            (
                json!({"identity_claim": ""}),
                "identity_claim",
                "identity_claim",
            ),
            (
                json!({"required_scopes": ["a", 1]}),
                "required_scopes[1]",
                "required_scopes[1]",
            ),
            (
                json!({"bound_claims": {"a": "x", "b.c": ["y", "z"]}}),
                "",
                "",
            ),
            (
                json!({"bound_claims": {"a": [], "b": 1, "c": ["x", true]}}),
                "bound_claims.a bound_claims.b bound_claims.c[1]",
                "bound_claims.a bound_claims.b bound_claims.c[1]",
            ),
            (
                json!({"bound_claims": {"a": null}}),
                "bound_claims.a",
                "bound_claims.a",
            ),
            (json!({"leeway_secs": 301}), "leeway_secs", "leeway_secs"),
            (json!({"novel": null}), "novel", ""),
        ];
        for (extra, strict, lenient) in cases {
            for (unknown, want) in [(Unknown::Refused, strict), (Unknown::Ignored, lenient)] {
                let problems = Problems::default();
                OidcProvider::read(&with(&extra), &problems, unknown);
                assert_eq!(problems.paths().join(" "), want, "{unknown:?} {extra}");
                for problem in problems.into_vec() {
                    assert!(!problem.message.contains("canary"), "{problem}");
                }
            }
        }
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let problems = Problems::default();
        let provider = OidcProvider::read(&with(&json!({})), &problems, Unknown::Refused);
        let want = OidcProvider {
            name: "corp".into(),
            issuer: "https://sso.example.net/realms/ai".into(),
            audiences: vec!["sluice".into()],
            jwks_uri: None,
            identity_claim: "sub".into(),
            required_scopes: Vec::new(),
            bound_claims: vec![("department".into(), vec!["r-and-d".into()])],
            leeway_seconds: 0,
            enabled: true,
        };
        assert_eq!(provider, Some(want));
    }
}
