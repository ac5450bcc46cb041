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
