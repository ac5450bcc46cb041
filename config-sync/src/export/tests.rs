use super::*;
use crate::interpolate::Env;
use crate::model::{ProviderKey, ProviderKeyDocument};
use crate::seal::{Keyring, Sealer};
use crate::source::file::{LoadContext, documents_of, load_bytes};
use crate::tree::{Problems, Unknown};
use serde_json::json;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::UNIX_EPOCH;

const ALL: &str = include_str!("../../tests/fixtures/resources/all.yaml");
const EXPORTED: &str = include_str!("../../tests/fixtures/resources/exported.yaml");

/// Documents with the ids that a file derives for them.
type Documents = Vec<(Collection, Arc<str>, Value)>;

fn row(key: &str, value: &Value) -> StoredRow {
    StoredRow {
        key: format!("/sluice/{key}").into(),
        value: Zeroizing::new(value.to_string().into_bytes()),
        create_revision: 1,
        mod_revision: 1,
    }
}

/// The environment that sets each variable of an export to what it stands for.
fn set<'v>(values: &'v HashMap<String, String>) -> impl Fn(&str) -> Option<String> + 'v {
    |name| values.get(name).cloned()
}

fn fixture_env(name: &str) -> Option<String> {
    static PAIR: LazyLock<(String, String)> = LazyLock::new(|| {
        let pair = rcgen::generate_simple_self_signed(["gw.example.net".to_owned()]).unwrap();
        (pair.cert.pem(), pair.signing_key.serialize_pem())
    });
    Some(match name {
        "GW_CERT" => PAIR.0.clone(),
        "GW_KEY" => PAIR.1.clone(),
        name => format!("canary-{name}"),
    })
}

/// The fixture as a store holds it: every id another one than the file derives.
fn stored_fixture() -> (Documents, Vec<StoredRow>) {
    let documents = documents_of(ALL, &fixture_env);
    let ids: Vec<(Arc<str>, String)> = documents
        .iter()
        .enumerate()
        .map(|(index, (_, id, _))| (Arc::clone(id), format!("row-{index:03}")))
        .collect();
    let rows = documents.iter().map(|(collection, id, value)| {
        let mut text = value.to_string();
        for (derived, stored) in &ids {
            text = text.replace(&**derived, stored);
        }
        let stored = ids.iter().find(|(derived, _)| derived == id);
        let key = format!("{collection}/{}", stored.unwrap().1);
        row(&key, &serde_json::from_str(&text).unwrap())
    });
    let rows = rows.collect();
    (documents, rows)
}

#[test]
fn every_collection_comes_back_from_the_file() {
    let (mut want, rows) = stored_fixture();
    for secrets in [Secrets::AsVariables, Secrets::Revealed] {
        let export = super::export(&rows, "/sluice/", secrets, None);
        assert_eq!(export.blocking, [] as [&str; 0]);
        let values: HashMap<String, String> = secrets_of(&export, &want);
        let mut got = documents_of(&export.yaml, &set(&values));
        got.sort_by_key(|(collection, id, _)| (*collection, Arc::clone(id)));
        want.sort_by_key(|(collection, id, _)| (*collection, Arc::clone(id)));
        assert_eq!(got.len(), want.len());
        for (got, want) in got.iter().zip(&want) {
            assert_eq!(got, want, "{secrets:?}");
        }
    }
}

/// What the variables of an export of the fixture stand for.
fn secrets_of(export: &Export, documents: &Documents) -> HashMap<String, String> {
    let value = |variable: &Variable| {
        let (row, path) = variable.place.split_once(": ").unwrap();
        let (collection, name) = row.split_once(" (\"").unwrap();
        let name = name.trim_end_matches("\")");
        let (_, _, document) = documents
            .iter()
            .find(|(of, _, value)| {
                of.name() == collection && (value["name"] == name || value["display_name"] == name)
            })
            .unwrap();
        let pointer = format!("/{}", path.replace('.', "/"));
        document
            .pointer(&pointer)
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    };
    let variables = export.variables.iter();
    variables
        .map(|variable| (variable.name.clone(), value(variable)))
        .collect()
}

