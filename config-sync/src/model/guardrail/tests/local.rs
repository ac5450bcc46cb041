use super::*;

#[test]
fn keyword_and_pii_rules_are_checked() {
    const OK: &str = "";
    let pattern = |kind: &str, value: &str| json!({"patterns": [{"kind": kind, "value": value}]});
    let custom = |extra: Value| {
        let mut pattern = json!({"name": "id", "regex": r"ID-(\d+)"});
        for (key, value) in extra.as_object().unwrap() {
            pattern[key] = value.clone();
        }
        json!({ "custom_patterns": [pattern] })
    };
    let keyword = |extra, want| both("keyword", extra, want);
    let pii = |extra, want| both("pii", extra, want);
    check([
        keyword(json!({"patterns": "-"}), "patterns: is required"),
        keyword(json!({"patterns": null}), "patterns: is required"),
        keyword(json!({"patterns": "canary"}), "patterns: must be a list"),
        keyword(pattern("literal", "("), OK),
        keyword(pattern("regex", r"(?i)\bfoo\b"), OK),
        keyword(
            pattern("literal", ""),
            "patterns[0].value: must not be empty",
        ),
        keyword(
            pattern("regex", "canary("),
            "patterns[0].value: must be a regular expression",
        ),
        keyword(
            pattern("regex", "(?!canary)"),
            "patterns[0].value: must be a regular expression",
        ),
        keyword(
            pattern("glob", "canary"),
            "patterns[0].kind: must be one of literal, regex",
        ),
        keyword(
            json!({"patterns": [{"value": "canary"}]}),
            "patterns[0].kind: is required",
        ),
        keyword(
            json!({"patterns": [{"kind": "literal", "value": null}]}),
            "patterns[0].value: is required",
        ),
        (
            "keyword",
            json!({"patterns": [{"kind": "literal", "value": "a", "flags": "i"}]}),
            "patterns[0].flags: unknown key",
            OK,
        ),
        pii(
            json!({"detectors": [{"type": "email"}, {"type": "jwt", "action": "block"}]}),
            OK,
        ),
        pii(
            json!({"detectors": [{"type": "canary"}]}),
            "detectors[0].type: must be one of email,",
        ),
        pii(json!({"detectors": [{}]}), "detectors[0].type: is required"),
        pii(
            json!({"detectors": [{"type": "email", "action": "drop"}]}),
            "detectors[0].action: must be one of",
        ),
        pii(
            json!({"detectors": [{"type": "email", "action": null}]}),
            "detectors[0].action: must not be null",
        ),
        pii(json!({"detectors": null}), "detectors: must not be null"),
        pii(custom(json!({})), OK),
        pii(custom(json!({"replacement": "", "action": "mask"})), OK),
        pii(
            custom(json!({"name": ""})),
            "custom_patterns[0].name: must be 1 to 64 characters",
        ),
        pii(
            custom(json!({"name": "é".repeat(65)})),
            "custom_patterns[0].name: must be 1 to 64",
        ),
        pii(custom(json!({"name": "é".repeat(64)})), OK),
        pii(
            custom(json!({"name": null})),
            "custom_patterns[0].name: is required",
        ),
        pii(
            custom(json!({"regex": ""})),
            "custom_patterns[0].regex: must not be empty",
        ),
        pii(
            custom(json!({"regex": r"(canary)\1"})),
            "custom_patterns[0].regex: must be a regular",
        ),
        pii(
            custom(json!({"replacement": "x".repeat(257)})),
            "custom_patterns[0].replacement: must be 0 to 256",
        ),
        pii(
            custom(json!({"replacement": "canary", "action": "block"})),
            "custom_patterns[0].replacement: has no use",
        ),
        pii(
            json!({"default_action": "block", "custom_patterns": [
            {"name": "id", "regex": "a", "replacement": "canary"}]}),
            "custom_patterns[0].replacement: has no use",
        ),
        pii(
            json!({"default_action": "drop"}),
            "default_action: must be one of mask, block",
        ),
        pii(
            json!({"max_buffer_bytes": 0}),
            "max_buffer_bytes: must be 1 to",
        ),
        (
            "pii",
            json!({"on_buffer_exceeded": "canary"}),
            "on_buffer_exceeded: must be one of",
            OK,
        ),
    ]);
}

