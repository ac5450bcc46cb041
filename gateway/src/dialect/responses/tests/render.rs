//! Answers, whole and streamed: they must say the same. [pure]

use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{renderer, validate};
use crate::canonical::{Block, Delta, Escaped, Finish, Reply};
use crate::rejection::{Rejection, UpstreamError};
use crate::usage::Counts;

const BODY: &str = r#"{"model":"team","input":"x","stream":true,
  "tools":[{"type":"function","name":"f","parameters":{"type":"object"}},
           {"type":"custom","name":"patch"}],
  "instructions":"be\nbrief","temperature":0.70,"metadata":{"a":"b"},"reasoning":{"effort":"low"}}"#;
const GOLDEN: &str = include_str!("../../../../tests/fixtures/responses/text_stream.out.txt");

const COUNTS: Counts = Counts {
    prompt: 9,
    completion: 4,
    total: 13,
    cached_prompt: 5,
    reasoning: 1,
    cache_creation: 0,
    cache_read: 0,
};

fn text(raw: &str) -> Escaped<'_> {
    Escaped::new(raw.as_bytes())
}

fn call<'e>(index: u32, id: &'e str, name: &'e str) -> Delta<'e> {
    Delta::ToolCall {
        index,
        id: text(id),
        name: text(name),
    }
}

fn arguments(index: u32, json: &str) -> Delta<'_> {
    Delta::Arguments {
        index,
        json: text(json),
    }
}

/// The stream of `deltas`.
fn streamed(body: &str, deltas: Vec<Delta<'_>>) -> String {
    let mut renderer = renderer(body);
    let mut out = Vec::new();
    for delta in deltas {
        renderer.delta(delta, &mut out);
    }
    renderer.end(&mut out);
    String::from_utf8(out).unwrap()
}

/// The whole answer of `blocks`.
fn whole(body: &str, blocks: Vec<Block<'_>>, finish: Finish) -> Value {
    let reply = Reply {
        id: Cow::Borrowed("up"),
        blocks,
        finish,
        finish_reason: None,
        counts: Some(COUNTS),
    };
    let mut out = Vec::new();
    renderer(body).reply(&reply, &mut out);
    serde_json::from_slice(&out).unwrap()
}

fn names(stream: &str) -> Vec<&str> {
    let lines = stream.lines();
    lines
        .filter_map(|line| line.strip_prefix("event: "))
        .collect()
}

#[test]
fn a_text_comes_out_as_in_the_golden_stream() {
    let body = r#"{"model":"team","input":"x","stream":true}"#;
    let deltas = vec![
        Delta::Text(text("4")),
        Delta::Finish(Finish::Stop),
        Delta::Usage(COUNTS),
    ];
    let stream = streamed(body, deltas);
    assert_eq!(stream, GOLDEN);
    validate::check(&stream);
}

