use super::*;
use proptest::prelude::*;
use serde_json::json;

const KEY: &str = r#"{"display_name":"main","provider":"openai","api_key":"canary"}"#;
const MODEL: &str =
    r#"{"display_name":"fast","provider":"openai","model_name":"m","provider_key_id":"k"}"#;

/// Opens `$enc:<text>` to `<text>`, but not `$enc:bad`.
struct Opener;

impl OpenSecrets for Opener {
    fn open_document(
        &self,
        collection: Collection,
        id: &str,
        document: &mut Value,
    ) -> Result<(), String> {
        assert_eq!((collection, id), (Collection::ProviderKeys, "k"));
        let sealed = document["api_key"].as_str().unwrap();
        let plain = sealed.strip_prefix("$enc:").unwrap_or(sealed).to_owned();
        if plain == "bad" {
            return Err("api_key: no key of the ring opens it".to_owned());
        }
        document["api_key"] = plain.into();
        Ok(())
    }
}

fn outcome(key: &str, value: &str) -> Result<Decoded, Rejection> {
    decode("/sluice", key, value.as_bytes(), None)
}

#[test]
fn a_key_is_split_at_the_prefix_the_collection_and_the_rest() {
    let cases = [
        ("/sluice/models/a", Some(("models", "a"))),
        ("/sluice/models/a/b", Some(("models", "a/b"))),
        ("/sluice/new_things/a", Some(("new_things", "a"))),
        ("/sluice2/models/a", None),
        ("/sluice", None),
        ("/sluice/", None),
        ("/sluice/models", None),
        ("/sluice/models/", None),
        ("/sluice//a", None),
        ("/sluice/models//a", None),
        ("/sluice/models/a/", None),
        ("/sluice/models/a//b", None),
        ("models/a", None),
        ("", None),
    ];
    for (key, want) in cases {
        let parts = split_key("/sluice", key);
        let got = parts
            .as_ref()
            .ok()
            .map(|parts| (parts.collection, parts.id));
        assert_eq!(got, want, "{key}");
        if let Err(rejection) = parts {
            assert_eq!(rejection.kind, RejectionKind::BadKey, "{key}");
        }
    }
    let scoped = split_key("/sluice/env-1", "/sluice/env-1/models/a").unwrap();
    assert_eq!((scoped.collection, scoped.id), ("models", "a"));
}

