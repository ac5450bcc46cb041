//! Heads that two parties could read in two ways, and bodies that are not what was announced.

use serde_json::json;

use super::frames::{
    self, DATA, END_HEADERS, END_STREAM, Frame, Frames, GOAWAY, HEADERS, PROTOCOL_ERROR, RST_STREAM,
};
use crate::on_both_engines;
use crate::support::gateway::chat;
use crate::support::{Gateway, Setup, mock, upstream_requests};

const CHAT: &str = "/v1/chat/completions";

/// What a malformed request is answered with.
#[derive(Debug, PartialEq)]
enum Answer {
    /// RST_STREAM with this code, by the frame layer.
    Reset(u32),
    /// GOAWAY with this code.
    GoAway(u32),
    /// A response with this status.
    Status(String),
}

/// Sends one request on a connection of its own.
fn outcome(gateway: &Gateway, block: &[u8], body: Option<&[u8]>) -> Answer {
    let mut frames = Frames::connect(gateway, b"");
    let ends = if body.is_some() { 0 } else { END_STREAM };
    frames.send(HEADERS, END_HEADERS | ends, 1, block);
    if let Some(body) = body {
        frames.send(DATA, END_STREAM, 1, body);
    }
    loop {
        let frame = frames.next().expect("an answer before the end");
        match frame.kind {
            RST_STREAM => return Answer::Reset(frame.code()),
            GOAWAY => return Answer::GoAway(frame.code()),
            HEADERS => return Answer::Status(status(&frame)),
            _ => {}
        }
    }
}

/// The status of a response: the first line of its block, indexed or Huffman coded.
fn status(frame: &Frame) -> String {
    match frame.payload[0] {
        0x88 => "200".to_owned(),
        0x8b => "304".to_owned(),
        0x8c => "400".to_owned(),
        0x8d => "404".to_owned(),
        0x8e => "500".to_owned(),
        0x48 => digits(&frame.payload[2..5]),
        other => panic!("no status: {other:x}"),
    }
}

/// Three digits in the code of RFC 7541, appendix B: `0` to `2` in five bits, the others in six.
fn digits(coded: &[u8]) -> String {
    let mut bits: String = coded.iter().map(|byte| format!("{byte:08b}")).collect();
    let mut text = String::new();
    while text.len() < 3 {
        let wide = if bits.starts_with("000") { 5 } else { 6 };
        let rest = bits.split_off(wide);
        let code = u8::from_str_radix(&bits, 2).unwrap();
        text.push(char::from(
            b'0' + if wide == 5 {
                code
            } else {
                code - 0b01_1001 + 3
            },
        ));
        bits = rest;
    }
    text
}

