//! Every collection as its documents are written, and what its readers say of mistakes in them.

use config_sync::collection::Collection::{self, *};
use config_sync::resource::Resource;
use config_sync::tree::{Problem, ProblemKind, Problems, Unknown, Value};
use serde_json::json;

/// A secret or a text of a caller: no message may hold it.
const CANARY: &str = "canary";

/// What reading came to: problems, and fields passed over.
type Outcome = (Vec<Problem>, Vec<String>);

fn read(collection: Collection, document: &Value, unknown: Unknown) -> Outcome {
    let problems = Problems::default();
    let resource = Resource::read(collection, document, &problems, unknown);
    let ignored = problems.ignored();
    let found = problems.into_vec();
    let is_usable = resource.is_some() && found.is_empty();
    assert!(
        is_usable || !found.is_empty(),
        "{collection} {document}: refused in silence"
    );
    for problem in &found {
        let text = problem.to_string();
        assert!(!text.contains(CANARY), "{collection} {document}: {text}");
    }
    if let Some(resource) = resource.filter(|_| is_usable) {
        let shown = format!("{resource:?}");
        assert!(!shown.contains("s3cr3t"), "{collection}: {shown}");
    }
    (found, ignored)
}

/// The pair of a listener certificate, made once.
fn pair() -> (String, String) {
    let pair = rcgen::generate_simple_self_signed(["gw.example.net".to_owned()])
        .expect("a plain name takes a certificate");
    (pair.cert.pem(), pair.signing_key.serialize_pem())
}

/// One example of each collection, and of each shape that a collection has several of.
fn examples() -> Vec<(Collection, Value)> {
    let (cert, key) = pair();
    vec![
        (
            ProviderKeys,
            json!({"display_name":"eu-openai","provider":"openai","adapter":"openai","api_key":"s3cr3t",
                   "request":{"default_headers":{"x-tenant":"${request.api_key.team_id}"}}}),
        ),
        (
            Models,
            json!({"display_name":"fast-chat","provider":"openai","model_name":"gpt-4o-mini",
                   "provider_key_id":"c756cf05-240b-550a-bfc2-56b7294b7da0",
                   "cost":{"input_per_1k":0.0002,"output_per_1k":0.0006}}),
        ),
        (
            Models,
            json!({"display_name":"chat","routing":{"strategy":"round_robin","targets":[
                   {"model":"fast-chat","weight":3},{"model":"eu-chat","priority":-1}]}}),
        ),
        (
            Models,
            json!({"display_name":"council","ensemble":{"panel":[{"model":"fast-chat"},
                   {"model":"eu-chat","temperature":0.9}],"judge":{"model":"eu-chat"}}}),
        ),
        (
            Models,
            json!({"display_name":"smart","semantic":{"embedding_model":"embed-s","default":"fast-chat",
                   "match":{"threshold":0.55},
                   "routes":[{"name":"legal","target":"eu-chat","examples":["review this clause"]}]}}),
        ),
        (
            ApiKeys,
            json!({"key_hash":"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b",
                   "allowed_models":["fast-*","chat"],"team_id":"team-7","rate_limit":{"rpm":60},
                   "expires_at":"2030-01-01T00:00:00Z"}),
        ),
        (
            Guardrails,
            json!({"name":"no-card-numbers","kind":"pii","hook_point":"input",
                   "detectors":[{"type":"bank_card","action":"block"}]}),
        ),
        (
            GuardrailAttachments,
            json!({"guardrail_id":"5b7c…","scope_type":"team","scope_id":"team-7","priority":100}),
        ),
        (
            McpServers,
            json!({"name":"tickets","url":"https://mcp.example.net/mcp","auth_type":"bearer","secret":"s3cr3t"}),
        ),
        (
            McpPolicies,
            json!({"scope":"team","scope_ref":"team-7","allow":["tickets__*"],"deny":["tickets__delete"]}),
        ),
        (
            McpAuthSettings,
            json!({"resource_url":"https://gw.example.net/mcp","anonymous":{"api_key_id":"8474…",
                   "source_cidrs":["10.0.0.0/8"],"servers":["tickets"]}}),
        ),
        (
            A2aAgents,
            json!({"name":"invoices","url":"https://agents.example.net/a2a","auth_type":"api_key","secret":"s3cr3t"}),
        ),
        (
            CachePolicies,
            json!({"name":"faq","applies_to":"model:fast-chat","ttl_seconds":600,"scope":"env"}),
        ),
        (
            ObservabilityExporters,
            json!({"name":"traces","kind":"otlp_http","endpoint":"https://otel.example.net/v1/traces",
                   "headers":{"x-token":"s3cr3t"},"sample_rate":0.1}),
        ),
        (
            RateLimitPolicies,
            json!({"name":"night-free","conditions":[{"dimension":"model_name","operator":"~~","value":"^fast-"}],
                   "group_by":["team"],"limits":{"rpm":600},"schedules":[{"timezone":"Europe/Berlin",
                   "days_of_week":["sat","sun"],"start_time":"00:00","end_time":"24:00"}]}),
        ),
        (
            RateLimitPolicies,
            json!({"name":"a-team","scope":"team","scope_ref":"team-7","window":"minute","max_tokens":1}),
        ),
        (
            OidcProviders,
            json!({"name":"corp","issuer":"https://sso.example.net/realms/ai","audiences":["sluice"],
                   "bound_claims":{"department":["r-and-d"]}}),
        ),
        (
            ClaimMappings,
            json!({"name":"analysts","jwt_provider":"corp","match":[{"claim":"groups","op":"contains",
                   "values":["analysts"]}],"resolve":{"api_key_id":"8474…"}}),
        ),
        (
            PassthroughRoutes,
            json!({"name":"vendor-x","path_prefix":"/passthrough/vendor-x",
                   "target_url":"https://api.vendor-x.example","provider_key_id":"c756…"}),
        ),
        (
            Ssls,
            json!({"name":"gw","snis":["gw.example.net"],"cert":cert,"key":key}),
        ),
    ]
}

