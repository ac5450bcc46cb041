use super::*;
use crate::tree::ProblemKind;
use serde_json::json;

mod cloud;
mod local;
mod service;

fn read_as(value: &Value, unknown: Unknown) -> (Option<Guardrail>, Vec<String>, Vec<String>) {
    let problems = Problems::default();
    let guardrail = Guardrail::read(value, &problems, unknown);
    let ignored = problems.ignored();
    let said = problems.into_vec();
    (
        guardrail,
        said.iter().map(ToString::to_string).collect(),
        ignored,
    )
}

/// A minimal valid document of a kind.
fn minimal(kind: &str) -> Value {
    let mut doc = match kind {
        "keyword" => json!({"patterns": []}),
        "pii" => json!({}),
        "bedrock" => {
            json!({"guardrail_id": "g", "guardrail_version": "1", "region": "eu-central-1",
            "aws_credentials": {"kind": "static", "access_key_id": "canary-id", "secret_access_key": "canary-key"},
            "latency_mode": {"kind": "serial"}})
        }
        "azure_content_safety" | "azure_content_safety_text_moderation" => {
            json!({"endpoint": "https://az.example", "api_key": "canary-key"})
        }
        "aliyun_text_moderation" | "aliyun_ai_guardrail" => {
            json!({"region": "cn-shanghai", "access_key_id": "canary-id", "access_key_secret": "canary-key"})
        }
        "lakera" | "openai_moderation" => json!({"api_key": "canary-key"}),
        "presidio" => {
            json!({"analyzer_url": "http://an:5001", "anonymizer_url": "http://anon:5001"})
        }
        "semantic" => json!({"categories": [
            {"name": "n", "description": "d", "candidate_patterns": ["c"]}]}),
        other => panic!("{other}"),
    };
    doc["name"] = json!("check");
    doc["kind"] = json!(kind);
    doc
}

/// A minimal document of `kind` with `extra` on top; what `extra` writes as `"-"` is left out.
fn with(kind: &str, extra: &Value) -> Value {
    let mut doc = minimal(kind);
    for (key, value) in extra.as_object().unwrap() {
        doc[key] = value.clone();
    }
    doc.as_object_mut()
        .unwrap()
        .retain(|_, value| *value != json!("-"));
    doc
}

fn accepted(kind: &str, extra: &Value) -> Guardrail {
    let (guardrail, said, _) = read_as(&with(kind, extra), Unknown::Refused);
    assert_eq!(said, Vec::<String>::new(), "{kind} {extra}");
    guardrail.unwrap()
}

