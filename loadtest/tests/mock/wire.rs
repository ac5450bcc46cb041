//! How the bytes travel.

use serde_json::json;

use crate::support::{chat, connect, read_to_close, read_until, send, shared, streamed, unary};

#[test]
fn framings_carry_the_same_stream() {
    let count = |script: &str| {
        let reply = streamed(script);
        (
            reply.contents().len(),
            reply.text().ends_with("data: [DONE]\n\n"),
        )
    };
    for te in ["chunked", "length", "close"] {
        assert_eq!(count(&format!("events=12,te={te}")), (12, true), "{te}");
    }
    assert!(
        streamed("te=chunked")
            .head
            .contains("transfer-encoding: chunked")
    );
    assert!(streamed("te=close").head.contains("connection: close"));
    let reply = streamed("events=12,te=length");
    assert!(
        reply
            .head
            .contains(&format!("content-length: {}\r\n", reply.body.len()))
    );
    assert!(unary("te=chunked").json()["id"].is_string());
}

#[test]
fn a_split_body_comes_in_pieces_of_that_size() {
    let reply = streamed("events=2,split=7");
    let raw = String::from_utf8(reply.raw_body.clone()).unwrap();
    let sizes: Vec<&str> = raw.split("\r\n").step_by(2).collect();
    assert!(
        sizes.iter().filter(|size| **size == "7").count() > 50,
        "{sizes:?}"
    );
    assert_eq!(reply.contents().len(), 2);
    let reply = streamed("events=2,split_wire=11");
    assert_eq!(reply.contents().len(), 2);
    assert_eq!(
        unary("split=100,split_ms=0.1").json()["object"],
        "chat.completion"
    );
}

#[test]
fn a_body_is_cut_once_at_the_offset_asked_for() {
    for offset in [1, 7, 300] {
        let reply = streamed(&format!("events=2,split_at={offset},split_ms=1"));
        assert_eq!(reply.contents().len(), 2, "{offset}");
        let raw = String::from_utf8_lossy(&reply.raw_body).into_owned();
        let sizes: Vec<usize> = raw
            .split("\r\n")
            .step_by(2)
            .map_while(|size| usize::from_str_radix(size, 16).ok())
            .collect();
        let ends = sizes.iter().scan(0, |end, size| {
            *end += size;
            Some(*end)
        });
        assert!(ends.clone().any(|end| end == offset), "{offset}: {sizes:?}");
    }
    assert_eq!(unary("split_at=3").json()["object"], "chat.completion");
}

#[test]
fn interim_heads_come_first_as_often_as_asked() {
    let head = |script: &str| {
        let mut socket = connect(shared());
        let headers = "connection: close\r\n";
        send(
            &mut socket,
            "/v1/chat/completions",
            headers,
            &chat(script, &json!({})),
        );
        String::from_utf8(read_to_close(&mut socket).0).unwrap()
    };
    let text = head("interim=103,interim_n=3");
    assert_eq!(text.matches("HTTP/1.1 103 Early Hints\r\n").count(), 3);
    assert!(text.contains("\r\n\r\nHTTP/1.1 200 OK\r\n"));
    assert!(head("interim=100").starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200"));
}

#[test]
fn a_connection_is_kept_unless_told_otherwise() {
    let mut socket = connect(shared());
    for _ in 0..3 {
        send(
            &mut socket,
            "/v1/chat/completions",
            "",
            &chat("events=1", &json!({"stream": true})),
        );
        read_until(&mut socket, "0\r\n\r\n");
    }
    send(
        &mut socket,
        "/v1/chat/completions",
        "",
        &chat("close=yes", &json!({})),
    );
    let (bytes, _) = read_to_close(&mut socket);
    assert!(
        String::from_utf8(bytes)
            .unwrap()
            .contains("connection: close\r\n")
    );
}
