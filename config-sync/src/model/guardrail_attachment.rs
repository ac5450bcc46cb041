//! Where a guardrail applies. [pure]

use std::sync::Arc;

use super::field;
use crate::tree::{Fields, Problems, Unknown, Value};

/// One scope of one guardrail, as read from its document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GuardrailAttachment {
    /// Id of the guardrail.
    pub guardrail_id: Arc<str>,
    /// The dimension of a request that is looked at.
    pub scope: AttachmentScope,
    /// Id of the scoped object (of a team: its `team_id`). `None` for the whole environment; with
    /// any other scope such an attachment never matches, and only documents of a store are like that.
    pub scope_id: Option<Arc<str>>,
    /// Higher comes first.
    pub priority: i32,
    /// A disabled attachment matches nothing, but keeps its guardrail from applying everywhere.
    pub enabled: bool,
}

/// What an attachment is compared with.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum AttachmentScope {
    /// Every request.
    Env,
    /// The requested model.
    Model,
    /// The MCP server.
    McpServer,
    /// The passthrough route.
    PassthroughRoute,
    /// The caller's team.
    Team,
    /// The caller's key.
    ApiKey,
}

const SCOPES: [(&str, AttachmentScope); 6] = [
    ("env", AttachmentScope::Env),
    ("model", AttachmentScope::Model),
    ("mcp_server", AttachmentScope::McpServer),
    ("api_key", AttachmentScope::ApiKey),
    ("team", AttachmentScope::Team),
    ("passthrough_route", AttachmentScope::PassthroughRoute),
];

impl AttachmentScope {
    /// Decides between attachments of one priority: the higher comes first.
    pub fn specificity(self) -> u8 {
        match self {
            Self::Env => 0,
            Self::Model | Self::McpServer | Self::PassthroughRoute => 1,
            Self::Team => 2,
            Self::ApiKey => 3,
        }
    }
}

impl GuardrailAttachment {
    /// Reads a document. The result is usable only if no problem was noted.
    pub fn read(value: &Value, problems: &Problems, unknown: Unknown) -> Self {
        let fields = Fields::new(value, "", problems, unknown);
        fields.refuse_null(&["enabled"]);
        let guardrail_id = fields
            .take_required_str("guardrail_id")
            .unwrap_or("")
            .into();
        let scope = field::required_choice(&fields, "scope_type", &SCOPES);
        let scope_id = read_scope_id(&fields, scope);
        field::required(&fields, "priority");
        let priority = fields.take_i32("priority").unwrap_or(0);
        let enabled = fields.take_bool("enabled").unwrap_or(true);
        // Left out of account: a store holds the rows of one environment.
        fields.take_str("env_id");
        fields.finish();
        Self {
            guardrail_id,
            scope: scope.unwrap_or(AttachmentScope::Env),
            scope_id,
            priority,
            enabled,
        }
    }
}

fn read_scope_id(fields: &Fields<'_>, scope: Option<AttachmentScope>) -> Option<Arc<str>> {
    let strict = fields.unknown() == Unknown::Refused;
    let text = fields.take_str("scope_id");
    match (scope?, text) {
        (AttachmentScope::Env, None) => None,
        (AttachmentScope::Env, Some(_)) => {
            if strict {
                fields.problem("scope_id", "has no use with the scope `env`");
            } else {
                fields.problems().ignore("inapplicable:scope_id");
            }
            None
        }
        (_, Some(text)) if !text.is_empty() => Some(text.into()),
        (_, _) if !strict => None,
        (_, Some(_)) => {
            fields.problem("scope_id", "must not be empty");
            None
        }
        (_, None) => {
            if fields.take("scope_id").is_none() {
                fields.problem("scope_id", "is required for every scope but `env`");
            }
            None
        }
    }
}

#[cfg(test)]
mod tests;