#[test]
fn the_file_is_ordered_named_and_without_credentials() {
    let (_, rows) = stored_fixture();
    let export = super::export(&rows, "/sluice", Secrets::AsVariables, None);
    assert_eq!(&*export.yaml, EXPORTED);
    assert!(!export.yaml.contains("canary"), "{}", &*export.yaml);
    assert!(!export.yaml.contains("BEGIN"), "{}", &*export.yaml);
    assert!(!format!("{export:?}").contains("canary"));
    assert_eq!(export.warnings, [] as [&str; 0]);
    let names: Vec<&str> = export.variables.iter().map(|v| &*v.name).collect();
    assert_eq!(
        names,
        [
            "SLUICESECRET_PROVIDER_KEYS_CLAUDE_API_KEY",
            "SLUICESECRET_PROVIDER_KEYS_MAIN_API_KEY",
            "SLUICESECRET_PROVIDER_KEYS_MAIN_REQUEST_DEFAULT_HEADERS_X_TENANT",
            "SLUICESECRET_GUARDRAILS_MODERATION_API_KEY",
            "SLUICESECRET_MCP_SERVERS_TICKETS_SECRET",
            "SLUICESECRET_A2A_AGENTS_INVOICES_SECRET",
            "SLUICESECRET_OBSERVABILITY_EXPORTERS_TRACES_HEADERS_X_TOKEN",
            "SLUICESECRET_SSLS_GW_CERT",
            "SLUICESECRET_SSLS_GW_KEY",
        ]
    );
    let place = "observability_exporters (\"traces\"): headers.x-token";
    assert_eq!(export.variables[6].place, place);
    let revealed = super::export(&rows, "/sluice", Secrets::Revealed, None);
    assert!(revealed.yaml.contains("canary-TICKETS_SECRET"));
    assert_eq!(revealed.variables, []);
    assert_eq!(
        revealed.warnings,
        ["the file holds 9 credential(s) as plain text"]
    );
    assert!(!format!("{revealed:?}").contains("canary"));
}

fn provider_key(name: &str) -> Value {
    json!({"display_name": name, "provider": "openai", "api_key": "sk-canary"})
}

fn model(name: &str, key: &str) -> Value {
    json!({"display_name": name, "provider": "openai", "model_name": "x", "provider_key_id": key})
}

fn api_key(digit: char, models: &[&str]) -> Value {
    json!({"key_hash": String::from(digit).repeat(64), "allowed_models": models})
}

fn load(text: &str, env: Env<'_>) -> crate::snapshot::Snapshot {
    let context = LoadContext {
        env,
        generation: 1,
        loaded_at: UNIX_EPOCH,
        previous: None,
        opener: None,
    };
    let loaded = load_bytes(Path::new("exported.yaml"), text.as_bytes(), &context);
    loaded.unwrap().snapshot
}

