//! The same upstream bytes, cut anywhere: the same answer and the same record.

use std::fmt::Write;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::on_both_engines;
use crate::protocols;
use crate::support::gateway::{CALLER_KEY, chat};
use crate::support::{Engine, Gateway, Raw, Response, mock};

/// How the upstream frames a body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Framing {
    Chunked,
    Length,
    Close,
}

/// Payloads of a stream with all there is: text of one to four bytes per character, an event of
/// several lines, a comment, fields to be edited, usage to be withheld.
const EVENTS: [&[&str]; 6] = [
    &[r#"data: {"id":"c1","model":"gpt-up","choices":[{"index":0,"delta":{"content":"aé漢😀"}}]}"#],
    &[": ping"],
    &[
        "event: x",
        r#"data: {"id":"c1","model":"gpt-up","#,
        r#"data:"choices":[{"index":0,"delta":{"content":"b"}}]}"#,
    ],
    &[
        r#"data:{"id":"c1","model":"gpt-up","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}"#,
    ],
    &[
        r#"data: {"id":"c1","model":"gpt-up","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13}}"#,
    ],
    &["data: [DONE]"],
];

const ANSWER: &str = r#"{"id":"c1","model":"gpt-up","choices":[{"index":0,"message":{"role":"assistant","content":"aé漢😀\u00e9"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13},"x":[1.0,{}]}"#;

/// The same as Anthropic says it.
const MESSAGES: [&[&str]; 10] = [
    &[
        "event: message_start",
        r#"data: {"type":"message_start","message":{"id":"c1","type":"message","role":"assistant","model":"gpt-up","content":[],"stop_reason":null,"usage":{"input_tokens":9,"output_tokens":1}}}"#,
    ],
    &[
        "event: content_block_start",
        r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
    ],
    &["event: ping", r#"data: {"type": "ping"}"#],
    &[
        "event: content_block_delta",
        r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"aé漢😀"}}"#,
    ],
    &[
        "event: content_block_stop",
        r#"data:{"type":"content_block_stop","index":0}"#,
    ],
    &[
        "event: content_block_start",
        r#"data: {"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t1","name":"f","input":{}}}"#,
    ],
    &[
        "event: content_block_delta",
        r#"data: {"type":"content_block_delta","index":1,"#,
        r#"data:"delta":{"type":"input_json_delta","partial_json":"{\"a\":\"é\"}"}}"#,
    ],
    &[
        "event: content_block_stop",
        r#"data: {"type":"content_block_stop","index":1}"#,
    ],
    &[
        "event: message_delta",
        r#"data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":4}}"#,
    ],
    &["event: message_stop", r#"data: {"type":"message_stop"}"#],
];

/// And as OpenAI Responses has it.
const RESPONSES: [&[&str]; 5] = [
    &[
        "event: response.created",
        r#"data: {"type":"response.created","sequence_number":0,"response":{"id":"c1","object":"response","created_at":1,"status":"in_progress","model":"gpt-up","output":[]}}"#,
    ],
    &[
        "event: response.output_text.delta",
        r#"data: {"type":"response.output_text.delta","sequence_number":1,"item_id":"m1","output_index":0,"content_index":0,"delta":"aé漢😀"}"#,
    ],
    &[": ping"],
    &[
        "event: response.output_text.done",
        r#"data: {"type":"response.output_text.done","sequence_number":2,"#,
        r#"data:"item_id":"m1","output_index":0,"content_index":0,"text":"aé漢😀"}"#,
    ],
    &[
        "event: response.completed",
        r#"data: {"type":"response.completed","sequence_number":3,"response":{"id":"c1","object":"response","created_at":1,"status":"completed","model":"gpt-up","output":[],"usage":{"input_tokens":9,"output_tokens":4,"total_tokens":13}}}"#,
    ],
];

/// The events as they are on the wire.
fn stream(events: &[&[&str]], eol: &str) -> Vec<u8> {
    let mut out = String::new();
    for lines in events {
        for line in *lines {
            out.push_str(line);
            out.push_str(eol);
        }
        out.push_str(eol);
    }
    out.into_bytes()
}

/// A whole response. Chunks end in the middle of events, lines and characters.
fn response(content_type: &str, body: &[u8], framing: Framing) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\n").into_bytes();
    match framing {
        Framing::Length => {
            out.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
            out.extend_from_slice(body);
        }
        Framing::Close => {
            out.extend_from_slice(b"connection: close\r\n\r\n");
            out.extend_from_slice(body);
        }
        Framing::Chunked => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
            for chunk in body.chunks(37) {
                out.extend_from_slice(format!("{:X};x=\"y\"\r\n", chunk.len()).as_bytes());
                out.extend_from_slice(chunk);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b"0\r\nx-trailer: t\r\n\r\n");
        }
    }
    out
}

/// A gateway that hands a caller's script on to the upstream, so that requests differ in nothing
/// else.
fn start(engine: Engine, mock: SocketAddr) -> Gateway {
    let mut setup = protocols::setup(engine, mock);
    for key in setup.resources["provider_keys"].as_array_mut().unwrap() {
        key["request"] = json!({"forward_client_headers": ["x-mock-script"]});
    }
    setup.start()
}

