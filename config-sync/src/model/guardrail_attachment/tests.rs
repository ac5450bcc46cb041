use super::*;
use serde_json::json;

fn read_as(value: &Value, unknown: Unknown) -> (GuardrailAttachment, Vec<String>, Vec<String>) {
    let problems = Problems::default();
    let attachment = GuardrailAttachment::read(value, &problems, unknown);
    let ignored = problems.ignored();
    let said = problems.into_vec();
    (
        attachment,
        said.iter().map(ToString::to_string).collect(),
        ignored,
    )
}

fn with(extra: &Value) -> Value {
    let mut doc =
        json!({"guardrail_id": "g1", "scope_type": "team", "scope_id": "t7", "priority": 100});
    for (key, value) in extra.as_object().unwrap() {
        doc[key] = value.clone();
    }
    doc
}

#[test]
fn each_document_is_read_strictly_and_leniently() {
    const OK: &str = "";
    let cases = [
        (json!({}), OK, OK),
        (
            json!({"enabled": false, "env_id": "e", "priority": -5}),
            OK,
            OK,
        ),
        (json!({"env_id": null}), OK, OK),
        (json!({"scope_type": "env", "scope_id": null}), OK, OK),
        (json!({"scope_type": "api_key"}), OK, OK),
        (
            json!({"guardrail_id": ""}),
            "guardrail_id: must not be empty",
            "guardrail_id: must not be empty",
        ),
        (
            json!({"guardrail_id": null}),
            "guardrail_id: is required",
            "guardrail_id: is required",
        ),
        (
            json!({"scope_type": "canary"}),
            "scope_type: must be one of",
            "scope_type: must be one of",
        ),
        (
            json!({"scope_type": null}),
            "scope_type: is required",
            "scope_type: is required",
        ),
        (json!({"scope_id": ""}), "scope_id: must not be empty", OK),
        (
            json!({"scope_id": null}),
            "scope_id: is required for every",
            OK,
        ),
        (
            json!({"scope_id": 5}),
            "scope_id: must be a string",
            "scope_id: must be a string",
        ),
        (json!({"scope_type": "env"}), "scope_id: has no use", OK),
        (
            json!({"priority": null}),
            "priority: is required",
            "priority: is required",
        ),
        (
            json!({"priority": 2_147_483_648_u64}),
            "priority: must be -2147483648",
            "priority: must be -2147483648",
        ),
        (
            json!({"priority": 1.5}),
            "priority: must be a whole number",
            "priority: must be a whole number",
        ),
        (
            json!({"enabled": null}),
            "enabled: must not be null",
            "enabled: must not be null",
        ),
        (
            json!({"env_id": 1}),
            "env_id: must be a string",
            "env_id: must be a string",
        ),
        (json!({"novel": "canary"}), "novel: unknown key", OK),
    ];
    for (extra, strict, lenient) in cases {
        for (unknown, want) in [(Unknown::Refused, strict), (Unknown::Ignored, lenient)] {
            let (_, said, _) = read_as(&with(&extra), unknown);
            assert_eq!(
                said.len(),
                usize::from(!want.is_empty()),
                "{extra}: {said:?}"
            );
            assert!(
                said.iter().all(|line| line.starts_with(want)),
                "{extra}: {said:?}"
            );
            assert!(said.iter().all(|line| !line.contains("canary")), "{said:?}");
        }
    }
}

#[test]
fn fields_are_kept_and_absent_ones_have_their_defaults() {
    let (attachment, _, _) = read_as(&with(&json!({})), Unknown::Refused);
    let want = GuardrailAttachment {
        guardrail_id: "g1".into(),
        scope: AttachmentScope::Team,
        scope_id: Some("t7".into()),
        priority: 100,
        enabled: true,
    };
    assert_eq!(attachment, want);
}

#[test]
fn a_scope_that_can_never_match_loads_from_a_store() {
    let (attachment, _, ignored) = read_as(&with(&json!({"scope_id": ""})), Unknown::Ignored);
    assert_eq!((attachment.scope_id, ignored), (None, vec![]));
    let env = json!({"scope_type": "env", "novel": 1});
    let (attachment, _, ignored) = read_as(&with(&env), Unknown::Ignored);
    assert_eq!(attachment.scope_id, None);
    assert_eq!(ignored, ["inapplicable:scope_id", "novel"]);
}

#[test]
fn the_caller_is_more_specific_than_what_is_called() {
    let order = [
        AttachmentScope::Env,
        AttachmentScope::Model,
        AttachmentScope::Team,
        AttachmentScope::ApiKey,
    ];
    assert!(order.is_sorted_by(|a, b| a.specificity() < b.specificity()));
    let middle = AttachmentScope::Model.specificity();
    assert_eq!(AttachmentScope::McpServer.specificity(), middle);
    assert_eq!(AttachmentScope::PassthroughRoute.specificity(), middle);
}
