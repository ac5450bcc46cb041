mod collections;

use super::*;
use crate::model::Adapter;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

fn env(name: &str) -> Option<String> {
    match name {
        "OPENAI_KEY" => Some("sk-canary-upstream".to_owned()),
        "CLIENT_KEY" | "SAME_KEY" => Some("sk-canary-client".to_owned()),
        "NESTED" => Some("canary-${OTHER}".to_owned()),
        "TRAILING" => Some("sk-canary-client\n".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn load_text(text: &str, previous: Option<&Snapshot>, at: u64) -> Result<Loaded, LoadError> {
    let context = LoadContext {
        env: &env,
        generation: previous.map_or(0, Snapshot::generation) + 1,
        loaded_at: UNIX_EPOCH + Duration::from_secs(at),
        previous,
        opener: None,
    };
    load_bytes(
        Path::new("/etc/sluice/resources.yaml"),
        text.as_bytes(),
        &context,
    )
}

fn problems(text: &str) -> Vec<String> {
    let error = load_text(text, None, 0).expect_err(text);
    assert!(!error.to_string().contains("canary"), "{error}");
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    error.problems().to_vec()
}

const GOOD: &str = r#"
_format_version: "1"
provider_keys:
  - display_name: main
    provider: openai
    api_key: ${OPENAI_KEY}
    request:
      default_headers: {x-caller: "$${request.api_key.name}", x-k: "${OPENAI_KEY}"}
      default_body_fields: {user: "${OPENAI_KEY}"}
models:
  - {display_name: fast-chat, provider: openai, model_name: gpt-4o-mini, provider_key: main}
  - {display_name: "openai/*", provider: openai, model_name: "*", provider_key_id: c756cf05-240b-550a-bfc2-56b7294b7da0}
api_keys:
  - {display_name: ci, key_env: CLIENT_KEY, allowed_models: [fast-chat, "openai/o3", "x-*"]}
guardrails: []
mcp_servers: null
"#;

#[test]
fn a_good_file_becomes_a_snapshot() {
    let loaded = load_text(GOOD, None, 1_760_000_000).unwrap();
    assert_eq!(loaded.resources, 4);
    assert_eq!(
        loaded.counts,
        [("provider_keys", 1), ("models", 2), ("api_keys", 1)]
    );
    assert_eq!(loaded.file_sha256, <[u8; 32]>::from(Sha256::digest(GOOD)));
    let snapshot = loaded.snapshot;
    assert_eq!(snapshot.generation(), 1);
    assert_eq!(snapshot.warnings(), &[] as &[String]);

    let key = snapshot
        .api_key(&Sha256::digest("sk-canary-client").into())
        .unwrap();
    assert_eq!(key.name.as_deref(), Some("ci"));
    assert!(key.may_use("fast-chat") && !key.may_use("gpt-4o-mini"));
    let model = snapshot.resolve("fast-chat").unwrap().model;
    assert_eq!(&*model.id, "a35ce62a-7e17-51a6-a8a5-5d9c0c32855c");
    assert_eq!(model.created, 1_760_000_000);
    let provider_key = snapshot.provider_key(&model.provider_key_id).unwrap();
    assert_eq!(provider_key.api_key.expose(), "sk-canary-upstream");
    assert_eq!(provider_key.adapter, Some(Adapter::Openai));
    let labels = model.labels(provider_key);
    assert_eq!(
        (&*labels.provider_key_name, &*labels.model),
        ("main", "fast-chat")
    );
    let wildcard = snapshot.resolve("openai/o3").unwrap();
    assert_eq!(
        wildcard.model.upstream_model(wildcard.capture).concat(),
        "o3"
    );
}

#[test]
fn the_report_names_every_problem_at_once() {
    let text = r#"
_format_version: "1"
modles: []
provider_keys:
  - {display_name: main, provider: openai, api_key: "${UNSET_KEY}"}
  - {provider: openai, api_key: canary-1, api_base: "https://user:canary@h"}
models:
  - {display_name: fast-chat, provider: openai, model_name: m, provider_key: main, timeout: 5s}
  - {display_name: fast-chat, provider: openai, model_name: m, provider_key: mian}
  - {display_name: group, routing: {targets: [{model: fast-chat}]}}
api_keys:
  - {display_name: ci, key_env: CLIENT_KEY, allowed_models: [fast-chat, group, fsat-chat]}
  - {display_name: twin, key_env: SAME_KEY, allowed_models: ["*"]}
  - canary
"#;
    let report = load_text(text, None, 0).unwrap_err().to_string();
    assert_eq!(
        report,
        "\
resources file /etc/sluice/resources.yaml: 10 error(s):
  - (file): unknown top-level key `modles` (known: _format_version, provider_keys, models, api_keys, \
guardrails, guardrail_attachments, mcp_servers, mcp_policies, mcp_auth_settings, a2a_agents, cache_policies, \
observability_exporters, rate_limit_policies, oidc_providers, claim_mappings, passthrough_routes, ssls)
  - provider_keys[0] (\"main\"): api_key: environment variable UNSET_KEY is not set or is empty
  - provider_keys[1]: display_name: is required
  - provider_keys[1]: api_base: must not hold a user name or password
  - models[0] (\"fast-chat\"): timeout: must be a whole number, 0 or more, not a string
  - models[1] (\"fast-chat\"): display_name: is already the name of models[0]
  - models[1] (\"fast-chat\"): `provider_key` references unknown provider key \"mian\" (defined provider_keys: main)
  - api_keys[0] (\"ci\"): `allowed_models` references unknown model \"fsat-chat\" (defined models: fast-chat, group)
  - api_keys[1] (\"twin\"): is the same key as api_keys[0] (\"ci\")
  - api_keys[2]: must be a mapping, not a string"

    );
}

#[test]
fn the_top_level_is_closed_and_versioned() {
    use LoadErrorKind::{NonJson, ParseFailed, SchemaFailed};
    let cases = [
        ("", ParseFailed, "(file): must be a mapping, not null"),
        ("[]", ParseFailed, "(file): must be a mapping, not a list"),
        ("a: [", NonJson, "(file): not readable: "),
        (
            "models: []",
            ParseFailed,
            "(file): `_format_version` is required",
        ),
        (
            "_format_version: 1",
            ParseFailed,
            "(file): `_format_version` must be a string",
        ),
        (
            "_format_version: '2'",
            ParseFailed,
            "(file): `_format_version` must be \"1\"",
        ),
        (
            "_format_version: '1'\nmodels: {}",
            ParseFailed,
            "(file): `models` must be a list, not a mapping",
        ),
        (
            "_format_version: '1'\nmodels: [1]",
            SchemaFailed,
            "models[0]: must be a mapping, not a number",
        ),
        (
            "_format_version: '1'\nmodel: []",
            SchemaFailed,
            "(file): unknown top-level key `model`",
        ),
        (
            "_format_version: '1'\n_format_version: '1'",
            NonJson,
            "(file): not readable: a key is written twice",
        ),
        (
            "_format_version: '1'\n---\n{}",
            NonJson,
            "(file): not readable: more than one",
        ),
    ];
    for (text, kind, want) in cases {
        let error = load_text(text, None, 0).expect_err(text);
        assert_eq!(error.kind, kind, "{text}: {error}");
        assert_eq!(error.problems().len(), 1, "{text}: {error}");
        assert!(error.problems()[0].starts_with(want), "{text}: {error}");
    }
    let empty = load_text("_format_version: '1'\nmodels: null\n", None, 0).unwrap();
    assert_eq!((empty.resources, empty.counts.len()), (0, 0));
}

#[test]
fn an_unreadable_file_is_told_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("missing.yaml");
    let error = load_file(&path, &env, 1, UNIX_EPOCH).unwrap_err();
    assert_eq!(error.kind, LoadErrorKind::Fetch);
    std::fs::write(&path, [0xff, 0xfe, 0xff]).unwrap();
    assert_eq!(
        load_file(&path, &env, 1, UNIX_EPOCH).unwrap_err().kind,
        LoadErrorKind::NonJson
    );
    std::fs::write(&path, GOOD).unwrap();
    assert_eq!(
        load_file(&path, &env, 3, UNIX_EPOCH)
            .unwrap()
            .snapshot
            .generation(),
        3
    );
}

/// A file with one provider key, model and caller key, each with `extra` fields in flow style.
fn file(model: &str, api_key: &str) -> String {
    format!(
        "_format_version: '1'\nprovider_keys: [{{display_name: main, provider: openai, api_key: k}}]\n\
         models: [{{display_name: m, provider: openai, model_name: x, {model}}}]\n\
         api_keys: [{{display_name: ci, allowed_models: [m], {api_key}}}]\n"
    )
}

#[test]
fn short_forms_are_replaced_or_refused() {
    const KEY: &str = "key_env: CLIENT_KEY";
    const MAIN: &str = "provider_key: main";
    const HASH: &str = "key_hash: 2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let cases = [
        (MAIN, KEY, None),
        (MAIN, HASH, None),
        (
            "provider_key_id: 00000000-0000-5000-8000-000000000000",
            KEY,
            Some("models[0] (\"m\"): `provider_key_id` references unknown provider key id \"0000"),
        ),
        (
            "provider_key: main, provider_key_id: x",
            KEY,
            Some("models[0] (\"m\"): `provider_key` and `provider_key_id` are mutually exclusive"),
        ),
        (
            "timeout: 1",
            KEY,
            Some("models[0] (\"m\"): `provider_key` is required"),
        ),
        (
            "provider_key: null",
            KEY,
            Some("models[0] (\"m\"): `provider_key` must be the name"),
        ),
        (
            "provider_key: '${OPENAI_KEY}'",
            KEY,
            Some(
                "models[0] (\"m\"): `provider_key` references unknown provider key (from the environment)",
            ),
        ),
        (
            "provider_key: '${NOPE}'",
            KEY,
            Some("models[0] (\"m\"): provider_key: environment variable NOPE is not"),
        ),
        (
            "provider_key: main, id: x",
            KEY,
            Some("models[0] (\"m\"): `id` is not accepted"),
        ),
        (
            MAIN,
            "team_id: t",
            Some("api_keys[0] (\"ci\"): exactly one of `key_env` and `key_hash`"),
        ),
        (
            MAIN,
            "key_env: CLIENT_KEY, key_hash: x",
            Some("api_keys[0] (\"ci\"): exactly one of"),
        ),
        (
            MAIN,
            "key_env: 1",
            Some("api_keys[0] (\"ci\"): `key_env` must be the name"),
        ),
        (
            MAIN,
            "key_env: NOPE",
            Some("api_keys[0] (\"ci\"): `key_env`: environment variable NOPE is not set"),
        ),
        (
            MAIN,
            "key_env: EMPTY",
            Some("api_keys[0] (\"ci\"): `key_env`: environment variable EMPTY is not set"),
        ),
        (
            MAIN,
            "key_env: sk-canary",
            Some("api_keys[0] (\"ci\"): `key_env`: environment variable (not a legal name"),
        ),
        (
            MAIN,
            "key_env: NESTED",
            Some("api_keys[0] (\"ci\"): `key_env`: environment variable NESTED holds `${`"),
        ),
        (
            MAIN,
            "key_env: TRAILING",
            Some("api_keys[0] (\"ci\"): `key_env`: environment variable TRAILING holds line"),
        ),
        (
            MAIN,
            "key_env: '${CLIENT_KEY}'",
            Some("api_keys[0] (\"ci\"): `key_env` must name the variable itself"),
        ),
        (
            MAIN,
            "key_env: '${NOPE}'",
            Some("api_keys[0] (\"ci\"): key_env: environment variable NOPE is not set"),
        ),
    ];
    for (model, api_key, want) in cases {
        let text = file(model, api_key);
        match want {
            None => assert!(load_text(&text, None, 0).is_ok(), "{text}"),
            Some(want) => {
                let said = problems(&text);
                assert_eq!(said.len(), 1, "{text}: {said:?}");
                assert!(said[0].starts_with(want), "{text}: {said:?}");
            }
        }
    }
}

#[test]
fn entries_must_fit_together() {
    let cases = [
        (
            "{display_name: b, key_env: CLIENT_KEY, allowed_models: []}",
            "api_keys[1] (\"b\"): is the same key as api_keys[0] (\"a\")",
        ),
        (
            "{display_name: a, key_hash: '1111111111111111111111111111111111111111111111111111111111111111', allowed_models: []}",
            "api_keys[1] (\"a\"): display_name: is already the name of api_keys[0]",
        ),
        (
            "{key_hash: '1111111111111111111111111111111111111111111111111111111111111111', allowed_models: []}",
            "api_keys[1]: `display_name` is required: it identifies the entry",
        ),
        (
            "{display_name: b, key_hash: canary, allowed_models: []}",
            "api_keys[1] (\"b\"): key_hash: must be a SHA-256",
        ),
        (
            "{display_name: b, key_hash: '1111111111111111111111111111111111111111111111111111111111111111', allowed_models: [], jwt_subject: s, jwt_provider: p}",
            "api_keys[1] (\"b\"): has the same `jwt_subject` and `jwt_provider` as api_keys[0] (\"a\")",
        ),
        (
            "{display_name: b, key_hash: '1111111111111111111111111111111111111111111111111111111111111111', allowed_models: ['${OPENAI_KEY}']}",
            "api_keys[1] (\"b\"): `allowed_models` references unknown model (from the environment) (defined models: none)",
        ),
    ];
    for (second, want) in cases {
        let said = problems(&format!(
            "_format_version: '1'\napi_keys:\n  - {{display_name: a, key_env: CLIENT_KEY, allowed_models: [], jwt_subject: s, jwt_provider: p}}\n  - {second}\n"
        ));
        assert_eq!(said.len(), 1, "{second}: {said:?}");
        assert!(said[0].starts_with(want), "{second}: {said:?}");
    }
}

#[test]
fn what_has_no_effect_is_warned_of_once_per_kind_of_field() {
    let text = r#"
_format_version: "1"
provider_keys:
  - {display_name: a, provider: openai, api_key: k, tls: {verify: false}}
  - {display_name: b, provider: anthropic, adapter: openai, api_key: k, telemetry_tags: {featured: true}}
  - {display_name: c, provider: other, api_key: k}
models:
  - {display_name: m1, provider: p, model_name: x, provider_key: a, background_model_check: {enabled: true, interval_seconds: 5, timeout_seconds: 1, prompt: hi, max_tokens: 1, stale_after_seconds: 9}}
  - {display_name: m2, provider: p, model_name: x, provider_key: a, rate_limit: {rpm: 1}, background_model_check: {enabled: true, interval_seconds: 5, timeout_seconds: 1, prompt: hi, max_tokens: 1, stale_after_seconds: 9}}
api_keys:
  - {display_name: k, key_env: CLIENT_KEY, allowed_models: [], allowed_agents: ["x*"], mcp_access: {allow: []}}
"#;
    let loaded = load_text(text, None, 0).unwrap();
    assert_eq!(
        loaded.snapshot.warnings(),
        [
            "tls.verify is false: any certificate is accepted for the provider key: a",
            "provider and adapter name different vendors, the adapter decides on provider_keys: b",
            "no base URL or no adapter, so requests will fail, on provider_keys: b, c",
            "telemetry_tags on provider_keys is not enforced by this version: b",
            "mcp_access on api_keys is not enforced by this version: k",
            "allowed_agents on api_keys is not enforced by this version: k",
        ]
    );
}

#[test]
fn a_reload_shares_what_did_not_change_and_keeps_created() {
    let first = load_text(GOOD, None, 100).unwrap().snapshot;
    let edited = GOOD.replace("gpt-4o-mini", "gpt-5");
    let second = load_text(&edited, Some(&first), 200).unwrap().snapshot;
    assert_eq!(second.generation(), 2);
    let model = |snapshot: &Snapshot, name| Arc::clone(snapshot.resolve(name).unwrap().model);
    assert!(Arc::ptr_eq(
        &model(&first, "openai/x"),
        &model(&second, "openai/x")
    ));
    let changed = model(&second, "fast-chat");
    assert_eq!((&*changed.model_name, changed.created), ("gpt-5", 100));
    assert!(Arc::ptr_eq(
        first.provider_keys().next().unwrap(),
        second.provider_key(&changed.provider_key_id).unwrap()
    ));
    let renamed = GOOD.replace("fast-chat", "quick-chat");
    let third = load_text(&renamed, Some(&second), 300).unwrap().snapshot;
    assert_eq!(model(&third, "quick-chat").created, 300);
}

#[test]
fn no_secret_is_printed_by_anything_that_was_loaded() {
    let loaded = load_text(GOOD, None, 0).unwrap();
    let snapshot = &loaded.snapshot;
    let mut printed = format!("{loaded:?} {loaded:#?}");
    for key in snapshot.provider_keys() {
        printed.push_str(&format!("{key:?} {key:#?} {}", key.api_key));
    }
    for model in snapshot.models() {
        printed.push_str(&format!("{model:?} {model:#?}"));
    }
    for key in snapshot.api_keys() {
        printed.push_str(&format!("{key:?}"));
    }
    printed.push_str(&format!("{:?}", snapshot.resolve("fast-chat")));
    let (publisher, cell) =
        crate::publish::Publisher::new(load_text(GOOD, None, 0).unwrap().snapshot);
    printed.push_str(&format!("{publisher:?} {cell:?} {:?}", cell.reader()));
    assert!(printed.contains("fast-chat") && printed.contains("x-caller"));
    assert!(!printed.contains("canary"), "{printed}");
    let hash: Vec<String> = Sha256::digest("sk-canary-client")
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert!(!printed.contains(&hash.concat()));
}

/// Any value of any shape under the fields that the readers know, and some that they do not.
fn arbitrary_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(vec![
            "",
            "main",
            "*",
            "a*b*",
            "canary-1",
            "${OPENAI_KEY}",
            "${",
            "$$",
            "https://h/v1",
            "openai",
            "2030-01-01T00:00:00Z",
            "10.0.0.0/8",
        ])
        .prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "display_name",
        "provider",
        "adapter",
        "api_key",
        "secret",
        "api_base",
        "tls",
        "ca_cert",
        "request",
        "default_headers",
        "param_renames",
        "response",
        "model_name",
        "provider_key",
        "provider_key_id",
        "cost",
        "allowed_cidrs",
        "timeout",
        "routing",
        "key_env",
        "key_hash",
        "allowed_models",
        "expires_at",
        "rate_limit",
        "mcp_rate_limits",
        "id",
        "name",
        "guardrail",
        "scope",
        "scope_type",
        "scope_ref",
        "conditions",
        "children",
        "dimension",
        "value",
        "anonymous",
        "applies_to",
        "resolve",
        "issuer",
        "novel",
    ]);
    leaf.prop_recursive(3, 24, 6, move |inner| {
        let list = prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from);
        let fields = prop::collection::vec((key.clone(), inner), 0..6);
        let map = fields.prop_map(|fields| {
            Value::Object(
                fields
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect(),
            )
        });
        prop_oneof![list, map]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_a_file_holds_it_is_answered_without_its_secrets(
        entries in prop::collection::vec(prop::collection::vec(arbitrary_value(), 0..3), 16)
    ) {
        let mut root = serde_json::json!({"_format_version": "1"});
        for (collection, entries) in Collection::ALL.into_iter().zip(entries) {
            root[collection.name()] = entries.into();
        }
        let text = root.to_string();
        if let Err(error) = load_text(&text, None, 0) {
            prop_assert!(!error.to_string().contains("sk-canary"), "{}", error);
        }
    }
}