#[test]
fn local_kinds_keep_their_patterns_compiled() {
    let doc =
        json!({"patterns": [{"kind": "literal", "value": "x"}, {"kind": "regex", "value": "a+"}]});
    let GuardrailKind::Keyword(keyword) = accepted("keyword", &doc).kind else {
        panic!()
    };
    let [
        KeywordPattern::Literal(text),
        KeywordPattern::Expression(expression),
    ] = &keyword.patterns[..]
    else {
        panic!("{keyword:?}")
    };
    assert!(&**text == "x" && expression.regex().is_match("caab"));
    let doc = json!({"default_action": "block", "max_buffer_bytes": 7, "on_buffer_exceeded": "fail_open",
        "detectors": [{"type": "email"}, {"type": "jwt", "action": "mask"}],
        "custom_patterns": [{"name": "n", "regex": "b", "action": "mask", "replacement": "*"}]});
    let GuardrailKind::Pii(pii) = accepted("pii", &doc).kind else {
        panic!()
    };
    let detectors = [
        Detector {
            finds: PiiType::Email,
            action: Action::Block,
        },
        Detector {
            finds: PiiType::Jwt,
            action: Action::Mask,
        },
    ];
    assert_eq!(pii.detectors, detectors);
    assert_eq!(
        pii.buffer,
        BufferLimit {
            max_bytes: 7,
            on_exceeded: Overflow::FailOpen
        }
    );
    assert_eq!(pii.custom_patterns[0].replacement.as_deref(), Some("*"));
}

#[test]
fn semantic_rules_are_checked() {
    const OK: &str = "";
    let category = |extra: Value| {
        let mut category = json!({"name": "n", "description": "d", "candidate_patterns": ["c"]});
        for (key, value) in extra.as_object().unwrap() {
            category[key] = value.clone();
        }
        category
            .as_object_mut()
            .unwrap()
            .retain(|_, value| *value != json!("-"));
        json!({ "categories": [category] })
    };
    let named = |names: &[usize]| {
        let category = |n| json!({"name": format!("canary{n}"), "description": "d", "candidate_patterns": ["c"]});
        json!({"categories": names.iter().map(category).collect::<Vec<Value>>()})
    };
    let semantic = |extra, want| both("semantic", extra, want);
    check([
        semantic(json!({"categories": "-"}), "categories: is required"),
        semantic(
            json!({"categories": []}),
            "categories: must have 1 to 30 entries",
        ),
        semantic(named(&Vec::from_iter(0..30)), OK),
        semantic(
            named(&Vec::from_iter(0..31)),
            "categories: must have 1 to 30 entries",
        ),
        semantic(
            named(&[1, 2, 1]),
            "categories[2].name: is the name of an earlier category",
        ),
        semantic(
            category(json!({"name": ""})),
            "categories[0].name: must be 1 to 64",
        ),
        semantic(
            category(json!({"description": "d".repeat(1001)})),
            "categories[0].description: must be 1 to 1000",
        ),
        (
            "semantic",
            category(json!({"candidate_patterns": "-"})),
            "categories[0].candidate_patterns: is required",
            OK,
        ),
        (
            "semantic",
            category(json!({"candidate_patterns": []})),
            "categories[0].candidate_patterns: must have 1 to 10",
            OK,
        ),
        semantic(
            category(json!({"candidate_patterns": null})),
            "categories[0].candidate_patterns: ",
        ),
        semantic(
            category(json!({"candidate_patterns": vec!["c"; 11]})),
            "categories[0].candidate_patterns: must have",
        ),
        semantic(
            category(json!({"candidate_patterns": [""]})),
            "categories[0].candidate_patterns[0]: must not be empty",
        ),
        semantic(
            category(json!({"negative_patterns": vec!["c"; 21]})),
            "categories[0].negative_patterns: must have 0 to 20",
        ),
        semantic(
            category(json!({"negative_patterns": [5]})),
            "categories[0].negative_patterns[0]: must be a string",
        ),
        semantic(category(json!({"hotword_groups": [{"terms": ["a"]}]})), OK),
        semantic(
            category(json!({"hotword_groups": [{"terms": []}]})),
            "categories[0].hotword_groups[0].terms: must have 1 to 50",
        ),
        semantic(
            category(json!({"hotword_groups": [{}]})),
            "categories[0].hotword_groups[0].terms: is required",
        ),
        semantic(
            category(json!({"hotword_groups": vec![json!({"terms": ["a"]}); 11]})),
            "categories[0].hotword_groups: must have 0 to 10",
        ),
        semantic(
            category(json!({"action": "mask", "replacement": "", "threshold": -1})),
            OK,
        ),
        semantic(
            category(json!({"action": "block"})),
            "categories[0].action: must be one of mask",
        ),
        semantic(
            category(json!({"replacement": "x".repeat(257)})),
            "categories[0].replacement: must be 0 to 256",
        ),
        semantic(
            category(json!({"threshold": 1.5})),
            "categories[0].threshold: must be -1 to 1",
        ),
        semantic(
            category(json!({"threshold": null})),
            "categories[0].threshold: must not be null",
        ),
        semantic(json!({"fail_open": false}), "fail_open: must be true for"),
        (
            "semantic",
            category(json!({"novel": "canary"})),
            "categories[0].novel: unknown key",
            OK,
        ),
    ]);
}
