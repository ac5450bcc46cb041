//! Deltas as chunks, every stream held against the strict reader. [pure]

#[path = "../../../../tests/support/validate/chat.rs"]
mod validate;

use proptest::prelude::*;

use super::*;
use crate::canonical::Renderer;
use crate::endpoint::{Endpoint, parse};
use crate::rejection::Rejection;

const SEED: Seed = Seed {
    created_unix_s: 1_767_000_000,
    hex: *b"0123456789abcdef0123456789abcdef",
};

fn call(asked: bool) -> Call {
    let options = if asked {
        r#","stream_options":{"include_usage":true}"#
    } else {
        ""
    };
    let body =
        format!(r#"{{"model":"te\"am","messages":[{{"role":"user"}}],"stream":true{options}}}"#);
    parse(Endpoint::ChatCompletions, body.as_bytes()).unwrap()
}

fn rendered(asked: bool, deltas: Vec<Delta<'_>>) -> String {
    let (mut chunks, mut out) = (Chunks::new(&call(asked), SEED), Vec::new());
    for delta in deltas {
        chunks.delta(delta, &mut out);
    }
    chunks.end(&mut out);
    String::from_utf8(out).unwrap()
}

fn text(text: &str) -> Escaped<'_> {
    Escaped::new(text.as_bytes())
}

fn begin(index: u32, id: &str) -> Delta<'_> {
    Delta::ToolCall {
        index,
        id: text(id),
        name: text("f"),
    }
}

fn argue(index: u32, json: &str) -> Delta<'_> {
    Delta::Arguments {
        index,
        json: text(json),
    }
}

fn counts() -> Counts {
    Counts {
        prompt: 20,
        completion: 7,
        total: 27,
        ..Counts::default()
    }
}

fn whole() -> Vec<Delta<'static>> {
    vec![
        Delta::Usage(Counts {
            completion: 1,
            ..counts()
        }),
        Delta::Thinking(text("h\\n")),
        Delta::Thinking(text("m")),
        Delta::Signature(text("s1")),
        Delta::RedactedThinking(text("data")),
        Delta::Text(text("a\\\"")),
        Delta::Text(text("")),
        Delta::Text(text("b\nc")),
        begin(0, "x"),
        argue(0, "{\\\"a\\\":"),
        argue(0, ""),
        argue(0, "1}"),
        begin(1, "y"),
        Delta::Usage(counts()),
        Delta::Finish(Finish::ToolCalls),
    ]
}

/// The golden file holds the payloads, a line each.
#[test]
fn deltas_come_out_as_the_golden_file_says() {
    let golden = include_str!("../../../../tests/fixtures/chat/stream.out.txt");
    let lines = golden.lines().filter(|line| !line.starts_with('#'));
    let want: String = lines.map(|line| format!("data: {line}\n\n")).collect();
    assert_eq!(rendered(true, whole()), want);
}

#[test]
fn a_caller_gets_what_was_said() {
    let answer = validate::read(&rendered(true, whole())).unwrap();
    assert_eq!((&*answer.content, &*answer.reasoning), ("a\"b\nc", "h\nm"));
    let call = |id: &str, json: &str| (id.to_owned(), "f".to_owned(), json.to_owned());
    assert_eq!(answer.calls, [call("x", "{\"a\":1}"), call("y", "{}")]);
    let signed = (Some("h\nm".to_owned()), "s1".to_owned());
    assert_eq!(answer.thinking, [signed, (None, "data".to_owned())]);
    assert_eq!(answer.finish.as_deref(), Some("tool_calls"));
    assert_eq!(answer.usage.unwrap()["total_tokens"], 27);
    assert!(
        validate::read(&rendered(false, whole()))
            .unwrap()
            .usage
            .is_none()
    );
}

#[test]
fn every_end_is_complete() {
    for (deltas, finish, refusal) in [
        (vec![], "stop", ""),
        (vec![Delta::Text(text("x"))], "stop", ""),
        (vec![Delta::Finish(Finish::Length)], "length", ""),
        (
            vec![
                Delta::Refusal(text("no")),
                Delta::Finish(Finish::ContentFilter),
            ],
            "content_filter",
            "no",
        ),
        (
            vec![Delta::Finish(Finish::Other("e\"os".into()))],
            "e\"os",
            "",
        ),
    ] {
        let answer = validate::read(&rendered(true, deltas)).unwrap();
        assert_eq!(answer.finish.as_deref(), Some(finish));
        assert_eq!(answer.refusal, refusal);
        assert!(answer.usage.is_none(), "what nobody reported is not shown");
    }
}

#[test]
fn a_cut_stream_ends_in_an_error() {
    let mut chat = super::super::Chat::new(&call(false), SEED);
    let mut out = Vec::new();
    chat.delta(Delta::Text(text("half")), &mut out);
    chat.cut(&Rejection::StreamAborted, "req-1", &mut out);
    let answer = validate::read(&String::from_utf8(out).unwrap()).unwrap();
    assert_eq!(answer.content, "half");
    assert_eq!(answer.error.unwrap()["type"], "stream_aborted");
}

/// What a decoder may say, in any order that the contract allows.
fn said() -> impl Strategy<Value = Vec<(u8, String)>> {
    prop::collection::vec((0_u8..7, "[ -~\n]{0,6}"), 0..20)
}

proptest! {
    #[test]
    fn every_stream_is_sound_and_loses_nothing(said in said(), asked in any::<bool>()) {
        let (mut chunks, mut out) = (Chunks::new(&call(asked), SEED), Vec::new());
        let (mut content, mut reasoning, mut calls) = (String::new(), String::new(), 0_u32);
        for (what, words) in &said {
            let mut escaped = Vec::new();
            write_escaped(words, &mut escaped);
            let escaped = Escaped::new(&escaped);
            let id = format!("call_{calls}");
            let delta = match what {
                0 => { content.push_str(words); Delta::Text(escaped) }
                1 => { reasoning.push_str(words); Delta::Thinking(escaped) }
                2 => Delta::Signature(escaped),
                3 => Delta::RedactedThinking(escaped),
                4 => { calls += 1; begin(calls - 1, &id) }
                5 => Delta::Usage(counts()),
                _ => Delta::Refusal(escaped),
            };
            chunks.delta(delta, &mut out);
        }
        let finish = if calls > 0 { Finish::ToolCalls } else { Finish::Stop };
        chunks.delta(Delta::Finish(finish), &mut out);
        chunks.end(&mut out);
        let answer = validate::read(&String::from_utf8(out).unwrap());
        let answer = answer.map_err(TestCaseError::fail)?;
        prop_assert_eq!(answer.content, content);
        prop_assert_eq!(answer.reasoning, reasoning);
        prop_assert_eq!(answer.calls.len(), calls as usize);
    }
}
