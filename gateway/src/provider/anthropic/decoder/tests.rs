//! Streams delta by delta, however they are framed and wherever they are cut. [pure]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::bridge::record::UsageSource;
use crate::endpoint::{Endpoint, parse};
use crate::http::sse::{EVENT_BYTES_MAX, EventScanner};
use crate::route::fixture;

const GOLDEN: [(&str, &str); 3] = [
    (
        include_str!("../../../../tests/fixtures/anthropic/text_stream.in.txt"),
        include_str!("../../../../tests/fixtures/anthropic/text_stream.deltas.txt"),
    ),
    (
        include_str!("../../../../tests/fixtures/anthropic/tools_stream.in.txt"),
        include_str!("../../../../tests/fixtures/anthropic/tools_stream.deltas.txt"),
    ),
    (
        include_str!("../../../../tests/fixtures/anthropic/thinking_stream.in.txt"),
        include_str!("../../../../tests/fixtures/anthropic/thinking_stream.deltas.txt"),
    ),
];
const ERROR: &str = include_str!("../../../../tests/fixtures/anthropic/error_stream.in.txt");

fn decoder() -> MessagesDecoder {
    let body = br#"{"model":"team","messages":[{"role":"user","content":"12345678"}]}"#;
    let call = parse(Endpoint::ChatCompletions, body).unwrap();
    MessagesDecoder::new(&call, &fixture::provider_key(json!({})))
}

/// A delta as one line.
fn line(delta: &Delta<'_>) -> String {
    let text = |escaped: &Escaped<'_>| {
        let mut out = Vec::new();
        escaped.write(&mut out);
        String::from_utf8(out).unwrap()
    };
    match delta {
        Delta::Text(part) => format!("text {}\n", text(part)),
        Delta::Refusal(part) => format!("refusal {}\n", text(part)),
        Delta::Thinking(part) => format!("thinking {}\n", text(part)),
        Delta::Signature(part) => format!("signature {}\n", text(part)),
        Delta::RedactedThinking(part) => format!("redacted {}\n", text(part)),
        Delta::ToolCall { index, id, name } => {
            format!("tool {index} {} {}\n", text(id), text(name))
        }
        Delta::Arguments { index, json } => format!("arguments {index} {}\n", text(json)),
        Delta::Finish(finish) => format!("finish {finish:?}\n"),
        Delta::Usage(counts) => format!(
            "usage prompt {} completion {} total {} written {} read {}\n",
            counts.prompt,
            counts.completion,
            counts.total,
            counts.cache_creation,
            counts.cache_read
        ),
    }
}

/// What is decoded of `upstream`, cut into reads of `step` bytes, and how it ended.
fn decoded(
    decoder: &mut MessagesDecoder,
    upstream: &[u8],
    step: usize,
) -> (String, Result<(), Rejection>) {
    let mut scanner = EventScanner::new(EVENT_BYTES_MAX);
    let (mut buffer, mut lines) = (Vec::new(), String::new());
    let mut emit = |delta: Delta<'_>| lines.push_str(&line(&delta));
    let mut end = Ok(());
    'reads: for read in upstream.chunks(step) {
        buffer.extend_from_slice(read);
        while let Some(length) = scanner.next_event(&buffer).unwrap() {
            end = decoder.event(&buffer[..length], &mut emit).map(|_| ());
            if end.is_err() {
                break 'reads;
            }
            buffer.drain(..length);
        }
    }
    if end.is_ok() && !buffer.is_empty() {
        end = decoder.event(&buffer, &mut emit).map(|_| ());
    }
    let end = end.and_then(|()| decoder.finish(&mut emit));
    (lines, end)
}

/// What is decoded of `payloads`, one an event.
fn of(payloads: &[&str]) -> (String, Result<(), Rejection>) {
    let events: String = payloads
        .iter()
        .map(|payload| format!("data: {payload}\n\n"))
        .collect();
    decoded(&mut decoder(), events.as_bytes(), usize::MAX)
}

#[test]
fn golden_streams_are_decoded_the_same_wherever_they_are_cut_and_however_lines_end() {
    for (upstream, want) in GOLDEN {
        for line_end in ["\n", "\r\n", "\r"] {
            let upstream = upstream.replace('\n', line_end);
            for step in 1..=upstream.len() {
                let mut decoder = decoder();
                let (lines, end) = decoded(&mut decoder, upstream.as_bytes(), step);
                end.unwrap();
                assert_eq!(lines, want, "{line_end:?}, reads of {step}");
                assert!(decoder.is_done());
                assert_eq!(decoder.usage().source, UsageSource::Reported);
            }
        }
    }
}

#[test]
fn what_the_stream_says_about_itself_is_learned() {
    let mut decoder = decoder();
    decoded(&mut decoder, GOLDEN[1].0.as_bytes(), 64).1.unwrap();
    let usage = decoder.usage();
    assert_eq!(
        (usage.prompt, usage.completion, usage.total),
        (472, 89, 561)
    );
    assert_eq!(
        decoder.provider_request_id(),
        Some("msg_014p7gG3wDgGV9EUtLvnow3U")
    );
    assert_eq!(decoder.finish_reason(), Some("tool_use"));
    let late = decoder.event(b"data: x\n\n", &mut |_| panic!("after the end"));
    assert_eq!(late.unwrap(), Seen::Late);
}

