//! Responses forwarded: whole, and event by event. [pure]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::bridge::record::UsageSource;
use crate::dialect::Dialect;
use crate::endpoint::{Endpoint, parse};
use crate::http::sse::{EVENT_BYTES_MAX, EventScanner};
use crate::provider::{Seen, StreamReader};
use crate::route::{Route, fixture, resolve};

const BODY: &str = r#"{"model":"team","input":"12345678","stream":true}"#;
const STREAM: &str = include_str!("../../../../tests/fixtures/openai/responses_stream.in.txt");
const WANT: &str = include_str!("../../../../tests/fixtures/openai/responses_stream.out.txt");
const FAILED: &str = include_str!("../../../../tests/fixtures/openai/responses_failed.in.txt");

fn call() -> Call {
    parse(Endpoint::Responses, BODY.as_bytes()).unwrap()
}

fn route() -> Route {
    let key = fixture::provider_key(json!({}));
    let model = fixture::model("team", json!({}));
    let callers = [("sk", json!({"allowed_models": ["*"]}))];
    let snapshot = fixture::snapshot(vec![model], &[&key], &callers);
    let caller = snapshot.api_keys().next().unwrap();
    resolve(&snapshot, caller, "team", [192, 0, 2, 1].into()).unwrap()
}

/// What a caller gets of `upstream`, cut into reads of `step` bytes, and how it ended.
fn relayed(
    reader: &mut Reader,
    upstream: &str,
    step: usize,
) -> (String, Vec<Seen>, Result<(), Rejection>) {
    let mut scanner = EventScanner::new(EVENT_BYTES_MAX);
    let (mut buffer, mut out, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    let mut ended = Ok(());
    for read in upstream.as_bytes().chunks(step) {
        buffer.extend_from_slice(read);
        while let Some(end) = scanner.next_event(&buffer).unwrap() {
            match reader.event(&buffer[..end], &mut out) {
                Ok(what) => seen.push(what),
                Err(rejection) if ended.is_ok() => ended = Err(rejection),
                Err(_) => {}
            }
            buffer.drain(..end);
        }
    }
    if ended.is_ok() {
        ended = reader.finish(&mut out);
    }
    (String::from_utf8(out).unwrap(), seen, ended)
}

#[test]
fn a_stream_comes_out_the_same_wherever_it_is_cut_and_however_lines_end() {
    for line_end in ["\n", "\r\n", "\r"] {
        let (upstream, want) = (STREAM.replace('\n', line_end), WANT.replace('\n', line_end));
        let (call, route) = (call(), route());
        for step in 1..=upstream.len() {
            let mut reader = Reader::new(&call, &route);
            let (out, _, ended) = relayed(&mut reader, &upstream, step);
            assert_eq!(out, want, "{line_end:?}, reads of {step}");
            assert!(ended.is_ok() && reader.is_done());
            assert_eq!(reader.usage().total, 13);
        }
    }
}

#[test]
fn what_the_stream_says_about_itself_is_learned() {
    use Seen::{Chunk, Content, Done};
    let mut reader = Reader::new(&call(), &route());
    let (_, seen, _) = relayed(&mut reader, STREAM, 64);
    assert_eq!(
        seen,
        [
            Chunk, Chunk, Chunk, Chunk, Content, Content, Chunk, Chunk, Chunk, Done
        ]
    );
    let usage = reader.usage();
    assert_eq!(usage.source, UsageSource::Reported);
    assert_eq!((usage.prompt, usage.completion, usage.total), (9, 4, 13));
    assert_eq!((usage.cached_prompt, usage.reasoning), (5, 1));
    assert_eq!(reader.provider_request_id(), Some("resp_1"));
    assert_eq!(reader.finish_reason(), Some("completed"));
    let mut out = Vec::new();
    let late = reader.event(b"data: [DONE]\n\n", &mut out).unwrap();
    assert_eq!((late, out.is_empty()), (Seen::Late, true));
}

#[test]
fn a_failure_is_passed_on_and_is_one() {
    let mut reader = Reader::new(&call(), &route());
    let (mut out, _, ended) = relayed(&mut reader, FAILED, 7);
    let rejection = ended.unwrap_err();
    assert_eq!(rejection.kind(), "upstream_error");
    assert_eq!(rejection.code(), "server_error");
    assert_eq!(out, FAILED.replace("gpt-up", "team"));
    assert!(!reader.is_done());
    assert_eq!(reader.finish_reason(), Some("failed"));
    assert_eq!(reader.usage().prompt, 9);
    let mut more = Vec::new();
    reader.cut(&rejection, "req", &mut more);
    out.push_str(std::str::from_utf8(&more).unwrap());
    assert_eq!(
        out.matches("response.failed").count(),
        2,
        "name and type, once"
    );
}

#[test]
fn a_stream_that_begins_with_its_failure_sends_nothing() {
    for payload in [
        r#"{"type":"error","code":"rate_limit_exceeded","message":"busy","param":null,"sequence_number":0}"#,
        r#"{"type":"error","error":{"code":"rate_limit_exceeded","message":"busy"}}"#,
        r#"{"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded","message":"busy"}}}"#,
    ] {
        let mut reader = Reader::new(&call(), &route());
        let mut out = Vec::new();
        let event = format!("event: error\ndata: {payload}\n\n");
        let rejection = reader.event(event.as_bytes(), &mut out).unwrap_err();
        assert_eq!(
            (rejection.status(), rejection.code()),
            (502, "rate_limit_exceeded")
        );
        assert!(out.is_empty());
        // Where a comment went out before, the caller is told all the same.
        reader.cut(&rejection, "req", &mut out);
        assert!(out.starts_with(b"event: error\n"));
    }
}

#[test]
fn a_stream_that_ends_early_is_closed_with_an_error_in_sequence() {
    let cut_at = STREAM.find("event: response.output_text.done").unwrap();
    let mut reader = Reader::new(&call(), &route());
    let (_, _, ended) = relayed(&mut reader, &STREAM[..cut_at], 64);
    let rejection = ended.unwrap_err();
    let mut out = Vec::new();
    reader.cut(&rejection, "req", &mut out);
    let text = String::from_utf8(out).unwrap();
    let payload = text
        .strip_prefix("event: error\ndata: ")
        .and_then(|text| text.strip_suffix("\n\n"))
        .unwrap();
    let error: serde_json::Value = serde_json::from_str(payload).unwrap();
    assert_eq!(error["type"], "error");
    assert_eq!(error["sequence_number"], 6);
    assert_eq!(error["code"], "stream_aborted");
    assert!(error["param"].is_null());
}

#[test]
fn an_incomplete_response_is_an_end_that_says_why() {
    let payload = r#"{"response":{"id":"r","status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"usage":{"input_tokens":1,"output_tokens":2}},"type":"response.incomplete"}"#;
    let mut reader = Reader::new(&call(), &route());
    let mut out = Vec::new();
    let event = format!("data: {payload}");
    assert_eq!(
        reader.event(event.as_bytes(), &mut out).unwrap(),
        Seen::Done
    );
    assert_eq!(out, format!("{event}\n\n").as_bytes());
    assert_eq!(reader.finish_reason(), Some("max_output_tokens"));
    assert_eq!(reader.usage().total, 3);
}

#[test]
fn only_the_upstreams_own_id_is_replaced() {
    for (model, want) in [
        ("gpt-up", "team"),
        ("gpt-up-2026-01-01", "gpt-up-2026-01-01"),
        ("team", "team"),
    ] {
        let of = |model: &str| {
            format!(
                r#"{{ "id":"r" , "output":[],"model" : "{model}","metadata":{{"model":"gpt-up"}} }}"#
            )
        };
        let body = of(model);
        let (call, route) = (call(), route());
        let answered = read(&call, &route, body.as_bytes()).unwrap();
        let mut out = Vec::new();
        answered.write_body(body.as_bytes(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), of(want));
        let event = format!("data: {{\"type\":\"response.created\",\"response\":{body}}}\n\n");
        let mut out = Vec::new();
        let mut reader = Reader::new(&call, &route);
        reader.event(event.as_bytes(), &mut out).unwrap();
        let want = event.replace(&body, &of(want));
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }
}

#[test]
fn a_whole_answer_is_read() {
    let body = r#"{"id":"resp_9","object":"response","status":"completed","error":null,"incomplete_details":null,
        "model":"gpt-up","output":[{"type":"message","content":[{"type":"output_text","text":"abcd","annotations":[]}]},
        {"type":"function_call","name":"f","arguments":"{}"}],"usage":null}"#;
    let (call, route) = (call(), route());
    let answered = read(&call, &route, body.as_bytes()).unwrap();
    assert_eq!(answered.provider_request_id.as_deref(), Some("resp_9"));
    assert_eq!(answered.finish_reason.as_deref(), Some("completed"));
    assert_eq!(answered.usage.source, UsageSource::Estimated);
    // Seven bytes written.
    assert_eq!((answered.usage.prompt, answered.usage.completion), (2, 2));
}

