//! Streams event by event, however they are framed and wherever they are cut. [pure]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::bridge::record::UsageSource;
use crate::endpoint::parse;
use crate::http::sse::{EVENT_BYTES_MAX, EventScanner};
use crate::route::fixture;

const CHAT: &str =
    r#"{"model":"team","messages":[{"role":"user","content":"12345678"}],"stream":true}"#;
const ASKED: &str = r#"{"model":"team","messages":[{"role":"user","content":"12345678"}],"stream":true,"stream_options":{"include_usage":true}}"#;

fn reader(endpoint: Endpoint, body: &str, key: serde_json::Value) -> ChatReader {
    let call = parse(endpoint, body.as_bytes()).unwrap();
    ChatReader::new(&call, &fixture::provider_key(key))
}

fn chat() -> ChatReader {
    reader(Endpoint::ChatCompletions, CHAT, json!({}))
}

/// What a caller gets of `upstream`, cut into reads of `step` bytes, and what the reader learned.
fn relayed(reader: &mut ChatReader, upstream: &[u8], step: usize) -> (String, Vec<Seen>) {
    let mut scanner = EventScanner::new(EVENT_BYTES_MAX);
    let (mut buffer, mut out, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    for read in upstream.chunks(step) {
        buffer.extend_from_slice(read);
        while let Some(end) = scanner.next_event(&buffer).unwrap() {
            seen.push(reader.event(&buffer[..end], &mut out).unwrap());
            buffer.drain(..end);
        }
    }
    if !buffer.is_empty() {
        seen.push(reader.event(&buffer, &mut out).unwrap());
    }
    reader.finish(&mut out).unwrap();
    (String::from_utf8(out).unwrap(), seen)
}

/// One event's outcome from a fresh reader.
fn one(reader: &mut ChatReader, payload: &str) -> (String, Seen) {
    let mut out = Vec::new();
    let event = format!("data: {payload}\n\n");
    let seen = reader.event(event.as_bytes(), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let payload = text
        .strip_prefix("data: ")
        .and_then(|t| t.strip_suffix("\n\n"));
    (payload.unwrap_or_default().to_owned(), seen)
}

const GOLDEN: [(&str, &str, &str, &str); 4] = [
    (
        "chat",
        CHAT,
        include_str!("../../../../tests/fixtures/openai/chat_stream.in.txt"),
        include_str!("../../../../tests/fixtures/openai/chat_stream.out.txt"),
    ),
    (
        "chat, usage asked",
        ASKED,
        include_str!("../../../../tests/fixtures/openai/chat_stream.in.txt"),
        include_str!("../../../../tests/fixtures/openai/chat_stream_usage.out.txt"),
    ),
    (
        "reasoning",
        CHAT,
        include_str!("../../../../tests/fixtures/openai/reasoning_stream.in.txt"),
        include_str!("../../../../tests/fixtures/openai/reasoning_stream.out.txt"),
    ),
    (
        "several choices",
        CHAT,
        include_str!("../../../../tests/fixtures/openai/choices_stream.in.txt"),
        include_str!("../../../../tests/fixtures/openai/choices_stream.out.txt"),
    ),
];

#[test]
fn golden_streams_come_out_the_same_wherever_they_are_cut_and_however_lines_end() {
    for (name, body, upstream, want) in GOLDEN {
        for line_end in ["\n", "\r\n", "\r"] {
            let framed = |text: &str| text.replace('\n', line_end);
            let upstream = framed(upstream);
            let mut learned = None;
            for step in 1..=upstream.len() {
                let mut reader = reader(Endpoint::ChatCompletions, body, json!({}));
                let (out, _) = relayed(&mut reader, upstream.as_bytes(), step);
                assert_eq!(out, framed(want), "{name}, {line_end:?}, reads of {step}");
                let now = (
                    reader.usage(),
                    reader.id.clone(),
                    reader.finish_reason.clone(),
                );
                assert_eq!(*learned.get_or_insert_with(|| now.clone()), now);
            }
        }
    }
}

#[test]
fn what_the_stream_says_about_itself_is_learned() {
    let mut reader = chat();
    let (_, seen) = relayed(&mut reader, GOLDEN[0].2.as_bytes(), 64);
    use Seen::{Chunk, Comment, Content, Done, Usage};
    assert_eq!(seen, [Comment, Chunk, Content, Content, Chunk, Usage, Done]);
    let usage = reader.usage();
    assert_eq!(usage.source, UsageSource::Reported);
    assert_eq!((usage.prompt, usage.completion, usage.total), (9, 4, 13));
    assert_eq!((usage.cached_prompt, usage.reasoning), (5, 1));
    assert_eq!(reader.provider_request_id(), Some("chatcmpl-1"));
    assert_eq!(reader.finish_reason(), Some("stop"));
    assert!(reader.is_done());
    let mut out = Vec::new();
    assert_eq!(reader.event(b"data: x\n\n", &mut out).unwrap(), Seen::Late);
    assert!(out.is_empty());
}

#[test]
fn only_the_model_and_unasked_usage_are_touched() {
    for (payload, want) in [
        (
            r#"{"id":"a","model":"up","choices":[{"delta":{"content":"x"}}]}"#,
            r#"{"id":"a","model":"team","choices":[{"delta":{"content":"x"}}]}"#,
        ),
        (
            r#"{ "choices":[ {"delta":{"content":"x"}, "logprobs":NaN} ],"x":1.0e5 , "model" : "up"}"#,
            r#"{ "choices":[ {"delta":{"content":"x"}, "logprobs":NaN} ],"x":1.0e5 , "model" : "team"}"#,
        ),
        (
            r#"{"model":"team","choices":[{"delta":{"content":"x"}}]}"#,
            "",
        ),
        (r#"{"choices":[{"delta":{"content":"x"}}]}"#, ""),
        (
            r#"{"model":null,"choices":[{"delta":{"role":"assistant"}}]}"#,
            r#"{"model":"team","choices":[{"delta":{"role":"assistant"}}]}"#,
        ),
        (
            r#"{"choices":[{"delta":{"content":"x"}}],"usage":null}"#,
            "",
        ),
        (
            r#"{"choices":[{"delta":{"content":"x"}}],"usage":{"prompt_tokens":1},"a":1}"#,
            r#"{"choices":[{"delta":{"content":"x"}}],"a":1}"#,
        ),
        (
            r#"{"choices":[{"delta":{"content":"x"}}] , "usage" : {"prompt_tokens":1}}"#,
            r#"{"choices":[{"delta":{"content":"x"}}]}"#,
        ),
        (
            r#"{"usage":{"prompt_tokens":1}, "choices":[{"delta":{"content":"x"}}]}"#,
            r#"{"choices":[{"delta":{"content":"x"}}]}"#,
        ),
        (
            r#"{"model":"up","usage":{"prompt_tokens":1},"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
            r#"{"model":"team","choices":[{"delta":{},"finish_reason":"stop"}]}"#,
        ),
        (r#"{"choices":[],"prompt_filter_results":[]}"#, ""),
    ] {
        let want = if want.is_empty() { payload } else { want };
        assert_eq!(one(&mut chat(), payload).0, want);
    }
    for payload in [
        r#"{"choices":[],"usage":{"prompt_tokens":1}}"#,
        r#"{"usage":{"prompt_tokens":1}}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":null}],"usage":{"prompt_tokens":1}}"#,
    ] {
        assert_eq!(one(&mut chat(), payload), (String::new(), Seen::Usage));
        let mut asked = reader(Endpoint::ChatCompletions, ASKED, json!({}));
        assert_eq!(one(&mut asked, payload), (payload.to_owned(), Seen::Usage));
    }
}

#[test]
fn odd_framing_is_kept_and_a_missing_blank_line_added() {
    let chunk = r#"{"model":"up","choices":[]}"#;
    let named = r#"{"model":"team","choices":[]}"#;
    for (event, want) in [
        (format!("data:{chunk}\n\n"), format!("data:{named}\n\n")),
        (
            format!(": hi\nid: 7\ndata:  {chunk} \nretry: 1\n\n"),
            format!(": hi\nid: 7\ndata:  {named} \nretry: 1\n\n"),
        ),
        (
            format!("\u{feff}data: {chunk}\r\n\r\n"),
            format!("\u{feff}data: {named}\r\n\r\n"),
        ),
        (format!("data: {chunk}"), format!("data: {named}\n\n")),
        ("data: [DONE]".to_owned(), "data: [DONE]\n\n".to_owned()),
        (":\n\n".to_owned(), ":\n\n".to_owned()),
        ("\n".to_owned(), "\n".to_owned()),
        ("data:\n\n".to_owned(), "data:\n\n".to_owned()),
        (
            "event: x\r\ndata: {\"model\":\r\ndata: \"up\",\"choices\":[]}\r\n\r\n".to_owned(),
            "event: x\r\ndata: {\"model\":\r\ndata: \"team\",\"choices\":[]}\r\n\r\n".to_owned(),
        ),
        (
            "data: {\"choices\":\ndata: []}\n\n".to_owned(),
            "data: {\"choices\":\ndata: []}\n\n".to_owned(),
        ),
    ] {
        let mut out = Vec::new();
        chat().event(event.as_bytes(), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }
}

#[test]
fn errors_inside_a_stream_end_it_and_nothing_of_them_is_relayed() {
    for (payload, status, kind) in [
        (
            r#"{"error":{"message":"busy","code":429}}"#,
            429,
            "upstream_error",
        ),
        (
            r#"{"error":{"message":"busy","code":503}}"#,
            502,
            "upstream_error",
        ),
        (r#"{"error":"busy"}"#, 502, "upstream_error"),
        (
            r#"{"id":"x","choices":[{"delta":{"content":""},"finish_reason":"error"}],"error":{"code":502}}"#,
            502,
            "upstream_error",
        ),
        ("oops", 502, "upstream_decode_error"),
        ("[]", 502, "upstream_decode_error"),
        (r#"{"choices":[}"#, 502, "upstream_decode_error"),
        (r#"{"choices":[]} x"#, 502, "upstream_decode_error"),
        (r#"{"hello":1}"#, 502, "upstream_decode_error"),
    ] {
        let mut out = Vec::new();
        let event = format!("data: {payload}\n\n");
        let rejection = chat().event(event.as_bytes(), &mut out).unwrap_err();
        assert_eq!(
            (rejection.status(), rejection.kind()),
            (status, kind),
            "{payload}"
        );
        assert!(out.is_empty());
    }
    for fine in [
        r#"{"choices":[],"error":null}"#,
        r#"{"choices":[],"error":{}}"#,
        r#"{"choices":[],"error":""}"#,
    ] {
        assert_eq!(one(&mut chat(), fine), (fine.to_owned(), Seen::Chunk));
    }
}

#[test]
fn an_end_without_done_is_complete_only_after_a_finish_reason() {
    let mut cut = chat();
    one(&mut cut, r#"{"choices":[{"delta":{"content":"x"}}]}"#);
    let mut out = Vec::new();
    assert_eq!(cut.finish(&mut out).unwrap_err().kind(), "stream_aborted");
    assert!(out.is_empty());
    assert_eq!(
        chat().finish(&mut out).unwrap_err().kind(),
        "stream_aborted"
    );
    one(
        &mut cut,
        r#"{"choices":[{"delta":{},"finish_reason":"length"}]}"#,
    );
    cut.finish(&mut out).unwrap();
    assert_eq!(out, b"data: [DONE]\n\n");
    cut.finish(&mut out).unwrap();
    assert_eq!(out, b"data: [DONE]\n\n");
}

#[test]
fn usage_is_merged_by_maximum_and_estimated_where_it_is_missing() {
    let mut stream = chat();
    assert_eq!(stream.usage().source, UsageSource::Estimated);
    assert_eq!((stream.usage().prompt, stream.usage().completion), (2, 0));
    one(
        &mut stream,
        r#"{"choices":[{"delta":{"content":"12345"}}]}"#,
    );
    assert_eq!((stream.usage().prompt, stream.usage().completion), (2, 2));
    one(
        &mut stream,
        r#"{"choices":[{"delta":{"content":"6"}}],"usage":{"prompt_tokens":11,"completion_tokens":1}}"#,
    );
    one(
        &mut stream,
        r#"{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":7,"total_tokens":18}}"#,
    );
    let usage = stream.usage();
    assert_eq!((usage.prompt, usage.completion, usage.total), (11, 7, 18));
    assert_eq!(usage.source, UsageSource::Reported);
}

#[test]
fn reasoning_under_a_configured_name_is_copied() {
    let key = json!({"response": {"reasoning_field": "delta.thinking"}});
    let mut stream = reader(Endpoint::ChatCompletions, CHAT, key);
    let (out, seen) = one(
        &mut stream,
        r#"{"choices":[{"delta":{"thinking":"h"}},{"delta":{"thinking":"i"}}]}"#,
    );
    assert_eq!(
        out,
        r#"{"choices":[{"delta":{"thinking":"h","reasoning_content":"h"}},{"delta":{"thinking":"i","reasoning_content":"i"}}]}"#
    );
    assert_eq!(seen, Seen::Content);
}

#[test]
fn completions_keep_the_upstreams_model() {
    let body = r#"{"model":"team","prompt":"x","stream":true}"#;
    let mut stream = reader(Endpoint::Completions, body, json!({}));
    let chunk =
        r#"{"id":"cmpl-1","model":"up","choices":[{"index":0,"text":"abc","finish_reason":null}]}"#;
    assert_eq!(one(&mut stream, chunk), (chunk.to_owned(), Seen::Content));
    assert_eq!(stream.usage().completion, 1);
    let usage = r#"{"id":"cmpl-1","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":1}}"#;
    assert_eq!(one(&mut stream, usage), (String::new(), Seen::Usage));
    assert_eq!(stream.provider_request_id(), Some("cmpl-1"));
}

#[test]
fn names_are_escaped_and_the_reason_of_choice_0_wins() {
    let body = CHAT.replace("team", r#"t\"\u00e9"#);
    let mut stream = reader(Endpoint::ChatCompletions, &body, json!({}));
    let (out, _) = one(
        &mut stream,
        r#"{"model":"up","choices":[{"index":1,"delta":{},"finish_reason":"length"}]}"#,
    );
    assert_eq!(
        out,
        r#"{"model":"t\"é","choices":[{"index":1,"delta":{},"finish_reason":"length"}]}"#
    );
    assert_eq!(stream.finish_reason(), Some("length"));
    one(
        &mut stream,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"},{"index":2,"finish_reason":"stop"}]}"#,
    );
    assert_eq!(stream.finish_reason(), Some("tool_calls"));
}

/// Payloads made of the members the reader looks at, in any order and number, sound or not.
/// Events of one stream: most are alike but for their text, some are not.
fn alike() -> impl Strategy<Value = String> {
    let text = prop::sample::select(vec![
        "a",
        "word ",
        "é😀",
        "",
        r"\n",
        r#"\""#,
        "\t",
        "data: x",
        r#"","finish_reason":"stop"#,
        "[DONE]",
    ]);
    let shape = prop::sample::select(vec![
        r#"{"id":"c1","model":"up","choices":[{"index":0,"delta":{"content":"@"},"finish_reason":null}]}"#,
        r#"{"id":"c1","model":"up","choices":[{"index":0,"delta":{"content":"@"}}],"obfuscation":"%"}"#,
        r#"{"id":"c1","model":"up","choices":[{"index":0,"delta":{"content":"@"}}],"obfuscation":"\u0061"}"#,
        r#"{"id":"c1","obfuscation":"%","model":"up","choices":[{"index":0,"delta":{"content":"@"}}]}"#,
        r#"{"id":"c1","choices":[{"index":0,"delta":{"content":"@"}}],"model":"up"}"#,
        r#"{"id":"c2","model":"team","choices":[{"index":0,"delta":{"content":"@"}}]}"#,
        r#"{"id":"c1","model":"up","choices":[{"delta":{"content":""}},{"index":1,"delta":{"content":"@"}}]}"#,
        r#"{"id":"c1","model":"up","choices":[{"delta":{"reasoning":"@","content":"@"}}]}"#,
        r#"{"id":"c1","model":"up","choices":[{"delta":{"content":"@"},"finish_reason":"stop"}]}"#,
        r#"{"id":"c1","model":"up","choices":[{"delta":{"content":"@"}}],"usage":{"prompt_tokens":3}}"#,
        r#"{"id":"c1","model":"up","choices":[{"delta":{"role":"@","content":""}}]}"#,
    ]);
    let padding = prop::sample::select(vec!["", "xYz", "0"]);
    let end = prop::sample::select(vec!["\n\n", "\n\n", "\n\n", "\r\n\r\n", ""]);
    (shape, text, padding, end).prop_map(|(shape, text, padding, end)| {
        let payload = shape.replace('@', text).replace('%', padding);
        format!("data: {payload}{end}")
    })
}

fn payload() -> impl Strategy<Value = String> {
    let member = prop::sample::select(vec![
        r#""model":"up""#,
        r#""model":{}"#,
        r#""usage":{"prompt_tokens":1}"#,
        r#""usage":null"#,
        r#""usage":7"#,
        r#""id":"é\u0007""#,
        r#""id":3"#,
        r#""error":null"#,
        r#""choices":[]"#,
        r#""choices":[{"delta":{"reasoning":"a","content":"b"}},{"delta":null},[1]]"#,
        r#""choices":[{"delta":{"reasoning_content":"","reasoning":"a"},"finish_reason":"stop"}]"#,
        r#""choices":{}"#,
        r#""\u0078":[{}]"#,
    ]);
    prop::collection::vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(" , ")))
}

proptest! {
    /// A reader that saw other events before relays and learns as one that saw none.
    #[test]
    fn what_was_learned_from_one_event_changes_nothing_about_the_next(
        events in prop::collection::vec((alike(), 1..4_usize), 1..24),
    ) {
        let mut reader = chat();
        let mut bytes = 0;
        for (event, times) in events {
            for _ in 0..times {
                let mut fresh = chat();
                let (mut out, mut want) = (Vec::new(), Vec::new());
                let seen = reader.event(event.as_bytes(), &mut out);
                prop_assert_eq!(seen.ok(), fresh.event(event.as_bytes(), &mut want).ok());
                prop_assert_eq!(String::from_utf8(out), String::from_utf8(want));
                prop_assert_eq!(reader.provider_request_id(), fresh.provider_request_id());
                bytes += fresh.meter.written();
                prop_assert_eq!(reader.meter.written(), bytes);
            }
        }
    }

    #[test]
    fn edited_payloads_stay_json_and_never_name_the_upstreams_model(payload in payload(), asked in any::<bool>()) {
        let body = if asked { ASKED } else { CHAT };
        let mut stream = reader(Endpoint::ChatCompletions, body, json!({}));
        let mut out = Vec::new();
        let event = format!("data: {payload}\n\n");
        if stream.event(event.as_bytes(), &mut out).is_ok() && !out.is_empty() {
            let text = String::from_utf8(out).unwrap();
            let text = text.strip_prefix("data: ").unwrap().trim_end();
            let shown: serde_json::Value = serde_json::from_str(text).unwrap();
            // Of two members of one name, parsers take the last one, and so does the edit.
            prop_assert!(shown["model"] != "up", "{}", text);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..120), payload in payload(), at in any::<prop::sample::Index>()) {
        let mut event = format!("data: {payload}\r\n\r\n").into_bytes();
        let index = at.index(event.len());
        event.splice(index..index, bytes);
        let mut stream = chat();
        let mut out = Vec::new();
        let _ = stream.event(&event, &mut out);
        let _ = stream.finish(&mut out);
        let key = fixture::provider_key(json!({}));
        let call = parse(Endpoint::ChatCompletions, CHAT.as_bytes()).unwrap();
        if let Ok(reply) = super::super::response::read(&call, &key, &event) {
            reply.write_body(&event, &mut out);
        }
        let _ = parse(Endpoint::ChatCompletions, &event);
        let _ = error::in_band(&event, &key);
    }
}
