//! What is asked, and how answers are judged.

use serde_json::{Value, json};

use super::*;
use crate::route::fixture;

fn probe(key: Value, ignored: &[u16]) -> Probe {
    let check = json!({"enabled": true, "interval_seconds": 5, "timeout_seconds": 1,
        "prompt": "say \"ok\"", "max_tokens": 3, "stale_after_seconds": 60, "ignore_statuses": ignored});
    let model = fixture::model("m", json!({"background_model_check": check}));
    Probe {
        check: model.background_model_check.clone().unwrap(),
        model,
        key: fixture::provider_key(key),
        health: Arc::default(),
    }
}

fn text(probe: &Probe) -> String {
    String::from_utf8(request(probe).unwrap()).unwrap()
}

#[test]
fn the_request_is_a_callers_chat_call_in_the_upstreams_own_protocol() {
    let asked = text(&probe(json!({}), &[]));
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("POST /v1/chat/completions HTTP/1.1\r\nhost: up.test:8080\r\n"),
        "{head}"
    );
    assert!(
        head.contains("authorization: Bearer sk-up-canary"),
        "{head}"
    );
    assert!(
        head.contains("x-sluice-request-id: background-model-check"),
        "{head}"
    );
    let body: Value = serde_json::from_str(body).unwrap();
    let want = json!({"model": "gpt-up", "max_tokens": 3,
        "messages": [{"role": "user", "content": "say \"ok\""}]});
    assert_eq!(body, want);

    let asked = text(&probe(json!({"provider": "anthropic"}), &[]));
    assert!(
        asked.starts_with("POST /v1/messages HTTP/1.1\r\n"),
        "{asked}"
    );
    assert!(
        asked.contains("x-api-key: sk-up-canary") && asked.contains("\"max_tokens\":3"),
        "{asked}"
    );

    let headers = json!({"request": {"default_headers": {"x-key": "${request.api_key.id}", "x-model": "${model.name}"}}});
    let asked = text(&probe(headers, &[]));
    assert!(
        asked.contains("x-model: m") && !asked.contains("x-key"),
        "{asked}"
    );
}

#[test]
fn settings_that_allow_no_request_are_told_without_the_credential() {
    for (key, want) in [
        (json!({"provider": "groq"}), "provider_unavailable"),
        (json!({"api_key": "sk-ünusable"}), "authentication_error"),
    ] {
        let why = request(&probe(key.clone(), &[])).unwrap_err();
        assert!(why.contains(want) && !why.contains("sk-"), "{key}: {why}");
    }
}

#[test]
fn only_an_answer_that_can_be_read_passes_and_listed_statuses_say_nothing() {
    use CheckOutcome::{Failed, Ignored, Passed};
    let good = br#"{"id":"c","object":"chat.completion","model":"gpt-up","choices":[{"index":0,
        "message":{"role":"assistant","content":"ok"},"finish_reason":"stop"}]}"#;
    let answer = |status, body: &[u8]| {
        Met::Answer(Answer {
            status,
            body: body.to_vec(),
        })
    };
    let cases = [
        (answer(200, good), Passed, Some(200)),
        (answer(200, b"<html>"), Failed, Some(200)),
        (
            answer(200, br#"{"error":{"message":"no"}}"#),
            Failed,
            Some(200),
        ),
        (answer(401, b""), Failed, Some(401)),
        (answer(429, b""), Ignored, Some(429)),
        (answer(503, b""), Failed, Some(503)),
        (Met::Timeout, Failed, Some(408)),
        (Met::Nothing, Failed, None),
    ];
    for (met, outcome, status) in cases {
        let case = format!("{met:?}");
        let got = verdict(&probe(json!({}), &[429]), met);
        assert_eq!((got.outcome, got.status), (outcome, status), "{case}");
    }
    assert_eq!(
        verdict(&probe(json!({}), &[408]), Met::Timeout).outcome,
        Ignored
    );
    let claude = br#"{"id":"m","type":"message","role":"assistant","model":"c","content":[{"type":"text","text":"ok"}],
        "stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}"#;
    let anthropic = probe(json!({"provider": "anthropic"}), &[]);
    assert_eq!(verdict(&anthropic, answer(200, claude)).outcome, Passed);
}