#[test]
fn every_example_is_read_strictly_and_leniently() {
    let examples = examples();
    for collection in Collection::ALL {
        let has_one = examples.iter().any(|(of, _)| *of == collection);
        assert!(has_one, "{collection}");
    }
    for (collection, document) in &examples {
        for unknown in [Unknown::Refused, Unknown::Ignored] {
            let (found, ignored) = read(*collection, document, unknown);
            assert_eq!(
                (found.as_slice(), ignored.as_slice()),
                (&[][..], &[][..]),
                "{collection}"
            );
        }
    }
}

#[test]
fn an_unknown_field_is_an_error_for_writers_and_passed_over_in_a_store() {
    for (collection, mut document) in examples() {
        document["newer"] = json!({"x": [CANARY]});
        let (found, _) = read(collection, &document, Unknown::Refused);
        assert_eq!(found.len(), 1, "{collection}: {found:?}");
        assert_eq!(
            (&*found[0].path, found[0].kind),
            ("newer", ProblemKind::Schema)
        );
        let (found, ignored) = read(collection, &document, Unknown::Ignored);
        assert!(found.is_empty(), "{collection}: {found:?}");
        assert_eq!(ignored, ["newer"], "{collection}");
    }
}

#[test]
fn what_is_no_mapping_or_holds_nothing_is_refused() {
    for collection in Collection::ALL {
        for unknown in [Unknown::Refused, Unknown::Ignored] {
            for document in [json!([]), json!(CANARY), json!(7), json!(true)] {
                let (found, _) = read(collection, &document, unknown);
                assert!(!found.is_empty(), "{collection} {document}");
            }
            let (found, _) = read(collection, &json!({}), unknown);
            // The settings have no field that must be there.
            assert_eq!(
                found.is_empty(),
                collection == McpAuthSettings,
                "{collection}"
            );
        }
    }
}