fn ask(raw: &mut Raw, script: &str, body: &Value) -> Response {
    ask_at(raw, "/v1/chat/completions", script, body)
}

fn ask_at(raw: &mut Raw, path: &str, script: &str, body: &Value) -> Response {
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {CALLER_KEY}\r\n\
         x-mock-script: {script}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    raw.send(&[head.as_bytes(), body.as_bytes()].concat());
    raw.response()
}

/// The script that sends exactly `bytes`.
fn exactly(bytes: &[u8], framing: Framing) -> String {
    let mut script = String::from(match framing {
        Framing::Close => "close=yes,raw=",
        Framing::Chunked | Framing::Length => "raw=",
    });
    for byte in bytes {
        write!(script, "{byte:02x}").unwrap();
    }
    script
}

/// Runs `cuts` of one upstream response over a few connections at once; each must end like the
/// uncut one. Returns the answer.
fn assert_cuts_do_not_show(
    gateway: &Gateway,
    script: &str,
    body: &Value,
    cuts: &[String],
) -> Response {
    const LANES: usize = 4;
    let whole = ask(&mut gateway.connect(), script, body);
    assert_eq!(whole.status, 200, "{}", whole.text());
    let before = gateway.access_lines(1).len();
    std::thread::scope(|scope| {
        for lane in 0..LANES {
            let whole = &whole;
            scope.spawn(move || {
                let mut raw = gateway.connect();
                for cut in cuts.iter().skip(lane).step_by(LANES) {
                    let answer = ask(&mut raw, &format!("{script},{cut}"), body);
                    assert_eq!(answer.status, 200, "{cut}: {}", answer.text());
                    assert_eq!(answer.text(), whole.text(), "{cut}");
                }
            });
        }
    });
    let lines = gateway.access_lines(before + cuts.len());
    for line in &lines[before..] {
        assert_eq!(line["usage_source"], "reported", "{line}");
        let tokens = [
            &line["prompt_tokens"],
            &line["completion_tokens"],
            &line["total_tokens"],
        ];
        assert_eq!(tokens, [9, 4, 13], "{line}");
        assert_eq!(line["finish_reason"], "stop", "{line}");
        assert_eq!(line["provider_request_id"], "c1", "{line}");
        assert_eq!(line["end"], "completed", "{line}");
        assert_eq!(line["events"], lines[0]["events"], "{line}");
    }
    whole
}

/// A cut at every single offset of `bytes`.
fn at_every_offset(bytes: &[u8]) -> Vec<String> {
    let cut = |offset| format!("split_at={offset},split_ms=1");
    (1..bytes.len()).map(cut).collect()
}

/// Pieces of every size that matters: from single bytes to two halves.
fn in_every_size(bytes: &[u8]) -> Vec<String> {
    let small = 1..=64.min(bytes.len());
    let large = (65..bytes.len()).step_by(7);
    small
        .chain(large)
        .map(|size| format!("split_wire={size}"))
        .collect()
}

