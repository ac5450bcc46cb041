use super::*;

#[test]
fn services_have_a_url_a_key_and_a_deadline() {
    const OK: &str = "";
    for kind in [
        "azure_content_safety",
        "azure_content_safety_text_moderation",
    ] {
        check([
            both(kind, json!({"endpoint": "-"}), "endpoint: is required"),
            both(kind, json!({"endpoint": null}), "endpoint: is required"),
        ]);
    }
    for kind in [
        "azure_content_safety",
        "azure_content_safety_text_moderation",
        "lakera",
        "openai_moderation",
    ] {
        check([
            both(kind, json!({"endpoint": ""}), "endpoint: must not be empty"),
            both(
                kind,
                json!({"endpoint": "canary"}),
                "endpoint: must start with http",
            ),
            (
                kind,
                json!({"endpoint": "https://canary@h"}),
                "endpoint: must not hold a user name",
                OK,
            ),
            both(kind, json!({"api_key": "-"}), "api_key: is required"),
            both(kind, json!({"api_key": null}), "api_key: is required"),
            both(kind, json!({"api_key": ""}), "api_key: must not be empty"),
            both(
                kind,
                json!({"api_key": "canary\n"}),
                "api_key: must not hold line breaks",
            ),
        ]);
    }
    for kind in [
        "azure_content_safety",
        "aliyun_text_moderation",
        "aliyun_ai_guardrail",
        "lakera",
        "openai_moderation",
        "presidio",
    ] {
        check([
            both(
                kind,
                json!({"timeout_ms": 0}),
                "timeout_ms: must be 1 to 4294967295",
            ),
            both(
                kind,
                json!({"timeout_ms": 4_294_967_296_u64}),
                "timeout_ms: must be 1 to 4294967295",
            ),
            both(
                kind,
                json!({"timeout_ms": null}),
                "timeout_ms: must not be null",
            ),
            both(
                kind,
                json!({"output_fail_open": 1}),
                "output_fail_open: must be true or false",
            ),
        ]);
    }
    let GuardrailKind::Lakera(lakera) = accepted("lakera", &json!({})).kind else {
        panic!()
    };
    assert_eq!(
        format!("{:?}", lakera.endpoint),
        "https://api.lakera.ai/***"
    );
    assert_eq!(
        lakera.remote,
        Remote {
            timeout_ms: 5_000,
            output_fail_open: false
        }
    );
    let extra = json!({"timeout_ms": 1, "output_fail_open": true, "project_id": "p", "endpoint": "http://h/x"});
    let GuardrailKind::Lakera(lakera) = accepted("lakera", &extra).kind else {
        panic!()
    };
    assert_eq!(
        lakera.remote,
        Remote {
            timeout_ms: 1,
            output_fail_open: true
        }
    );
    assert_eq!(
        (&*lakera.endpoint.path, lakera.project_id.as_deref()),
        ("/x", Some("p"))
    );
}

#[test]
fn a_number_too_wide_cannot_be_decoded() {
    let cases = [
        (
            "lakera",
            json!({"timeout_ms": 4_294_967_296_u64}),
            ProblemKind::Parse,
        ),
        ("lakera", json!({"timeout_ms": 0}), ProblemKind::Schema),
        (
            "azure_content_safety_text_moderation",
            json!({"severity_threshold_by_category": {"Hate": 256}}),
            ProblemKind::Parse,
        ),
    ];
    for (kind, extra, want) in cases {
        let problems = Problems::default();
        Guardrail::read(&with(kind, &extra), &problems, Unknown::Refused);
        let found: Vec<ProblemKind> = problems.into_vec().iter().map(|p| p.kind).collect();
        assert_eq!(found, [want], "{extra}");
    }
}

#[test]
fn moderation_and_presidio_rules_are_checked() {
    const OK: &str = "";
    let openai = |extra, want| both("openai_moderation", extra, want);
    let presidio = |extra, want| both("presidio", extra, want);
    check([
        openai(json!({"model": null}), "model: must not be null"),
        openai(
            json!({"category_thresholds": {"violence": 0.5, "hate": 1}}),
            OK,
        ),
        openai(
            json!({"category_thresholds": {"violence": "canary"}}),
            "category_thresholds.violence: must be a number",
        ),
        openai(
            json!({"category_thresholds": {"violence": null}}),
            "category_thresholds.violence: must be a number",
        ),
        openai(
            json!({"category_thresholds": null}),
            "category_thresholds: must not be null",
        ),
        presidio(json!({"analyzer_url": "-"}), "analyzer_url: is required"),
        presidio(
            json!({"anonymizer_url": "canary"}),
            "anonymizer_url: must start with http",
        ),
        presidio(
            json!({"entities": [{"type": "PERSON"}, {"type": "X", "action": "block"}]}),
            OK,
        ),
        presidio(
            json!({"entities": [{"type": ""}]}),
            "entities[0].type: must not be empty",
        ),
        presidio(
            json!({"entities": [{"type": "X", "action": "canary"}]}),
            "entities[0].action: must be one of",
        ),
        (
            "presidio",
            json!({"entities": [{"type": "X", "score": 1}]}),
            "entities[0].score: unknown key",
            OK,
        ),
        presidio(
            json!({"default_action": null}),
            "default_action: must not be null",
        ),
        presidio(
            json!({"operator": "canary"}),
            "operator: must be one of replace,",
        ),
        presidio(json!({"language": ""}), "language: must not be empty"),
        presidio(
            json!({"score_threshold": 1.01}),
            "score_threshold: must be 0 to 1",
        ),
        presidio(
            json!({"score_threshold": null}),
            "score_threshold: must not be null",
        ),
    ]);
    let GuardrailKind::OpenaiModeration(kind) = accepted("openai_moderation", &json!({})).kind
    else {
        panic!()
    };
    assert_eq!(
        (&*kind.model, &*kind.endpoint.path),
        ("omni-moderation-latest", "/v1")
    );
    let extra = json!({"entities": [{"type": "PERSON"}], "default_action": "block", "operator": "hash",
                       "score_threshold": 0.4});
    let GuardrailKind::Presidio(kind) = accepted("presidio", &extra).kind else {
        panic!()
    };
    assert_eq!(
        kind.entities,
        [Entity {
            finds: "PERSON".into(),
            action: Action::Block
        }]
    );
    assert_eq!(
        (kind.operator, &*kind.language, kind.score_threshold),
        (MaskOperator::Hash, "en", Some(0.4))
    );
}
