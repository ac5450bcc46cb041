use super::*;
use serde_json::json;

fn read_as(value: &Value, unknown: Unknown) -> (Option<ModelDocument>, Vec<String>) {
    let problems = Problems::default();
    let document = ModelDocument::read(value, &problems, unknown);
    let said = problems.into_vec();
    (document, said.iter().map(ToString::to_string).collect())
}

/// A minimal valid document with `extra` on top.
fn with(extra: &Value) -> Value {
    let mut doc = json!({"display_name": "chat", "provider": "openai", "model_name": "gpt",
                         "provider_key_id": "k1"});
    for (key, value) in extra.as_object().unwrap() {
        doc[key] = value.clone();
    }
    doc
}

fn accepted(extra: &Value) -> Model {
    let (document, said) = read_as(&with(extra), Unknown::Refused);
    assert_eq!(said, Vec::<String>::new(), "{extra}");
    document.unwrap().into_model("m1".into(), 1_760_000_000)
}

#[test]
fn everything_that_may_be_set_is_read() {
    let model = accepted(&json!({
        "timeout": 0, "stream_timeout": 5000, "retries": 2,
        "allowed_cidrs": ["10.0.0.0/8", "192.0.2.1", "2001:db8::1", "fe80::/10"],
        "cost": {"input_per_1k": 0.0002, "output_per_1k": 1}, "embedding": {"dimensions": 3}}));
    assert_eq!(
        (model.timeout_ms, model.stream_timeout_ms),
        (Some(0), Some(5000))
    );
    assert_eq!(model.retries, Some(2));
    let networks: Vec<String> = model
        .allowed_cidrs
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        networks,
        ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::1/128", "fe80::/10"]
    );
    assert_eq!(
        model.cost,
        Some(Cost {
            input_per_1k: 0.0002,
            output_per_1k: 1.0
        })
    );
    assert_eq!(model.created, 1_760_000_000);
    assert_eq!((&*model.model_name, &*model.provider_key_id), ("gpt", "k1"));
}

#[test]
fn an_unset_stream_gap_and_an_empty_list_are_absent() {
    let model = accepted(&json!({"stream_timeout": 0, "allowed_cidrs": []}));
    assert_eq!(model.stream_timeout_ms, None);
    assert_eq!(model.allowed_cidrs, None);
    assert_eq!(
        (model.timeout_ms, model.retries, model.cost),
        (None, None, None)
    );
}

#[test]
fn the_capture_takes_the_place_of_the_first_star() {
    let cases = [
        ("*", Some("gpt-4o"), "gpt-4o"),
        ("vendor/*-v1", Some("x"), "vendor/x-v1"),
        ("*-*", Some("x"), "x-*"),
        ("fixed", Some("x"), "fixed"),
        ("fixed", None, "fixed"),
        ("*", None, "*"),
    ];
    for (model_name, capture, want) in cases {
        let model = accepted(&json!({"display_name": "openai/*", "model_name": model_name}));
        assert_eq!(
            model.upstream_model(capture).concat(),
            want,
            "{model_name} {capture:?}"
        );
    }
    let doc = json!({"display_name": "a/*", "provider": "openai", "provider_key_id": "k"});
    let (document, said) = read_as(&doc, Unknown::Refused);
    assert!(said.is_empty(), "{said:?}");
    let model = document.unwrap().into_model("m".into(), 0);
    assert_eq!(model.upstream_model(Some("b")).concat(), "b");
}

