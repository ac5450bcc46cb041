//! Streams event by event, however they are framed and wherever they are cut. [pure]

use std::fmt::Write;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::bridge::record::UsageSource;
use crate::endpoint::{Endpoint, parse};
use crate::http::sse::{EVENT_BYTES_MAX, EventScanner};
use crate::route::fixture;

fn decoder() -> ChatDecoder {
    let body = br#"{"model":"team","messages":[{"role":"user","content":"12345678"}],"max_tokens":9,"stream":true}"#;
    let call = parse(Endpoint::ChatCompletions, body).unwrap();
    ChatDecoder::new(&call, &fixture::provider_key(json!({})))
}

/// One line; ids that the gateway made are not shown.
fn show(delta: Delta<'_>, out: &mut String) {
    let text = |text: Escaped<'_>| String::from_utf8(text.raw().to_vec()).unwrap();
    let line = match delta {
        Delta::Text(said) => format!("text {}", text(said)),
        Delta::Refusal(said) => format!("refusal {}", text(said)),
        Delta::Thinking(said) => format!("thinking {}", text(said)),
        Delta::ToolCall { index, id, name } => {
            let id = text(id);
            let minted = id.len() == 21 && id.starts_with("call_");
            let id = if minted { "call_*" } else { &id };
            format!("call {index} {id} {}", text(name))
        }
        Delta::Arguments { index, json } => format!("arguments {index} {}", text(json)),
        Delta::Finish(finish) => format!("finish {finish:?}"),
        Delta::Usage(counts) => format!(
            "usage {} {} {} cached {} reasoning {}",
            counts.prompt, counts.completion, counts.total, counts.cached_prompt, counts.reasoning
        ),
        other => panic!("{other:?}"),
    };
    writeln!(out, "{line}").unwrap();
}

/// What `upstream` says, cut into reads of `step` bytes.
fn decoded(decoder: &mut ChatDecoder, upstream: &[u8], step: usize) -> (String, Vec<Seen>) {
    let mut scanner = EventScanner::new(EVENT_BYTES_MAX);
    let (mut buffer, mut out, mut seen) = (Vec::new(), String::new(), Vec::new());
    for read in upstream.chunks(step) {
        buffer.extend_from_slice(read);
        while let Some(end) = scanner.next_event(&buffer).unwrap() {
            let event: Vec<u8> = buffer.drain(..end).collect();
            seen.push(
                decoder
                    .event(&event, &mut |delta| show(delta, &mut out))
                    .unwrap(),
            );
        }
    }
    if !buffer.is_empty() {
        seen.push(
            decoder
                .event(&buffer, &mut |delta| show(delta, &mut out))
                .unwrap(),
        );
    }
    decoder.finish(&mut |delta| show(delta, &mut out)).unwrap();
    out.push_str("end\n");
    (out, seen)
}

macro_rules! golden {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!(
                "../../../../tests/fixtures/openai/",
                $name,
                ".in.txt"
            )),
            include_str!(concat!(
                "../../../../tests/fixtures/openai/",
                $name,
                ".deltas.txt"
            )),
        )
    };
}

const GOLDEN: [(&str, &str, &str); 5] = [
    golden!("chat_stream"),
    golden!("choices_stream"),
    golden!("reasoning_stream"),
    golden!("tools_stream"),
    golden!("vendors_stream"),
];

#[test]
fn golden_streams_say_the_same_wherever_they_are_cut_and_however_lines_end() {
    for (name, upstream, want) in GOLDEN {
        for line_end in ["\n", "\r\n", "\r"] {
            let upstream = upstream.replace('\n', line_end);
            let mut learned = None;
            for step in 1..=upstream.len() {
                let mut decoder = decoder();
                let (out, _) = decoded(&mut decoder, upstream.as_bytes(), step);
                assert_eq!(out, want, "{name}, {line_end:?}, reads of {step}");
                assert!(decoder.is_done());
                let now = (
                    decoder.usage(),
                    decoder.id.clone(),
                    decoder.finish_reason.clone(),
                );
                assert_eq!(*learned.get_or_insert_with(|| now.clone()), now);
            }
        }
    }
}

