use proptest::prelude::*;
use serde_json::json;

use super::*;

const ENV: &str = "11111111-2222-3333-4444-555555555555";
const KEYS: Collection = Collection::ProviderKeys;

fn sealer(keys: u32) -> Sealer {
    let keys: Vec<String> = (1..=keys)
        .map(|id| {
            format!(
                r#"{{"id":{id},"key":"{}"}}"#,
                format!("{id:02x}").repeat(32)
            )
        })
        .collect();
    let text = format!(r#"{{"env_id":"{ENV}","keys":[{}]}}"#, keys.join(","));
    Sealer::new(Keyring::parse(&text, &[]).unwrap(), ENV).unwrap()
}

fn provider_key() -> Value {
    json!({
        "name": "main", "base_url": "https://example.net", "api_key": "canary-1",
        "request": {
            "default_headers": {"x-token": "canary-2", "x-a/b~c": "canary-3"},
            "default_body_fields": {"z": 1, "a": {"canary-4": [1.5, null, "x"]}},
        },
    })
}

#[test]
fn a_document_is_sealed_at_its_secret_paths_and_opens_again() {
    let sealer = sealer(1);
    let mut document = provider_key();
    assert_eq!(sealer.seal_document(KEYS, "id-1", &mut document), Ok(4));
    let text = document.to_string();
    assert!(!text.contains("canary"), "{text}");
    assert_eq!(document["name"], "main");
    for place in secrets_in(KEYS, &document) {
        let value = document.pointer(&place.pointer).unwrap();
        assert!(is_sealed(value.as_str().unwrap()), "{place:?}");
    }
    let mut opened = document.clone();
    assert_eq!(sealer.unseal_document(KEYS, "id-1", &mut opened), Ok(4));
    assert_eq!(
        opened.to_string(),
        provider_key().to_string(),
        "order and numbers too"
    );
    assert_eq!(sealer.unseal_document(KEYS, "id-1", &mut opened), Ok(0));

    let error = sealer
        .open_document(KEYS, "id-2", &mut document)
        .unwrap_err();
    assert_eq!(
        error,
        "/api_key: sealed, but changed, moved from another place or sealed with another key"
    );
}

#[test]
fn a_secret_of_several_parts_is_sealed_whole_and_opens_to_its_text() {
    let sealer = sealer(1);
    let parts =
        json!({"access_key_id": "canary-1", "secret_access_key": "canary-2", "region": "r"});
    for name in ["api_key", "secret"] {
        let mut document = json!({ name: parts });
        assert_eq!(sealer.seal_document(KEYS, "id", &mut document), Ok(1));
        assert!(!document.to_string().contains("canary"), "{document}");
        sealer.open_document(KEYS, "id", &mut document).unwrap();
        assert_eq!(document[name], parts.to_string());
    }
    // Elsewhere no reader takes a mapping for a secret.
    let mut odd = json!({"secret": {"a": "canary"}});
    let servers = Collection::McpServers;
    assert_eq!(sealer.seal_document(servers, "id", &mut odd), Ok(0));
}

#[test]
fn sealing_again_changes_only_what_an_older_key_sealed() {
    let (old, new) = (sealer(1), sealer(2));
    let mut document = provider_key();
    old.seal_document(KEYS, "id", &mut document).unwrap();
    document["request"]["default_headers"]["x-new"] = json!("canary-5");
    let before = document.clone();
    assert_eq!(old.seal_document(KEYS, "id", &mut document), Ok(1));
    assert_eq!(document["api_key"], before["api_key"]);
    assert_eq!(new.seal_document(KEYS, "id", &mut document), Ok(5));
    let sealed = document["api_key"].as_str().unwrap();
    assert_eq!(envelope::key_id(sealed), Ok(2));
    assert_eq!(new.seal_document(KEYS, "id", &mut document), Ok(0));
    let error = old.open_document(KEYS, "id", &mut document.clone());
    assert_eq!(
        error.unwrap_err(),
        "/api_key: sealed with key 2, which the key ring lacks"
    );
    new.open_document(KEYS, "id", &mut document).unwrap();
    assert_eq!(document["api_key"], "canary-1");
}

#[test]
fn a_secret_under_its_former_name_opens_under_its_present_one() {
    let sealer = sealer(1);
    let mut document = json!({"name": "main", "secret": "canary"});
    assert_eq!(sealer.seal_document(KEYS, "id", &mut document), Ok(1));
    let mut renamed = json!({"name": "main", "api_key": document["secret"]});
    sealer.open_document(KEYS, "id", &mut document).unwrap();
    assert_eq!(document["secret"], "canary");
    sealer.open_document(KEYS, "id", &mut renamed).unwrap();
    assert_eq!(renamed["api_key"], "canary");
}

#[test]
fn what_does_not_open_is_an_error_and_never_raw_text() {
    let sealer = sealer(1);
    let mut body = json!({"request": {"default_body_fields": "$enc:canary"}});
    let mut sealed = json!({"secret": "not json, canary"});
    sealer
        .seal_document(Collection::McpServers, "id", &mut sealed)
        .unwrap();
    let cases = [
        (
            KEYS,
            json!({"api_key": "$enc:canary"}),
            "/api_key: sealed, but not base64url",
        ),
        (
            KEYS,
            json!({"secret": "$enc:"}),
            "/secret: sealed, but cut off",
        ),
        (
            KEYS,
            json!({"request": {"default_headers": {"a\n/b": "$enc:AgEAAAAAAAEA"}}}),
            "/request/default_headers/a~1b: sealed in the unknown version 2",
        ),
        (
            KEYS,
            body.take(),
            "/request/default_body_fields: sealed, but not base64url",
        ),
        (
            Collection::A2aAgents,
            sealed,
            "/secret: sealed, but changed, moved from another place or sealed with another key",
        ),
        (
            Collection::Ssls,
            json!({"extra": [{"key": "plain"}, {"key": "$enc:AQEAAAAAAAEA"}]}),
            "/extra/1/key: sealed, but cut off",
        ),
    ];
    for (collection, document, want) in cases {
        let error = sealer.open_document(collection, "id", &mut document.clone());
        assert_eq!(error.unwrap_err(), want);
        let pointer = want.split(':').next().unwrap();
        assert_eq!(
            open_document(None, collection, "id", &mut document.clone()).unwrap_err(),
            format!("{pointer}: sealed, and no key ring is configured")
        );
    }
}

#[test]
fn a_sealed_whole_value_must_be_json() {
    let sealer = sealer(1);
    let place = Place {
        kind: KEYS.name(),
        object: "id",
        pointer: "/request/default_body_fields",
    };
    let (id, key) = sealer.keyring().sealing_key();
    let text = envelope::seal(id, key, sealer.scope(), &place, b"canary{").unwrap();
    let mut document = json!({"request": {"default_body_fields": text}});
    let error = sealer.open_document(KEYS, "id", &mut document).unwrap_err();
    assert_eq!(
        error,
        "/request/default_body_fields: the sealed text is not JSON"
    );
    let place = Place {
        pointer: "/api_key",
        ..place
    };
    let text = envelope::seal(id, key, sealer.scope(), &place, &[0xff]).unwrap();
    let error = sealer
        .open_document(KEYS, "id", &mut json!({"api_key": text}))
        .unwrap_err();
    assert_eq!(error, "/api_key: the sealed text is not UTF-8");
}

#[test]
fn plaintext_and_texts_at_other_paths_stay_as_they_are() {
    let sealer = sealer(1);
    let documents = [
        (KEYS, provider_key()),
        (
            KEYS,
            json!({"name": "$enc:x", "request": {"default_body_fields": {"a": "$enc:x"}}}),
        ),
        (KEYS, json!({"api_key": 7, "secret": null, "request": []})),
        (Collection::Models, json!({"api_key": "$enc:x"})),
        (Collection::ApiKeys, json!({"key_hash": "$enc:x"})),
    ];
    for (collection, document) in documents {
        for with in [Some(&sealer as &dyn OpenSecrets), None] {
            let mut opened = document.clone();
            open_document(with, collection, "id", &mut opened).unwrap();
            assert_eq!(opened, document);
        }
    }
    let mut odd = json!({"api_key": 7, "secret": ["canary"]});
    assert_eq!(sealer.seal_document(KEYS, "id", &mut odd), Ok(0));
    let mut broken = json!({"api_key": "$enc:canary, not base64"});
    let error = sealer.seal_document(KEYS, "id", &mut broken).unwrap_err();
    assert_eq!(error, "/api_key: sealed, but not base64url");
}

#[test]
fn an_id_too_long_to_bind_loses_no_secret() {
    let mut document = provider_key();
    let error = sealer(1).seal_document(KEYS, &"x".repeat(65_536), &mut document);
    assert_eq!(
        error.unwrap_err(),
        "/api_key: its id or path is longer than 65,535 bytes"
    );
    assert_eq!(document, provider_key());
}

#[test]
fn a_ring_of_another_environment_is_refused() {
    let ring = |env_id: &str| Keyring::generate(env_id, None).unwrap();
    let cases = [
        (ENV, ENV, true),
        ("", ENV, true),
        ("", "", true),
        ("staging", "staging", true),
        (
            "ABCDABCD-2222-3333-4444-555555555555",
            "abcdabcd-2222-3333-4444-555555555555",
            true,
        ),
        (ENV, "", false),
        (ENV, "staging", false),
        ("staging", ENV, false),
    ];
    for (of_ring, env_id, accepted) in cases {
        let sealer = Sealer::new(ring(of_ring), env_id);
        assert_eq!(sealer.is_ok(), accepted, "{of_ring} for {env_id}");
    }
    assert_eq!(
        *Sealer::new(ring(""), "staging").unwrap().scope(),
        Scope::System
    );
    assert!(!format!("{:?}", sealer(1)).contains("0101"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_secret_survives_sealing(key in ".{0,60}", name in ".{1,20}", value in ".{0,60}") {
        prop_assume!(!is_sealed(&key) && !is_sealed(&value));
        let sealer = sealer(2);
        let mut headers = serde_json::Map::new();
        headers.insert(name, value.clone().into());
        let body = json!({"v": value});
        let request = json!({"default_headers": headers, "default_body_fields": body});
        let document = json!({"api_key": key, "request": request});
        let mut changed = document.clone();
        prop_assert_eq!(sealer.seal_document(KEYS, "id", &mut changed), Ok(3));
        prop_assert_eq!(sealer.unseal_document(KEYS, "id", &mut changed), Ok(3));
        prop_assert_eq!(changed, document);
    }
}
