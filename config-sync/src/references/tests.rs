use super::*;
use serde_json::json;

fn found(collection: Collection, value: &Value) -> Vec<String> {
    let sites = sites(collection, value).into_iter();
    sites
        .map(|site| format!("{} {} {}", site.path, site.reference.to, site.text))
        .collect()
}

#[test]
fn every_reference_of_a_document_is_found_where_it_stands() {
    let cases = [
        (
            Collection::Models,
            json!({
                "provider_key_id": "pk", "routing": {"targets": [{"model": "a"}, {"model": 1}, 2]},
                "ensemble": {"panel": [{"model": "b"}], "judge": {"model": "c"}},
                "semantic": {"embedding_model": "d", "default": "e", "routes": [{"target": "f"}],
                             "on_embedding_failure": {"target": "g"}},
            }),
            vec![
                "provider_key_id provider_keys pk",
                "routing.targets[0].model models a",
                "ensemble.panel[0].model models b",
                "ensemble.judge.model models c",
                "semantic.embedding_model models d",
                "semantic.default models e",
                "semantic.routes[0].target models f",
                "semantic.on_embedding_failure.target models g",
            ],
        ),
        (
            Collection::Models,
            json!({"semantic": {"on_embedding_failure": "fail"}, "routing": []}),
            vec![],
        ),
        (
            Collection::ApiKeys,
            json!({"allowed_models": ["m", "x-*"], "allowed_agents": ["a"], "allowed_routes": ["r"],
                   "mcp_rate_limits": {"s": {"rpm": 1}}, "jwt_provider": "o"}),
            vec![
                "allowed_models[0] models m",
                "allowed_models[1] models x-*",
                "allowed_agents[0] a2a_agents a",
                "allowed_routes[0] passthrough_routes r",
                "mcp_rate_limits.s mcp_servers s",
                "jwt_provider oidc_providers o",
            ],
        ),
        (
            Collection::GuardrailAttachments,
            json!({"guardrail_id": "g", "scope_type": "mcp_server", "scope_id": "s"}),
            vec!["guardrail_id guardrails g", "scope_id mcp_servers s"],
        ),
        (
            Collection::GuardrailAttachments,
            json!({"guardrail_id": "g", "scope_type": "team", "scope_id": "t"}),
            vec!["guardrail_id guardrails g"],
        ),
        (
            Collection::McpAuthSettings,
            json!({"anonymous": {"api_key_id": "k", "servers": ["s"]}}),
            vec![
                "anonymous.api_key_id api_keys k",
                "anonymous.servers[0] mcp_servers s",
            ],
        ),
        (
            Collection::CachePolicies,
            json!({"applies_to": "api_key:k", "semantic": {"embedding_model": "m"}}),
            vec!["applies_to api_keys k", "semantic.embedding_model models m"],
        ),
        (
            Collection::CachePolicies,
            json!({"applies_to": "model:a:b"}),
            vec!["applies_to models a:b"],
        ),
        (
            Collection::CachePolicies,
            json!({"applies_to": "all"}),
            vec![],
        ),
        (
            Collection::RateLimitPolicies,
            json!({"scope": "api_key", "scope_ref": "k"}),
            vec!["scope_ref api_keys k"],
        ),
        (
            Collection::RateLimitPolicies,
            json!({"scope": "team_member", "scope_ref": "t"}),
            vec![],
        ),
        (
            Collection::ClaimMappings,
            json!({"jwt_provider": "o", "resolve": {"api_key_id": "k"}}),
            vec![
                "jwt_provider oidc_providers o",
                "resolve.api_key_id api_keys k",
            ],
        ),
        (
            Collection::PassthroughRoutes,
            json!({"provider_key_id": "p", "anonymous_key_id": "k"}),
            vec![
                "provider_key_id provider_keys p",
                "anonymous_key_id api_keys k",
            ],
        ),
    ];
    for (collection, value, want) in cases {
        assert_eq!(found(collection, &value), want, "{value}");
    }
}

#[test]
fn conditions_are_searched_at_every_depth() {
    let leaf = |dimension: &str, value: Value| json!({"dimension": dimension, "operator": "in", "value": value});
    let value = json!({"conditions": [
        leaf("model", json!("a")),
        {"logic": "or", "children": [
            leaf("api_key", json!(["k", 1, "l"])),
            {"logic": "and", "children": [leaf("model", json!("b")), leaf("model_name", json!("c"))]},
        ]},
    ]});
    let want = [
        "conditions[0].value models a",
        "conditions[1].children[1].children[0].value models b",
        "conditions[1].children[0].value[0] api_keys k",
        "conditions[1].children[0].value[2] api_keys l",
    ];
    assert_eq!(found(Collection::RateLimitPolicies, &value), want);
}

#[test]
fn texts_are_replaced_in_place_and_keep_their_prefix() {
    let mut value = json!({"applies_to": "api_key:k", "semantic": {"embedding_model": "m"}});
    rewrite(Collection::CachePolicies, &mut value, &mut |site| {
        (site.reference.to == Collection::ApiKeys).then(|| site.text.to_uppercase())
    });
    let want = json!({"applies_to": "api_key:K", "semantic": {"embedding_model": "m"}});
    assert_eq!(value, want);
    let mut value = json!({"mcp_rate_limits": {"a/b": {}}, "allowed_models": ["m", 3, "n"]});
    rewrite(Collection::ApiKeys, &mut value, &mut |_| {
        Some("x".to_owned())
    });
    let want = json!({"mcp_rate_limits": {"a/b": {}}, "allowed_models": ["x", 3, "x"]});
    assert_eq!(value, want);
}

#[test]
fn holders_are_there_before_their_field_is() {
    let value = json!({"resolve": {"api_key": "bot"}});
    let reference = of(Collection::ClaimMappings)
        .find(|reference| reference.to == Collection::ApiKeys)
        .unwrap();
    let holders = reference.holders(&value);
    assert_eq!(holders.len(), 1);
    assert_eq!(holders[0].pointer, "/resolve");
    assert_eq!(holders[0].path_of(holders[0].field), "resolve.api_key_id");
    assert_eq!(reference.holders(&json!({"resolve": "x"})), []);
    assert_eq!(reference.holders(&json!(7)), []);
}

#[test]
fn identities_tell_documents_of_one_collection_apart() {
    use Collection::{GuardrailAttachments, McpAuthSettings, McpPolicies, McpServers, Models};
    let cases = [
        (Models, json!({"display_name": "m"}), Some("m")),
        (Models, json!({"name": "m"}), None),
        (Models, json!({"display_name": ""}), None),
        (McpServers, json!({"display_name": "s"}), Some("s")),
        (McpServers, json!({"name": "t"}), Some("t")),
        (
            McpPolicies,
            json!({"scope": "env", "scope_ref": "x"}),
            Some("env"),
        ),
        (
            McpPolicies,
            json!({"scope": "team", "scope_ref": "x"}),
            Some("team/x"),
        ),
        (McpPolicies, json!({"scope": "team"}), None),
        (
            GuardrailAttachments,
            json!({"guardrail_id": "g", "scope_type": "env", "scope_id": null}),
            Some("g/env"),
        ),
        (
            GuardrailAttachments,
            json!({"guardrail_id": "g", "scope_type": "model", "scope_id": "m"}),
            Some("g/model/m"),
        ),
        (GuardrailAttachments, json!({"scope_type": "env"}), None),
        (McpAuthSettings, json!({}), Some("default")),
    ];
    for (collection, value, want) in cases {
        assert_eq!(identity(collection, &value).as_deref(), want, "{value}");
    }
}
