use super::*;
use serde_json::json;

const HASH: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

fn read_as(value: &Value, unknown: Unknown) -> (ApiKeyDocument, Vec<String>) {
    let problems = Problems::default();
    let document = ApiKeyDocument::read(value, &problems, unknown);
    let said = problems.into_vec();
    (document, said.iter().map(ToString::to_string).collect())
}

/// A minimal valid document with `extra` on top.
fn with(extra: &Value) -> Value {
    let mut doc = json!({"key_hash": HASH, "allowed_models": ["fast-*", "chat"]});
    for (key, value) in extra.as_object().unwrap() {
        doc[key] = value.clone();
    }
    doc
}

#[test]
fn everything_that_may_be_set_is_read() {
    let doc = with(
        &json!({"display_name": "ci", "team_id": "t", "user_id": "u", "user_name": "U",
        "disabled": true, "expires_at": "2030-01-01T01:00:00.5+01:00"}),
    );
    let (document, said) = read_as(&doc, Unknown::Refused);
    assert_eq!(said, Vec::<String>::new());
    assert_eq!(document.key_hash[..3], [0x2b, 0xb8, 0x0d]);
    let key = document.into_key("id-1".into());
    assert_eq!(key.expires_at, Some(1_893_456_000_500));
    assert!(key.disabled);
    assert_eq!(key.name.as_deref(), Some("ci"));
    assert_eq!(&*key.labels.api_key_id, "id-1");
    assert_eq!((&*key.labels.team_id, &*key.labels.user_name), ("t", "U"));
}

#[test]
fn upper_case_hashes_are_lowered() {
    let (upper, said) = read_as(
        &with(&json!({"key_hash": HASH.to_uppercase()})),
        Unknown::Refused,
    );
    assert!(said.is_empty(), "{said:?}");
    assert_eq!(
        upper.key_hash,
        read_as(&with(&json!({})), Unknown::Refused).0.key_hash
    );
}

#[test]
fn an_empty_list_denies_every_model() {
    let cases = [
        (json!(["fast-*", "chat"]), "fast-1", true),
        (json!(["fast-*", "chat"]), "chat", true),
        (json!(["fast-*", "chat"]), "chats", false),
        (json!(["*"]), "anything", true),
        (json!([]), "chat", false),
    ];
    for (allowed, name, want) in cases {
        let (document, _) = read_as(&with(&json!({"allowed_models": allowed})), Unknown::Refused);
        assert_eq!(
            document.into_key("k".into()).may_use(name),
            want,
            "{allowed} {name}"
        );
    }
}

#[test]
fn each_mistake_is_named_by_its_field_and_no_hash_is_quoted() {
    let cases = [
        (
            json!({"key_hash": &HASH[1..]}),
            "key_hash: must be a SHA-256",
        ),
        (
            json!({"key_hash": format!("{}zz", &HASH[2..])}),
            "key_hash: must be a SHA-256",
        ),
        (
            json!({"key_hash": "é".repeat(32)}),
            "key_hash: must be a SHA-256",
        ),
        (json!({"key_hash": ""}), "key_hash: must not be empty"),
        (json!({"key_hash": 1}), "key_hash: must be a string"),
        (
            json!({"allowed_models": null}),
            "allowed_models: must not be null",
        ),
        (
            json!({"allowed_models": "chat"}),
            "allowed_models: must be a list",
        ),
        (
            json!({"allowed_models": ["a**"]}),
            "allowed_models[0]: must hold at most one",
        ),
        (
            json!({"allowed_models": ["a", ""]}),
            "allowed_models[1]: must not be empty",
        ),
        (
            json!({"allowed_models": [1]}),
            "allowed_models[0]: must be a string",
        ),
        (json!({"team_id": ""}), "team_id: must not be empty"),
        (
            json!({"jwt_subject": "s"}),
            "jwt_subject: needs `jwt_provider`",
        ),
        (json!({"disabled": null}), "disabled: must not be null"),
        (
            json!({"disabled": "yes"}),
            "disabled: must be true or false",
        ),
        (
            json!({"expires_at": "2030-01-01"}),
            "expires_at: must be a time",
        ),
        (
            json!({"mcp_access": {"deny": []}}),
            "mcp_access.allow: is required",
        ),
        (
            json!({"mcp_rate_limits": {"s": {"tpm": 1}}}),
            "mcp_rate_limits.s.tpm: unknown key",
        ),
        (
            json!({"allowed_agents": [true]}),
            "allowed_agents[0]: must be a string",
        ),
        (json!({"quota": 1}), "quota: unknown key"),
    ];
    for (extra, want) in cases {
        let (_, said) = read_as(&with(&extra), Unknown::Refused);
        assert_eq!(said.len(), 1, "{extra}: {said:?}");
        assert!(said[0].starts_with(want), "{extra}: {said:?}");
        assert!(!said[0].contains(&HASH[2..]), "{said:?}");
    }
    let (_, said) = read_as(&json!({}), Unknown::Refused);
    assert!(
        said.iter()
            .any(|line| line.starts_with("allowed_models: is required"))
    );
    assert!(said.contains(&"key_hash: is required".to_owned()));
}

#[test]
fn settings_without_effect_are_told() {
    let doc = with(
        &json!({"rate_limit": {"rpm": 1}, "jwt_subject": "s", "jwt_provider": "p",
        "mcp_access": {"allow": []}, "mcp_rate_limits": {}, "allowed_agents": ["a"], "allowed_routes": ["r"]}),
    );
    let (document, said) = read_as(&doc, Unknown::Refused);
    assert!(said.is_empty(), "{said:?}");
    let want = [
        "jwt_subject",
        "mcp_access",
        "mcp_rate_limits",
        "allowed_agents",
    ];
    assert_eq!(document.unenforced, want);
    assert_eq!(document.jwt, Some(("s".into(), "p".into())));
}

#[test]
fn the_hash_is_not_printed() {
    let (document, _) = read_as(&with(&json!({})), Unknown::Refused);
    let printed = format!("{document:?}");
    assert!(
        !printed.contains("2bb8") && !printed.contains("43, 184"),
        "{printed}"
    );
}

#[test]
fn where_reading_is_lenient_patterns_that_never_match_are_left_out() {
    let doc = with(
        &json!({"allowed_models": ["a*b*", "chat"], "quota_tier": "x",
                           "mcp_access": {"mode": "old"}}),
    );
    let (document, said) = read_as(&doc, Unknown::Ignored);
    assert!(said.is_empty(), "{said:?}");
    assert_eq!(document.allowed_models().len(), 1);
}