#[test]
fn what_the_stream_says_about_itself_is_learned() {
    use Seen::{Chunk, Comment, Content, Done, Usage};
    let mut decoder = decoder();
    let (_, seen) = decoded(&mut decoder, GOLDEN[0].1.as_bytes(), 64);
    assert_eq!(seen, [Comment, Chunk, Content, Content, Chunk, Usage, Done]);
    let usage = decoder.usage();
    assert_eq!(usage.source, UsageSource::Reported);
    assert_eq!((usage.prompt, usage.completion, usage.total), (9, 4, 13));
    assert_eq!((usage.cached_prompt, usage.reasoning), (5, 1));
    assert_eq!(decoder.provider_request_id(), Some("chatcmpl-1"));
    assert_eq!(decoder.finish_reason(), Some("stop"));
    let late = decoder.event(b"data: x\n\n", &mut |_| panic!("late"));
    assert_eq!(late.unwrap(), Seen::Late);
}

/// What one payload after another says to a fresh decoder.
fn said(payloads: &[&str]) -> Result<String, Rejection> {
    let (mut decoder, mut out) = (decoder(), String::new());
    for payload in payloads {
        let event = format!("data: {payload}\n\n");
        decoder.event(event.as_bytes(), &mut |delta| show(delta, &mut out))?;
    }
    decoder.finish(&mut |delta| show(delta, &mut out))?;
    Ok(out)
}