#[test]
fn a_response_that_failed_is_shown_unless_it_repeats_a_credential() {
    let (call, route) = (call(), route());
    let body = |message: &str| {
        let error = json!({"code": "server_error", "message": message});
        json!({"id": "r", "status": "failed", "error": error, "output": []}).to_string()
    };
    let answered = read(&call, &route, body("sorry").as_bytes());
    assert_eq!(answered.unwrap().finish_reason.as_deref(), Some("failed"));
    let told = body("bad key sk-up-canary");
    let rejection = read(&call, &route, told.as_bytes()).unwrap_err();
    let mut out = Vec::new();
    rejection.write_envelope(Dialect::Openai, "r", &mut out);
    let out = String::from_utf8(out).unwrap();
    assert!(
        !out.contains("canary") && rejection.kind() == "upstream_error",
        "{out}"
    );
}

#[test]
fn what_is_no_response_is_refused() {
    let (call, route) = (call(), route());
    for (body, kind) in [
        (r#"{"error":{"message":"no","code":"x"}}"#, "upstream_error"),
        (r#"{"id":"r"}"#, "upstream_decode_error"),
        (r#"{"output":[]"#, "upstream_decode_error"),
        ("[]", "upstream_decode_error"),
        ("", "upstream_decode_error"),
    ] {
        let rejection = read(&call, &route, body.as_bytes()).unwrap_err();
        assert_eq!(rejection.kind(), kind, "{body}");
    }
    let mut reader = Reader::new(&call, &route);
    let rejection = reader.event(b"data: {\"type\"\n\n", &mut Vec::new());
    assert_eq!(rejection.unwrap_err().kind(), "upstream_decode_error");
}

proptest! {
    #[test]
    fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..4000_usize) {
        let (call, route) = (call(), route());
        let _ = read(&call, &route, &bytes);
        let mut spoilt = STREAM.as_bytes().to_vec();
        let at = cut.min(spoilt.len());
        spoilt.splice(at..at, bytes);
        let mut reader = Reader::new(&call, &route);
        let mut out = Vec::new();
        for event in spoilt.split_inclusive(|byte| *byte == b'\n') {
            let _ = reader.event(event, &mut out);
        }
    }
}