#[test]
fn an_optional_field_may_be_null_where_its_kind_says_so() {
    use Unknown::{Ignored, Refused};
    // Field, and whether `null` stands for leaving it out.
    let cases: &[(Collection, &[&str], bool)] = &[
        (
            ProviderKeys,
            &[
                "adapter",
                "api_base",
                "tls",
                "telemetry_tags",
                "request",
                "response",
            ],
            true,
        ),
        (ProviderKeys, &["provider", "strip_headers"], false),
        (
            Models,
            &[
                "timeout",
                "stream_timeout",
                "retries",
                "rate_limit",
                "allowed_cidrs",
            ],
            false,
        ),
        (
            Models,
            &[
                "cost",
                "auto_prompt_caching",
                "embedding",
                "cooldown",
                "background_model_check",
            ],
            false,
        ),
        (
            ApiKeys,
            &[
                "display_name",
                "rate_limit",
                "team_id",
                "user_id",
                "user_name",
                "jwt_subject",
                "jwt_provider",
                "mcp_access",
                "mcp_rate_limits",
                "allowed_agents",
                "allowed_routes",
                "expires_at",
            ],
            true,
        ),
        (ApiKeys, &["disabled"], false),
        (
            Guardrails,
            &[
                "enabled",
                "hook_point",
                "created_at",
                "default_action",
                "custom_patterns",
            ],
            false,
        ),
        (GuardrailAttachments, &["env_id"], true),
        (GuardrailAttachments, &["enabled"], false),
        (
            McpServers,
            &[
                "client_id",
                "token_url",
                "scopes",
                "spec",
                "api_key_header",
                "protocol_version",
                "timeout_ms",
            ],
            true,
        ),
        (McpServers, &["type", "transport", "enabled"], false),
        (McpPolicies, &["allow", "deny", "enabled"], false),
        (McpAuthSettings, &["resource_url", "anonymous"], false),
        (A2aAgents, &["timeout_ms"], true),
        (A2aAgents, &["protocol_version", "enabled"], false),
        (
            CachePolicies,
            &[
                "enabled",
                "backend",
                "applies_to",
                "scope",
                "purge_generation",
                "semantic",
            ],
            false,
        ),
        (
            ObservabilityExporters,
            &[
                "enabled",
                "sample_rate",
                "headers",
                "content_mode",
                "content_max_bytes",
            ],
            false,
        ),
        (RateLimitPolicies, &["schedules"], false),
        (
            OidcProviders,
            &[
                "jwks_uri",
                "identity_claim",
                "required_scopes",
                "bound_claims",
                "leeway_secs",
                "enabled",
            ],
            false,
        ),
        (ClaimMappings, &["priority", "enabled"], false),
        (PassthroughRoutes, &["source_cidrs", "timeout_ms"], true),
        (
            PassthroughRoutes,
            &[
                "path_prefix",
                "hosts",
                "target_url",
                "preserve_host",
                "auth_mode",
                "auth_header_name",
                "anonymous_key_id",
                "credential_mode",
                "provider_key_id",
                "identity_header",
                "enabled",
            ],
            false,
        ),
        (Ssls, &["client_ca"], true),
        (Ssls, &["enabled", "extra", "client_verify"], false),
    ];
    let examples = examples();
    for (collection, fields, accepted) in cases {
        for field in *fields {
            let (_, example) = examples.iter().find(|(of, _)| of == collection).unwrap();
            let mut document = example.clone();
            document[*field] = Value::Null;
            for unknown in [Refused, Ignored] {
                let (found, ignored) = read(*collection, &document, unknown);
                assert_eq!(
                    found.is_empty(),
                    *accepted,
                    "{collection} {field} {unknown:?}: {found:?}"
                );
                assert!(ignored.is_empty(), "{collection} {field}: {ignored:?}");
                let named = found.iter().any(|problem| problem.path == *field);
                assert!(named || *accepted, "{collection} {field}: {found:?}");
            }
        }
    }
}

/// A mistake: the example with `changes`, the path that is named, and what the mistake is in strict
/// and lenient reading.
type Mistake = (Collection, Value, &'static str, Verdict, Verdict);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    Schema,
    Parse,
    /// Read, and noted as passed over.
    Ignored,
    /// Read without a word.
    Fine,
}

