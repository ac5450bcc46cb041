//! Answers, whole and streamed. [pure]

use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::blocks::WAITING_BYTES_MAX;
use super::validate::{Message, validate};
use super::*;
use crate::canonical::{Block, Delta, Escaped, Finish, Reply};
use crate::json::text::write_escaped;
use crate::usage::Counts;

const TOOLS_STREAM: &str = include_str!("../../../../tests/fixtures/messages/tools_stream.txt");

/// A delta that owns its text, unescaped.
#[derive(Clone, Debug)]
enum Step {
    Text(String),
    Refusal(String),
    Thinking(String),
    Call(u32, String, String),
    Arguments(u32, String),
    Finish(Finish),
    Usage(Counts),
}

fn text(text: &str) -> Step {
    Step::Text(text.into())
}

fn begun(index: u32, id: &str, name: &str) -> Step {
    Step::Call(index, id.into(), name.into())
}

fn arguments(index: u32, json: &str) -> Step {
    Step::Arguments(index, json.into())
}

fn show(renderer: &mut dyn Renderer, step: &Step, out: &mut Vec<u8>) {
    let escaped = |text: &str| {
        let mut escaped = Vec::new();
        write_escaped(text, &mut escaped);
        escaped
    };
    match step {
        Step::Text(text) => renderer.delta(Delta::Text(Escaped::new(&escaped(text))), out),
        Step::Refusal(text) => renderer.delta(Delta::Refusal(Escaped::new(&escaped(text))), out),
        Step::Thinking(text) => renderer.delta(Delta::Thinking(Escaped::new(&escaped(text))), out),
        Step::Call(index, id, name) => {
            let (id, name) = (escaped(id), escaped(name));
            let (id, name) = (Escaped::new(&id), Escaped::new(&name));
            let index = *index;
            renderer.delta(Delta::ToolCall { index, id, name }, out);
        }
        Step::Arguments(index, json) => {
            let json = escaped(json);
            let json = Escaped::new(&json);
            let index = *index;
            renderer.delta(Delta::Arguments { index, json }, out);
        }
        Step::Finish(finish) => renderer.delta(Delta::Finish(finish.clone()), out),
        Step::Usage(counts) => renderer.delta(Delta::Usage(*counts), out),
    }
}

fn streamed_by(mut renderer: Box<dyn Renderer>, steps: &[Step]) -> Vec<u8> {
    let mut out = Vec::new();
    for step in steps {
        show(&mut *renderer, step, &mut out);
    }
    renderer.end(&mut out);
    out
}

fn streamed(steps: &[Step]) -> Message {
    validate(&streamed_by(renderer(""), steps))
}

fn whole(reply: &Reply<'_>) -> Value {
    let mut out = Vec::new();
    renderer("").reply(reply, &mut out);
    serde_json::from_slice(&out).unwrap()
}

const COUNTS: Counts = Counts {
    prompt: 9,
    completion: 4,
    total: 13,
    cached_prompt: 3,
    reasoning: 0,
    cache_creation: 0,
    cache_read: 0,
};

#[test]
fn calls_are_streamed_as_they_come() {
    let steps = [
        Step::Thinking("hm".into()),
        text("It \"is\"\n"),
        begun(0, "call_1", "read"),
        arguments(0, "{\"a\":"),
        arguments(0, "1}"),
        begun(1, "call_2", "run"),
        arguments(1, "{\"b\":[]}"),
        Step::Finish(Finish::ToolCalls),
        Step::Usage(COUNTS),
    ];
    let out = streamed_by(renderer(""), &steps);
    assert_eq!(String::from_utf8(out).unwrap(), TOOLS_STREAM);
    let message = streamed(&steps);
    assert_eq!(message.id, "msg_0123456789abcdef0123456789abcdef");
    assert_eq!(message.stop_reason.as_deref(), Some("tool_use"));
}

