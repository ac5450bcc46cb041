//! Forwarded answers, whole and streamed, wherever they are cut. [pure]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::bridge::record::UsageSource;
use crate::endpoint::parse;
use crate::http::sse::{EVENT_BYTES_MAX, EventScanner};
use crate::provider::anthropic::request::tests::route;

const BODY: &str =
    r#"{"model":"team","max_tokens":9,"messages":[{"role":"user","content":"12345678"}]}"#;
const TOOLS: &str = include_str!("../../../../tests/fixtures/anthropic/message_tools.json");
const ERROR: &str = include_str!("../../../../tests/fixtures/anthropic/error_stream.in.txt");
const STREAMS: [&str; 3] = [
    include_str!("../../../../tests/fixtures/anthropic/text_stream.in.txt"),
    include_str!("../../../../tests/fixtures/anthropic/tools_stream.in.txt"),
    include_str!("../../../../tests/fixtures/anthropic/thinking_stream.in.txt"),
];

fn call(endpoint: Endpoint) -> Call {
    parse(endpoint, BODY.as_bytes()).unwrap()
}

fn reader() -> MessagesReader {
    MessagesReader::new(
        &call(Endpoint::Messages),
        &route(json!({}), json!({}), "team"),
    )
}

/// What a caller gets of `upstream`, cut into reads of `step` bytes, and how it ended.
fn relayed(
    reader: &mut MessagesReader,
    upstream: &[u8],
    step: usize,
) -> (String, Result<(), Rejection>) {
    let mut scanner = EventScanner::new(EVENT_BYTES_MAX);
    let (mut buffer, mut out) = (Vec::new(), Vec::new());
    let mut end = Ok(());
    'reads: for read in upstream.chunks(step) {
        buffer.extend_from_slice(read);
        while let Some(length) = scanner.next_event(&buffer).unwrap() {
            end = reader.event(&buffer[..length], &mut out).map(|_| ());
            if end.is_err() {
                break 'reads;
            }
            buffer.drain(..length);
        }
    }
    if end.is_ok() && !buffer.is_empty() {
        end = reader.event(&buffer, &mut out).map(|_| ());
    }
    let end = end.and_then(|()| reader.finish(&mut out));
    (String::from_utf8(out).unwrap(), end)
}

fn one(reader: &mut MessagesReader, payload: &str) -> Result<(String, Seen), Rejection> {
    let mut out = Vec::new();
    let event = format!("data: {payload}\n\n");
    let seen = reader.event(event.as_bytes(), &mut out)?;
    let text = String::from_utf8(out).unwrap();
    let payload = text
        .strip_prefix("data: ")
        .and_then(|text| text.strip_suffix("\n\n"));
    Ok((payload.unwrap_or_default().to_owned(), seen))
}

#[test]
fn streams_come_out_as_they_came_but_for_the_model_wherever_they_are_cut() {
    for upstream in STREAMS {
        for line_end in ["\n", "\r\n", "\r"] {
            let upstream = upstream.replace('\n', line_end);
            let want = upstream.replace("claude-up", "team");
            assert_ne!(upstream, want);
            let mut learned = None;
            for step in 1..=upstream.len() {
                let mut reader = reader();
                let (out, end) = relayed(&mut reader, upstream.as_bytes(), step);
                end.unwrap();
                assert_eq!(out, want, "{line_end:?}, reads of {step}");
                let reason = reader.finish_reason().map(str::to_owned);
                let now = (
                    reader.usage(),
                    reader.progress.id().map(str::to_owned),
                    reason,
                );
                assert_eq!(*learned.get_or_insert_with(|| now.clone()), now);
            }
        }
    }
}

#[test]
fn what_a_stream_says_about_itself_is_learned() {
    let mut reader = reader();
    relayed(&mut reader, STREAMS[2].as_bytes(), 64).1.unwrap();
    let usage = reader.usage();
    assert_eq!(usage.source, UsageSource::Reported);
    assert_eq!((usage.prompt, usage.completion, usage.total), (3, 12, 1055));
    assert_eq!((usage.cache_creation, usage.cache_read), (40, 1000));
    assert_eq!(reader.provider_request_id(), Some("msg_01"));
    assert_eq!(reader.finish_reason(), Some("max_tokens"));
    assert!(reader.is_done());
    let mut out = Vec::new();
    assert_eq!(reader.event(b"data: x\n\n", &mut out).unwrap(), Seen::Late);
    assert!(out.is_empty());
}