/// Fields of a kind on top of its minimal document, and how the one problem starts: strictly and
/// leniently. Empty: there is none.
type Case = (&'static str, Value, &'static str, &'static str);

fn both(kind: &'static str, extra: Value, want: &'static str) -> Case {
    (kind, extra, want, want)
}

fn check(cases: impl IntoIterator<Item = Case>) {
    for (kind, extra, strict, lenient) in cases {
        for (unknown, want) in [(Unknown::Refused, strict), (Unknown::Ignored, lenient)] {
            let (guardrail, said, _) = read_as(&with(kind, &extra), unknown);
            let at = format!("{unknown:?} {kind} {extra}: {said:?}");
            assert_eq!(said.len(), usize::from(!want.is_empty()), "{at}");
            assert!(guardrail.is_some() || !said.is_empty(), "{at}");
            assert!(said.iter().all(|line| line.starts_with(want)), "{at}");
            assert!(said.iter().all(|line| !line.contains("canary")), "{at}");
        }
    }
}

#[test]
fn every_kind_loads_and_answers_to_its_word() {
    for (word, _) in KINDS {
        for unknown in [Unknown::Refused, Unknown::Ignored] {
            let (guardrail, said, ignored) = read_as(&minimal(word), unknown);
            assert_eq!((said, ignored), (vec![], vec![]), "{word}");
            assert_eq!(guardrail.map(|guardrail| guardrail.kind.word()), Some(word));
        }
    }
}

#[test]
fn shared_fields_have_their_defaults_and_written_ones_are_read() {
    let keyword = GuardrailKind::Keyword(Keyword { patterns: vec![] });
    let want = Guardrail {
        name: "check".into(),
        enabled: true,
        hook_point: HookPoint::Both,
        fail_open: true,
        enforcement: Enforcement::Block,
        mandatory: false,
        created_at_us: None,
        kind: keyword.clone(),
    };
    assert_eq!(accepted("keyword", &json!({})), want);
    let want = Guardrail {
        name: "other".into(),
        enabled: false,
        hook_point: HookPoint::Output,
        fail_open: false,
        enforcement: Enforcement::Monitor,
        mandatory: true,
        created_at_us: Some(1_000_001),
        kind: keyword,
    };
    let extra = json!({"name": "other", "enabled": false, "hook_point": "output", "fail_open": false,
        "enforcement_mode": "monitor", "mandatory": true, "direction": "whatever",
        "created_at": "1970-01-01T01:00:01.000001+01:00"});
    assert_eq!(accepted("keyword", &extra), want);
}

#[test]
fn mistakes_in_shared_fields_are_named_and_never_quoted() {
    const OK: &str = "";
    let keyword = |extra, want| both("keyword", extra, want);
    check([
        keyword(json!({"name": "-"}), "name: is required"),
        keyword(json!({"name": ""}), "name: must not be empty"),
        keyword(json!({"name": null}), "name: is required"),
        keyword(json!({"kind": "-"}), "kind: is required"),
        keyword(
            json!({"kind": "canary", "stray": 1}),
            "kind: must be one of keyword, pii,",
        ),
        keyword(
            json!({"enabled": "canary"}),
            "enabled: must be true or false",
        ),
        keyword(
            json!({"hook_point": "canary"}),
            "hook_point: must be one of input,",
        ),
        keyword(json!({"fail_open": 1}), "fail_open: must be true or false"),
        (
            "keyword",
            json!({"enforcement_mode": "canary"}),
            "enforcement_mode: must be one of block,",
            OK,
        ),
        keyword(
            json!({"enforcement_mode": 1}),
            "enforcement_mode: must be a string",
        ),
        keyword(
            json!({"created_at": "canary"}),
            "created_at: must be a time",
        ),
        keyword(json!({"direction": 5}), "direction: must be a string"),
        (
            "keyword",
            json!({"stray": "canary"}),
            "stray: unknown key",
            OK,
        ),
        // A field of another kind is a stray one.
        (
            "keyword",
            json!({"api_key": "canary"}),
            "api_key: unknown key",
            OK,
        ),
        (
            "bedrock",
            json!({"timeout_ms": 5}),
            "timeout_ms: unknown key",
            OK,
        ),
    ]);
    for key in [
        "enabled",
        "hook_point",
        "fail_open",
        "enforcement_mode",
        "mandatory",
        "created_at",
        "direction",
    ] {
        let (_, said, _) = read_as(&with("keyword", &json!({ key: null })), Unknown::Ignored);
        assert_eq!(
            said,
            [format!(
                "{key}: must not be null (leave it out for the default)"
            )]
        );
    }
}

#[test]
fn words_of_a_newer_writer_act_as_the_safe_default_and_are_noted() {
    let extra = json!({"enforcement_mode": "audit", "stream_processing_mode": "x", "service_level": "x",
                       "on_buffer_exceeded": "x", "novel": null});
    let (guardrail, said, mut ignored) =
        read_as(&with("aliyun_ai_guardrail", &extra), Unknown::Ignored);
    assert_eq!(said, Vec::<String>::new());
    ignored.sort();
    let noted = [
        "enforcement_mode",
        "novel",
        "on_buffer_exceeded",
        "service_level",
        "stream_processing_mode",
    ];
    assert_eq!(ignored, noted);
    let guardrail = guardrail.unwrap();
    assert_eq!(guardrail.enforcement, Enforcement::Block);
    let GuardrailKind::AliyunAiGuardrail(kind) = guardrail.kind else {
        panic!()
    };
    assert_eq!(kind.service_level, ServiceLevel::Pro);
    assert_eq!(kind.streaming.mode, StreamMode::Window);
    assert_eq!(kind.streaming.buffer.on_exceeded, Overflow::FailClosed);
}

#[test]
fn no_credential_is_printed_and_equal_documents_are_equal() {
    for (word, _) in KINDS {
        let guardrail = accepted(word, &json!({}));
        let printed = format!("{guardrail:?} {guardrail:#?}");
        assert!(
            !printed.contains("canary") && printed.contains("check"),
            "{printed}"
        );
        assert_eq!(guardrail, accepted(word, &json!({})), "{word}");
        assert_ne!(
            guardrail,
            accepted(word, &json!({"enabled": false})),
            "{word}"
        );
    }
}
