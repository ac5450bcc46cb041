//! How callers of tools are known. [pure]

use std::sync::Arc;

use ipnet::IpNet;

use super::http_url::HttpUrl;
use super::origin::UrlError;
use super::{cidr, refuse_nulls};
use crate::tree::{Fields, Problems, Unknown, Value, kind};

/// The path that a resource URL must have.
const RESOURCE_PATH: &str = "/mcp";

/// How callers of `/mcp` are known, as read from its document; a store has one row at most.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct McpAuthSettings {
    /// The URL of `/mcp` that callers know, as written: OAuth discovery names it.
    pub resource_url: Option<Arc<str>>,
    /// A document of a store has a `resource_url` that is none, so that discovery stays off.
    pub resource_url_dormant: bool,
    /// What requests without a credential may do.
    pub anonymous: Option<McpAnonymous>,
}

/// What requests without a credential may do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct McpAnonymous {
    /// Whether they are let in at all.
    pub enabled: bool,
    /// Id of the key they run as.
    pub api_key_id: Arc<str>,
    /// Where they must come from, never empty.
    pub source_cidrs: Vec<IpNet>,
    /// Names of the servers they may use if the key may, never empty.
    pub servers: Vec<Box<str>>,
    /// Whether `/mcp` itself is open to them, not only `/mcp/<server>`.
    pub aggregate_entry: bool,
}

impl McpAuthSettings {
    /// Reads a document. The result is usable only if no problem was noted.
    pub fn read(value: &Value, problems: &Problems, unknown: Unknown) -> Self {
        let fields = Fields::new(value, "", problems, unknown);
        let (resource_url, resource_url_dormant) = read_resource_url(&fields);
        let anonymous = fields.take("anonymous").and_then(|value| {
            let block = fields.take_block("anonymous");
            let anonymous = value.is_object().then(|| read_anonymous(&block));
            block.finish();
            anonymous
        });
        fields.finish();
        refuse_nulls(value, "", problems);
        Self {
            resource_url,
            resource_url_dormant,
            anonymous,
        }
    }
}

fn read_resource_url(fields: &Fields<'_>) -> (Option<Arc<str>>, bool) {
    let Some(text) = fields.take_nonempty_str("resource_url") else {
        return (None, false);
    };
    match check_resource_url(text) {
        Ok(()) => (Some(text.into()), false),
        Err(_) if fields.unknown() == Unknown::Ignored => {
            fields.problems().ignore("resource_url");
            (None, true)
        }
        Err(message) => {
            fields.problem("resource_url", message);
            (None, false)
        }
    }
}

fn check_resource_url(text: &str) -> Result<(), String> {
    let url = HttpUrl::parse(text).map_err(|error| error.to_string())?;
    if url.user_info.is_some() {
        return Err(UrlError::UserInfo.to_string());
    }
    if text.contains(['?', '#']) {
        return Err(UrlError::QueryOrFragment.to_string());
    }
    if &*url.path != RESOURCE_PATH || text.trim() != text {
        return Err(format!(
            "must have the path {RESOURCE_PATH} and nothing else"
        ));
    }
    Ok(())
}

fn read_anonymous(fields: &Fields<'_>) -> McpAnonymous {
    McpAnonymous {
        enabled: fields.take_bool("enabled").unwrap_or(true),
        api_key_id: fields.take_required_str("api_key_id").unwrap_or("").into(),
        source_cidrs: cidr::read_required(fields, "source_cidrs"),
        servers: read_servers(fields),
        aggregate_entry: fields.take_bool("aggregate_entry").unwrap_or(false),
    }
}

fn read_servers(fields: &Fields<'_>) -> Vec<Box<str>> {
    if fields.take("servers").is_none() {
        fields.problem("servers", "is required");
    }
    let Some(items) = fields.take_list("servers") else {
        return Vec::new();
    };
    if items.is_empty() {
        fields.problem("servers", "must not be empty");
    }
    let names = items
        .into_iter()
        .filter_map(|(path, item)| match item.as_str() {
            Some("") => {
                fields.problems().push(path, "must not be empty");
                None
            }
            Some(name) => Some(name.into()),
            None => {
                fields
                    .problems()
                    .push(path, format!("must be a string, not {}", kind(item)));
                None
            }
        });
    names.collect()
}

#[cfg(test)]
mod tests;
