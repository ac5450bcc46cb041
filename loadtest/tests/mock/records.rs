//! What the mock tells about the requests it got.

use std::io::Write;

use serde_json::json;

use crate::support::{ask, chat, connect, read_until, send, start, unix_ms, wait_for};

#[test]
fn a_request_is_recorded_as_it_came() {
    let mock = start("");
    let mut socket = connect(mock);
    let headers = "X-Second: b\r\nx-First: a\r\nx-First: c\r\n";
    let body = chat("events=2", &json!({"stream": true}));
    send(&mut socket, "/v1/chat/completions?q=1", headers, &body);
    read_until(&mut socket, "[DONE]");
    let requests = wait_for(mock, "/__mock/requests", |requests| {
        requests[0]["ended_at_ms"].is_u64()
    });
    let request = &requests[0];
    assert_eq!(request["method"], "POST");
    assert_eq!(request["target"], "/v1/chat/completions?q=1");
    assert_eq!(request["path"], "/v1/chat/completions");
    let headers = request["headers"].as_array().unwrap();
    let tail = json!([["X-Second", "b"], ["x-First", "a"], ["x-First", "c"]]);
    assert_eq!(json!(headers[2..]), tail);
    assert_eq!(request["body"], body.to_string());
    assert_eq!(request["events_sent"], 2);
    assert_eq!(request["completed"], true);
    assert_eq!(request["hung_up"], false);
    ask(mock, "DELETE", "/__mock/requests");
    assert_eq!(ask(mock, "GET", "/__mock/requests"), json!([]));
}

#[test]
fn a_chunked_request_body_is_recorded_without_its_framing() {
    let mock = start("");
    let mut socket = connect(mock);
    let head = "POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
    socket.write_all(head.as_bytes()).unwrap();
    socket
        .write_all(b"5\r\n{\"mod\r\n8\r\nel\":\"m\"}\r\n0\r\n\r\n")
        .unwrap();
    assert!(read_until(&mut socket, "}}").contains("\"model\":\"m\""));
    assert_eq!(
        ask(mock, "GET", "/__mock/requests")[0]["body"],
        "{\"model\":\"m\"}"
    );
}

#[test]
fn a_hang_up_is_noticed_while_the_mock_waits() {
    let mock = start("");
    for script in [
        "head_ms=600000",
        "first_ms=600000",
        "events=9,gap_ms=600000",
    ] {
        let mut socket = connect(mock);
        send(
            &mut socket,
            "/v1/chat/completions",
            "",
            &chat(script, &json!({"stream": true})),
        );
        let last = |requests: &serde_json::Value| requests.as_array()?.last().cloned();
        wait_for(mock, "/__mock/requests", |requests| {
            last(requests)
                .is_some_and(|request| request["body"].as_str().unwrap_or("").contains(script))
        });
        let before = unix_ms();
        drop(socket);
        let requests = wait_for(mock, "/__mock/requests", |requests| {
            last(requests).is_some_and(|request| request["hung_up"] == json!(true))
        });
        let at = last(&requests).unwrap()["hung_up_at_ms"].as_u64().unwrap();
        assert!(at >= before, "{script}");
    }
}

#[test]
fn a_hang_up_is_noticed_while_the_peer_does_not_read() {
    let mock = start("");
    let mut socket = connect(mock);
    let body = chat("firehose=100000000", &json!({"stream": true}));
    send(&mut socket, "/v1/chat/completions", "", &body);
    read_until(&mut socket, "e0 ");
    drop(socket);
    let requests = wait_for(mock, "/__mock/requests", |requests| {
        requests[0]["hung_up"] == json!(true)
    });
    assert!(requests[0]["bytes_sent"].as_u64().unwrap() < 100_000_000);
}

#[test]
fn a_request_that_is_never_finished_is_recorded_when_its_peer_leaves() {
    let mock = start("");
    let mut socket = connect(mock);
    let head = "POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 100\r\n\r\nhalf";
    socket.write_all(head.as_bytes()).unwrap();
    drop(socket);
    let requests = wait_for(mock, "/__mock/requests", |requests| {
        requests[0]["hung_up"] == json!(true)
    });
    assert_eq!(requests[0]["body_complete"], false);
    assert_eq!(requests[0]["body"], "half");
}

#[test]
fn connections_are_counted_without_those_that_ask() {
    let mock = start("");
    let sockets: Vec<_> = (0..3).map(|_| connect(mock)).collect();
    wait_for(mock, "/__mock/connections", |answer| {
        *answer == json!({"open": 3, "accepted": 3})
    });
    drop(sockets);
    wait_for(mock, "/__mock/connections", |answer| {
        *answer == json!({"open": 0, "accepted": 3})
    });
}

#[test]
fn only_the_last_requests_are_kept() {
    let mock = start("");
    let mut socket = connect(mock);
    for _ in 0..105 {
        send(
            &mut socket,
            "/v1/chat/completions",
            "",
            &chat("", &json!({})),
        );
        read_until(&mut socket, "}}");
    }
    let requests = ask(mock, "GET", "/__mock/requests");
    let numbers: Vec<_> = requests
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["number"])
        .collect();
    assert_eq!(numbers.len(), 100);
    assert_eq!((numbers[0], numbers[99]), (&json!(6), &json!(105)));
}
