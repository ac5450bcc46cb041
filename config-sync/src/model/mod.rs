//! The kinds of resources: their fields, defaults and checks. [pure]
//!
//! Each kind is read from one document into a checked type; references between documents are
//! resolved when a snapshot is built. Readers are strict or lenient as their [`Fields`] are.
//!
//! [`Fields`]: crate::tree::Fields

pub mod a2a_agent;
pub mod api_key;
pub mod base_url;
pub mod cache_policy;
mod cidr;
pub mod claim_mapping;
mod credential;
pub mod ensemble;
pub mod exporter;
mod field;
pub mod glob;
pub mod guardrail;
pub mod guardrail_attachment;
mod header;
pub mod http_url;
pub mod labels;
pub mod mcp_auth_setting;
pub mod mcp_policy;
pub mod mcp_server;
#[allow(clippy::module_inception)] // The resource is called a model.
pub mod model;
pub mod oidc_provider;
mod origin;
pub mod passthrough_route;
pub mod provider_key;
pub mod rate_limit;
pub mod rate_limit_policy;
pub mod routing;
pub mod semantic;
pub mod ssl;
pub mod template;
mod unenforced;

pub use api_key::{ApiKey, ApiKeyDocument};
pub use base_url::BaseUrl;
pub use glob::Glob;
pub use labels::{CallerLabels, TargetLabels};
pub use model::{Cost, Model, ModelDocument, ModelKind};
pub(crate) use origin::embeds_credentials;
pub use provider_key::{
    Adapter, BodyPolicy, DoneMarker, HeaderPolicy, KeyTls, ProviderKey, ProviderKeyDocument,
};
pub use template::{Template, Var};

use std::collections::HashSet;

use crate::tree::{Fields, Problems, Unknown, Value};

/// A list of patterns, each changed by `prepare` first.
///
/// Strict: what is no pattern is a problem. Lenient: it is left out, as it never matches.
fn read_globs<'a>(
    fields: &Fields<'a>,
    key: &'a str,
    prepare: impl Fn(&str) -> String,
) -> Vec<Glob> {
    let mut globs = Vec::new();
    for (path, item) in fields.take_list(key).unwrap_or_default() {
        let problem = |message: String| fields.problems().push(path.as_str(), message);
        match item.as_str().map(|text| Glob::parse(&prepare(text))) {
            None => problem(format!("must be a string, not {}", crate::tree::kind(item))),
            Some(Ok(glob)) => globs.push(glob),
            Some(Err(error)) if fields.unknown() == Unknown::Refused => problem(error.to_string()),
            Some(Err(_)) => {}
        }
    }
    globs
}

/// Notes every `null` below `value`, for kinds that take none. Called after the fields were read.
///
/// What was passed over may be `null`, and a field that has a problem already gets no second one.
fn refuse_nulls(value: &Value, path: &str, problems: &Problems) {
    if !holds_null(value) {
        return;
    }
    let passed_over = problems.ignored().into_iter().map(|path| {
        let field = path.strip_prefix("inapplicable:").map(str::to_owned);
        field.unwrap_or(path)
    });
    let nulls = Nulls {
        problems,
        told: problems.paths().into_iter().collect(),
        passed_over: passed_over.collect(),
    };
    nulls.refuse(value, path, path);
}

fn holds_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(holds_null),
        Value::Object(fields) => fields.values().any(holds_null),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The search for nulls in one document.
struct Nulls<'p> {
    problems: &'p Problems,
    told: HashSet<String>,
    /// Paths with their indices collapsed.
    passed_over: HashSet<String>,
}

impl Nulls<'_> {
    /// `collapsed` is `path` with `.[]` for each index.
    fn refuse(&self, value: &Value, path: &str, collapsed: &str) {
        let is_settled = self.told.contains(path) || self.passed_over.contains(collapsed);
        if is_settled && !path.is_empty() {
            return;
        }
        match value {
            Value::Null => self
                .problems
                .push(path, "must not be null (leave it out for the default)"),
            Value::Array(items) => {
                let below = format!("{collapsed}{}[]", dot_after(collapsed));
                for (index, item) in items.iter().enumerate() {
                    self.refuse(item, &format!("{path}[{index}]"), &below);
                }
            }
            Value::Object(fields) => {
                for (key, item) in fields {
                    let of = |parent: &str| format!("{parent}{}{key}", dot_after(parent));
                    self.refuse(item, &of(path), &of(collapsed));
                }
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

fn dot_after(parent: &str) -> &'static str {
    if parent.is_empty() { "" } else { "." }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nulls_are_told_once_and_only_where_the_field_counts() {
        let doc = json!({"a": null, "list": [{"x": null, "new": null}, null], "dead": null,
                         "told": null, "novel": {"y": null}});
        let problems = Problems::default();
        problems.push("told", "is required");
        for path in ["list[0].new", "inapplicable:dead", "novel"] {
            problems.ignore(path);
        }
        refuse_nulls(&doc, "", &problems);
        assert_eq!(problems.paths(), ["told", "a", "list[0].x", "list[1]"]);
    }
}
