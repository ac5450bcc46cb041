//! The collections as values: what becomes of short forms, and how entries must fit together. What
//! is wrong within one document is its reader's to say, and not asked here.

use super::*;
use crate::id;
use crate::source::{check, rows};
use serde_json::json;

const ALL: &str = include_str!("../../../../tests/fixtures/resources/all.yaml");

fn env(name: &str) -> Option<String> {
    match name {
        "UNSET" => None,
        "OTHER" => Some("env-canary".to_owned()),
        _ => Some(format!("{name}-canary")),
    }
}

/// The entries of `text` with ids in place of names, and every problem of theirs.
fn prepared(text: &str) -> (Vec<Entry>, Vec<String>) {
    let root = Root::open(parse_yaml(text).unwrap(), &env).unwrap();
    let (mut entries, mut problems) = (root.entries, root.problems);
    let index = rows::prepare(&mut entries, &env);
    check::check(&mut entries, &index);
    problems.extend(entries.iter_mut().flat_map(Entry::report));
    assert!(!problems.concat().contains("canary"), "{problems:?}");
    (entries, problems)
}

/// The document of an entry, by the name the entry goes by.
fn document<'e>(entries: &'e [Entry], collection: Collection, name: &str) -> &'e Value {
    let found = entries
        .iter()
        .find(|entry| entry.collection == collection && &*entry.label() == name);
    found
        .unwrap_or_else(|| panic!("{collection} {name}"))
        .value()
}

fn id(collection: Collection, name: &str) -> Value {
    Value::from(&*id::derived(collection.name(), name))
}

#[test]
fn every_collection_is_read_and_fits_together() {
    let (entries, problems) = prepared(ALL);
    assert_eq!(problems, [] as [&str; 0]);
    let root = Root::open(parse_yaml(ALL).unwrap(), &env).unwrap();
    let counts: Vec<usize> = root.counts.iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [2, 7, 2, 2, 6, 1, 2, 1, 1, 2, 1, 3, 2, 1, 2, 1]);
    for collection in Collection::ALL {
        assert!(
            entries.iter().any(|e| e.collection == collection),
            "{collection}"
        );
    }
}

#[test]
fn names_become_ids_wherever_they_may_be_written() {
    use Collection::{
        ApiKeys, CachePolicies, ClaimMappings, GuardrailAttachments, Guardrails, McpAuthSettings,
        McpServers, Models, PassthroughRoutes, ProviderKeys, RateLimitPolicies,
    };
    let (entries, _) = prepared(ALL);
    let bot = id(ApiKeys, "bot");
    let conditions = json!([
        {"dimension": "model", "operator": "in", "value": [id(Models, "fast-chat"), id(Models, "eu-chat")]},
        {"logic": "or", "children": [
            {"dimension": "api_key", "operator": "==", "value": bot},
            {"dimension": "model_name", "operator": "~~", "value": "^fast-.*$"},
        ]},
    ]);
    let cards = id(Guardrails, "no-cards");
    let moderation = id(Guardrails, "moderation");
    let on = |guardrail: &Value, scope_type: &str, scope: Value, priority: u32| json!({"priority": priority, "scope_type": scope_type, "guardrail_id": guardrail, "scope_id": scope});
    let cases = [
        (
            Models,
            "fast-chat",
            "/provider_key_id",
            id(ProviderKeys, "main"),
        ),
        (
            CachePolicies,
            "bots",
            "/applies_to",
            json!(format!("api_key:{}", bot.as_str().unwrap())),
        ),
        (
            CachePolicies,
            "faq",
            "/applies_to",
            json!("model:fast-chat"),
        ),
        (
            RateLimitPolicies,
            "per-model",
            "/scope_ref",
            id(Models, "fast-chat"),
        ),
        (RateLimitPolicies, "per-team", "/scope_ref", json!("team-7")),
        (RateLimitPolicies, "mixed", "/conditions", conditions),
        (
            ClaimMappings,
            "analysts",
            "/resolve",
            json!({"api_key_id": bot}),
        ),
        (
            PassthroughRoutes,
            "vendor-x",
            "/provider_key_id",
            id(ProviderKeys, "main"),
        ),
        (
            PassthroughRoutes,
            "open",
            "/anonymous_key_id",
            id(ApiKeys, "anon"),
        ),
        (
            McpAuthSettings,
            "mcp_auth_settings[0]",
            "/anonymous/api_key_id",
            id(ApiKeys, "anon"),
        ),
        (
            GuardrailAttachments,
            "no-cards/env",
            "",
            json!({"scope_type": "env", "priority": 1, "guardrail_id": cards}),
        ),
        (
            GuardrailAttachments,
            "no-cards/model/fast-chat",
            "",
            on(&cards, "model", id(Models, "fast-chat"), 2),
        ),
        (
            GuardrailAttachments,
            "no-cards/team/team-7",
            "",
            on(&cards, "team", json!("team-7"), 3),
        ),
        (
            GuardrailAttachments,
            "moderation/mcp_server/tickets",
            "",
            on(&moderation, "mcp_server", id(McpServers, "tickets"), 1),
        ),
        (
            GuardrailAttachments,
            "moderation/api_key/bot",
            "",
            on(&moderation, "api_key", bot.clone(), 1),
        ),
        (
            GuardrailAttachments,
            "moderation/passthrough_route/vendor-x",
            "",
            on(
                &moderation,
                "passthrough_route",
                id(PassthroughRoutes, "vendor-x"),
                1,
            ),
        ),
    ];
    for (collection, name, pointer, want) in cases {
        let found = document(&entries, collection, name).pointer(pointer);
        assert_eq!(found, Some(&want), "{collection} {name} {pointer}");
    }
}

