//! From the claims of a token to the key that its request runs as. [pure]

use std::sync::Arc;

use super::{field, refuse_nulls};
use crate::tree::{Fields, Problems, Unknown, Value};

/// One mapping.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClaimMapping {
    /// Name; the lower goes first among mappings of one priority.
    pub name: Arc<str>,
    /// Name of the OIDC provider whose tokens it is for.
    pub jwt_provider: Arc<str>,
    /// The lower goes first. Default 0.
    pub priority: u32,
    /// At least one; all must hold.
    pub matches: Vec<ClaimMatch>,
    /// Id of the key.
    pub api_key_id: Arc<str>,
    /// Whether it applies. Default: yes.
    pub enabled: bool,
}

/// A test of one claim. A claim of another type never passes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClaimMatch {
    /// The claim.
    pub claim: Arc<str>,
    /// How it is compared.
    pub op: ClaimOp,
    /// At least one; any of them will do.
    pub values: Vec<Arc<str>>,
}

/// How a claim is compared with a value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClaimOp {
    /// The claim is a text and equals it.
    Exact,
    /// The claim is a list and holds it.
    Contains,
}

impl ClaimMapping {
    /// Reads a document. The result is usable only if no problem was noted.
    pub fn read(value: &Value, problems: &Problems, unknown: Unknown) -> Option<Self> {
        let fields = Fields::new(value, "", problems, unknown);
        let name = field::text(&fields, "name");
        let jwt_provider = field::text(&fields, "jwt_provider");
        let priority = fields.take_u32("priority").unwrap_or(0);
        let matches = read_matches(&fields);
        let api_key_id = field::required_block(&fields, "resolve").and_then(|block| {
            let id = field::text(&block, "api_key_id");
            block.finish();
            id
        });
        let enabled = fields.take_bool("enabled").unwrap_or(true);
        fields.finish();
        refuse_nulls(value, "", problems);
        Some(Self {
            name: name?,
            jwt_provider: jwt_provider?,
            priority,
            matches,
            api_key_id: api_key_id?,
            enabled,
        })
    }
}

fn read_matches(fields: &Fields<'_>) -> Vec<ClaimMatch> {
    let ops = [("exact", ClaimOp::Exact), ("contains", ClaimOp::Contains)];
    let mut matches = Vec::new();
    for (path, item) in field::items(fields, "match") {
        let Some(block) = field::mapping(fields, &path, item) else {
            continue;
        };
        let claim = field::text(&block, "claim");
        let op = field::required_choice(&block, "op", &ops);
        let values = field::required_texts(&block, "values");
        block.finish();
        if let (Some(claim), Some(op)) = (claim, op) {
            matches.push(ClaimMatch { claim, op, values });
        }
    }
    matches
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with(extra: &Value) -> Value {
        let mut doc = json!({"name":"analysts","jwt_provider":"corp","match":[{"claim":"groups","op":"contains",
            "values":["analysts"]}],"resolve":{"api_key_id":"8474"}});
        for (key, value) in extra.as_object().unwrap() {
            doc[key] = value.clone();
        }
        doc
    }

    #[test]
    fn each_field_is_read_or_its_mistake_is_named() {
        let one = |item: Value| json!({ "match": [item] });
        // Fields, paths of problems: strict, lenient.
        let cases = [
            (json!({}), "", ""),
            (json!({"priority": 7, "enabled": false}), "", ""),
            (
                json!({"name": "", "jwt_provider": ""}),
                "name jwt_provider",
                "name jwt_provider",
            ),
            (json!({"priority": -1}), "priority", "priority"),
            (json!({"priority": null}), "priority", "priority"),
            (json!({"match": []}), "match", "match"),
            (json!({"match": ["groups"]}), "match[0]", "match[0]"),
            (
                one(json!({"claim": "c", "op": "exact", "values": ["a", "b"]})),
                "",
                "",
            ),
            (
                one(json!({})),
                "match[0].claim match[0].op match[0].values",
                "match[0].claim match[0].op match[0].values",
            ),
            (
                one(json!({"claim": "", "op": "regex", "values": []})),
                "match[0].claim match[0].op match[0].values",
                "match[0].claim match[0].op match[0].values",
            ),
            (
                one(json!({"claim": "c", "op": "exact", "values": [1], "not": true})),
                "match[0].values[0] match[0].not",
                "match[0].values[0]",
            ),
            (
                json!({"resolve": {}}),
                "resolve.api_key_id",
                "resolve.api_key_id",
            ),
            (
                json!({"resolve": {"api_key_id": "", "team": "t"}}),
                "resolve.api_key_id resolve.team",
                "resolve.api_key_id",
            ),
            (json!({"resolve": "8474"}), "resolve", "resolve"),
            (json!({"novel": null}), "novel", ""),
        ];
        for (extra, strict, lenient) in cases {
            for (unknown, want) in [(Unknown::Refused, strict), (Unknown::Ignored, lenient)] {
                let problems = Problems::default();
                let mapping = ClaimMapping::read(&with(&extra), &problems, unknown);
                assert!(mapping.is_some() || !problems.is_empty(), "{extra}");
                assert_eq!(problems.paths().join(" "), want, "{unknown:?} {extra}");
            }
        }
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let problems = Problems::default();
        let mapping = ClaimMapping::read(&with(&json!({})), &problems, Unknown::Refused);
        let want = ClaimMapping {
            name: "analysts".into(),
            jwt_provider: "corp".into(),
            priority: 0,
            matches: vec![ClaimMatch {
                claim: "groups".into(),
                op: ClaimOp::Contains,
                values: vec!["analysts".into()],
            }],
            api_key_id: "8474".into(),
            enabled: true,
        };
        assert_eq!(mapping, Some(want));
    }
}
