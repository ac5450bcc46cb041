//! What goes wrong, exactly as scripted.

use std::io::Read;

use crate::support::{
    Reply, chat, connect, exchange, read_until, send, shared, start, streamed, unary, wait_for,
};
use serde_json::json;

#[test]
fn a_stream_is_cut_before_its_event_with_a_reset_or_a_fin() {
    for (cut, reset) in [("rst", true), ("fin", false)] {
        let reply = streamed(&format!("events=5,cut_at=2,cut={cut}"));
        assert_eq!(reply.reset, reset, "{cut}");
        // A reset may overtake what was sent before it, but nothing after may arrive.
        assert!(reply.contents().len() <= 2);
        assert!(!reply.text().contains("[DONE]"));
    }
    assert_eq!(streamed("events=5,cut_at=2,cut=fin").contents().len(), 2);
    let before_finish = streamed("events=2,cut_at=2,cut=fin");
    assert_eq!(before_finish.data().len(), 2);
}

#[test]
fn a_connection_is_cut_before_the_head_or_inside_a_unary_body() {
    let reply = unary("cut_at=head,cut=fin");
    assert!(reply.head.is_empty() && !reply.reset);
    assert!(unary("cut_at=head").reset);
    let reply = unary("cut_at=0,cut=fin,reply_bytes=1000");
    assert_eq!(reply.status(), "200");
    assert_eq!(reply.body.len(), announced(&reply) / 2);
}

#[test]
fn a_stall_sends_nothing_more_until_the_peer_leaves() {
    let mock = start("");
    let mut socket = connect(mock);
    let body = chat("events=5,stall_at=1", &json!({"stream": true}));
    send(&mut socket, "/v1/chat/completions", "", &body);
    let text = read_until(&mut socket, "e0 ");
    assert!(!text.contains("e1 "));
    socket.set_nonblocking(true).unwrap();
    let mut buffer = [0; 4096];
    // The rest of the first event may still be on its way; a second event never is.
    while let Ok(count) = socket.read(&mut buffer) {
        assert!(!String::from_utf8_lossy(&buffer[..count]).contains("e1 "));
    }
    drop(socket);
    let requests = wait_for(mock, "/__mock/requests", |requests| {
        requests[0]["hung_up"] == json!(true)
    });
    assert_eq!(requests[0]["events_sent"], 1);
    for script in ["stall_at=head", "stall_at=0"] {
        let mut socket = connect(mock);
        send(
            &mut socket,
            "/v1/chat/completions",
            "",
            &chat(script, &json!({})),
        );
        if script == "stall_at=0" {
            read_until(&mut socket, "\r\n\r\n");
        }
        drop(socket);
    }
    wait_for(mock, "/__mock/requests", |requests| {
        let requests = requests.as_array().unwrap();
        requests.len() == 3
            && requests
                .iter()
                .all(|request| request["hung_up"] == json!(true))
    });
}

#[test]
fn an_error_status_has_its_body_code_and_retry_after() {
    let reply = unary("status=429,retry_after=7,error_code=rate_limit_exceeded");
    assert_eq!(reply.status(), "429");
    assert!(reply.head.contains("retry-after: 7\r\n"));
    assert_eq!(reply.json()["error"]["code"], "rate_limit_exceeded");
    assert_eq!(reply.json()["error"]["type"], "rate_limit_error");
    let reply = streamed("status=503,error_body=raw");
    assert_eq!(reply.status(), "503");
    assert!(reply.head.contains("content-type: text/plain"));
    assert_eq!(reply.text(), "mock status 503\n");
    assert_eq!(unary("status=201").status(), "201");
}

#[test]
fn an_error_event_ends_the_stream_without_done_unless_asked() {
    let reply = streamed("events=5,error_at=0,error_code=busy");
    assert_eq!(reply.data().len(), 1);
    assert!(reply.data()[0].starts_with("{\"error\":{"));
    assert!(reply.data()[0].contains("\"code\":\"busy\""));
    let reply = streamed("events=5,error_at=2,done=yes");
    assert_eq!(reply.contents().len(), 2);
    assert_eq!(reply.data().last().unwrap(), "[DONE]");
    assert!(
        streamed("events=5,error_at=2,te=length")
            .text()
            .ends_with("}\n\n")
    );
}

#[test]
fn faults_with_times_happen_to_the_first_requests_only() {
    let script = "status=500,times=2,tag=faults_with_times";
    let statuses: Vec<_> = (0..4).map(|_| unary(script).status().to_owned()).collect();
    assert_eq!(statuses, ["500", "500", "200", "200"]);
}

#[test]
fn malformed_heads_are_sent_as_named() {
    let cases = [
        ("te_cl", "transfer-encoding: chunked"),
        ("te_cl", "content-length: "),
        ("status", "HTTP/1.1 2x0 "),
        ("version", "HTTP/3.7 200"),
        ("header", "this line has no colon\r\n"),
        ("html", "content-type: text/html"),
    ];
    for (bad, want) in cases {
        assert!(unary(&format!("bad={bad}")).head.contains(want), "{bad}");
    }
    let lengths = unary("bad=two_cl").head.matches("content-length").count();
    assert_eq!(lengths, 2);
    assert!(unary("bad=huge_head").head.len() > 1024 * 1024);
    assert_eq!(
        unary("bad=many_headers").head.matches("x-many").count(),
        5000
    );
}

#[test]
fn malformed_bodies_are_sent_as_named() {
    assert!(streamed("bad=chunk").raw_body.starts_with(b"zz\r\n"));
    let torn = streamed("events=1,bad=chunk_end").raw_body;
    assert!(torn.windows(3).any(|window| window == b"\nXX"));
    assert!(serde_json::from_slice::<serde_json::Value>(&unary("bad=json").body).is_err());
    let data = streamed("bad=event_json").data();
    assert_eq!(data[1], "{\"id\":\"chatcmpl-");
    assert!(String::from_utf8(streamed("bad=utf8").body).is_err());
    assert!(streamed("bad=huge_event").body.len() > 2 * 1024 * 1024);
    assert!(unary("bad=no_id").json().get("id").is_none());
    assert!(!streamed("bad=no_id").text().contains("\"model\""));
}

#[test]
fn a_body_is_shorter_or_longer_than_announced() {
    let short = unary("bad=short");
    assert_eq!(announced(&short), short.body.len() + 10);
    let long = unary("bad=long");
    assert_eq!(announced(&long), long.body.len() - 10);
}

#[test]
fn raw_bytes_and_early_bytes_are_exact() {
    // "HTTP/1.1 200 OK\r\n\r\nhi", then the connection closes.
    let hex = "485454502f312e3120323030204f4b0d0a0d0a6869";
    let reply = unary(&format!("raw={hex},close=yes"));
    assert_eq!(reply.head, "HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(reply.body, b"hi");
    let mut socket = connect(shared());
    send(
        &mut socket,
        "/v1/chat/completions",
        "",
        &chat("early=1", &json!({})),
    );
    let text = read_until(&mut socket, "EARLY");
    assert!(text.ends_with("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nEARLY"));
}

#[test]
fn embeddings_can_fail_too() {
    let reply = exchange(
        "/v1/embeddings",
        &json!({"model": "mock/status=500", "input": "a"}),
    );
    assert_eq!(reply.status(), "500");
}

/// The content length in the head of `reply`.
fn announced(reply: &Reply) -> usize {
    let value = reply.head.split("content-length: ").nth(1).unwrap();
    value.split('\r').next().unwrap().parse().unwrap()
}