#[test]
fn events_are_told_apart() {
    let mut reader = reader();
    for (payload, want) in [
        (r#"{"type":"ping"}"#, Seen::Comment),
        (r#"{"type":"message_start","message":{}}"#, Seen::Chunk),
        (
            r#"{"type":"content_block_start","content_block":{"type":"text","text":""}}"#,
            Seen::Chunk,
        ),
        (
            r#"{"type":"content_block_start","content_block":{"type":"tool_use","name":"f"}}"#,
            Seen::Content,
        ),
        (
            r#"{"delta":{"thinking":"h","type":"thinking_delta"},"type":"content_block_delta"}"#,
            Seen::Content,
        ),
        (
            r#"{"type":"content_block_delta","delta":{"partial_json":""}}"#,
            Seen::Chunk,
        ),
        (
            r#"{"type":"content_block_delta","delta":null}"#,
            Seen::Chunk,
        ),
        (
            r#"{"type":"message_delta","delta":{},"usage":null}"#,
            Seen::Chunk,
        ),
        (r#"{"type":"later","error":{"x":1}}"#, Seen::Chunk),
        (r#"{"x":NaN}"#, Seen::Chunk),
        (r#"{"type":"message_stop"}"#, Seen::Done),
    ] {
        assert_eq!(
            one(&mut reader, payload).unwrap(),
            (payload.to_owned(), want)
        );
    }
    let mut out = Vec::new();
    let mut named = super::tests::reader();
    let seen = named.event(b"event: ping\ndata: {}\n\n", &mut out).unwrap();
    assert_eq!(seen, Seen::Comment);
    assert_eq!(named.event(b": hi\n\n", &mut out).unwrap(), Seen::Comment);
    assert_eq!(out, b"event: ping\ndata: {}\n\n: hi\n\n");
}

#[test]
fn the_model_is_renamed_only_where_it_is_the_upstreams() {
    for (model, want) in [
        ("\"claude-up\"", "\"team\""),
        ("\"claude\\u002dup\"", "\"team\""),
        ("\"claude-up-20250514\"", "\"claude-up-20250514\""),
        ("null", "null"),
    ] {
        let start = |model: &str| {
            format!(r#"{{"type":"message_start","message":{{"content":[],"model":{model}}}}}"#)
        };
        assert_eq!(one(&mut reader(), &start(model)).unwrap().0, start(want));
        let whole = |model: &str| format!(r#"{{"model":{model},"content":[]}}"#);
        let body = whole(model);
        let call = call(Endpoint::Messages);
        let answer = read(&call, &route(json!({}), json!({}), "team"), body.as_bytes()).unwrap();
        let mut out = Vec::new();
        answer.write_body(body.as_bytes(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), whole(want));
    }
}

#[test]
fn an_error_event_ends_the_stream_and_an_early_end_is_no_end() {
    let mut broken = reader();
    let (out, end) = relayed(&mut broken, ERROR.as_bytes(), 50);
    let rejection = end.unwrap_err();
    assert_eq!((rejection.status(), rejection.code()), (503, "overloaded"));
    assert!(out.ends_with("\"Hello\"}}\n\n"), "{out}");
    let mut frame = Vec::new();
    broken.cut(&rejection, "req-1", &mut frame);
    let frame = String::from_utf8(frame).unwrap();
    assert!(frame.starts_with(
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\""
    ));
    let usage = broken.usage();
    assert_eq!(
        usage.source,
        UsageSource::Estimated,
        "no report of what was written"
    );
    assert_eq!((usage.prompt, usage.completion), (25, 2));

    let cut = STREAMS[0].split("event: message_stop").next().unwrap();
    let end = relayed(&mut reader(), cut.as_bytes(), 50).1;
    assert_eq!(end.unwrap_err().kind(), "stream_aborted");
    for (payload, kind) in [
        ("oops", "upstream_decode_error"),
        ("[]", "upstream_decode_error"),
        (r#"{"type":"ping"} x"#, "upstream_decode_error"),
        (r#"{"error":{"message":"m"}}"#, "upstream_error"),
        (r#"{"type":"error"}"#, "upstream_error"),
    ] {
        assert_eq!(
            one(&mut reader(), payload).unwrap_err().kind(),
            kind,
            "{payload}"
        );
    }
    let mut out = Vec::new();
    let plain = reader().event(b"event: error\ndata: busy\n\n", &mut out);
    assert_eq!(plain.unwrap_err().kind(), "upstream_error");
}

#[test]
fn whole_answers_pass_and_say_what_they_cost() {
    let call = call(Endpoint::Messages);
    let route = route(json!({}), json!({}), "team");
    let answer = read(&call, &route, TOOLS.as_bytes()).unwrap();
    let mut out = Vec::new();
    answer.write_body(TOOLS.as_bytes(), &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        TOOLS.replace("claude-up", "team")
    );
    let usage = answer.usage;
    assert_eq!(usage.source, UsageSource::Reported);
    assert_eq!(
        (usage.prompt, usage.completion, usage.total),
        (472, 89, 771)
    );
    assert_eq!((usage.cache_creation, usage.cache_read), (10, 200));
    assert_eq!(
        answer.provider_request_id.as_deref(),
        Some("msg_01Aq9w938a90dw8q")
    );
    assert_eq!(answer.finish_reason.as_deref(), Some("tool_use"));
    // Without a report, everything the model wrote is counted: 10 bytes here.
    let bare = r#"{"content":[{"type":"text","text":"\u00e9"},{"type":"tool_use","name":"f","input":{"a":1}}]}"#;
    let usage = read(&call, &route, bare.as_bytes()).unwrap().usage;
    assert_eq!(
        (usage.source, usage.completion),
        (UsageSource::Estimated, 3)
    );
}

#[test]
fn a_success_that_is_none_is_refused() {
    for (body, kind) in [
        ("<html>", "upstream_decode_error"),
        ("[]", "upstream_decode_error"),
        (r#"{"id":"msg_1"}"#, "upstream_decode_error"),
        (
            r#"{"type":"error","error":{"type":"api_error","message":"m"}}"#,
            "upstream_error",
        ),
        (r#"{"error":{"message":"m"}}"#, "upstream_error"),
    ] {
        let call = call(Endpoint::Messages);
        let got = read(&call, &route(json!({}), json!({}), "team"), body.as_bytes());
        assert_eq!(got.unwrap_err().kind(), kind, "{body}");
    }
}

#[test]
fn counts_of_tokens_are_relayed_and_cost_nothing() {
    let call = call(Endpoint::CountTokens);
    let route = route(json!({}), json!({}), "team");
    let body = br#"{ "input_tokens" : 2095 }"#;
    let answer = read(&call, &route, body).unwrap();
    let mut out = Vec::new();
    answer.write_body(body, &mut out);
    assert_eq!(out, body);
    assert_eq!(answer.usage.source, UsageSource::Absent);
    let error = br#"{"type":"error","error":{"type":"not_found_error"}}"#;
    assert_eq!(read(&call, &route, error).unwrap_err().status(), 404);
}

/// Events made of the members the reader looks at, in any order and number, sound or not.
fn payload() -> impl Strategy<Value = String> {
    let member = prop::sample::select(vec![
        r#""type":"message_start""#,
        r#""type":"content_block_delta""#,
        r#""type":"message_delta""#,
        r#""type":7"#,
        r#""message":{"model":"claude-up","usage":{"input_tokens":1}}"#,
        r#""message":{"model":"claude-up","content":[{"text":"x"},[1]]}"#,
        r#""message":null"#,
        r#""index":1e30"#,
        r#""delta":{"type":"text_delta","text":"é\u0007"}"#,
        r#""delta":{"stop_reason":"end_turn"}"#,
        r#""content_block":[]"#,
        r#""usage":7"#,
        r#""\u0078":[{}]"#,
    ]);
    prop::collection::vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(" , ")))
}

proptest! {
    #[test]
    fn relayed_payloads_stay_json(payload in payload()) {
        let mut reader = reader();
        let (out, _) = one(&mut reader, &payload).unwrap();
        prop_assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok(), "{out}");
    }

    #[test]
    fn no_bytes_reach_a_panic(event in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut reader = reader();
        let mut out = Vec::new();
        _ = reader.event(&event, &mut out);
        let event = [b"data: ", &event[..], b"\n\n"].concat();
        _ = reader.event(&event, &mut out);
        let call = call(Endpoint::Messages);
        _ = read(&call, &route(json!({}), json!({}), "team"), &event);
    }
}