#[test]
fn a_row_is_read_or_rejected_for_its_reason() {
    use RejectionKind::{BadKey, NonJson, ParseFailed, SchemaFailed, UnknownKind};
    let wide = MODEL.replace('}', r#","retries":4294967296}"#);
    let wide_and_wrong = MODEL.replace('}', r#","retries":4294967296,"timeout":"canary"}"#);
    let cases = [
        ("/sluice/models/a", MODEL, None),
        ("/sluice/provider_keys/a", KEY, None),
        ("/other/models/a", MODEL, Some(BadKey)),
        ("/sluice/gadgets/a", MODEL, Some(UnknownKind)),
        ("/sluice/models/a", "{canary", Some(NonJson)),
        ("/sluice/models/a", "[]", Some(SchemaFailed)),
        ("/sluice/models/a", "null", Some(SchemaFailed)),
        ("/sluice/models/a", "{}", Some(SchemaFailed)),
        ("/sluice/models/a", KEY, Some(SchemaFailed)),
        ("/sluice/models/a", &wide, Some(ParseFailed)),
        ("/sluice/models/a", &wide_and_wrong, Some(SchemaFailed)),
        (
            "/sluice/models/a",
            r#"{"retries":1,"retries":2}"#,
            Some(ParseFailed),
        ),
        (
            "/sluice/provider_keys/k",
            r#"{"display_name":"m","api_key":"$enc:canary"}"#,
            Some(SchemaFailed),
        ),
    ];
    for (key, value, want) in cases {
        let got = outcome(key, value);
        let kind = got.as_ref().err().map(|rejection| rejection.kind);
        assert_eq!(kind, want, "{key} {value}: {got:?}");
        if let Err(rejection) = got {
            assert!(!rejection.message.contains("canary"), "{rejection}");
        }
    }
}

#[test]
fn unknown_fields_are_ignored_each_once_and_at_most_so_many() {
    let one = MODEL.replace(
        '}',
        r#","new":1,"cost":{"input_per_1k":1,"output_per_1k":1,"x":2}}"#,
    );
    let decoded = outcome("/sluice/models/a", &one).unwrap();
    assert_eq!(decoded.ignored, ["cost.x", "new"]);
    assert_eq!(decoded.name.as_deref(), Some("fast"));
    let mut many: Value = serde_json::from_str(MODEL).unwrap();
    for field in 0..IGNORED_MAX {
        many[format!("x{field:02}")] = json!(1);
    }
    let decoded = outcome("/sluice/models/a", &many.to_string()).unwrap();
    assert_eq!(decoded.ignored.len(), IGNORED_MAX);
    many["y"] = json!(1);
    let decoded = outcome("/sluice/models/a", &many.to_string()).unwrap();
    assert_eq!(decoded.ignored.len(), IGNORED_MAX + 1);
    assert_eq!(decoded.ignored[IGNORED_MAX], TRUNCATED);
    assert_eq!(
        bounded(vec!["a".into(), "b".into(), "a".into()]),
        ["a", "b"]
    );
}

#[test]
fn messages_list_the_problems_up_to_a_bound() {
    let rejection = outcome("/sluice/models/a", r#"{"display_name":"a*b*"}"#).unwrap_err();
    let want = "display_name: must hold at most one `*`; provider: is required";
    assert!(rejection.message.starts_with(want), "{rejection}");
    let problems: Vec<Problem> = (0..40)
        .map(|at| Problem {
            path: format!("{}{at}", "p".repeat(30)),
            message: "é".repeat(30),
            kind: ProblemKind::Schema,
        })
        .collect();
    assert!(rejection_of(&problems[..17]).ends_with("; and 1 more"));
    assert!(rejection_of(&problems).len() <= MESSAGE_BYTES_MAX);
    assert_eq!(rejection_of(&[]), "cannot be read");
}

fn rejection_of(problems: &[Problem]) -> String {
    let short: Vec<Problem> = problems
        .iter()
        .map(|problem| Problem {
            message: if problems.len() < 20 {
                "no".into()
            } else {
                problem.message.clone()
            },
            ..problem.clone()
        })
        .collect();
    rejection(&short).message.to_string()
}

#[test]
fn sealed_values_are_opened_first_or_the_row_is_rejected() {
    let sealed = |text: &str| KEY.replace("canary", text);
    let read = |text: &str, opener: Option<&dyn OpenSecrets>| {
        decode(
            "/sluice",
            "/sluice/provider_keys/k",
            sealed(text).as_bytes(),
            opener,
        )
    };
    let decoded = read("$enc:secret", Some(&Opener)).unwrap();
    if let Resource::ProviderKey(key) = &*decoded.resource {
        let key = (**key).clone().into_key("k".into());
        assert_eq!(key.api_key.expose(), "secret");
    } else {
        panic!("not a provider key");
    }
    let failed = read("$enc:bad", Some(&Opener)).unwrap_err();
    assert_eq!(failed.kind, RejectionKind::SchemaFailed);
    assert_eq!(&*failed.message, "api_key: no key of the ring opens it");
    let closed = read("$enc:x", None).unwrap_err();
    assert!(closed.message.contains("no key ring"), "{closed}");
    assert!(read("plain", None).is_ok() && read("plain", Some(&Opener)).is_ok());
    // Where no secret belongs, it is a text like any other.
    let named = KEY.replace("main", "$enc:main");
    assert!(decode("/sluice", "/sluice/provider_keys/k", named.as_bytes(), None).is_ok());
}

proptest! {
    #[test]
    fn any_bytes_are_answered(key in ".{0,40}", value in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode("/sluice", &key, &value, None);
        let _ = decode("/sluice", "/sluice/models/a", &value, Some(&NoSecrets));
    }

    #[test]
    fn any_document_is_answered_within_bounds(value in any_json()) {
        let text = value.to_string();
        for collection in Collection::ALL {
            let key = format!("/sluice/{collection}/a");
            if let Err(rejection) = decode("/sluice", &key, text.as_bytes(), Some(&NoSecrets)) {
                prop_assert!(rejection.message.len() <= MESSAGE_BYTES_MAX);
            }
        }
    }
}

struct NoSecrets;

impl OpenSecrets for NoSecrets {
    fn open_document(&self, _: Collection, _: &str, _: &mut Value) -> Result<(), String> {
        Ok(())
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z*]{0,8}".prop_map(Value::from),
    ];
    let name = prop_oneof![
        Just("display_name".to_owned()),
        Just("name".to_owned()),
        Just("provider_key_id".to_owned()),
        Just("allowed_models".to_owned()),
        "[a-z]{1,6}",
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((name.clone(), inner), 0..6)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}