#[test]
fn a_message_is_as_the_documentation_shows_it() {
    let reply = Reply {
        blocks: vec![
            Block::Thinking {
                text: "hm".into(),
                signature: None,
            },
            Block::Text("a\"b".into()),
            Block::ToolCall {
                id: "call_1".into(),
                name: "f".into(),
                arguments: r#"{"z": 1, "a": 1.0}"#.into(),
            },
        ],
        finish: Finish::ToolCalls,
        counts: Some(COUNTS),
        ..Reply::default()
    };
    let mut out = Vec::new();
    renderer("").reply(&reply, &mut out);
    let want = r#"{"id":"msg_0123456789abcdef0123456789abcdef","type":"message","role":"assistant","model":"team","content":[{"type":"text","text":"a\"b"},{"type":"tool_use","id":"call_1","name":"f","input":{"z": 1, "a": 1.0}}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":6,"cache_creation_input_tokens":0,"cache_read_input_tokens":3,"output_tokens":4}}"#;
    assert_eq!(String::from_utf8(out).unwrap(), want);
}

#[test]
fn an_answer_without_anything_has_one_empty_text() {
    let empty = json!([{"type": "text", "text": ""}]);
    assert_eq!(whole(&Reply::default())["content"], empty);
    for steps in [
        &[][..],
        &[Step::Finish(Finish::Stop)],
        &[text("")],
        &[Step::Thinking("hm".into())],
    ] {
        let message = streamed(steps);
        assert_eq!(Value::from(message.content), empty);
        assert_eq!(message.stop_reason.as_deref(), Some("end_turn"));
    }
}

#[test]
fn the_reason_to_stop_is_the_same_whole_and_streamed() {
    let call = || Block::ToolCall {
        id: "c".into(),
        name: "f".into(),
        arguments: "{}".into(),
    };
    for (block, finish, want) in [
        (None, Finish::Stop, "end_turn"),
        (None, Finish::Length, "max_tokens"),
        (None, Finish::ContentFilter, "refusal"),
        (None, Finish::Other("eos".into()), "end_turn"),
        (Some(call()), Finish::ToolCalls, "tool_use"),
        (Some(call()), Finish::Stop, "tool_use"),
        (Some(call()), Finish::Length, "max_tokens"),
        (Some(Block::Refusal("no".into())), Finish::Stop, "refusal"),
    ] {
        let steps = match &block {
            None => vec![text("x")],
            Some(Block::Refusal(text)) => vec![Step::Refusal(text.to_string())],
            Some(_) => vec![begun(0, "c", "f"), arguments(0, "{}")],
        };
        let steps = [&steps[..], &[Step::Finish(finish.clone())]].concat();
        let message = streamed(&steps);
        assert_eq!(message.stop_reason.as_deref(), Some(want));
        let blocks = vec![block.unwrap_or(Block::Text("x".into()))];
        let reply = Reply {
            blocks,
            finish,
            ..Reply::default()
        };
        let whole = whole(&reply);
        assert_eq!(whole["stop_reason"], want);
        assert_eq!(whole["content"], Value::from(message.content));
    }
}