#[test]
fn ids_are_derived_from_the_identity_of_each_collection() {
    let (entries, _) = prepared(ALL);
    let cases = [
        (
            Collection::ApiKeys,
            "bot",
            "592e8a10-bdda-57f6-8c8e-de89da2215a8",
        ),
        (
            Collection::GuardrailAttachments,
            "no-cards/env",
            "2cc8bd89-1dad-50b6-9732-cb79b2541892",
        ),
        (
            Collection::McpPolicies,
            "team/team-7",
            "4f114457-e638-5100-8bfb-d37589773012",
        ),
        (
            Collection::McpAuthSettings,
            "mcp_auth_settings[0]",
            "500eb220-09e2-5ee6-8242-ebff2481f4c6",
        ),
    ];
    for (collection, name, want) in cases {
        let entry = entries
            .iter()
            .find(|entry| entry.collection == collection && &*entry.label() == name);
        assert_eq!(&*entry.unwrap().id(), want, "{collection} {name}");
    }
}

#[test]
fn what_is_only_data_is_warned_of_once_per_collection() {
    let (entries, _) = prepared(ALL);
    assert_eq!(
        rows::not_served(&entries.iter().collect::<Vec<_>>()),
        [
            "models of kind ensemble are not served by this version: council",
            "models of kind semantic are not served by this version: smart",
            "guardrails are loaded and not enforced by this version: no-cards, moderation",
            "guardrail_attachments are loaded and not enforced by this version: no-cards/env, \
             no-cards/model/fast-chat, no-cards/team/team-7, moderation/mcp_server/tickets, \
             moderation/api_key/bot, moderation/passthrough_route/vendor-x",
            "mcp_servers are loaded and not enforced by this version: tickets",
            "mcp_policies are loaded and not enforced by this version: env, team/team-7",
            "mcp_auth_settings are loaded and not enforced by this version: mcp_auth_settings[0]",
            "a2a_agents are loaded and not enforced by this version: invoices",
            "cache_policies are loaded and not enforced by this version: faq, bots",
            "observability_exporters are loaded and not enforced by this version: traces",
            "oidc_providers are loaded and not enforced by this version: corp, corp-old",
            "claim_mappings are loaded and not enforced by this version: analysts",
        ]
    );
}