#[test]
fn keys_models_and_callers_are_served_from_the_file_as_from_the_store() {
    let headers = json!({"x-plain": "a$b ${model.name}", "x-caller": "${request.api_key.name}"});
    let rows = [
        row(
            "provider_keys/p1",
            &json!({"display_name": "main", "provider": "openai", "secret": "sk-$canary\u{e9} #",
                    "request": {"default_headers": headers, "default_body_fields": {"user": "", "n": null}},
                    "tls": null, "novel": {"x": 1}}),
        ),
        row(
            "provider_keys/p2",
            &json!({"display_name": "aws: yes", "adapter": "bedrock", "api_key":
                    {"access_key_id": "AK", "secret_access_key": "canary$", "region": "r"}}),
        ),
        row("models/m1", &model("fast-chat", "p1")),
        row("models/m2", &model("~", "p2")),
        row("api_keys/k1", &api_key('a', &["fast-chat", "x*"])),
        row("api_keys/k2", &{
            let mut key = api_key('b', &["~"]);
            key["display_name"] = json!("0123");
            key["mcp_access"] = json!({"mode": "x"});
            key
        }),
    ];
    let export = super::export(&rows, "/sluice/", Secrets::AsVariables, None);
    assert_eq!(export.blocking, [] as [&str; 0]);
    assert_eq!(
        export.warnings,
        ["provider_keys (\"main\"): left out, of no effect: novel"]
    );
    let env = |name: &str| {
        let text = match name {
            "SLUICESECRET_PROVIDER_KEYS_MAIN_API_KEY" => "sk-$canary\u{e9} #",
            "SLUICESECRET_PROVIDER_KEYS_MAIN_REQUEST_DEFAULT_HEADERS_X_PLAIN" => {
                "a$b ${model.name}"
            }
            "SLUICESECRET_PROVIDER_KEYS_AWS__YES_API_KEY" => {
                r#"{"access_key_id":"AK","secret_access_key":"canary$","region":"r"}"#
            }
            _ => return None,
        };
        Some(text.to_owned())
    };
    assert_eq!(export.variables.len(), 3);
    let revealed = super::export(&rows, "/sluice/", Secrets::Revealed, None);
    for (text, env) in [
        (&export.yaml, &env as Env<'_>),
        (&revealed.yaml, &|_: &str| None),
    ] {
        let snapshot = load(text, env);
        let fast = snapshot.resolve("fast-chat").unwrap().model;
        assert_eq!(&*fast.id, "a35ce62a-7e17-51a6-a8a5-5d9c0c32855c");
        let key_of = |name| {
            let model = snapshot.resolve(name).unwrap().model;
            snapshot.provider_key(&model.provider_key_id).unwrap()
        };
        let key = key_of("fast-chat");
        assert_eq!(key.api_key.expose(), "sk-$canary\u{e9} #");
        let of_store = key_of_store(&rows[0]);
        assert_eq!(key.headers, of_store.headers);
        assert!(key.body == of_store.body);
        assert_eq!(&*key_of("~").name, "aws: yes");
        let name_of = |byte| snapshot.api_key(&[byte; 32]).unwrap().name.as_deref();
        assert_eq!(name_of(0xaa), Some("apikey-aaaaaaaaaaaaaaaa"));
        assert_eq!(name_of(0xbb), Some("0123"));
        assert!(snapshot.api_key(&[0xaa; 32]).unwrap().may_use("x-1"));
    }
}

/// A provider key as the loader of a store reads it.
fn key_of_store(row: &StoredRow) -> ProviderKey {
    let value = serde_json::from_slice(&row.value).unwrap();
    let document = ProviderKeyDocument::read(&value, &Problems::default(), Unknown::Ignored);
    document.into_key("p1".into())
}

#[test]
fn what_a_file_would_not_take_is_told_and_the_rest_is_written() {
    let base = [
        row("provider_keys/p1", &provider_key("main")),
        row("models/m1", &model("m", "p1")),
    ];
    let refused = |rest: &str| format!("the file would be refused: {rest}");
    let cases: Vec<(Vec<StoredRow>, Vec<String>)> = vec![
        (vec![], vec![]),
        (
            vec![row("models/m2", &model("m", "p1"))],
            vec![refused("models[1] (\"m\"): display_name: is already the name of models[0]")],
        ),
        (
            vec![row("models/m2", &model("n", "gone"))],
            vec![refused(
                "models[1] (\"n\"): `provider_key_id` references unknown provider key id \"gone\" (`provider_key` takes the name)",
            )],
        ),
        (
            vec![row("api_keys/k", &api_key('a', &["n"]))],
            vec![refused(
                "api_keys[0] (\"apikey-aaaaaaaaaaaaaaaa\"): `allowed_models` references unknown model \"n\" (defined models: m)",
            )],
        ),
        (
            vec![row("cache_policies/c", &json!({"name": "c", "applies_to": "api_key:gone"}))],
            vec![refused(
                "cache_policies[0] (\"c\"): `applies_to` references unknown API key \"gone\" (defined api_keys: none)",
            )],
        ),
        (
            vec![row("models/m2", &json!({"display_name": "canary", "timeout": "canary"}))],
            vec![
                "/sluice/models/m2: rejected: provider: is required".to_owned(),
                "/sluice/models/m2: rejected: model_name: is required".to_owned(),
                "/sluice/models/m2: rejected: provider_key_id: is required".to_owned(),
                "/sluice/models/m2: rejected: timeout: must be a whole number, 0 or more, not a string".to_owned(),
            ],
        ),
        (
            vec![row("models", &json!({})), row("models/", &json!({}))],
            vec![
                "/sluice/models: rejected: the key has no id after its collection".to_owned(),
                "/sluice/models/: rejected: the key has an empty segment".to_owned(),
            ],
        ),
        (
            vec![StoredRow { value: Zeroizing::new(b"canary".to_vec()), ..row("models/x", &json!(1)) }],
            vec!["/sluice/models/x: rejected: not JSON at line 1, column 1".to_owned()],
        ),
        (
            vec![StoredRow { key: "/sluice-staging/models/x".into(), ..row("", &json!({})) }],
            vec!["/sluice-staging/models/x: rejected: the key is outside the prefix".to_owned()],
        ),
        (
            vec![row("provider_keys/p2", &json!({"display_name": "o", "provider": "openai", "api_key": "k",
                "request": {"default_headers": {"host": "h"}}}))],
            vec![refused(
                "provider_keys[1] (\"o\"): request.default_headers.host: is a header that only the gateway sets",
            )],
        ),
    ];
    for (rows, want) in cases {
        let rows = [base.to_vec(), rows].concat();
        let export = super::export(&rows, "/sluice", Secrets::AsVariables, None);
        assert_eq!(export.blocking, want);
        assert!(export.yaml.contains("main") && !export.yaml.contains("canary"));
    }
}

#[test]
fn what_differs_from_the_store_is_warned_of() {
    let mut keys = [api_key('a', &[]), api_key('b', &[]), api_key('c', &[])];
    keys[0]["display_name"] = json!("twin");
    keys[1]["display_name"] = json!("twin");
    keys[2]["display_name"] = json!("");
    let rows = [
        row("provider_keys/p1", &provider_key("a b")),
        row("provider_keys/p2", &provider_key("a-b")),
        row("novel/x", &json!({})),
        row("api_keys/k1", &keys[0]),
        row("api_keys/k2", &keys[1]),
        row("api_keys/k3", &keys[2]),
    ];
    let export = super::export(&rows, "/sluice", Secrets::AsVariables, None);
    assert_eq!(export.blocking, [] as [&str; 0]);
    assert_eq!(
        export.warnings,
        [
            "/sluice/novel/x: left out: a collection that this version does not know",
            "api_keys (\"twin\"): several keys have this name: named by its hash instead",
            "api_keys (\"twin\"): several keys have this name: named by its hash instead",
            "one variable stands in several places: SLUICESECRET_PROVIDER_KEYS_A_B_API_KEY: \
             provider_keys (\"a b\"): api_key; provider_keys (\"a-b\"): api_key",
        ]
    );
    for name in [
        "apikey-aaaaaaaaaaaaaaaa",
        "apikey-bbbbbbbbbbbbbbbb",
        "apikey-cccccccccccccccc",
    ] {
        assert!(export.yaml.contains(name), "{}", &*export.yaml);
    }
}

#[test]
fn sealed_secrets_are_opened_and_never_written() {
    let ring = Keyring::generate("", None).unwrap();
    let sealer = Sealer::new(ring, "").unwrap();
    let mut sealed = json!({"display_name": "a", "provider": "openai", "api_key": "canary",
        "request": {"default_body_fields": {"user": "canary"}}});
    let keys = Collection::ProviderKeys;
    assert_eq!(sealer.seal_document(keys, "p1", &mut sealed), Ok(2));
    let rows = [row("provider_keys/p1", &sealed)];
    for secrets in [Secrets::Revealed, Secrets::AsVariables] {
        let opened = export(&rows, "/sluice", secrets, Some(&sealer));
        assert_eq!(opened.blocking, [] as [&str; 0]);
        let revealed = opened.yaml.contains("api_key: canary");
        assert_eq!(revealed, secrets == Secrets::Revealed, "{}", &*opened.yaml);
        let closed = export(&rows, "/sluice", secrets, None);
        let want =
            "/sluice/provider_keys/p1: rejected: /api_key: sealed, and no key ring is configured";
        assert_eq!(closed.blocking, [want]);
        assert!(!closed.yaml.contains("$enc"), "{}", &*closed.yaml);
    }
}

#[test]
fn an_empty_store_is_an_empty_file() {
    let export = super::export(&[], "/sluice", Secrets::AsVariables, None);
    assert_eq!(&*export.yaml, "_format_version: \"1\"\n");
    assert_eq!(export.blocking, [] as [&str; 0]);
    assert_eq!(load(&export.yaml, &|_| None).generation(), 1);
}