fn mistakes() -> Vec<Mistake> {
    use Verdict::{Fine, Ignored, Parse, Schema};
    let both = |collection, changes, path, verdict| (collection, changes, path, verdict, verdict);
    vec![
        both(
            ProviderKeys,
            json!({"display_name": ""}),
            "display_name",
            Schema,
        ),
        both(ProviderKeys, json!({"api_key": ""}), "api_key", Schema),
        both(ProviderKeys, json!({"secret": "canary"}), "api_key", Parse),
        both(
            ProviderKeys,
            json!({"adapter": "canary"}),
            "adapter",
            Schema,
        ),
        both(
            ProviderKeys,
            json!({"adapter": "bedrock", "api_key": "canary"}),
            "api_key",
            Schema,
        ),
        both(
            ProviderKeys,
            json!({"api_base": "https://u:canary@h/v1"}),
            "api_base",
            Schema,
        ),
        both(
            ProviderKeys,
            json!({"tls": {"ca_cert": "canary"}}),
            "tls.ca_cert",
            Schema,
        ),
        both(
            ProviderKeys,
            json!({"request": {"default_headers": {"x-a": "${canary}"}}}),
            "request.default_headers.x-a",
            Schema,
        ),
        (
            ProviderKeys,
            json!({"request": {"new": "canary"}}),
            "request.new",
            Schema,
            Ignored,
        ),
        both(Models, json!({"provider": "Canary!"}), "provider", Schema),
        both(Models, json!({"timeout": -1}), "timeout", Parse),
        both(
            Models,
            json!({"retries": 4_294_967_296_u64}),
            "retries",
            Parse,
        ),
        both(
            Models,
            json!({"cost": {"input_per_1k": -1, "output_per_1k": 0}}),
            "cost.input_per_1k",
            Schema,
        ),
        both(
            Models,
            json!({"allowed_cidrs": ["canary"]}),
            "allowed_cidrs[0]",
            Schema,
        ),
        both(
            Models,
            json!({"cooldown": {"trigger_statuses": [600]}}),
            "cooldown.trigger_statuses[0]",
            Schema,
        ),
        both(
            Models,
            json!({"cooldown": {"trigger_statuses": [65_536]}}),
            "cooldown.trigger_statuses[0]",
            Parse,
        ),
        both(
            Models,
            json!({"routing": {"targets": [{"model": "a"}]}}),
            "provider",
            Schema,
        ),
        both(
            Models,
            json!({"embedding": {"dimensions": 0}}),
            "embedding.dimensions",
            Schema,
        ),
        both(ApiKeys, json!({"key_hash": "canary"}), "key_hash", Schema),
        both(
            ApiKeys,
            json!({"allowed_models": "canary"}),
            "allowed_models",
            Schema,
        ),
        (
            ApiKeys,
            json!({"allowed_models": ["a*b*"]}),
            "allowed_models[0]",
            Schema,
            Fine,
        ),
        both(
            ApiKeys,
            json!({"jwt_subject": "canary"}),
            "jwt_subject",
            Schema,
        ),
        both(
            ApiKeys,
            json!({"expires_at": "canary"}),
            "expires_at",
            Schema,
        ),
        both(
            ApiKeys,
            json!({"rate_limit": {"rpm": -1}}),
            "rate_limit.rpm",
            Parse,
        ),
        (
            ApiKeys,
            json!({"mcp_access": {}}),
            "mcp_access.allow",
            Schema,
            Fine,
        ),
        (
            ApiKeys,
            json!({"mcp_access": {"allow": [], "mode": "canary"}}),
            "mcp_access.mode",
            Schema,
            Fine,
        ),
        (
            ApiKeys,
            json!({"mcp_rate_limits": {"s": {"tpm": 1}}}),
            "mcp_rate_limits.s.tpm",
            Schema,
            Ignored,
        ),
        both(Guardrails, json!({"kind": "canary"}), "kind", Schema),
        both(
            Guardrails,
            json!({"hook_point": "canary"}),
            "hook_point",
            Schema,
        ),
        both(
            Guardrails,
            json!({"custom_patterns": [{"name": "n", "regex": "(canary"}]}),
            "custom_patterns[0].regex",
            Schema,
        ),
        both(
            Guardrails,
            json!({"max_buffer_bytes": 0}),
            "max_buffer_bytes",
            Schema,
        ),
        (
            Guardrails,
            json!({"enforcement_mode": "canary"}),
            "enforcement_mode",
            Schema,
            Ignored,
        ),
        (
            Guardrails,
            json!({"detectors": [{"type": "jwt", "new": 1}]}),
            "detectors[0].new",
            Schema,
            Ignored,
        ),
        both(
            GuardrailAttachments,
            json!({"scope_type": "canary"}),
            "scope_type",
            Schema,
        ),
        both(
            GuardrailAttachments,
            json!({"priority": 2_147_483_648_u64}),
            "priority",
            Parse,
        ),
        both(
            GuardrailAttachments,
            json!({"guardrail_id": ""}),
            "guardrail_id",
            Schema,
        ),
        (
            GuardrailAttachments,
            json!({"scope_id": null}),
            "scope_id",
            Schema,
            Fine,
        ),
        both(McpServers, json!({"name": "a__b"}), "name", Schema),
        both(McpServers, json!({"name": "a_"}), "name", Schema),
        both(McpServers, json!({"display_name": "canary"}), "name", Parse),
        both(McpServers, json!({"secret": null}), "secret", Schema),
        both(McpServers, json!({"spec": {}}), "spec", Schema),
        both(
            McpServers,
            json!({"type": "openapi", "spec": {"swagger": "2.0"}}),
            "spec",
            Schema,
        ),
        both(McpServers, json!({"timeout_ms": 0}), "timeout_ms", Schema),
        (McpServers, json!({"url": "canary"}), "url", Schema, Ignored),
        both(McpPolicies, json!({"scope": "canary"}), "scope", Schema),
        both(McpPolicies, json!({"scope_ref": null}), "scope_ref", Schema),
        both(McpPolicies, json!({"deny": [1]}), "deny[0]", Schema),
        (
            McpPolicies,
            json!({"allow": ["**canary"]}),
            "allow[0]",
            Schema,
            Fine,
        ),
        both(
            McpAuthSettings,
            json!({"anonymous": {"api_key_id": "k", "servers": ["s"], "source_cidrs": []}}),
            "anonymous.source_cidrs",
            Schema,
        ),
        both(
            McpAuthSettings,
            json!({"anonymous": {"api_key_id": "k", "servers": [], "source_cidrs": ["::1"]}}),
            "anonymous.servers",
            Schema,
        ),
        both(
            McpAuthSettings,
            json!({"resource_url": ""}),
            "resource_url",
            Schema,
        ),
        (
            McpAuthSettings,
            json!({"resource_url": "https://canary/other"}),
            "resource_url",
            Schema,
            Ignored,
        ),
        both(A2aAgents, json!({"name": "a/canary"}), "name", Schema),
        both(A2aAgents, json!({"secret": ""}), "secret", Schema),
        both(
            A2aAgents,
            json!({"protocol_version": "2.0"}),
            "protocol_version",
            Schema,
        ),
        both(A2aAgents, json!({"timeout_ms": -5}), "timeout_ms", Parse),
        both(
            CachePolicies,
            json!({"name": "x".repeat(121)}),
            "name",
            Schema,
        ),
        both(
            CachePolicies,
            json!({"ttl_seconds": 604_801}),
            "ttl_seconds",
            Schema,
        ),
        both(
            CachePolicies,
            json!({"ttl_seconds": 0}),
            "ttl_seconds",
            Schema,
        ),
        both(
            CachePolicies,
            json!({"purge_generation": -1}),
            "purge_generation",
            Parse,
        ),
        both(
            CachePolicies,
            json!({"semantic": {"embedding_model": "e", "threshold": 1.1}}),
            "semantic.threshold",
            Schema,
        ),
        (
            CachePolicies,
            json!({"applies_to": "canary"}),
            "applies_to",
            Schema,
            Fine,
        ),
        both(
            ObservabilityExporters,
            json!({"kind": "canary"}),
            "kind",
            Schema,
        ),
        both(
            ObservabilityExporters,
            json!({"endpoint": "http://canary.example.net"}),
            "endpoint",
            Schema,
        ),
        both(
            ObservabilityExporters,
            json!({"headers": {"x-a": "canary\r\n"}}),
            "headers.x-a",
            Schema,
        ),
        both(
            ObservabilityExporters,
            json!({"content_max_bytes": 1_048_577}),
            "content_max_bytes",
            Schema,
        ),
        (
            ObservabilityExporters,
            json!({"bucket": "canary"}),
            "bucket",
            Schema,
            Ignored,
        ),
        both(RateLimitPolicies, json!({"limits": {}}), "limits", Schema),
        both(
            RateLimitPolicies,
            json!({"scope": "team"}),
            "limits",
            Schema,
        ),
        both(
            RateLimitPolicies,
            json!({"group_by": ["team", "team"]}),
            "group_by[1]",
            Schema,
        ),
        both(
            RateLimitPolicies,
            json!({"conditions": [{"dimension": "team", "operator": "has", "value": "canary"}]}),
            "conditions[0].operator",
            Schema,
        ),
        both(
            RateLimitPolicies,
            json!({"conditions": [{"dimension": "model_name", "operator": "~~", "value": "(canary"}]}),
            "conditions[0].value",
            Schema,
        ),
        both(OidcProviders, json!({"audiences": []}), "audiences", Schema),
        both(
            OidcProviders,
            json!({"leeway_secs": 301}),
            "leeway_secs",
            Schema,
        ),
        both(
            OidcProviders,
            json!({"issuer": "https://u:canary@sso.example.net"}),
            "issuer",
            Schema,
        ),
        (
            OidcProviders,
            json!({"issuer": "http://canary.example.net"}),
            "issuer",
            Schema,
            Fine,
        ),
        both(ClaimMappings, json!({"match": []}), "match", Schema),
        both(
            ClaimMappings,
            json!({"match": [{"claim": "c", "op": "canary", "values": ["v"]}]}),
            "match[0].op",
            Schema,
        ),
        both(ClaimMappings, json!({"priority": -1}), "priority", Parse),
        both(
            ClaimMappings,
            json!({"resolve": {}}),
            "resolve.api_key_id",
            Schema,
        ),
        both(
            PassthroughRoutes,
            json!({"path_prefix": "/v1/canary"}),
            "path_prefix",
            Schema,
        ),
        both(
            PassthroughRoutes,
            json!({"path_prefix": "canary"}),
            "path_prefix",
            Schema,
        ),
        both(
            PassthroughRoutes,
            json!({"preserve_host": true}),
            "target_url",
            Schema,
        ),
        both(
            PassthroughRoutes,
            json!({"auth_mode": "anonymous"}),
            "anonymous_key_id",
            Schema,
        ),
        both(
            PassthroughRoutes,
            json!({"identity_header": "cookie"}),
            "identity_header",
            Schema,
        ),
        both(
            PassthroughRoutes,
            json!({"credential_mode": "forward_client"}),
            "provider_key_id",
            Schema,
        ),
        both(
            PassthroughRoutes,
            json!({"display_name": "canary"}),
            "name",
            Parse,
        ),
        both(Ssls, json!({"snis": []}), "snis", Schema),
        both(Ssls, json!({"key": "canary"}), "key", Schema),
        both(Ssls, json!({"snis": ["a.*.canary"]}), "snis[0]", Schema),
    ]
}

#[test]
fn each_mistake_is_named_by_its_field_and_never_quoted() {
    let examples = examples();
    let mut wrong = Vec::new();
    for (collection, changes, path, strict, lenient) in mistakes() {
        let (_, example) = examples.iter().find(|(of, _)| *of == collection).unwrap();
        let mut document = example.clone();
        for (field, value) in changes.as_object().unwrap() {
            document[field] = value.clone();
        }
        for (unknown, want) in [(Unknown::Refused, strict), (Unknown::Ignored, lenient)] {
            let (found, ignored) = read(collection, &document, unknown);
            let verdict = match found.iter().find(|problem| problem.path == path) {
                Some(problem) if problem.kind == ProblemKind::Parse => Verdict::Parse,
                Some(_) => Verdict::Schema,
                None if !ignored.is_empty() => Verdict::Ignored,
                None => Verdict::Fine,
            };
            let is_read = matches!(want, Verdict::Ignored | Verdict::Fine);
            if verdict != want || is_read != found.is_empty() {
                wrong.push(format!(
                    "{collection} {changes} {unknown:?}: {verdict:?} {found:?} {ignored:?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