#[test]
fn what_is_only_data_keeps_its_collection_and_id() {
    let root = Root::open(parse_yaml(ALL).unwrap(), &env).unwrap();
    let context = LoadContext {
        env: &env,
        generation: 1,
        loaded_at: UNIX_EPOCH,
        previous: None,
        opener: None,
    };
    let parts = Rows::read(root.entries, &env, None).build(&context);
    assert_eq!((parts.provider_keys.len(), parts.models.len()), (2, 7));
    let others: Vec<Collection> = parts.others.iter().map(|other| other.collection).collect();
    let mut want = Collection::ALL.to_vec();
    use Collection::{ApiKeys, Models, ProviderKeys};
    want.retain(|collection| ![ApiKeys, Models, ProviderKeys].contains(collection));
    let mut collections = others.clone();
    collections.dedup();
    assert_eq!(collections, want, "each collection has rows in the fixture");
}

/// What most cases refer to.
const BASE: &str = "_format_version: '1'
provider_keys: [{display_name: main, provider: openai, api_key: k}]
models:
  - {display_name: m, provider: openai, model_name: x, provider_key: main}
  - {display_name: 'w-*', provider: openai, model_name: x, provider_key: main}
  - {display_name: group, routing: {targets: [{model: m}]}}
api_keys: [{display_name: bot, key_hash: ab, allowed_models: []}]
";

