//! Which tools an environment or a team may use. [pure]

use std::sync::Arc;

use super::{field, glob::Glob, read_globs};
use crate::tree::{Fields, Problems, Unknown, Value};

/// One layer of tool access, as read from its document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct McpPolicy {
    /// Whose requests it speaks about.
    pub scope: McpPolicyScope,
    /// Patterns of `<server>__<tool>` that may be used; none allows nothing.
    pub allow: Vec<Glob>,
    /// Patterns of those that may not, whatever allows them.
    pub deny: Vec<Glob>,
    /// A disabled policy is as good as none.
    pub enabled: bool,
}

/// Whose requests a policy speaks about.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum McpPolicyScope {
    /// Every caller's.
    Env,
    /// Those of the team with this `team_id`.
    Team(Arc<str>),
}

#[derive(Clone, Copy)]
enum ScopeWord {
    Env,
    Team,
}

const SCOPES: [(&str, ScopeWord); 2] = [("env", ScopeWord::Env), ("team", ScopeWord::Team)];

impl McpPolicy {
    /// Reads a document. The result is usable only if no problem was noted.
    ///
    /// `allow` is required of writers; without it a document of a store allows nothing.
    pub fn read(value: &Value, problems: &Problems, unknown: Unknown) -> Self {
        let fields = Fields::new(value, "", problems, unknown);
        fields.refuse_null(&["allow", "deny", "enabled"]);
        let scope_ref = fields.take_nonempty_str("scope_ref");
        let scope = match field::required_choice(&fields, "scope", &SCOPES) {
            Some(ScopeWord::Team) => {
                if fields.take("scope_ref").is_none() {
                    fields.problem("scope_ref", "is required for the scope `team`");
                }
                McpPolicyScope::Team(scope_ref.unwrap_or("").into())
            }
            Some(ScopeWord::Env) | None => McpPolicyScope::Env,
        };
        if unknown == Unknown::Refused && !fields.has("allow") {
            fields.problem("allow", "is required (an empty list allows nothing)");
        }
        let policy = Self {
            scope,
            allow: read_globs(&fields, "allow", str::to_owned),
            deny: read_globs(&fields, "deny", str::to_owned),
            enabled: fields.take_bool("enabled").unwrap_or(true),
        };
        fields.finish();
        policy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_as(value: &Value, unknown: Unknown) -> (McpPolicy, Vec<String>) {
        let problems = Problems::default();
        let policy = McpPolicy::read(value, &problems, unknown);
        let said = problems.into_vec();
        (policy, said.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn each_document_is_read_strictly_and_leniently() {
        const OK: &str = "";
        let both = |doc: Value, want: &'static str| (doc, want, want);
        let cases = [
            both(json!({"scope": "env", "allow": []}), OK),
            both(
                json!({"scope": "env", "scope_ref": null, "allow": ["*"], "deny": [], "enabled": false}),
                OK,
            ),
            both(
                json!({"scope": "team", "scope_ref": "t", "allow": ["a__*"], "deny": ["a__b"]}),
                OK,
            ),
            (json!({"scope": "env"}), "allow: is required", OK),
            both(
                json!({"scope": "env", "allow": null}),
                "allow: must not be null",
            ),
            both(
                json!({"scope": "env", "allow": "canary"}),
                "allow: must be a list",
            ),
            (
                json!({"scope": "env", "allow": ["canary**"]}),
                "allow[0]: must hold at most one",
                OK,
            ),
            (
                json!({"scope": "env", "allow": [], "deny": [""]}),
                "deny[0]: must not be empty",
                OK,
            ),
            both(
                json!({"scope": "env", "allow": [5]}),
                "allow[0]: must be a string",
            ),
            both(
                json!({"scope": "env", "allow": [], "deny": null}),
                "deny: must not be null",
            ),
            both(
                json!({"scope": "env", "allow": [], "enabled": null}),
                "enabled: must not be null",
            ),
            both(json!({"allow": []}), "scope: is required"),
            both(
                json!({"scope": "canary", "allow": []}),
                "scope: must be one of env, team",
            ),
            both(
                json!({"scope": "team", "allow": []}),
                "scope_ref: is required",
            ),
            both(
                json!({"scope": "team", "scope_ref": null, "allow": []}),
                "scope_ref: is required",
            ),
            both(
                json!({"scope": "team", "scope_ref": "", "allow": []}),
                "scope_ref: must not be empty",
            ),
            (
                json!({"scope": "env", "allow": [], "novel": "canary"}),
                "novel: unknown key",
                OK,
            ),
        ];
        for (doc, strict, lenient) in cases {
            for (unknown, want) in [(Unknown::Refused, strict), (Unknown::Ignored, lenient)] {
                let (_, said) = read_as(&doc, unknown);
                assert_eq!(said.len(), usize::from(!want.is_empty()), "{doc}: {said:?}");
                assert!(
                    said.iter().all(|line| line.starts_with(want)),
                    "{doc}: {said:?}"
                );
                assert!(said.iter().all(|line| !line.contains("canary")), "{said:?}");
            }
        }
    }

    #[test]
    fn absent_fields_have_their_defaults_and_written_ones_are_read() {
        let (policy, _) = read_as(&json!({"scope": "env"}), Unknown::Ignored);
        let want = McpPolicy {
            scope: McpPolicyScope::Env,
            allow: vec![],
            deny: vec![],
            enabled: true,
        };
        assert_eq!(policy, want);
        let doc = json!({"scope": "team", "scope_ref": "team-7", "allow": ["tickets__*", "a**"],
                         "deny": ["tickets__delete"]});
        let (policy, _) = read_as(&doc, Unknown::Ignored);
        assert_eq!(policy.scope, McpPolicyScope::Team("team-7".into()));
        assert_eq!((policy.allow.len(), policy.deny.len()), (1, 1));
        assert!(policy.allow[0].matches("tickets__delete"));
        assert!(policy.deny[0].matches("tickets__delete"));
    }
}
