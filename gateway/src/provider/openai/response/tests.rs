//! Whole answers against the golden file, and what is learned from them. [pure]

use serde_json::json;

use super::*;
use crate::bridge::record::UsageSource;
use crate::endpoint::parse;
use crate::route::fixture;
use crate::short_text::ShortText;

fn call(endpoint: Endpoint) -> Call {
    let body = match endpoint {
        Endpoint::Embeddings => r#"{"model":"team","input":"12345678"}"#,
        Endpoint::Completions => r#"{"model":"team","prompt":"12345678"}"#,
        _ => r#"{"model":"team","messages":[{"role":"user","content":"12345678"}]}"#,
    };
    parse(endpoint, body.as_bytes()).unwrap()
}

fn written(endpoint: Endpoint, key: serde_json::Value, body: &str) -> String {
    let call = call(endpoint);
    let key = fixture::provider_key(key);
    let reply = read(&call, &key, body.as_bytes()).unwrap();
    let mut out = Vec::new();
    reply.write_body(body.as_bytes(), &mut out);
    assert_eq!(out.len(), reply.body_len(body.as_bytes()));
    String::from_utf8(out).unwrap()
}

/// Usage source, prompt, completion, total; id; finish reason.
fn learned(endpoint: Endpoint, body: &str) -> (Usage, Option<ShortText>, Option<ShortText>) {
    let key = fixture::provider_key(json!({}));
    let call = call(endpoint);
    let reply = read(&call, &key, body.as_bytes()).unwrap();
    (reply.usage, reply.provider_request_id, reply.finish_reason)
}

#[test]
fn chat_answers_come_back_as_the_golden_file_says() {
    let text = include_str!("../../../../tests/fixtures/openai/chat_responses.txt");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(lines.len() >= 10 && lines.len().is_multiple_of(2));
    for pair in lines.chunks(2) {
        assert_eq!(
            written(Endpoint::ChatCompletions, json!({}), pair[0]),
            pair[1]
        );
    }
}

#[test]
fn embeddings_show_the_requested_name_and_completions_pass_verbatim() {
    let embeddings = r#"{"object":"list","data":[{"embedding":[0.10,-1e-3],"index":0},{"embedding":"AAAA"}],"model":"up","usage":{"prompt_tokens":2,"total_tokens":2}}"#;
    let named = embeddings.replace("\"up\"", "\"team\"");
    assert_eq!(written(Endpoint::Embeddings, json!({}), embeddings), named);
    let completion = r#"{"id":"cmpl-1","model":"up","choices":[{"text":"abc","reasoning":"x","finish_reason":"stop"}]}"#;
    assert_eq!(
        written(Endpoint::Completions, json!({}), completion),
        completion
    );
}

#[test]
fn reasoning_under_a_configured_name_is_copied() {
    let key = json!({"response": {"reasoning_field": "delta.a.thinking"}});
    let body = r#"{"choices":[{"message":{"a":{"thinking":"h"}}}]}"#;
    let want = r#"{"choices":[{"message":{"a":{"thinking":"h"},"reasoning_content":"h"}}]}"#;
    assert_eq!(written(Endpoint::ChatCompletions, key, body), want);
}

#[test]
fn usage_id_and_reason_are_learned() {
    use Endpoint::{ChatCompletions, Completions, Embeddings};
    use UsageSource::{Estimated, Reported};
    let chat = r#"{"id":"c\u0007-1","choices":[{"index":0,"message":{"content":"12345"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13}}"#;
    let bare = r#"{"choices":[{"index":0,"message":{"content":"12345"},"finish_reason":null}]}"#;
    let second =
        r#"{"id":"","choices":[{"index":1,"message":{},"finish_reason":"stop"}],"usage":{}}"#;
    let completion = r#"{"choices":[{"text":"12345"}],"usage":{"prompt_tokens":9}}"#;
    for (endpoint, body, source, prompt, completion, id, reason) in [
        (
            ChatCompletions,
            chat,
            Reported,
            9,
            4,
            Some("c-1"),
            Some("stop"),
        ),
        (ChatCompletions, bare, Estimated, 2, 2, None, None),
        (ChatCompletions, second, Estimated, 2, 0, None, None),
        (Completions, completion, Estimated, 9, 2, None, None),
        (
            Embeddings,
            r#"{"data":[],"usage":{"total_tokens":5}}"#,
            Reported,
            5,
            0,
            None,
            None,
        ),
        (Embeddings, r#"{"data":[]}"#, Estimated, 2, 0, None, None),
    ] {
        let (usage, got_id, got_reason) = learned(endpoint, body);
        assert_eq!(usage.source, source, "{body}");
        assert_eq!(
            (usage.prompt, usage.completion),
            (prompt, completion),
            "{body}"
        );
        assert_eq!(usage.total, prompt + completion, "{body}");
        assert_eq!(
            (got_id.as_deref(), got_reason.as_deref()),
            (id, reason),
            "{body}"
        );
    }
}

#[test]
fn a_success_that_is_none_is_the_upstreams_fault() {
    use Endpoint::{ChatCompletions, Completions, Embeddings};
    let key = fixture::provider_key(json!({}));
    for (endpoint, body, status, kind) in [
        (ChatCompletions, "", 502, "upstream_decode_error"),
        (ChatCompletions, "<html>", 502, "upstream_decode_error"),
        (Embeddings, "[]", 502, "upstream_decode_error"),
        (
            Completions,
            r#"{"choices":[]"#,
            502,
            "upstream_decode_error",
        ),
        (Completions, "{} x", 502, "upstream_decode_error"),
        (ChatCompletions, "{}", 502, "upstream_decode_error"),
        (
            ChatCompletions,
            r#"{"error":{"message":"no","code":400}}"#,
            400,
            "upstream_error",
        ),
        (Embeddings, r#"{"error":"no"}"#, 502, "upstream_error"),
    ] {
        let rejection = read(&call(endpoint), &key, body.as_bytes()).unwrap_err();
        assert_eq!(
            (rejection.status(), rejection.kind()),
            (status, kind),
            "{body}"
        );
    }
}