fn delta(members: &str) -> String {
    format!(r#"{{"choices":[{{"index":0,"delta":{{{members}}}}}]}}"#)
}

#[test]
fn an_end_without_done_is_complete_only_after_a_finish_reason() {
    let text = delta(r#""content":"x""#);
    assert_eq!(said(&[&text]).unwrap_err().kind(), "stream_aborted");
    assert_eq!(said(&[]).unwrap_err().kind(), "stream_aborted");
    let end = r#"{"choices":[{"delta":{},"finish_reason":"length"}]}"#;
    assert_eq!(said(&[&text, end]).unwrap(), "text x\nfinish Length\n");
    assert_eq!(said(&[&text, "[DONE]"]).unwrap(), "text x\nfinish Stop\n");
}

#[test]
fn errors_inside_a_stream_end_it() {
    for (payload, status, kind) in [
        (
            r#"{"error":{"message":"busy","code":429}}"#,
            429,
            "upstream_error",
        ),
        (r#"{"error":"busy"}"#, 502, "upstream_error"),
        (
            r#"{"choices":[{"delta":{"content":"x"},"finish_reason":"error"}],"error":{"code":502}}"#,
            502,
            "upstream_error",
        ),
        ("oops", 502, "upstream_decode_error"),
        (r#"{"choices":[}"#, 502, "upstream_decode_error"),
        (r#"{"hello":1}"#, 502, "upstream_decode_error"),
    ] {
        let mut decoder = decoder();
        let event = format!("data: {payload}\n\n");
        let told = decoder.event(event.as_bytes(), &mut |delta| panic!("{delta:?}"));
        let rejection = told.unwrap_err();
        assert_eq!(
            (rejection.status(), rejection.kind()),
            (status, kind),
            "{payload}"
        );
    }
    for fine in [
        r#"{"choices":[],"error":null}"#,
        r#"{"choices":[],"error":{}}"#,
    ] {
        assert_eq!(said(&[fine, "[DONE]"]).unwrap(), "finish Stop\n");
    }
}

#[test]
fn arguments_wait_for_id_and_name_up_to_a_bound() {
    let piece = |members: &str| delta(&format!(r#""tool_calls":[{{"index":0,{members}}}]"#));
    let held = piece(r#""function":{"arguments":"{"}"#);
    let named = piece(r#""function":{"name":"f"}"#);
    let known = piece(r#""id":"x","function":{"arguments":"}"}"#);
    let want = "call 0 x f\narguments 0 {\narguments 0 }\nfinish ToolCalls\n";
    assert_eq!(said(&[&held, &named, &known, "[DONE]"]).unwrap(), want);
    // Some vendors repeat id and name in every piece.
    let whole = piece(r#""id":"x","function":{"name":"f","arguments":"1"}"#);
    let want = "call 0 x f\narguments 0 1\narguments 0 1\nfinish ToolCalls\n";
    assert_eq!(said(&[&whole, &whole, "[DONE]"]).unwrap(), want);
    assert_eq!(
        said(&[&held, "[DONE]"]).unwrap_err().kind(),
        "upstream_decode_error"
    );
    let nothing = piece(r#""id":"","function":{"arguments":""}"#);
    assert_eq!(said(&[&nothing, "[DONE]"]).unwrap(), "finish Stop\n");

    let long = piece(&format!(
        r#""function":{{"arguments":"{}"}}"#,
        "1".repeat(600_000)
    ));
    assert_eq!(
        said(&[&long, &long]).unwrap_err().kind(),
        "upstream_decode_error"
    );
    let told = said(&[&named, &known, &long, &long, "[DONE]"]).unwrap();
    assert!(told.len() > 1_200_000, "what is told is not held");
    let calls: Vec<String> = (0..257)
        .map(|index| {
            delta(&format!(
                r#""tool_calls":[{{"index":{index},"id":"c{index}","function":{{"name":"f"}}}}]"#
            ))
        })
        .collect();
    let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
    assert!(said(&calls).is_err_and(|rejection| rejection.kind() == "upstream_decode_error"));
}

#[test]
fn legacy_function_calls_are_calls() {
    let begin =
        delta(r#""role":"assistant","content":null,"function_call":{"name":"f","arguments":""}"#);
    let more = delta(r#""function_call":{"arguments":"{}"}"#);
    let end = r#"{"choices":[{"delta":{},"finish_reason":"function_call"}]}"#;
    let want = "call 0 call_* f\narguments 0 {}\nfinish ToolCalls\n";
    assert_eq!(said(&[&begin, &more, end]).unwrap(), want);
}

#[test]
fn bytes_that_are_no_text_are_replaced() {
    let (mut decoder, mut out) = (decoder(), String::new());
    let event = b"data: {\"choices\":[{\"delta\":{\"content\":\"a\xffb\"}}]}\n\n";
    decoder
        .event(event, &mut |delta| show(delta, &mut out))
        .unwrap();
    assert_eq!(out, "text a\u{fffd}b\n");
}

#[test]
fn usage_is_estimated_where_it_is_missing() {
    let mut decoder = decoder();
    assert_eq!((decoder.usage().prompt, decoder.usage().completion), (2, 0));
    let event = format!(
        "data: {}\n\n",
        delta(r#""content":"12345","reasoning":"6789""#)
    );
    decoder.event(event.as_bytes(), &mut |_| {}).unwrap();
    assert_eq!(decoder.usage().completion, 3);
    assert_eq!(decoder.usage().source, UsageSource::Estimated);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..120), which in 0..GOLDEN.len(), at in any::<prop::sample::Index>()) {
        let mut decoder = decoder();
        let _ = decoder.event(&bytes, &mut |_| {});
        let mut stream = GOLDEN[which].1.as_bytes().to_vec();
        let at = at.index(stream.len());
        stream.splice(at..at, bytes);
        let mut scanner = EventScanner::new(EVENT_BYTES_MAX);
        while let Ok(Some(end)) = scanner.next_event(&stream) {
            let event: Vec<u8> = stream.drain(..end).collect();
            if decoder.event(&event, &mut |_| {}).is_err() {
                break;
            }
        }
        let _ = decoder.finish(&mut |_| {});
    }
}
