//! The corpus of request heads against the real binary: what is refused, and what only looks alike.

use std::net::SocketAddr;

use crate::on_both_engines;
use crate::support::gateway::{chat, post};
use crate::support::{Gateway, Raw, Response, Setup, mock, upstream_requests};

#[allow(dead_code, reason = "the codec's own tests use the rest")]
mod cases {
    include!("../fixtures/h1_cases.rs");
}

use cases::{Connection, HeadCase, Want, WantBody, head_cases};

/// Cases up to this size are also sent byte by byte.
const SHORT_BYTES_MAX: usize = 300;

fn refused() -> impl Iterator<Item = (HeadCase, u16, &'static str)> {
    head_cases().into_iter().filter_map(|case| match case.want {
        Want::Refused(status, message) => Some((case, status, message)),
        Want::Accepted(..) => None,
    })
}

fn accepted() -> impl Iterator<Item = (HeadCase, WantBody, Connection)> {
    head_cases().into_iter().filter_map(|case| match case.want {
        Want::Accepted(body, connection) => Some((case, body, connection)),
        Want::Refused(..) => None,
    })
}

/// One gateway, and the upstream that must see nothing.
fn start(engine: crate::support::Engine) -> (Gateway, SocketAddr) {
    let mock = mock();
    (Setup::new(engine, mock).start(), mock)
}

/// Reads the refusal of `case` and the end of its connection.
fn assert_refused(raw: &mut Raw, name: &str, status: u16, message: &str) {
    let answer = raw.response();
    assert_eq!(answer.status, status, "{name}: {}", answer.text());
    assert_eq!(answer.header("connection"), Some("close"), "{name}");
    assert_eq!(
        answer.header("content-type"),
        Some("application/json"),
        "{name}"
    );
    let error = answer.error();
    assert_eq!(error["message"], message, "{name}");
    assert_eq!(error["type"], "invalid_request_error", "{name}");
    assert_eq!(error["code"], "invalid_request_error", "{name}");
    let id = answer.header("x-sluice-request-id").expect("an id");
    assert_eq!(error["request_id"], id, "{name}");
    assert!(raw.closes(), "{name}: left open with {:?}", raw.peeked());
}

/// Reads the answer to an accepted case, and finds the connection as announced.
fn assert_answered(raw: &mut Raw, case: &HeadCase, body: WantBody, connection: Connection) {
    let name = case.name;
    let answer = raw.response();
    let text = String::from_utf8_lossy(&case.bytes[..case.bytes.len().min(40)]).into_owned();
    let want = match text.trim_start().split(' ').next() {
        Some("GET") => 200,
        Some("OPTIONS") => 404,
        _ => 405,
    };
    assert_eq!(answer.status, want, "{name}: {}", answer.text());
    let closes = answer.header("connection") == Some("close");
    // A body of unknown length that nobody reads is not worth keeping the connection for.
    let unread = body == WantBody::Chunked;
    assert_eq!(closes, connection == Connection::Closed || unread, "{name}");
    if closes {
        assert!(raw.closes(), "{name}: left open with {:?}", raw.peeked());
    } else {
        raw.send(b"GET /readyz HTTP/1.1\r\nhost: a\r\n\r\n");
        let next = raw.response();
        assert_eq!((next.status, next.text()), (200, "ok"), "{name}");
    }
}

fn byte_by_byte(raw: &mut Raw, bytes: &[u8]) {
    for byte in bytes {
        // A refusal may come, with the end of the connection, before the last byte is sent.
        if raw.try_send(&[*byte]).is_err() {
            return;
        }
    }
}

fn is_alive(gateway: &Gateway) -> Response {
    gateway.get("/livez")
}

on_both_engines! {
    fn every_malformed_head_gets_its_answer_and_the_connection_closes(engine) {
        let (gateway, mock) = start(engine);
        for (case, status, message) in refused() {
            let mut raw = gateway.connect();
            raw.send(&case.bytes);
            assert_refused(&mut raw, case.name, status, message);
        }
        assert_eq!(is_alive(&gateway).status, 200);
        assert!(upstream_requests(mock).is_empty());
    }

    fn nothing_behind_a_malformed_head_is_served(engine) {
        let (gateway, mock) = start(engine);
        let smuggled = post("/v1/chat/completions", &chat("m", false));
        for (case, status, message) in refused() {
            let mut raw = gateway.connect();
            raw.send(&[&case.bytes[..], &smuggled[..]].concat());
            assert_refused(&mut raw, case.name, status, message);
        }
        assert!(upstream_requests(mock).is_empty());
        // The same bytes on a connection of their own do get through.
        assert_eq!(gateway.post("/v1/chat/completions", &chat("m", false)).status, 200);
        assert_eq!(upstream_requests(mock).len(), 1);
    }

    fn a_malformed_head_sent_byte_by_byte_gets_the_same_answer(engine) {
        let (gateway, mock) = start(engine);
        for (case, status, message) in refused() {
            if case.bytes.len() > SHORT_BYTES_MAX {
                continue;
            }
            let mut raw = gateway.connect();
            byte_by_byte(&mut raw, &case.bytes);
            assert_refused(&mut raw, case.name, status, message);
        }
        assert!(upstream_requests(mock).is_empty());
    }

    fn a_malformed_head_behind_a_good_request_gets_the_same_answer(engine) {
        let (gateway, mock) = start(engine);
        for (case, status, message) in refused() {
            let mut raw = gateway.connect();
            let good = b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n";
            raw.send(&[&good[..], &case.bytes[..]].concat());
            let first = raw.response();
            assert_eq!((first.status, first.text()), (200, "ok"), "{}", case.name);
            assert_refused(&mut raw, case.name, status, message);
        }
        assert!(upstream_requests(mock).is_empty());
    }

    fn every_lookalike_is_answered(engine) {
        let (gateway, _) = start(engine);
        for (case, body, connection) in accepted() {
            let mut raw = gateway.connect();
            raw.send(&case.bytes);
            assert_answered(&mut raw, &case, body, connection);
        }
    }

    fn every_lookalike_sent_byte_by_byte_is_answered(engine) {
        let (gateway, _) = start(engine);
        for (case, body, connection) in accepted() {
            if case.bytes.len() > SHORT_BYTES_MAX {
                continue;
            }
            let mut raw = gateway.connect();
            byte_by_byte(&mut raw, &case.bytes);
            assert_answered(&mut raw, &case, body, connection);
        }
    }
}