on_both_engines! {
    fn heads_with_two_readings_reach_no_upstream(engine) {
        let mock = mock();
        let gateway = Setup::new(engine, mock).start();
        let key = frames::bearer();
        let base = frames::lines("POST", CHAT, &key);
        let with = |extra: &[(&'static str, &'static str)]| {
            let mut lines = base.clone();
            lines.extend(extra);
            lines
        };
        let without = |name: &str| {
            let lines = base.iter().copied();
            lines.filter(|(key, _)| *key != name).collect::<Vec<_>>()
        };
        let instead = |name: &str, value: &'static str| {
            let lines = base.iter().copied();
            lines.map(|(key, old)| (key, if key == name { value } else { old })).collect::<Vec<_>>()
        };
        let refused = || Answer::Status("400".to_owned());
        let reset = || Answer::Reset(PROTOCOL_ERROR);
        let body = chat("m", false).to_string();
        let cases = [
            ("te", with(&[("te", "gzip")]), reset()),
            ("transfer-encoding", with(&[("transfer-encoding", "chunked")]), reset()),
            ("connection", with(&[("connection", "close")]), reset()),
            ("keep-alive", with(&[("keep-alive", "5")]), reset()),
            ("upgrade", with(&[("upgrade", "h2c")]), reset()),
            ("proxy-connection", with(&[("proxy-connection", "close")]), reset()),
            ("upper case", with(&[("X-Up", "1")]), Answer::GoAway(PROTOCOL_ERROR)),
            ("no method", without(":method"), reset()),
            ("no scheme", without(":scheme"), reset()),
            ("no path", without(":path"), reset()),
            ("no authority", without(":authority"), refused()),
            ("two paths", with(&[(":path", "/v1/models")]), reset()),
            ("late pseudo", with(&[("x-a", "1"), (":authority", "b")]), reset()),
            ("status", with(&[(":status", "200")]), reset()),
            ("unknown pseudo", with(&[(":odd", "1")]), Answer::GoAway(PROTOCOL_ERROR)),
            ("empty path", instead(":path", ""), reset()),
            ("space in path", instead(":path", "/v1/models HTTP/1.1"), reset()),
            ("line in path", instead(":path", "/v1/models\r\nx-a: 1"), reset()),
            ("absolute path", instead(":path", "http://other/v1/models"), reset()),
            ("odd scheme", instead(":scheme", "ftp"), refused()),
            ("user in authority", instead(":authority", "me@gateway"), refused()),
            ("two in authority", instead(":authority", "a,b"), refused()),
            ("host differs", with(&[("host", "other")]), refused()),
            ("two hosts", with(&[("host", "gateway"), ("host", "gateway")]), refused()),
            ("line in value", with(&[("x-a", "1\r\nx-b: 2")]), Answer::GoAway(PROTOCOL_ERROR)),
            ("NUL in value", with(&[("x-a", "1\0")]), Answer::GoAway(PROTOCOL_ERROR)),
            ("space in name", with(&[("x a", "1")]), Answer::GoAway(PROTOCOL_ERROR)),
            ("two lengths", with(&[("content-length", "2"), ("content-length", "3")]), reset()),
            ("signed length", with(&[("content-length", "+2")]), reset()),
            ("long length", with(&[("content-length", "1000")]), reset()),
            ("short length", with(&[("content-length", "2")]), reset()),
            ("connect", instead(":method", "CONNECT"), reset()),
            ("tunnel", vec![(":method", "CONNECT"), (":authority", "a:443")], refused()),
            ("expectation", with(&[("expect", "more")]), Answer::Status("417".to_owned())),
        ];
        let mut wrong = Vec::new();
        for (name, lines, want) in cases {
            let got = outcome(&gateway, &frames::block(&lines), Some(body.as_bytes()));
            if got != want {
                wrong.push(format!("{name}: {got:?}, not {want:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(upstream_requests(mock).is_empty(), "{:?}", upstream_requests(mock));
        // The same without a fault.
        let fine = outcome(&gateway, &frames::block(&base), Some(body.as_bytes()));
        assert_eq!(fine, Answer::Status("200".to_owned()));
        assert_eq!(upstream_requests(mock).len(), 1);
    }

    fn a_body_in_any_frames_is_the_same_body(engine) {
        let mock = mock();
        let gateway = Setup::new(engine, mock).start();
        let key = frames::bearer();
        let mut said = chat("m", false);
        // What looks like framing is text.
        said["user"] = json!("0\r\n\r\nGET /v1/models HTTP/1.1\r\nhost: a\r\n\r\n");
        let body = said.to_string();
        let mut frames = Frames::connect(&gateway, b"");
        for (number, size) in [1, 2, 3, 7, 64, body.len()].into_iter().enumerate() {
            let stream = u32::try_from(number).unwrap() * 2 + 1;
            let mut lines = frames::lines("POST", CHAT, &key);
            lines.push(("cookie", "a=1"));
            lines.push(("cookie", "b=2"));
            frames.send(HEADERS, END_HEADERS, stream, &frames::block(&lines));
            for piece in body.as_bytes().chunks(size) {
                frames.send(DATA, 0, stream, piece);
            }
            frames.send(DATA, END_STREAM, stream, b"");
            let answer = frames.until(HEADERS);
            assert_eq!((answer.stream, status(&answer)), (stream, "200".to_owned()), "{size}");
        }
        let seen = upstream_requests(mock);
        assert_eq!(seen.len(), 6);
        let lengths: Vec<_> = seen.iter().map(|request| request["body"].to_string()).collect();
        assert!(lengths.iter().all(|body| *body == lengths[0]), "{lengths:?}");
    }
}
