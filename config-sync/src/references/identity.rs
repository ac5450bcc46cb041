//! What tells the documents of one collection apart. [pure]

use crate::collection::Collection;
use crate::tree::Value;

/// The identity of the one document of `mcp_auth_settings`.
const SINGLETON: &str = "default";

/// The fields that make up the identity, the one to report first.
pub fn identity_fields(collection: Collection) -> &'static [&'static str] {
    match collection {
        Collection::ProviderKeys | Collection::Models | Collection::ApiKeys => &["display_name"],
        Collection::McpServers | Collection::A2aAgents | Collection::PassthroughRoutes => {
            &["name", "display_name"]
        }
        Collection::Guardrails
        | Collection::CachePolicies
        | Collection::ObservabilityExporters
        | Collection::RateLimitPolicies
        | Collection::OidcProviders
        | Collection::ClaimMappings
        | Collection::Ssls => &["name"],
        Collection::McpPolicies => &["scope", "scope_ref"],
        Collection::GuardrailAttachments => &["guardrail_id", "scope_type", "scope_id"],
        Collection::McpAuthSettings => &[],
    }
}

/// The identity of a document that holds ids where it may; `None` where it says too little.
///
/// A name; of a policy `env` or `team/<team>`; of an attachment `<guardrail id>/<scope type>`, then
/// `/<scope id>` unless it is for everything; of the settings a constant. Resources files derive ids
/// from it, so it is part of the file format.
pub fn identity(collection: Collection, value: &Value) -> Option<String> {
    let text = |field: &str| {
        let text = value.get(field).and_then(Value::as_str);
        text.filter(|text| !text.is_empty())
    };
    match collection {
        Collection::McpAuthSettings => Some(SINGLETON.to_owned()),
        Collection::McpPolicies => scoped(text("scope")?, text("scope_ref")),
        Collection::GuardrailAttachments => {
            let scope = scoped(text("scope_type")?, text("scope_id"))?;
            Some(format!("{}/{scope}", text("guardrail_id")?))
        }
        named => identity_fields(named)
            .iter()
            .find_map(|field| text(field))
            .map(str::to_owned),
    }
}

fn scoped(scope: &str, of: Option<&str>) -> Option<String> {
    match (scope, of) {
        ("env", _) => Some(scope.to_owned()),
        (_, Some(of)) => Some(format!("{scope}/{of}")),
        (_, None) => None,
    }
}

/// What an attachment is called in messages: its guardrail and scope, each by name where it is
/// written, joined by `/`.
pub fn attachment_label(value: &Value) -> Option<String> {
    let text = |field: &str| value.get(field).and_then(Value::as_str);
    let guardrail = text("guardrail").or_else(|| text("guardrail_id"))?;
    let scope = text("scope").or_else(|| text("scope_id"));
    let parts = [Some(guardrail), text("scope_type"), scope];
    let parts: Vec<&str> = parts.into_iter().flatten().collect();
    Some(parts.join("/"))
}

/// What one document of the collection is called in a sentence.
pub fn noun(collection: Collection) -> &'static str {
    match collection {
        Collection::ProviderKeys => "provider key",
        Collection::Models => "model",
        Collection::ApiKeys => "API key",
        Collection::Guardrails => "guardrail",
        Collection::GuardrailAttachments => "guardrail attachment",
        Collection::McpServers => "MCP server",
        Collection::McpPolicies => "MCP policy",
        Collection::McpAuthSettings => "MCP settings",
        Collection::A2aAgents => "A2A agent",
        Collection::CachePolicies => "cache policy",
        Collection::ObservabilityExporters => "exporter",
        Collection::RateLimitPolicies => "rate limit policy",
        Collection::OidcProviders => "OIDC provider",
        Collection::ClaimMappings => "claim mapping",
        Collection::PassthroughRoutes => "passthrough route",
        Collection::Ssls => "certificate",
    }
}
