//! Whole answers, block by block. [pure]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::canonical::Finish;
use crate::route::fixture;
use crate::usage::Counts;

const TOOLS: &str = include_str!("../../../../tests/fixtures/anthropic/message_tools.json");

fn read_one(body: &str) -> Result<Reply<'_>, Rejection> {
    read(&fixture::provider_key(json!({})), body.as_bytes())
}

#[test]
fn thinking_text_and_tools_arrive_in_order_and_the_upstreams_own_tools_do_not() {
    let reply = read_one(TOOLS).unwrap();
    assert_eq!(reply.id, "msg_01Aq9w938a90dw8q");
    assert_eq!(
        reply.blocks,
        [
            Block::Thinking {
                text: "hm\n".into(),
                signature: Some("EqQB/==".into()),
            },
            Block::RedactedThinking("Emw=".into()),
            Block::Text("I'll check é.".into()),
            Block::ToolCall {
                id: "toolu_01".into(),
                name: "get_weather".into(),
                arguments: r#"{"location": "San Francisco, CA", "n": 1.0e2}"#.into(),
            },
            Block::ToolCall {
                id: "toolu_02".into(),
                name: "now".into(),
                arguments: "{}".into(),
            },
        ]
    );
    assert_eq!(reply.finish, Finish::ToolCalls);
    assert_eq!(reply.finish_reason.as_deref(), Some("tool_use"));
    let counts = Counts {
        prompt: 472,
        completion: 89,
        total: 771,
        cache_creation: 10,
        cache_read: 200,
        ..Counts::default()
    };
    assert_eq!(reply.counts, Some(counts));
}

#[test]
fn stop_reasons_are_translated() {
    for (reason, want) in [
        (r#""end_turn""#, Finish::Stop),
        (r#""stop_sequence""#, Finish::Stop),
        (r#""pause_turn""#, Finish::Stop),
        ("null", Finish::Stop),
        ("7", Finish::Stop),
        (r#""max_tokens""#, Finish::Length),
        (r#""model_context_window_exceeded""#, Finish::Length),
        (r#""tool_use""#, Finish::ToolCalls),
        (r#""refusal""#, Finish::ContentFilter),
        (r#""later""#, Finish::Other("later".into())),
    ] {
        let body = format!(r#"{{"content":[],"stop_reason":{reason}}}"#);
        let reply = read_one(&body).unwrap();
        assert_eq!(reply.finish, want, "{reason}");
        assert_eq!((reply.blocks.len(), reply.counts), (0, None));
    }
}

#[test]
fn odd_blocks_lose_nothing() {
    let body = r#"{"content":[{"type":"text","text":""},{"type":"text","text":"\ud83d"},{"type":"thinking","thinking":"h","signature":""},
        {"type":"tool_use","id":"t","name":"f","input":null},{"type":"tool_use","id":"u","name":"g"},{"type":"later","text":"x"},7]}"#;
    let call = |id, name| Block::ToolCall {
        id: Cow::Borrowed(id),
        name: Cow::Borrowed(name),
        arguments: "{}".into(),
    };
    let thinking = Block::Thinking {
        text: "h".into(),
        signature: None,
    };
    let want = [
        Block::Text("".into()),
        Block::Text(r"\ud83d".into()),
        thinking,
        call("t", "f"),
        call("u", "g"),
    ];
    assert_eq!(read_one(body).unwrap().blocks, want);
}

#[test]
fn a_success_that_is_none_is_refused() {
    for (body, kind, status) in [
        ("<html>", "upstream_decode_error", 502),
        (r#"{"content":{}}"#, "upstream_decode_error", 502),
        (r#"{"content":[]} x"#, "upstream_decode_error", 502),
        (
            r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#,
            "upstream_error",
            503,
        ),
    ] {
        let rejection = read_one(body).unwrap_err();
        assert_eq!(
            (rejection.kind(), rejection.status()),
            (kind, status),
            "{body}"
        );
    }
    let key = fixture::provider_key(json!({}));
    let broken = read(
        &key,
        b"{\"content\":[{\"type\":\"text\",\"text\":\"\xff\"}]}",
    );
    assert_eq!(broken.unwrap_err().kind(), "upstream_decode_error");
}

proptest! {
    #[test]
    fn no_bytes_reach_a_panic(body in prop::collection::vec(any::<u8>(), 0..64)) {
        _ = read(&fixture::provider_key(json!({})), &body);
    }
}