fn check_stream(engine: Engine, eol: &str, framing: Framing) {
    let gateway = start(engine, mock());
    let bytes = response("text/event-stream", &stream(&EVENTS, eol), framing);
    let script = exactly(&bytes, framing);
    let mut cuts = at_every_offset(&bytes);
    cuts.extend(in_every_size(&bytes));
    let whole = assert_cuts_do_not_show(&gateway, &script, &chat("m", true), &cuts);
    // What it is that stays the same: the upstream's bytes under the requested name, without usage.
    let text = whole.text();
    assert!(text.contains("aé漢😀"), "{text}");
    assert_eq!(text.matches(r#""model":"m""#).count(), 3, "{text}");
    assert!(!text.contains("prompt_tokens"), "{text}");
    assert!(text.contains(&format!(": ping{eol}{eol}")), "{text}");
    assert!(text.ends_with(&format!("data: [DONE]{eol}{eol}")), "{text}");
}

/// What the gateway makes up differs from answer to answer: ids, and when they were created.
fn without_the_made_up(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_inclusive(|at: char| !at.is_ascii_alphanumeric()) {
        let bare = word.trim_end_matches(|at: char| !at.is_ascii_alphanumeric());
        let made_up = bare.len() >= 32 || (bare.len() == 10 && bare.parse::<u64>().is_ok());
        out.push_str(if made_up { "-" } else { word });
    }
    out
}

/// A stream of `events` from the kind of upstream, asked for at `path`: each cut of it ends like the
/// uncut one.
fn check_way(engine: Engine, (path, upstream): (&str, &str), events: &[&[&str]], eol: &str) {
    const LANES: usize = 4;
    let gateway = start(engine, mock());
    let bytes = response("text/event-stream", &stream(events, eol), Framing::Chunked);
    let script = exactly(&bytes, Framing::Chunked);
    let mut cuts = at_every_offset(&bytes);
    cuts.extend((1..40).map(|size| format!("split_wire={size}")));
    let body = protocols::body(path, &format!("{upstream}/tag=x"), true);
    let whole = ask_at(&mut gateway.connect(), path, &script, &body);
    assert_eq!(whole.status, 200, "{}", whole.text());
    let text = without_the_made_up(whole.text());
    let failed = ["event: error", "response.failed"].map(|sign| text.contains(sign));
    assert!(text.contains("aé漢😀") && failed == [false; 2], "{text}");
    std::thread::scope(|scope| {
        for lane in 0..LANES {
            let (gateway, cuts, body, script, text) = (&gateway, &cuts, &body, &script, &text);
            scope.spawn(move || {
                let mut raw = gateway.connect();
                for cut in cuts.iter().skip(lane).step_by(LANES) {
                    let answer = ask_at(&mut raw, path, &format!("{script},{cut}"), body);
                    assert_eq!(answer.status, 200, "{cut}: {}", answer.text());
                    assert_eq!(&without_the_made_up(answer.text()), text, "{cut}");
                }
            });
        }
    });
    for line in gateway.access_lines(1 + cuts.len()) {
        assert_eq!(line["usage_source"], "reported", "{line}");
        let tokens = [
            &line["prompt_tokens"],
            &line["completion_tokens"],
            &line["total_tokens"],
        ];
        assert_eq!(tokens, [9, 4, 13], "{line}");
        assert_eq!(line["provider_request_id"], "c1", "{line}");
        assert_eq!(line["end"], "completed", "{line}");
    }
}

on_both_engines! {
    fn a_chunked_stream_with_lf_may_be_cut_anywhere(engine) {
        check_stream(engine, "\n", Framing::Chunked);
    }

    fn a_stream_of_known_length_with_crlf_may_be_cut_anywhere(engine) {
        check_stream(engine, "\r\n", Framing::Length);
    }

    fn a_stream_until_close_with_cr_may_be_cut_anywhere(engine) {
        check_stream(engine, "\r", Framing::Close);
    }

    fn a_whole_answer_may_be_cut_anywhere(engine) {
        let gateway = start(engine, mock());
        for framing in [Framing::Chunked, Framing::Length, Framing::Close] {
            let bytes = response("application/json", ANSWER.as_bytes(), framing);
            let script = exactly(&bytes, framing);
            let mut cuts = in_every_size(&bytes);
            if framing == Framing::Chunked {
                cuts.extend(at_every_offset(&bytes));
            }
            let whole = assert_cuts_do_not_show(&gateway, &script, &chat("m", false), &cuts);
            assert_eq!(whole.text(), ANSWER.replace("gpt-up", "m"), "{framing:?}");
        }
    }

    fn framing_and_line_ends_of_the_upstream_do_not_show(engine) {
        let gateway = start(engine, mock());
        let mut raw = gateway.connect();
        for te in ["chunked", "length", "close"] {
            for (eol, end) in [("lf", "\n"), ("crlf", "\r\n"), ("cr", "\r")] {
                for split in [1, 2, 3, 5, 8, 100] {
                    let script = format!("events=2,usage_out=7,te={te},eol={eol},split={split}");
                    let answer = ask(&mut raw, &script, &chat("m", true));
                    assert_eq!(answer.status, 200, "{script}");
                    let text = answer.text();
                    let events: Vec<&str> = text.split_terminator(&end.repeat(2)).collect();
                    assert_eq!(events.len(), 4, "{script}: {text}");
                    assert!(events[0].contains(r#""content":"e0 "#), "{script}: {text}");
                    assert!(events[1].contains(r#""content":"e1 "#), "{script}: {text}");
                    assert!(events[2].contains(r#""finish_reason":"stop""#), "{script}: {text}");
                    assert_eq!(events[3], "data: [DONE]", "{script}");
                }
            }
        }
        for line in gateway.access_lines(54) {
            assert_eq!([&line["prompt_tokens"], &line["completion_tokens"]], [10, 7], "{line}");
            assert_eq!(line["events"], 4, "{line}");
        }
    }

    fn messages_for_messages_may_be_cut_anywhere(engine) {
        check_way(engine, ("/v1/messages", "claude"), &MESSAGES, "\r\n");
    }

    fn messages_for_chat_may_be_cut_anywhere(engine) {
        check_way(engine, ("/v1/chat/completions", "claude"), &MESSAGES, "\n");
    }

    fn messages_for_responses_may_be_cut_anywhere(engine) {
        check_way(engine, ("/v1/responses", "claude"), &MESSAGES, "\r");
    }

    fn chat_for_messages_may_be_cut_anywhere(engine) {
        check_way(engine, ("/v1/messages", "plain"), &EVENTS, "\r\n");
    }

    fn chat_for_responses_may_be_cut_anywhere(engine) {
        check_way(engine, ("/v1/responses", "plain"), &EVENTS, "\r");
    }

    fn responses_for_responses_may_be_cut_anywhere(engine) {
        check_way(engine, ("/v1/responses", "openai"), &RESPONSES, "\n");
    }
}