#[test]
fn input_is_an_object_whatever_the_model_wrote() {
    for (written, want) in [
        (r#"{"a":[1]}"#, json!({"a": [1]})),
        ("", json!({})),
        ("null", json!({})),
        ("[1]", json!({})),
        (r#"{"a":"#, json!({})),
        ("{} {}", json!({})),
    ] {
        let arguments = Cow::Borrowed(written);
        let (id, name) = ("c".into(), "f".into());
        let block = Block::ToolCall {
            id,
            name,
            arguments,
        };
        let reply = Reply {
            blocks: vec![block],
            ..Reply::default()
        };
        assert_eq!(whole(&reply)["content"][0]["input"], want, "{written}");
    }
}

#[test]
fn shortened_names_come_back_whole() {
    let long = "n".repeat(70);
    let tools = format!(r#","tools":[{{"name":"{long}","input_schema":{{}}}}]"#);
    let body = format!(r#"{{"model":"team","messages":[{{"role":"user","content":"x"}}]{tools}}}"#);
    let (conversation, mut shown) = open(&call(&body), body.as_bytes(), SEED).unwrap();
    let short = conversation.tools[0].name.to_string();
    let block = Block::ToolCall {
        id: "c".into(),
        name: short.as_str().into(),
        arguments: "{}".into(),
    };
    let reply = Reply {
        blocks: vec![block],
        ..Reply::default()
    };
    let mut out = Vec::new();
    shown.reply(&reply, &mut out);
    let whole: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(whole["content"][0]["name"], long.as_str());
    for (name, want) in [(short.as_str(), long.as_str()), ("other", "other")] {
        let steps = [begun(0, "c", name), Step::Finish(Finish::ToolCalls)];
        let message = validate(&streamed_by(renderer(&tools), &steps));
        assert_eq!(message.content[0]["name"], want);
    }
}

#[test]
fn what_comes_amid_an_unfinished_call_waits_for_its_end() {
    let message = streamed(&[
        begun(0, "a", "f"),
        arguments(0, "{\"x\":\""),
        begun(1, "b", "g"),
        text("be"),
        arguments(1, "{\"y\""),
        text("side"),
        arguments(0, "}\"}"),
        arguments(1, ":2}"),
        text("after"),
        Step::Finish(Finish::ToolCalls),
    ]);
    let want = json!([
        {"type": "tool_use", "id": "a", "name": "f", "input": {"x": "}"}},
        {"type": "tool_use", "id": "b", "name": "g", "input": {"y": 2}},
        {"type": "text", "text": "besideafter"},
    ]);
    assert_eq!(Value::from(message.content), want);
}

#[test]
fn a_call_without_arguments_ends_with_the_answer() {
    let message = streamed(&[
        begun(0, "a", "f"),
        begun(1, "b", "g"),
        arguments(1, "{\"y\":2}"),
        Step::Finish(Finish::ToolCalls),
    ]);
    assert_eq!(message.content[0]["input"], json!({}));
    assert_eq!(message.content[1]["input"], json!({"y": 2}));
}

#[test]
fn too_much_behind_an_unfinished_call_fails_the_stream_once() {
    let piece = "x".repeat(WAITING_BYTES_MAX / 4);
    for more in [text(&piece), arguments(1, &piece), begun(2, &piece, "h")] {
        let mut steps = vec![begun(0, "a", "f"), begun(1, "b", "g")];
        steps.extend(std::iter::repeat_n(more, 5));
        steps.extend([arguments(0, "{}"), Step::Finish(Finish::Stop)]);
        let mut shown = renderer("");
        let mut out = Vec::new();
        for step in &steps {
            show(&mut *shown, step, &mut out);
        }
        let failure = shown.failure().unwrap();
        shown.end(&mut out);
        shown.cut(&failure, "req-1", &mut out);
        shown.end(&mut out);
        let message = validate(&out);
        assert_eq!(message.error.unwrap()["error"]["type"], "api_error");
        assert_eq!(message.stop_reason, None);
    }
}

#[test]
fn what_waited_and_was_shown_counts_no_more() {
    let piece = "x".repeat(WAITING_BYTES_MAX / 2);
    let mut steps = Vec::new();
    for index in 0..8 {
        steps.extend([begun(index, "a", "f"), text(&piece), arguments(index, "{}")]);
    }
    steps.push(Step::Finish(Finish::ToolCalls));
    assert_eq!(streamed(&steps).content.len(), 16);
}

#[test]
fn a_stream_that_fails_ends_in_an_error_event() {
    for steps in [
        &[][..],
        &[text("x")],
        &[begun(0, "a", "f"), arguments(0, "{")],
    ] {
        let mut shown = renderer("");
        let mut out = Vec::new();
        for step in steps {
            show(&mut *shown, step, &mut out);
        }
        shown.cut(&Rejection::StreamAborted, "req-1", &mut out);
        // Nothing follows, whatever happens.
        shown.cut(&Rejection::StreamAborted, "req-1", &mut out);
        shown.end(&mut out);
        show(&mut *shown, &text("late"), &mut out);
        let error = validate(&out).error.unwrap();
        assert_eq!(error["error"]["type"], "api_error");
        assert_eq!(error["request_id"], "req-1");
    }
}

#[test]
fn usage_is_the_same_whole_and_streamed_and_counts_nothing_twice() {
    let anthropic = Counts {
        prompt: 7,
        completion: 2,
        cache_creation: 5,
        cache_read: 4,
        ..Counts::default()
    };
    for (counts, input, created, read, output) in [(COUNTS, 6, 0, 3, 4), (anthropic, 7, 5, 4, 2)] {
        let reply = Reply {
            counts: Some(counts),
            ..Reply::default()
        };
        let want = json!({
            "input_tokens": input,
            "cache_creation_input_tokens": created,
            "cache_read_input_tokens": read,
            "output_tokens": output,
        });
        assert_eq!(whole(&reply)["usage"], want);
        for steps in [
            [text("x"), Step::Finish(Finish::Stop), Step::Usage(counts)],
            [Step::Usage(counts), text("x"), Step::Finish(Finish::Stop)],
        ] {
            assert_eq!(Value::from(streamed(&steps).usage), want);
        }
    }
}

/// Calls with arguments of all kinds, their pieces in any order between each other and text.
fn schedules() -> impl Strategy<Value = (Vec<String>, Vec<(usize, usize)>)> {
    let inputs = prop::collection::vec("[ -~é😀\n]{0,12}", 1..5).prop_map(|values| {
        let input = |value: &String| json!({"v": [value, {"w": value}]}).to_string();
        values.iter().map(input).collect::<Vec<_>>()
    });
    // Who goes on (calls, and text behind them), and by how many characters.
    (
        inputs,
        prop::collection::vec((0..6_usize, 1..9_usize), 0..60),
    )
}

proptest! {
    #[test]
    fn any_interleaving_gives_every_call_its_own_input((inputs, moves) in schedules()) {
        let mut left: Vec<Vec<char>> = inputs.iter().map(|input| input.chars().collect()).collect();
        let mut steps = Vec::new();
        let mut said = String::new();
        for index in 0..inputs.len() {
            steps.push(begun(index as u32, &format!("id{index}"), "f"));
        }
        for (who, by) in moves {
            match left.get_mut(who) {
                None => {
                    said.push('t');
                    steps.push(text("t"));
                }
                Some(rest) => {
                    let piece: String = rest.drain(..by.min(rest.len())).collect();
                    steps.push(arguments(who as u32, &piece));
                }
            }
        }
        for (index, rest) in left.into_iter().enumerate() {
            steps.push(arguments(index as u32, &rest.into_iter().collect::<String>()));
        }
        steps.push(Step::Finish(Finish::ToolCalls));
        let message = streamed(&steps);
        let calls: Vec<_> = message.content.iter().filter(|block| block["type"] == "tool_use").collect();
        prop_assert_eq!(calls.len(), inputs.len());
        for (index, (call, input)) in calls.iter().zip(&inputs).enumerate() {
            prop_assert_eq!(&call["id"], &json!(format!("id{index}")));
            prop_assert_eq!(&call["input"], &serde_json::from_str::<Value>(input).unwrap());
        }
        let texts = message.content.iter().filter_map(|block| block["text"].as_str());
        prop_assert_eq!(texts.collect::<String>(), said);
    }

    #[test]
    fn any_bytes_of_an_upstream_end_in_a_stream(pieces in prop::collection::vec((0..4_u32, any::<Vec<u8>>()), 0..20)) {
        let mut shown = renderer("");
        let mut out = Vec::new();
        for (index, bytes) in &pieces {
            let raw = Escaped::new(bytes);
            let index = *index;
            shown.delta(Delta::Arguments { index, json: raw }, &mut out);
            shown.delta(Delta::ToolCall { index, id: raw, name: raw }, &mut out);
            shown.delta(Delta::Text(raw), &mut out);
        }
        shown.end(&mut out);
        let is_ended = out.ends_with(b"data: {\"type\":\"message_stop\"}\n\n");
        prop_assert!(is_ended);
    }
}
