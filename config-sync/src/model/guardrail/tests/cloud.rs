use super::*;

#[test]
fn bedrock_rules_are_checked() {
    const OK: &str = "";
    let bedrock = |extra, want| both("bedrock", extra, want);
    let keys = |extra: Value| {
        let mut keys = json!({"kind": "static", "access_key_id": "a", "secret_access_key": "s"});
        for (key, value) in extra.as_object().unwrap() {
            keys[key] = value.clone();
        }
        json!({ "aws_credentials": keys })
    };
    let timed = |ms: Value| json!({"latency_mode": {"kind": "timed", "timeout_ms": ms}});
    check([
        bedrock(json!({"guardrail_id": ""}), "guardrail_id: must be 1 to 64"),
        bedrock(json!({"guardrail_id": "-"}), "guardrail_id: is required"),
        bedrock(
            json!({"guardrail_version": "v".repeat(17)}),
            "guardrail_version: must be 1 to 16",
        ),
        bedrock(json!({"region": ""}), "region: must not be empty"),
        bedrock(
            json!({"aws_credentials": "-"}),
            "aws_credentials: is required",
        ),
        bedrock(
            json!({"aws_credentials": null}),
            "aws_credentials: is required",
        ),
        bedrock(
            keys(json!({"kind": "role"})),
            "aws_credentials.kind: must be one of static",
        ),
        bedrock(
            keys(json!({"kind": null})),
            "aws_credentials.kind: is required",
        ),
        bedrock(
            keys(json!({"access_key_id": ""})),
            "aws_credentials.access_key_id: must not be empty",
        ),
        bedrock(
            keys(json!({"secret_access_key": null})),
            "aws_credentials.secret_access_key: is required",
        ),
        (
            "bedrock",
            keys(json!({"session": "canary"})),
            "aws_credentials.session: unknown key",
            OK,
        ),
        bedrock(json!({"latency_mode": "-"}), "latency_mode: is required"),
        bedrock(
            json!({"latency_mode": {"kind": "canary"}}),
            "latency_mode.kind: must be one of",
        ),
        bedrock(timed(json!(100)), OK),
        bedrock(timed(json!(5000)), OK),
        bedrock(
            timed(json!(99)),
            "latency_mode.timeout_ms: must be 100 to 5000",
        ),
        bedrock(
            timed(json!(5001)),
            "latency_mode.timeout_ms: must be 100 to 5000",
        ),
        bedrock(timed(json!(null)), "latency_mode.timeout_ms: is required"),
        (
            "bedrock",
            json!({"latency_mode": {"kind": "serial", "timeout_ms": 100}}),
            "latency_mode.timeout_ms: unknown key",
            OK,
        ),
        bedrock(
            json!({"output_fail_open": null}),
            "output_fail_open: must not be null",
        ),
    ]);
    let GuardrailKind::Bedrock(kind) = accepted("bedrock", &timed(json!(250))).kind else {
        panic!()
    };
    assert_eq!(kind.latency_mode, LatencyMode::Timed { timeout_ms: 250 });
    assert_eq!(
        (&*kind.region, kind.access_key_id.expose()),
        ("eu-central-1", "canary-id")
    );
    assert!(!kind.output_fail_open);
}

#[test]
fn azure_text_moderation_rules_are_checked() {
    const OK: &str = "";
    let azure = |extra, want| both("azure_content_safety_text_moderation", extra, want);
    let loose = |extra, want| ("azure_content_safety_text_moderation", extra, want, OK);
    check([
        azure(
            json!({"output_type": "canary"}),
            "output_type: must be one of Four",
        ),
        azure(
            json!({"categories": ["canary"]}),
            "categories[0]: must be one of Hate,",
        ),
        azure(json!({"categories": null}), "categories: must not be null"),
        azure(
            json!({"severity_threshold": 8}),
            "severity_threshold: must be 0 to 7",
        ),
        azure(json!({"severity_threshold_by_category": {"Hate": 255}}), OK),
        azure(
            json!({"severity_threshold_by_category": {"Hate": -1}}),
            "severity_threshold_by_category.Hate: must be 0 to 255",
        ),
        loose(
            json!({"severity_threshold_by_category": {"Spam": 1}}),
            "severity_threshold_by_category.Spam: is no category",
        ),
        azure(
            json!({"blocklist_names": [1]}),
            "blocklist_names[0]: must be a string",
        ),
        azure(
            json!({"halt_on_blocklist_hit": null}),
            "halt_on_blocklist_hit: must not be null",
        ),
        azure(
            json!({"text_source": "canary"}),
            "text_source: must be one of concatenate",
        ),
        loose(
            json!({"stream_processing_mode": "canary"}),
            "stream_processing_mode: must be one of",
        ),
        loose(
            json!({"on_buffer_exceeded": "canary"}),
            "on_buffer_exceeded: must be one of",
        ),
        azure(json!({"window_size": 0}), "window_size: must be 1 to 10000"),
        azure(
            json!({"window_size": 10_001}),
            "window_size: must be 1 to 10000",
        ),
        azure(json!({"window_size": 10}), OK),
        azure(
            json!({"window_size": 10, "window_overlap_size": 10}),
            "window_overlap_size: must be less",
        ),
        azure(
            json!({"window_overlap_size": -1}),
            "window_overlap_size: must be 0 to 4294967295",
        ),
        azure(
            json!({"max_buffer_bytes": 0}),
            "max_buffer_bytes: must be 1 to",
        ),
    ]);
}

