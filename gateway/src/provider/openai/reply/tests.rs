//! Whole answers against the golden file, and what is none. [pure]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::route::fixture;

/// One line; ids that the gateway made are not shown.
fn shown(body: &str) -> String {
    let key = fixture::provider_key(json!({}));
    let reply = read(&key, body.as_bytes()).unwrap();
    let counts = reply.counts.map_or("-".to_owned(), |counts| {
        let numbers = [
            counts.prompt,
            counts.completion,
            counts.total,
            counts.cached_prompt,
            counts.reasoning,
        ];
        numbers.map(|number| number.to_string()).join("/")
    });
    let blocks: Vec<Block<'_>> = reply.blocks.into_iter().map(without_minted).collect();
    let (finish, reason) = (reply.finish, reply.finish_reason.as_deref());
    format!("{} {blocks:?} {finish:?} {reason:?} {counts}", reply.id)
}

fn without_minted(block: Block<'_>) -> Block<'_> {
    match block {
        Block::ToolCall {
            id,
            name,
            arguments,
        } if id.len() == 21 && id.starts_with("call_") => Block::ToolCall {
            id: "call_*".into(),
            name,
            arguments,
        },
        other => other,
    }
}

#[test]
fn answers_are_read_as_the_golden_file_says() {
    let text = include_str!("../../../../tests/fixtures/openai/replies.txt");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(lines.len() >= 16 && lines.len().is_multiple_of(2));
    for pair in lines.chunks(2) {
        assert_eq!(shown(pair[0]), pair[1]);
    }
}

#[test]
fn reasoning_under_a_configured_name_is_read() {
    let key = fixture::provider_key(json!({"response": {"reasoning_field": "delta.a.b"}}));
    let body = br#"{"choices":[{"message":{"a":{"b":"h"},"content":"x"}}]}"#;
    let thinking = Block::Thinking {
        text: "h".into(),
        signature: None,
    };
    let want = [thinking, Block::Text("x".into())];
    assert_eq!(read(&key, body).unwrap().blocks, want);
}

#[test]
fn what_is_no_answer_is_refused() {
    let key = fixture::provider_key(json!({}));
    for (body, status, kind) in [
        (
            r#"{"error":{"message":"m","code":429}}"#,
            429,
            "upstream_error",
        ),
        (r#"{"error":"m"}"#, 502, "upstream_error"),
        (
            r#"{"choices":[],"error":{"code":503}}"#,
            502,
            "upstream_error",
        ),
        (r#"{"id":"c"}"#, 502, "upstream_decode_error"),
        ("<html>", 502, "upstream_decode_error"),
        (r#"{"choices":[]} x"#, 502, "upstream_decode_error"),
        (
            r#"{"choices":[{"message":{"tool_calls":[{"id":"x"}]}}]}"#,
            502,
            "upstream_decode_error",
        ),
    ] {
        let rejection = read(&key, body.as_bytes()).unwrap_err();
        assert_eq!(
            (rejection.status(), rejection.kind()),
            (status, kind),
            "{body}"
        );
    }
    let calls = r#"{"function":{"name":"f"}},"#.repeat(257);
    let body = format!(
        r#"{{"choices":[{{"message":{{"tool_calls":[{}]}}}}]}}"#,
        calls.trim_end_matches(',')
    );
    assert_eq!(
        read(&key, body.as_bytes()).unwrap_err().kind(),
        "upstream_decode_error"
    );
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>()) {
        let key = fixture::provider_key(json!({}));
        let _ = read(&key, &bytes);
        let text = include_str!("../../../../tests/fixtures/openai/replies.txt").as_bytes();
        let mut body = text.split(|byte| *byte == b'\n').nth(3).unwrap().to_vec();
        let at = at.index(body.len());
        body.splice(at..at, bytes.iter().copied());
        let _ = read(&key, &body);
    }
}
