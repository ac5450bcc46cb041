//! The kinds of resources: their fields, defaults and checks. [pure]
//!
//! Each kind is read from one document into a checked type; references between documents are
//! resolved when a snapshot is built. Readers are strict or lenient as their [`Fields`] are.
//!
//! [`Fields`]: crate::tree::Fields

pub mod a2a_agent;
pub mod api_key;
pub mod base_url;
mod cidr;
mod credential;
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
pub mod passthrough_route;
pub mod provider_key;
pub mod template;
mod unenforced;

pub use api_key::{ApiKey, ApiKeyDocument};
pub use base_url::BaseUrl;
pub use glob::Glob;
pub use labels::{CallerLabels, TargetLabels};
pub use model::{Cost, Model, ModelDocument};
pub use provider_key::{
    Adapter, BodyPolicy, DoneMarker, HeaderPolicy, KeyTls, ProviderKey, ProviderKeyDocument,
};
pub use template::{Template, Var};

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

/// Notes every `null` below `value`, for kinds that take none.
fn refuse_nulls(value: &Value, path: &str, problems: &Problems) {
    match value {
        Value::Null => problems.push(path, "must not be null (leave it out for the default)"),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                refuse_nulls(item, &format!("{path}[{index}]"), problems);
            }
        }
        Value::Object(fields) => {
            for (key, item) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                refuse_nulls(item, &format!("{path}{dot}{key}"), problems);
            }
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