#[test]
fn what_does_not_fit_is_refused_and_what_does_is_not() {
    let cases: &[(&str, &[&str])] = &[
        // Guardrail attachments.
        (
            "guardrail_attachments: [{guardrail: g, scope_type: env}]",
            &[
                r#"guardrail_attachments[0] ("g/env"): `guardrail` references unknown guardrail "g" (defined guardrails: none)"#,
            ],
        ),
        (
            "guardrails: [{name: g}]\nguardrail_attachments: [{guardrail: g, guardrail_id: x, scope_type: env}]",
            &[
                r#"guardrail_attachments[0] ("g/env"): `guardrail` and `guardrail_id` are mutually exclusive"#,
            ],
        ),
        (
            "guardrails: [{name: g}]\nguardrail_attachments: [{guardrail: g, scope_type: model, scope: bot}]",
            &[
                r#"guardrail_attachments[0] ("g/model/bot"): `scope` references unknown model "bot" (defined models: m, w-*, group)"#,
            ],
        ),
        (
            "guardrails: [{name: g}]\nguardrail_attachments: [{guardrail: g, scope_type: env, scope: m}]",
            &[
                r#"guardrail_attachments[0] ("g/env/m"): `scope` is not accepted: the scope type `env` covers everything"#,
            ],
        ),
        (
            "guardrails: [{name: g}]\nguardrail_attachments: [{guardrail: g, scope_type: env, scope: null}]",
            &[],
        ),
        (
            "guardrails: [{name: g}]\nguardrail_attachments: [{guardrail: g, scope_type: team, scope: 7}]",
            &[r#"guardrail_attachments[0] ("g/team"): `scope` must be a team"#],
        ),
        (
            "guardrails: [{name: g}]\nguardrail_attachments: [{guardrail: g, scope_type: model, scope_id: x}]",
            &[
                r#"guardrail_attachments[0] ("g/model/x"): `scope_id` references unknown model id "x" (`scope` takes the name)"#,
            ],
        ),
        (
            "guardrails: [{name: g}]\nguardrail_attachments: [{guardrail: g, scope_type: env}, {guardrail: g, scope_type: env}]",
            &[
                r#"guardrail_attachments[1] ("g/env"): attaches the same guardrail to the same scope as guardrail_attachments[0] ("g/env")"#,
            ],
        ),
        (
            "guardrails: [{name: '${OTHER}'}]\nguardrail_attachments: [{guardrail: '${OTHER}', scope_type: model, scope: x}]",
            &[
                r#"guardrail_attachments[0]: `scope` references unknown model "x" (defined models: m, w-*, group)"#,
            ],
        ),
        // MCP.
        (
            "mcp_policies: [{scope: env}, {scope: team, scope_ref: t}, {scope: env, allow: []}]",
            &[r#"mcp_policies[2] ("env"): scope: is already the scope of mcp_policies[0]"#],
        ),
        (
            "mcp_auth_settings: [{}, {}]",
            &["mcp_auth_settings[1]: at most one entry is accepted in this collection"],
        ),
        (
            "mcp_auth_settings: [{anonymous: {api_key: bto, servers: [s]}}]",
            &[
                r#"mcp_auth_settings[0]: `anonymous.api_key` references unknown API key "bto" (defined api_keys: bot)"#,
                r#"mcp_auth_settings[0]: `anonymous.servers` references unknown MCP server "s" (defined mcp_servers: none)"#,
            ],
        ),
        (
            "mcp_servers: [{display_name: s}, {name: s}]",
            &[r#"mcp_servers[1] ("s"): name: is already the name of mcp_servers[0]"#],
        ),
        // Cache policies.
        (
            "cache_policies: [{name: a, applies_to: 'model:m'}, {name: b, applies_to: 'model:w-1'}, {name: c, applies_to: 'api_key:bot'}, {name: d}]",
            &[],
        ),
        (
            "cache_policies: [{name: a, applies_to: 'model:n'}, {name: b, applies_to: 'api_key:bto'}]",
            &[
                r#"cache_policies[0] ("a"): `applies_to` references unknown model "n" (defined models: m, w-*, group)"#,
                r#"cache_policies[1] ("b"): `applies_to` references unknown API key "bto" (defined api_keys: bot)"#,
            ],
        ),
        (
            "cache_policies: [{name: a, applies_to: 'api_key:00000000-0000-5000-8000-000000000000'}]",
            &[
                r#"cache_policies[0] ("a"): `applies_to` references unknown API key id "00000000-0000-5000-8000-000000000000""#,
            ],
        ),
        (
            "cache_policies: [{name: a, applies_to: 'api_key:592e8a10-bdda-57f6-8c8e-de89da2215a8'}]",
            &[],
        ),
        // Rate limits.
        (
            "rate_limit_policies: [{name: a, scope: model, scope_ref: bot}, {name: b, scope: api_key, scope_ref: bot}, {name: c, scope: team, scope_ref: nobody}]",
            &[
                r#"rate_limit_policies[0] ("a"): `scope_ref` references unknown model "bot" (defined models: m, w-*, group)"#,
            ],
        ),
        (
            "rate_limit_policies: [{name: a, conditions: [{logic: and, children: [{dimension: model, value: [m, n]}]}]}]",
            &[
                r#"rate_limit_policies[0] ("a"): `conditions[0].children[0].value` references unknown model "n" (defined models: m, w-*, group)"#,
            ],
        ),
        (
            "rate_limit_policies: [{name: a, scope: model, scope_ref: '${OTHER}'}]",
            &[
                r#"rate_limit_policies[0] ("a"): `scope_ref` references unknown model (from the environment) (defined models: m, w-*, group)"#,
            ],
        ),
        // Identities of callers.
        (
            "oidc_providers: [{name: p, issuer: 'https://i'}, {name: q, issuer: 'https://i'}, {name: r, issuer: 'https://i', enabled: false}]",
            &[
                r#"oidc_providers[1] ("q"): has the same `issuer` as oidc_providers[0] ("p"), and both are enabled"#,
            ],
        ),
        (
            "claim_mappings: [{name: c, jwt_provider: p, resolve: {api_key: bot, api_key_id: x}}]",
            &[
                r#"claim_mappings[0] ("c"): `resolve.api_key` and `resolve.api_key_id` are mutually exclusive"#,
                r#"claim_mappings[0] ("c"): `jwt_provider` references unknown OIDC provider "p" (defined oidc_providers: none)"#,
            ],
        ),
        (
            "claim_mappings: [{name: c, resolve: {api_key: [bot]}}]",
            &[r#"claim_mappings[0] ("c"): `resolve.api_key` must be the name of an API key"#],
        ),
        // Routes.
        (
            "passthrough_routes: [{name: r, provider_key: mian, anonymous_key_id: x}]",
            &[
                r#"passthrough_routes[0] ("r"): `provider_key` references unknown provider key "mian" (defined provider_keys: main)"#,
                r#"passthrough_routes[0] ("r"): `anonymous_key_id` references unknown API key id "x" (`anonymous_key` takes the name)"#,
            ],
        ),
        (
            "passthrough_routes: [{name: r, id: x}, {display_name: r}]",
            &[
                r#"passthrough_routes[0] ("r"): `id` is not accepted: ids are derived from names"#,
                r#"passthrough_routes[1] ("r"): name: is already the name of passthrough_routes[0]"#,
            ],
        ),
    ];
    for (more, want) in cases {
        let (_, problems) = prepared(&format!("{BASE}{more}"));
        assert_eq!(&problems, want, "{more}");
    }
    assert_eq!(prepared(BASE).1, [] as [&str; 0]);
}

#[test]
fn names_of_models_agents_routes_and_servers_must_be_defined() {
    let cases: &[(&str, &[&str])] = &[
        (
            "models: [{display_name: g, routing: {targets: [{model: 'gpt-*'}, {model: w-1}, {model: x}, {model: h}]}}, \
             {display_name: h, ensemble: {panel: [{model: x}], judge: {model: y}}}, \
             {display_name: 'w-*', provider: p, model_name: x, provider_key: main}, \
             {display_name: s, semantic: {embedding_model: a, default: b, routes: [{target: c}], on_embedding_failure: {target: d}}}]",
            &[
                r#"models[0] ("g"): `routing.targets[2].model` references unknown model "x" (defined models: g, h, w-*, s)"#,
                r#"models[0] ("g"): `routing.targets[3].model` must be a direct model: "h" is a group"#,
                r#"models[1] ("h"): `ensemble.panel[0].model` references unknown model "x" (defined models: g, h, w-*, s)"#,
                r#"models[1] ("h"): `ensemble.judge.model` references unknown model "y" (defined models: g, h, w-*, s)"#,
                r#"models[3] ("s"): `semantic.embedding_model` references unknown model "a" (defined models: g, h, w-*, s)"#,
                r#"models[3] ("s"): `semantic.default` references unknown model "b" (defined models: g, h, w-*, s)"#,
                r#"models[3] ("s"): `semantic.routes[0].target` references unknown model "c" (defined models: g, h, w-*, s)"#,
                r#"models[3] ("s"): `semantic.on_embedding_failure.target` references unknown model "d" (defined models: g, h, w-*, s)"#,
            ],
        ),
        (
            "models: [{display_name: s, semantic: {on_embedding_failure: fail}}]",
            &[],
        ),
        (
            "api_keys: [{display_name: k, key_hash: aa, allowed_models: ['x-*', x], allowed_agents: ['a*', a], \
             allowed_routes: ['r*', r], mcp_rate_limits: {t: {}, 'u*': {}}, jwt_provider: nobody}]",
            &[
                r#"api_keys[0] ("k"): `allowed_models` references unknown model "x" (defined models: none)"#,
                r#"api_keys[0] ("k"): `allowed_agents` references unknown A2A agent "a" (defined a2a_agents: none)"#,
                r#"api_keys[0] ("k"): `allowed_routes` references unknown passthrough route "r" (defined passthrough_routes: none)"#,
                r#"api_keys[0] ("k"): `mcp_rate_limits` references unknown MCP server "t" (defined mcp_servers: none)"#,
                r#"api_keys[0] ("k"): `mcp_rate_limits` references unknown MCP server "u*" (defined mcp_servers: none)"#,
            ],
        ),
    ];
    for (collections, want) in cases {
        let (_, problems) = prepared(&format!(
            "_format_version: '1'\nprovider_keys: [{{display_name: main}}]\n{collections}"
        ));
        assert_eq!(&problems, want, "{collections}");
    }
}