#[test]
fn each_mistake_is_named_by_its_field() {
    let long = "a".repeat(65);
    let cases = [
        (
            json!({"display_name": ""}),
            "display_name: must not be empty",
        ),
        (
            json!({"display_name": "a*b*"}),
            "display_name: must hold at most one `*`",
        ),
        (
            json!({"provider": "OpenAI"}),
            "provider: must be at most 64",
        ),
        (json!({"provider": ".a"}), "provider: must be at most 64"),
        (json!({"provider": long}), "provider: must be at most 64"),
        (json!({"model_name": ""}), "model_name: must not be empty"),
        (json!({"timeout": -1}), "timeout: must be a whole number"),
        (json!({"timeout": 1.5}), "timeout: must be a whole number"),
        (json!({"timeout": "5s"}), "timeout: must be a whole number"),
        (json!({"timeout": null}), "timeout: must not be null"),
        (
            json!({"retries": 4_294_967_296_u64}),
            "retries: must be 0 to 4294967295",
        ),
        (
            json!({"allowed_cidrs": ["10.0.0.0/33"]}),
            "allowed_cidrs[0]: must be a network",
        ),
        (
            json!({"allowed_cidrs": ["localhost"]}),
            "allowed_cidrs[0]: must be a network",
        ),
        (
            json!({"allowed_cidrs": [""]}),
            "allowed_cidrs[0]: must be a network",
        ),
        (
            json!({"cost": {"input_per_1k": 1}}),
            "cost.output_per_1k: is required",
        ),
        (
            json!({"cost": {"input_per_1k": -1, "output_per_1k": 0}}),
            "cost.input_per_1k: must be 0 or more",
        ),
        (
            json!({"cost": {"input_per_1k": 1, "output_per_1k": 1, "x": 1}}),
            "cost.x: unknown key",
        ),
        (
            json!({"embedding": {"dimensions": 0}}),
            "embedding.dimensions: must be 1 to",
        ),
        (json!({"timeouts": 1}), "timeouts: unknown key"),
        (json!({"ensemble": null}), "ensemble: must not be null"),
        (
            json!({"cooldown": {"max_seconds": null}}),
            "cooldown.max_seconds: must not be null",
        ),
    ];
    for (extra, want) in cases {
        let (_, said) = read_as(&with(&extra), Unknown::Refused);
        assert_eq!(said.len(), 1, "{extra}: {said:?}");
        assert!(said[0].starts_with(want), "{extra}: {said:?}");
    }
    let (_, said) = read_as(&json!({}), Unknown::Refused);
    let fields = ["display_name", "provider", "model_name", "provider_key_id"];
    assert_eq!(said, fields.map(|field| format!("{field}: is required")));
}

#[test]
fn every_setting_of_a_direct_model_has_its_effect() {
    let doc = with(
        &json!({"rate_limit": {"rpm": 1}, "cooldown": {}, "background_model_check": {"enabled": true,
            "interval_seconds": 5, "timeout_seconds": 1, "prompt": "hi", "max_tokens": 1,
            "stale_after_seconds": 9}}),
    );
    let (document, said) = read_as(&doc, Unknown::Refused);
    assert!(said.is_empty(), "{said:?}");
    assert!(document.unwrap().unenforced.is_empty());
}

#[test]
fn a_newer_writers_fields_are_ignored_where_reading_is_lenient() {
    let doc =
        with(&json!({"novel": {"x": 1}, "cost": {"input_per_1k": 1, "output_per_1k": 1, "y": 2}}));
    let (document, said) = read_as(&doc, Unknown::Ignored);
    assert!(said.is_empty() && document.is_some(), "{said:?}");
}

#[test]
fn what_a_lenient_reader_passes_over_may_be_null() {
    let doc =
        with(&json!({"novel": null, "cost": {"input_per_1k": 1, "output_per_1k": 1, "y": null}}));
    let (document, said) = read_as(&doc, Unknown::Ignored);
    assert!(said.is_empty() && document.is_some(), "{said:?}");
    let (_, said) = read_as(&doc, Unknown::Refused);
    assert_eq!(said.len(), 2, "{said:?}");
}

#[test]
fn settings_of_later_use_are_kept() {
    let model = accepted(&json!({
        "rate_limit": {"rpm": 60}, "cooldown": {"enabled": false},
        "auto_prompt_caching": {"enabled": true, "ttl": "1h"},
        "embedding": {"dimensions": 256},
        "background_model_check": {"enabled": true, "interval_seconds": 5, "timeout_seconds": 1,
                                   "prompt": "p", "max_tokens": 1, "stale_after_seconds": 9}}));
    assert_eq!(model.rate_limit.and_then(|limit| limit.rpm), Some(60));
    assert!(!model.cooldown.enabled && model.cooldown.trigger_statuses.contains(&429));
    let caching = model.auto_prompt_caching.unwrap();
    assert_eq!(caching.ttl, PromptCacheTtl::OneHour);
    assert_eq!(model.embedding.map(|found| found.dimensions), Some(256));
    assert_eq!(model.background_model_check.unwrap().stale_after_seconds, 9);
    assert_eq!(accepted(&json!({})).cooldown, Cooldown::default());
}

mod virtual_kinds;
