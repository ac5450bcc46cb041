//! Every field that names another document. [pure]

use super::{By, Reference};
use crate::collection::Collection::{
    self, A2aAgents, ApiKeys, CachePolicies, ClaimMappings, GuardrailAttachments, Guardrails,
    McpAuthSettings, McpServers, Models, OidcProviders, PassthroughRoutes, ProviderKeys,
    RateLimitPolicies,
};

/// The references between documents, by the collection they stand in.
///
/// Not in it: tool patterns, which name what a server offers; the texts of `team`, `member` and
/// `model_name`, which are no documents or what callers send.
pub const REFERENCES: &[Reference] = &[
    id(Models, "provider_key_id", ProviderKeys, "provider_key"),
    name(Models, "routing.targets[].model", Models),
    name(Models, "ensemble.panel[].model", Models),
    name(Models, "ensemble.judge.model", Models),
    name(Models, "semantic.embedding_model", Models),
    name(Models, "semantic.default", Models),
    name(Models, "semantic.routes[].target", Models),
    name(Models, "semantic.on_embedding_failure.target", Models),
    name(ApiKeys, "allowed_models[]", Models),
    name(ApiKeys, "allowed_agents[]", A2aAgents),
    name(ApiKeys, "allowed_routes[]", PassthroughRoutes),
    exact(ApiKeys, "mcp_rate_limits.*", McpServers),
    Reference {
        by: By::LooseName,
        ..exact(ApiKeys, "jwt_provider", OidcProviders)
    },
    id(
        GuardrailAttachments,
        "guardrail_id",
        Guardrails,
        "guardrail",
    ),
    scope("model", Models),
    scope("mcp_server", McpServers),
    scope("api_key", ApiKeys),
    scope("passthrough_route", PassthroughRoutes),
    id(McpAuthSettings, "anonymous.api_key_id", ApiKeys, "api_key"),
    exact(McpAuthSettings, "anonymous.servers[]", McpServers),
    prefixed(name(CachePolicies, "applies_to", Models), "model:"),
    prefixed(in_place(CachePolicies, "applies_to", ApiKeys), "api_key:"),
    name(CachePolicies, "semantic.embedding_model", Models),
    limited("scope_ref", "scope", "model", Models),
    limited("scope_ref", "scope", "api_key", ApiKeys),
    limited("conditions[**].value", "dimension", "model", Models),
    limited("conditions[**].value[]", "dimension", "model", Models),
    limited("conditions[**].value", "dimension", "api_key", ApiKeys),
    limited("conditions[**].value[]", "dimension", "api_key", ApiKeys),
    exact(ClaimMappings, "jwt_provider", OidcProviders),
    id(ClaimMappings, "resolve.api_key_id", ApiKeys, "api_key"),
    id(
        PassthroughRoutes,
        "provider_key_id",
        ProviderKeys,
        "provider_key",
    ),
    id(
        PassthroughRoutes,
        "anonymous_key_id",
        ApiKeys,
        "anonymous_key",
    ),
];

const fn reference(from: Collection, path: &'static str, to: Collection, by: By) -> Reference {
    Reference {
        from,
        path,
        to,
        by,
        when: None,
        prefix: "",
    }
}

const fn id(
    from: Collection,
    path: &'static str,
    to: Collection,
    named: &'static str,
) -> Reference {
    reference(from, path, to, By::Id { named })
}

const fn in_place(from: Collection, path: &'static str, to: Collection) -> Reference {
    reference(from, path, to, By::IdInPlace)
}

/// A name, or a text with `*`.
const fn name(from: Collection, path: &'static str, to: Collection) -> Reference {
    reference(from, path, to, By::Name { free: true })
}

/// A name that is no pattern.
const fn exact(from: Collection, path: &'static str, to: Collection) -> Reference {
    reference(from, path, to, By::Name { free: false })
}

const fn scope(scope_type: &'static str, to: Collection) -> Reference {
    Reference {
        when: Some(("scope_type", scope_type)),
        ..id(GuardrailAttachments, "scope_id", to, "scope")
    }
}

/// A field of a rate limit that holds ids where the field beside it says of what.
const fn limited(
    path: &'static str,
    field: &'static str,
    text: &'static str,
    to: Collection,
) -> Reference {
    Reference {
        when: Some((field, text)),
        ..in_place(RateLimitPolicies, path, to)
    }
}

const fn prefixed(reference: Reference, prefix: &'static str) -> Reference {
    Reference {
        prefix,
        ..reference
    }
}