#[test]
fn odd_streams_are_understood() {
    const STOP: &str = r#"{"type":"message_stop"}"#;
    const TOOL: &str = r#"{"type":"content_block_start","index":7,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#;
    const MORE: &str = r#"{"type":"content_block_delta","index":7,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#;
    const TEXT: &str =
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}}"#;
    const DELTA: &str = r#"{"type":"message_delta","delta":{"stop_reason":"refusal"}}"#;
    for (payloads, want) in [
        (&[STOP][..], "finish Stop\n"),
        // Without an end of the block, and with a report that comes twice.
        (
            &[TOOL, DELTA, DELTA, STOP],
            "tool 0 t f\narguments 0 {}\nfinish ContentFilter\n",
        ),
        (
            &[TOOL, MORE, STOP],
            "tool 0 t f\narguments 0 {}\nfinish Stop\n",
        ),
        (
            &[TOOL, TOOL, MORE, STOP],
            "tool 0 t f\narguments 0 {}\ntool 1 t f\narguments 1 {}\nfinish Stop\n",
        ),
        (&[MORE, STOP], "finish Stop\n"),
        (&[DELTA, TEXT, TOOL, STOP], "finish ContentFilter\n"),
        (
            &[
                r#"{"type":"message_delta","delta":{"stop_reason":null},"usage":{"output_tokens":3}}"#,
                STOP,
            ],
            "usage prompt 0 completion 3 total 3 written 0 read 0\nfinish Stop\n",
        ),
        (
            &[
                r#"{"type":"content_block_start","content_block":{"type":"text","text":"a"}}"#,
                TEXT,
                STOP,
            ],
            "text a\ntext x\nfinish Stop\n",
        ),
        (
            &[
                r#"{"type":"content_block_start","content_block":{"type":"thinking","thinking":"a","signature":"s"}}"#,
                STOP,
            ],
            "thinking a\nsignature s\nfinish Stop\n",
        ),
    ] {
        let (lines, end) = of(payloads);
        end.unwrap();
        assert_eq!(lines, want);
    }
    let mut lines = String::new();
    let mut emit = |delta: Delta<'_>| lines.push_str(&line(&delta));
    let (before, after) = TEXT.split_once(r#""x""#).unwrap();
    let broken = [
        b"data: ",
        before.as_bytes(),
        b"\"\xff\"",
        after.as_bytes(),
        b"\n\n",
    ]
    .concat();
    decoder().event(&broken, &mut emit).unwrap();
    assert_eq!(lines, "text \u{fffd}\n");
}

#[test]
fn an_error_event_ends_the_stream_and_an_early_end_is_no_end() {
    let (lines, end) = decoded(&mut decoder(), ERROR.as_bytes(), 50);
    let rejection = end.unwrap_err();
    assert_eq!((rejection.status(), rejection.code()), (503, "overloaded"));
    assert!(lines.ends_with("text Hello\n"), "{lines}");
    let cut = GOLDEN[0].0.split("event: message_stop").next().unwrap();
    let (lines, end) = decoded(&mut decoder(), cut.as_bytes(), 50);
    assert_eq!(end.unwrap_err().kind(), "stream_aborted");
    assert!(lines.contains("finish Stop\n"), "{lines}");
    for payload in [
        "oops",
        "[]",
        r#"{"type":"content_block_start","content_block":{"type":"tool_use","id":"","name":"f"}}"#,
        r#"{"type":"content_block_start","content_block":{"type":"tool_use","id":"t"}}"#,
    ] {
        assert_eq!(
            of(&[payload]).1.unwrap_err().kind(),
            "upstream_decode_error",
            "{payload}"
        );
    }
}

#[test]
fn the_number_of_tool_calls_is_bounded() {
    let mut decoder = decoder();
    let event = b"data: {\"type\":\"content_block_start\",\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\"}}\n\n";
    for _ in 0..CALLS_MAX {
        decoder.event(event, &mut |_| {}).unwrap();
    }
    let rejection = decoder.event(event, &mut |_| {}).unwrap_err();
    assert_eq!(rejection.kind(), "upstream_decode_error");
}

/// Events made of the members the decoder looks at, in any order and number, sound or not.
fn payload() -> impl Strategy<Value = String> {
    let member = prop::sample::select(vec![
        r#""type":"message_start""#,
        r#""type":"content_block_start""#,
        r#""type":"content_block_delta""#,
        r#""type":"content_block_stop""#,
        r#""type":"message_delta""#,
        r#""type":7"#,
        r#""message":{"usage":{"input_tokens":1}}"#,
        r#""index":1"#,
        r#""content_block":{"type":"tool_use","id":"t","name":"f","input":[]}"#,
        r#""delta":{"type":"input_json_delta","partial_json":"{"}"#,
        r#""delta":{"type":"text_delta","text":"é"}"#,
        r#""delta":{"type":"text_delta","text":7}"#,
        r#""delta":{"stop_reason":"end_turn"}"#,
        r#""usage":{"output_tokens":1}"#,
    ]);
    prop::collection::vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(",")))
}

proptest! {
    #[test]
    fn deltas_keep_their_order(payloads in prop::collection::vec(payload(), 0..12)) {
        let payloads: Vec<&str> = payloads.iter().map(String::as_str).collect();
        let (lines, _) = of(&payloads);
        let mut calls = 0;
        let mut finished = false;
        for line in lines.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            prop_assert!(!finished || words[0] == "usage", "{lines}");
            match words[0] {
                "tool" => {
                    prop_assert_eq!(words[1], calls.to_string());
                    calls += 1;
                }
                "arguments" => prop_assert!(words[1].parse::<u32>().unwrap() < calls),
                "finish" => finished = true,
                _ => {}
            }
        }
    }

    #[test]
    fn no_bytes_reach_a_panic(event in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut decoder = decoder();
        _ = decoder.event(&event, &mut |_| {});
        _ = decoder.event(&[b"data: ", &event[..], b"\n\n"].concat(), &mut |_| {});
    }
}
