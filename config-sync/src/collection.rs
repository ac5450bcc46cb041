//! The collections of resources, by their names in stores and files. [pure]

use std::fmt;

/// One kind of resource. The order is that in which a resources file is processed.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Collection {
    /// Upstream credentials.
    ProviderKeys,
    /// Models that callers may name.
    Models,
    /// Caller credentials.
    ApiKeys,
    /// Content checks.
    Guardrails,
    /// Where a guardrail applies.
    GuardrailAttachments,
    /// Tool servers.
    McpServers,
    /// Which tools may be used.
    McpPolicies,
    /// How callers of tools are known; one row at most.
    McpAuthSettings,
    /// Agents behind the gateway.
    A2aAgents,
    /// Which answers are cached.
    CachePolicies,
    /// Where usage and traces go.
    ObservabilityExporters,
    /// Limits that span keys or models.
    RateLimitPolicies,
    /// Issuers of caller tokens.
    OidcProviders,
    /// From a token's claims to a key.
    ClaimMappings,
    /// Paths relayed without a model.
    PassthroughRoutes,
    /// Listener certificates by server name.
    Ssls,
}

impl Collection {
    /// Every collection, in processing order.
    pub const ALL: [Self; 16] = [
        Self::ProviderKeys,
        Self::Models,
        Self::ApiKeys,
        Self::Guardrails,
        Self::GuardrailAttachments,
        Self::McpServers,
        Self::McpPolicies,
        Self::McpAuthSettings,
        Self::A2aAgents,
        Self::CachePolicies,
        Self::ObservabilityExporters,
        Self::RateLimitPolicies,
        Self::OidcProviders,
        Self::ClaimMappings,
        Self::PassthroughRoutes,
        Self::Ssls,
    ];

    /// The name in keys of a store, in files and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::ProviderKeys => "provider_keys",
            Self::Models => "models",
            Self::ApiKeys => "api_keys",
            Self::Guardrails => "guardrails",
            Self::GuardrailAttachments => "guardrail_attachments",
            Self::McpServers => "mcp_servers",
            Self::McpPolicies => "mcp_policies",
            Self::McpAuthSettings => "mcp_auth_settings",
            Self::A2aAgents => "a2a_agents",
            Self::CachePolicies => "cache_policies",
            Self::ObservabilityExporters => "observability_exporters",
            Self::RateLimitPolicies => "rate_limit_policies",
            Self::OidcProviders => "oidc_providers",
            Self::ClaimMappings => "claim_mappings",
            Self::PassthroughRoutes => "passthrough_routes",
            Self::Ssls => "ssls",
        }
    }

    /// The collection called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }
}

impl fmt::Display for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_finds_its_collection_again() {
        for collection in Collection::ALL {
            assert_eq!(Collection::from_name(collection.name()), Some(collection));
        }
        assert_eq!(Collection::from_name("apikeys"), None);
    }
}