#[test]
fn everything_a_model_says_is_the_same_streamed_and_whole() {
    let deltas = vec![
        Delta::Usage(COUNTS),
        Delta::Thinking(text("let me ")),
        Delta::Thinking(text(r"see\n")),
        Delta::Signature(text("si")),
        Delta::Signature(text(r"g\u003d")),
        Delta::RedactedThinking(text("x")),
        Delta::Thinking(text("more")),
        Delta::Signature(text("sig2")),
        Delta::Text(text("")),
        Delta::Text(text(r"I \ud83d\ude00")),
        Delta::Text(text("am\n")),
        Delta::Refusal(text("No.")),
        call(0, "c1", "f"),
        arguments(0, r#"{\"a\":"#),
        call(1, "c2", "patch"),
        arguments(1, r#"{\"input\":\"*** a"#),
        arguments(0, "1}"),
        arguments(1, r#"\\nb\"}"#),
        arguments(0, ""),
        Delta::Text(text("after")),
        Delta::Finish(Finish::ToolCalls),
    ];
    let stream = streamed(BODY, deltas);
    let last = validate::check(&stream);
    let tool = |id: &'static str, name: &'static str, arguments: &'static str| Block::ToolCall {
        id: id.into(),
        name: name.into(),
        arguments: arguments.into(),
    };
    let blocks = vec![
        Block::Thinking {
            text: "let me see\n".into(),
            signature: Some("sig=".into()),
        },
        Block::RedactedThinking("x".into()),
        Block::Thinking {
            text: "more".into(),
            signature: Some("sig2".into()),
        },
        Block::Text("I 😀".into()),
        Block::Text("am\n".into()),
        Block::Refusal("No.".into()),
        tool("c1", "f", r#"{"a":1}"#),
        tool("c2", "patch", r#"{"input":"*** a\nb"}"#),
        Block::Text("after".into()),
    ];
    assert_eq!(last, whole(BODY, blocks, Finish::ToolCalls));
    let output = last["output"].as_array().unwrap();
    let kinds: Vec<_> = output
        .iter()
        .map(|item| item["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "reasoning",
            "reasoning",
            "reasoning",
            "message",
            "function_call",
            "custom_tool_call",
            "message"
        ]
    );
    let opaque: Vec<_> = output[..3]
        .iter()
        .map(|item| item["encrypted_content"].as_str().unwrap())
        .collect();
    assert_eq!(
        opaque,
        [
            "sluice.signature:sig=",
            "sluice.redacted:x",
            "sluice.signature:sig2"
        ]
    );
    assert_eq!(output[1]["summary"], json!([]));
    assert_eq!(
        output[3]["content"][1],
        json!({"type":"refusal","refusal":"No."})
    );
    assert_eq!(output[4]["arguments"], r#"{"a":1}"#);
    assert_eq!(output[5]["input"], "*** a\nb");
    assert!(output.iter().all(|item| item["status"] == "completed"));
}

#[test]
fn the_response_repeats_the_request() {
    let answer = whole(BODY, vec![Block::Text("x".into())], Finish::Stop);
    validate::response_object(&answer, "completed").unwrap();
    assert_eq!(answer["model"], "team");
    assert_eq!(answer["id"], "resp_0123456789abcdef0123456789abcdef");
    assert_eq!(answer["created_at"], 1_767_000_000);
    assert_eq!(answer["instructions"], "be\nbrief");
    assert_eq!(answer["tools"][1]["name"], "patch");
    assert_eq!(answer["metadata"], json!({"a":"b"}));
    assert_eq!(answer["reasoning"], json!({"effort":"low"}));
    assert_eq!(answer["store"], false);
    assert_eq!(answer["tool_choice"], "auto");
    assert_eq!(
        answer["usage"],
        json!({"input_tokens":9,"input_tokens_details":{"cached_tokens":5},"output_tokens":4,
               "output_tokens_details":{"reasoning_tokens":1},"total_tokens":13})
    );
}

#[test]
fn a_model_that_was_stopped_leaves_its_last_item_incomplete() {
    for (finish, reason) in [
        (Finish::Length, "max_output_tokens"),
        (Finish::ContentFilter, "content_filter"),
    ] {
        let deltas = vec![
            Delta::Thinking(text("t")),
            Delta::Text(text("ab")),
            Delta::Finish(finish.clone()),
            Delta::Text(text("late")),
            Delta::Usage(COUNTS),
        ];
        let stream = streamed(BODY, deltas);
        let last = validate::check(&stream);
        assert_eq!(names(&stream).last(), Some(&"response.incomplete"));
        assert_eq!(last["incomplete_details"], json!({"reason": reason}));
        assert_eq!(last["output"][0]["status"], "completed");
        assert_eq!(last["output"][1]["status"], "incomplete");
        let blocks = vec![
            Block::Thinking {
                text: "t".into(),
                signature: None,
            },
            Block::Text("ab".into()),
        ];
        assert_eq!(last, whole(BODY, blocks, finish));
    }
}

#[test]
fn an_answer_without_text_has_no_output() {
    let stream = streamed(BODY, vec![Delta::Usage(COUNTS)]);
    assert_eq!(
        names(&stream),
        [
            "response.created",
            "response.in_progress",
            "response.completed"
        ]
    );
    assert_eq!(
        validate::check(&stream),
        whole(BODY, Vec::new(), Finish::Stop)
    );
}

#[test]
fn a_custom_tools_arguments_of_another_shape_are_its_input() {
    for (arguments, want) in [
        (r#"{"input":"a\"b"}"#, "a\"b"),
        ("plain", "plain"),
        (r#"{"other":1}"#, r#"{"other":1}"#),
    ] {
        let block = Block::ToolCall {
            id: "c".into(),
            name: "patch".into(),
            arguments: arguments.into(),
        };
        let answer = whole(BODY, vec![block], Finish::ToolCalls);
        assert_eq!(answer["output"][0]["input"], want);
    }
}

#[test]
fn a_stream_that_breaks_says_so_twice() {
    let upstream = |status| {
        Rejection::Upstream(Box::new(UpstreamError {
            upstream_status: status,
            message: Some("slow \"down\"".into()),
            in_band: true,
            ..UpstreamError::default()
        }))
    };
    for (rejection, code) in [
        (Rejection::StreamAborted, "server_error"),
        (upstream(429), "rate_limit_exceeded"),
    ] {
        for deltas in [
            Vec::new(),
            vec![Delta::Text(text("half"))],
            vec![
                Delta::Thinking(text("t")),
                call(0, "c", "patch"),
                arguments(0, r#"{\"inp"#),
                call(1, "d", "f"),
                arguments(1, "{"),
            ],
            vec![Delta::Text(text("all")), Delta::Finish(Finish::Stop)],
        ] {
            let mut renderer = renderer(BODY);
            let mut out = Vec::new();
            for delta in deltas {
                renderer.delta(delta, &mut out);
            }
            renderer.cut(&rejection, "req-1", &mut out);
            let stream = String::from_utf8(out).unwrap();
            let last = validate::check(&stream);
            let told = names(&stream);
            assert_eq!(told[told.len() - 2..], ["error", "response.failed"]);
            assert_eq!(last["status"], "failed");
            assert_eq!(last["error"]["code"], code);
        }
    }
}

#[test]
fn what_is_kept_of_a_stream_is_bounded() {
    let mut renderer = renderer(BODY);
    let piece = "x".repeat(100_000);
    let mut sent = 0;
    let mut stream = Vec::new();
    for _ in 0..60 {
        let before = stream.len();
        renderer.delta(Delta::Text(text(&piece)), &mut stream);
        sent += usize::from(stream.len() > before);
    }
    renderer.delta(Delta::Finish(Finish::Stop), &mut stream);
    renderer.delta(Delta::Usage(COUNTS), &mut stream);
    renderer.end(&mut stream);
    assert!((30..=42).contains(&sent), "{sent}");
    let last = validate::check(std::str::from_utf8(&stream).unwrap());
    assert_eq!(last["incomplete_details"]["reason"], "max_output_tokens");
    let mut renderer = super::renderer(BODY);
    let mut stream = Vec::new();
    for index in 0..20_000 {
        stream.clear();
        renderer.delta(call(index, "c", "f"), &mut stream);
    }
    renderer.end(&mut stream);
    assert!(stream.len() < 4 * 1024 * 1024);
}

/// One of the deltas a decoder may emit, over three calls that may have begun.
fn any_delta() -> impl Strategy<Value = (u8, u32, String)> {
    (0..9_u8, 0..3_u32, "[a-z\"\\\\\n é]{0,6}")
}

proptest! {
    #[test]
    fn any_order_of_deltas_is_a_valid_stream(
        said in prop::collection::vec(any_delta(), 0..24),
        cut in any::<bool>(),
    ) {
        let mut renderer = renderer(BODY);
        let mut out = Vec::new();
        let mut begun = std::collections::BTreeSet::new();
        for (what, index, said) in &said {
            let mut raw = Vec::new();
            crate::json::text::write_escaped(said, &mut raw);
            let piece = Escaped::new(&raw);
            let name = if *index == 2 { "patch" } else { "f" };
            let delta = match what {
                0 | 1 => Delta::Text(piece),
                2 => Delta::Thinking(piece),
                3 => Delta::Refusal(piece),
                4 if begun.insert(*index) => call(*index, "c", name),
                4 | 5 => Delta::Arguments { index: *index, json: piece },
                6 => Delta::Usage(COUNTS),
                7 => Delta::RedactedThinking(piece),
                _ => Delta::Signature(piece),
            };
            renderer.delta(delta, &mut out);
        }
        renderer.delta(Delta::Usage(COUNTS), &mut out);
        if cut {
            renderer.cut(&Rejection::StreamAborted, "r", &mut out);
        } else {
            renderer.end(&mut out);
        }
        validate::check(&String::from_utf8(out).unwrap());
    }
}