#[test]
fn azure_text_moderation_is_read_into_thresholds_by_category() {
    let read = |extra: &Value| match accepted("azure_content_safety_text_moderation", extra).kind {
        GuardrailKind::AzureTextModeration(kind) => *kind,
        other => panic!("{other:?}"),
    };
    let kind = read(&json!({}));
    let all = CATEGORIES_AT_2;
    assert_eq!(
        (kind.categories.as_slice(), kind.scale),
        (&all[..], SeverityScale::Four)
    );
    assert_eq!(
        (kind.text_source, kind.halt_on_blocklist_hit),
        (TextSource::User, false)
    );
    let want = Streaming {
        mode: StreamMode::Window,
        window_chars: 10_000,
        overlap_chars: 256,
        buffer: BufferLimit {
            max_bytes: 262_144,
            on_exceeded: Overflow::FailClosed,
        },
    };
    assert_eq!(kind.streaming, want);
    let kind = read(
        &json!({"categories": ["Violence", "Hate", "Hate"], "severity_threshold": 4,
        "severity_threshold_by_category": {"Hate": 6, "Sexual": 0}, "blocklist_names": ["b"],
        "output_type": "EightSeverityLevels", "text_source": "concatenate_all_content",
        "window_size": 100, "stream_processing_mode": "buffer_full"}),
    );
    assert_eq!(
        kind.categories,
        [(HarmCategory::Violence, 4), (HarmCategory::Hate, 6)]
    );
    assert_eq!(
        (kind.scale, kind.text_source),
        (SeverityScale::Eight, TextSource::All)
    );
    assert_eq!(kind.blocklists, ["b".into()]);
    assert_eq!(
        (kind.streaming.window_chars, kind.streaming.overlap_chars),
        (100, 99)
    );
    assert_eq!(kind.streaming.mode, StreamMode::BufferFull);
    assert_eq!(read(&json!({"categories": []})).categories, all);
}

const CATEGORIES_AT_2: [(HarmCategory, u8); 4] = [
    (HarmCategory::Hate, 2),
    (HarmCategory::Sexual, 2),
    (HarmCategory::SelfHarm, 2),
    (HarmCategory::Violence, 2),
];

#[test]
fn aliyun_rules_are_checked() {
    const OK: &str = "";
    for kind in ["aliyun_text_moderation", "aliyun_ai_guardrail"] {
        check([
            both(kind, json!({"region": "-"}), "region: is required"),
            both(
                kind,
                json!({"access_key_id": ""}),
                "access_key_id: must not be empty",
            ),
            both(
                kind,
                json!({"access_key_secret": null}),
                "access_key_secret: is required",
            ),
            both(
                kind,
                json!({"endpoint": "canary"}),
                "endpoint: must start with http",
            ),
            both(
                kind,
                json!({"endpoint": null}),
                "endpoint: must not be null",
            ),
            both(
                kind,
                json!({"window_size": 2001}),
                "window_size: must be 1 to 2000",
            ),
        ]);
    }
    check([
        both(
            "aliyun_text_moderation",
            json!({"risk_level_threshold": "canary"}),
            "risk_level_threshold: must be one of",
        ),
        (
            "aliyun_text_moderation",
            json!({"service_level": "pro"}),
            "service_level: unknown key",
            OK,
        ),
        (
            "aliyun_ai_guardrail",
            json!({"service_level": "canary"}),
            "service_level: must be one of",
            OK,
        ),
    ]);
    let kind = accepted("aliyun_text_moderation", &json!({"endpoint": "https://h"})).kind;
    let GuardrailKind::AliyunTextModeration(kind) = kind else {
        panic!()
    };
    assert_eq!(kind.risk_level, RiskLevel::High);
    assert_eq!(
        (kind.streaming.window_chars, kind.streaming.overlap_chars),
        (2_000, 128)
    );
    assert!(kind.keys.endpoint.is_some());
}
