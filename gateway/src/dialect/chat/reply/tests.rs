//! Whole answers as callers get them. [pure]

use super::*;

const SEED: Seed = Seed {
    created_unix_s: 1_767_000_000,
    hex: *b"0123456789abcdef0123456789abcdef",
};

fn shown(reply: &Reply<'_>) -> String {
    let mut out = Vec::new();
    write(reply, "te\"am", SEED, &mut out);
    serde_json::from_slice::<serde_json::Value>(&out).expect("the body is JSON");
    String::from_utf8(out).unwrap()
}

/// The body with `message` and `rest` behind it.
fn body(id: &str, message: &str, rest: &str) -> String {
    format!(
        r#"{{"id":"{id}","object":"chat.completion","created":1767000000,"model":"te\"am","choices":[{{"index":0,"message":{{"role":"assistant",{message}}},"logprobs":null,"finish_reason":{rest}}}"#
    )
}

fn call<'d>(id: &'d str, arguments: &'d str) -> Block<'d> {
    Block::ToolCall {
        id: id.into(),
        name: "f".into(),
        arguments: arguments.into(),
    }
}

fn thinking<'d>(text: &'d str, signature: Option<&'d str>) -> Block<'d> {
    Block::Thinking {
        text: text.into(),
        signature: signature.map(Into::into),
    }
}

#[test]
fn everything_that_was_said_is_in_its_place() {
    let reply = Reply {
        id: "msg_1".into(),
        blocks: vec![
            thinking("h\n", Some("sig+/=")),
            Block::RedactedThinking("opaque".into()),
            thinking("m", None),
            Block::Text("a\"".into()),
            Block::Text("b".into()),
            call("c1", "{\"a\":1}"),
            call("c2", ""),
        ],
        finish: Finish::ToolCalls,
        finish_reason: None,
        counts: Some(Counts {
            prompt: 20,
            completion: 7,
            cache_read: 5,
            cache_creation: 2,
            reasoning: 3,
            ..Counts::default()
        }),
    };
    let message = concat!(
        r#""content":"a\"b","reasoning_content":"h\nm","thinking_blocks":["#,
        r#"{"type":"thinking","thinking":"h\n","signature":"sig+/="},{"type":"redacted_thinking","data":"opaque"},"#,
        r#"{"type":"thinking","thinking":"m"}],"tool_calls":["#,
        r#"{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},"#,
        r#"{"id":"c2","type":"function","function":{"name":"f","arguments":"{}"}}]"#,
    );
    let rest = concat!(
        r#""tool_calls"}],"usage":{"prompt_tokens":20,"completion_tokens":7,"total_tokens":34,"#,
        r#""prompt_tokens_details":{"cached_tokens":5},"completion_tokens_details":{"reasoning_tokens":3}}"#,
    );
    assert_eq!(shown(&reply), body("msg_1", message, rest));
}

#[test]
fn what_was_not_said_is_not_there() {
    let said = |blocks: Vec<Block<'static>>, finish: Finish| Reply {
        blocks,
        finish,
        ..Reply::default()
    };
    let id = "chatcmpl-0123456789abcdef0123456789abcdef";
    for (reply, message, finish) in [
        (said(vec![], Finish::Stop), r#""content":null"#, "stop"),
        (
            said(vec![Block::Text("".into())], Finish::Length),
            r#""content":"""#,
            "length",
        ),
        (
            said(vec![Block::Refusal("no".into())], Finish::ContentFilter),
            r#""content":null,"refusal":"no""#,
            "content_filter",
        ),
        (
            said(
                vec![thinking("t", None), Block::Text("x".into())],
                Finish::Other("eos".into()),
            ),
            r#""content":"x","reasoning_content":"t""#,
            "eos",
        ),
    ] {
        assert_eq!(
            shown(&reply),
            body(id, message, &format!(r#""{finish}"}}]"#))
        );
    }
    let counted = Reply {
        counts: Some(Counts {
            prompt: 1,
            completion: 2,
            total: 4,
            cached_prompt: 1,
            ..Counts::default()
        }),
        ..Reply::default()
    };
    let usage = r#""usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":4,"prompt_tokens_details":{"cached_tokens":1}}}"#;
    assert!(shown(&counted).ends_with(usage));
}
