//! Any resource, as read from its document. [pure]

use crate::collection::Collection;
use crate::model::{
    ApiKeyDocument, ModelDocument, ProviderKeyDocument, a2a_agent, cache_policy, claim_mapping,
    exporter, guardrail, guardrail_attachment, mcp_auth_setting, mcp_policy, mcp_server,
    oidc_provider, passthrough_route, rate_limit_policy, ssl,
};
use crate::tree::{Problems, Unknown, Value};

/// A checked document of one of the collections.
#[derive(Clone, Debug)]
pub enum Resource {
    /// An upstream credential.
    ProviderKey(Box<ProviderKeyDocument>),
    /// A model.
    Model(Box<ModelDocument>),
    /// A caller credential.
    ApiKey(Box<ApiKeyDocument>),
    /// A content check.
    Guardrail(Box<guardrail::Guardrail>),
    /// Where a guardrail applies.
    GuardrailAttachment(Box<guardrail_attachment::GuardrailAttachment>),
    /// A tool server.
    McpServer(Box<mcp_server::McpServer>),
    /// Which tools may be used.
    McpPolicy(Box<mcp_policy::McpPolicy>),
    /// How callers of tools are known.
    McpAuthSettings(Box<mcp_auth_setting::McpAuthSettings>),
    /// An agent behind the gateway.
    A2aAgent(Box<a2a_agent::A2aAgent>),
    /// Which answers are cached.
    CachePolicy(Box<cache_policy::CachePolicy>),
    /// Where usage and traces go.
    Exporter(Box<exporter::Exporter>),
    /// A limit that spans keys or models.
    RateLimitPolicy(Box<rate_limit_policy::RateLimitPolicy>),
    /// An issuer of caller tokens.
    OidcProvider(Box<oidc_provider::OidcProvider>),
    /// From a token's claims to a key.
    ClaimMapping(Box<claim_mapping::ClaimMapping>),
    /// A path relayed without a model.
    PassthroughRoute(Box<passthrough_route::PassthroughRoute>),
    /// A listener certificate by server name.
    Ssl(Box<ssl::Ssl>),
}

impl Resource {
    /// Reads a document of `collection`. The result is usable only if no problem was noted.
    pub fn read(
        collection: Collection,
        value: &Value,
        problems: &Problems,
        unknown: Unknown,
    ) -> Option<Self> {
        macro_rules! read {
            ($variant:ident, $document:path) => {
                Made::from(<$document>::read(value, problems, unknown))
                    .0
                    .map(|document| Self::$variant(Box::new(document)))
            };
        }
        match collection {
            Collection::ProviderKeys => read!(ProviderKey, ProviderKeyDocument),
            Collection::Models => read!(Model, ModelDocument),
            Collection::ApiKeys => read!(ApiKey, ApiKeyDocument),
            Collection::Guardrails => read!(Guardrail, guardrail::Guardrail),
            Collection::GuardrailAttachments => read!(
                GuardrailAttachment,
                guardrail_attachment::GuardrailAttachment
            ),
            Collection::McpServers => read!(McpServer, mcp_server::McpServer),
            Collection::McpPolicies => read!(McpPolicy, mcp_policy::McpPolicy),
            Collection::McpAuthSettings => {
                read!(McpAuthSettings, mcp_auth_setting::McpAuthSettings)
            }
            Collection::A2aAgents => read!(A2aAgent, a2a_agent::A2aAgent),
            Collection::CachePolicies => read!(CachePolicy, cache_policy::CachePolicy),
            Collection::ObservabilityExporters => read!(Exporter, exporter::Exporter),
            Collection::RateLimitPolicies => {
                read!(RateLimitPolicy, rate_limit_policy::RateLimitPolicy)
            }
            Collection::OidcProviders => read!(OidcProvider, oidc_provider::OidcProvider),
            Collection::ClaimMappings => read!(ClaimMapping, claim_mapping::ClaimMapping),
            Collection::PassthroughRoutes => {
                read!(PassthroughRoute, passthrough_route::PassthroughRoute)
            }
            Collection::Ssls => read!(Ssl, ssl::Ssl),
        }
    }
}

/// What a reader made: some make nothing where a document's kind is unknown.
struct Made<T>(Option<T>);

impl<T> From<Option<T>> for Made<T> {
    fn from(made: Option<T>) -> Self {
        Self(made)
    }
}

impl<T> From<T> for Made<T> {
    fn from(made: T) -> Self {
        Self(Some(made))
    }
}
