//! What passes, in both directions.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::{and, ask, ask_known, bearer, forward_client, route, setup};
use crate::on_both_engines;
use crate::support::gateway::CALLER_KEY;
use crate::support::scripted::{Asked, Asker, reply};
use crate::support::{Gateway, Scripted};

/// Answers with the status, lines and body that the request names in its query, `|` for line ends.
fn as_told(asked: &Asked, asker: Asker<'_>) -> bool {
    let line = asked.line().split(' ').nth(1).unwrap();
    let told = line.split_once('?').map_or("200 OK", |(_, told)| told);
    let head = told.replace('_', " ").replace('|', "\r\n");
    asker
        .write_all(format!("HTTP/1.1 {head}\r\n\r\n").as_bytes())
        .unwrap();
    let body = asked
        .values("x-answer")
        .first()
        .copied()
        .unwrap_or_default();
    let body = match head.contains("chunked") {
        true => format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
        false => body.to_owned(),
    };
    asker.write_all(body.as_bytes()).is_ok() && !head.contains("x-until: close")
}

on_both_engines! {
    fn every_method_passes_with_its_body(engine) {
        let upstream = Scripted::plain();
        let gateway = setup(engine, &upstream, vec![route("r", upstream.addr(), json!({}))]).start_ready();
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "QUERY"] {
            for body in [&b""[..], b"some bytes"] {
                let answer = ask_known(&gateway, &format!("{method} /r/x"), body);
                assert_eq!((answer.status, answer.text()), (200, "fine"), "{method}");
                let asked = upstream.last();
                assert_eq!(asked.line(), format!("{method} /x HTTP/1.1"));
                assert_eq!(asked.body, body, "{method}");
            }
        }
        // The answer to a HEAD has the length of a body that does not come, and the connection goes on.
        let mut raw = gateway.connect();
        let head = format!("HEAD /r/x HTTP/1.1\r\nhost: g\r\n{}\r\n", bearer(CALLER_KEY));
        for _ in 0..2 {
            raw.send(head.as_bytes());
            let answer = raw.head();
            assert_eq!((answer.status, answer.header("content-length")), (200, Some("4")));
        }
        // A body in chunks arrives in one piece.
        raw.send(format!("PUT /r/x HTTP/1.1\r\nhost: g\r\n{}transfer-encoding: chunked\r\n\r\n\
            3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", bearer(CALLER_KEY)).as_bytes());
        assert_eq!(raw.response().status, 200);
        assert_eq!(upstream.last().body, b"abcde");
    }

    fn any_answer_passes_with_its_own_status_and_body(engine) {
        let upstream = Scripted::new(as_told);
        let gateway = setup(engine, &upstream, vec![route("r", upstream.addr(), json!({}))]).start_ready();
        for (told, status, body) in [
            ("200_OK|content-length:_4", 200, "body"),
            ("201_Created|content-length:_0", 201, ""),
            ("204_No_Content|content-length:_0", 204, ""),
            ("302_Found|location:_/elsewhere|content-length:_0", 302, ""),
            ("304_Not_Modified|etag:_x", 304, ""),
            ("400_Bad|content-length:_18|content-type:_application/json", 400, "{\"error\":\"theirs\"}"),
            ("401_No|content-length:_4", 401, "mine"),
            ("404_Not_Found|content-length:_4", 404, "none"),
            ("429_Slow|content-length:_4|retry-after:_7", 429, "wait"),
            ("500_Oh|content-length:_5", 500, "stack"),
            ("503_Oh|content-length:_4", 503, "busy"),
            ("599_Odd|content-length:_3", 599, "odd"),
            ("200_OK|transfer-encoding:_chunked", 200, "in chunks"),
            ("200_OK|x-until:_close", 200, "until the end"),
        ] {
            let headers = format!("{}x-sluice-request-id: {status}-{}\r\n", bearer(CALLER_KEY), body.len());
            let headers = format!("{headers}x-answer: {body}\r\n");
            let answer = ask(&gateway, &format!("GET /r?{told}"), &headers, b"");
            assert_eq!((answer.status, answer.text()), (status, body), "{told}");
            assert_eq!(answer.header("retry-after").is_some(), status == 429);
            assert_eq!(answer.header("location").is_some(), status == 302);
            assert!(status != 204 || answer.header("content-length").is_none());
        }
        let line = gateway.access_line("500-5");
        assert_eq!((&line["status"], &line["end"], &line["attempts"]), (&json!(500), &json!("completed"), &json!(1)));
        assert_eq!(gateway.access_line("304-0")["status"], 304);
    }

    fn headers_pass_but_for_those_of_one_hop_and_the_gateways_own(engine) {
        let upstream = Scripted::new(|_, asker| reply(asker, "Server: theirs\r\ndate: then\r\nConnection: x-hop\r\n\
            x-hop: 1\r\nkeep-alive: timeout=5\r\nX-Sluice-Request-Id: forged\r\nset-cookie: a=1\r\n\
            set-cookie: b=2\r\nalt-svc: h3\r\nX-Theirs: 1\r\nx-theirs: 2\r\ncontent-type: text/plain\r\n", b"x"));
        let addr = upstream.addr();
        let gateway = setup(engine, &upstream, vec![
            route("inject", addr, json!({})),
            route("own", addr, and(forward_client(), json!({"auth_mode": "header_key", "auth_header_name": "x-k"}))),
        ]).start_ready();
        for (path, cookies) in [("/inject", 0), ("/own", 2)] {
            let caller = match path {
                "/inject" => bearer(CALLER_KEY),
                _ => format!("x-k: {CALLER_KEY}\r\n"),
            };
            let headers = format!("{caller}Accept: a\r\naccept: b\r\nuser-agent: agent\r\nte: trailers\r\n\
                traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\
                accept-encoding: gzip\r\nx-forwarded-for: 1.2.3.4\r\n");
            let answer = ask(&gateway, &format!("POST {path}"), &headers, b"{}");
            let count = |name: &str| answer.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).count();
            assert_eq!((answer.status, answer.text()), (200, "x"));
            assert_eq!(count("set-cookie"), cookies, "{path}");
            assert_eq!(count("alt-svc"), cookies / 2, "{path}");
            assert_eq!((count("x-theirs"), count("x-hop"), count("keep-alive")), (2, 0, 0));
            assert_eq!((count("server"), count("date"), count("x-sluice-request-id")), (1, 1, 1));
            assert!(answer.header("server").unwrap().starts_with("Sluice/"));
            assert_ne!(answer.header("x-sluice-request-id"), Some("forged"));
            let asked = upstream.last();
            assert_eq!(asked.values("accept"), ["a", "b"]);
            assert_eq!(asked.values("user-agent"), ["agent"]);
            assert_eq!(asked.values("accept-encoding"), ["gzip"]);
            assert_eq!(asked.values("x-forwarded-for"), ["1.2.3.4"]);
            for name in ["te", "traceparent", "connection", "x-k"] {
                assert!(asked.values(name).is_empty(), "{name}");
            }
            assert_eq!(asked.values("host"), [addr.to_string()]);
            assert_eq!(asked.values("content-length"), ["2"]);
        }
    }

    fn events_pass_one_by_one_and_silence_is_filled(engine) {
        let gate = Arc::new(AtomicUsize::new(0));
        let at_gate = Arc::clone(&gate);
        let upstream = Scripted::new(move |_, asker| {
            asker.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-theirs: 1\r\n\
                transfer-encoding: chunked\r\n\r\n").unwrap();
            let events = ["event: a\r\ndata: 1\r\n\r\n", ": theirs\n\n",
                "data: {\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4,\"total_tokens\":13}}\n\n", "data: [DONE]\n\n"];
            for (at, event) in events.into_iter().enumerate() {
                while at_gate.load(Ordering::SeqCst) <= at {
                    std::thread::yield_now();
                }
                asker.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).unwrap();
            }
            asker.write_all(b"0\r\n\r\n").is_ok()
        });
        let gateway = setup(engine, &upstream, vec![route("r", upstream.addr(), json!({}))])
            .with("downstream.sse_keepalive_interval_secs", 1).start_ready();
        let mut raw = gateway.connect();
        let body = json!({"model": "their-model", "messages": []}).to_string();
        raw.send(format!("POST /r/chat HTTP/1.1\r\nhost: g\r\nx-sluice-request-id: sse\r\n{}content-length: {}\r\n\r\n{body}",
            bearer(CALLER_KEY), body.len()).as_bytes());
        let head = raw.head();
        assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
        assert_eq!((head.header("x-theirs"), head.header("transfer-encoding")), (Some("1"), Some("chunked")));
        // The head did not wait for an event, nor for a comment.
        gate.store(1, Ordering::SeqCst);
        assert_eq!(raw.chunk().unwrap(), b"event: a\r\ndata: 1\r\n\r\n");
        // Nothing more comes from the upstream: the gateway says that it is there.
        assert_eq!(raw.chunk().unwrap(), b":\n\n");
        gate.store(2, Ordering::SeqCst);
        raw.until(b": theirs\n\n");
        gate.store(3, Ordering::SeqCst);
        raw.until(b"13}}\n\n");
        gate.store(4, Ordering::SeqCst);
        raw.until(b"data: [DONE]\n\n");
        raw.until(b"\r\n0\r\n\r\n");
        let line = gateway.access_line("sse");
        for (key, want) in [
            ("stream", json!(true)), ("events", json!(3)), ("prompt_tokens", json!(9)), ("completion_tokens", json!(4)),
            ("usage_source", json!("reported")), ("inbound_protocol", json!("passthrough")),
            ("passthrough_route_name", json!("r")), ("provider", json!("openai")), ("model", json!("their-model")),
            ("served_by_model", json!("passthrough")), ("status", json!(200)), ("end", json!("completed")),
        ] {
            assert_eq!(line[key], want, "{key} in {line}");
        }
        let labels = ["endpoint=\"/passthrough_route\"", "inbound_protocol=\"passthrough\"",
            "model=\"passthrough\"", "provider=\"openai\"", "status=\"200\""];
        assert_eq!(gateway.metric("sluice_proxy_requests_total", &labels), 1.0);
        assert_eq!(gateway.in_flight(), 0.0);
    }

    fn tokens_of_whole_answers_are_noted_where_the_request_is_understood(engine) {
        let upstream = Scripted::new(|_, asker| reply(asker, "content-type: application/json\r\n",
            br#"{"usage":{"input_tokens":5,"output_tokens":2}}"#));
        let gateway = setup(engine, &upstream, vec![route("r", upstream.addr(), json!({}))]).start_ready();
        for (id, body, want) in [
            ("chat", r#"{"messages":[]}"#, json!(5)),
            ("responses", r#"{"input":"x"}"#, json!(5)),
            ("completions", r#"{"prompt":"x"}"#, json!(5)),
            ("opaque", r#"{"x":1}"#, json!(null)),
        ] {
            let headers = format!("x-sluice-request-id: {id}\r\n{}", bearer(CALLER_KEY));
            assert_eq!(ask(&gateway, "POST /r", &headers, body.as_bytes()).status, 200);
            assert_eq!(gateway.access_line(id)["prompt_tokens"], want, "{id}");
        }
    }

    fn big_bodies_pass_both_ways_and_no_answer_is_held(engine) {
        const ANSWER_BYTES: usize = 96 * 1024 * 1024;
        let written = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&written);
        let upstream = Scripted::new(move |asked, asker| {
            if asked.line().starts_with("POST") {
                return reply(asker, "", &asked.body);
            }
            asker.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {ANSWER_BYTES}\r\n\r\n").as_bytes()).unwrap();
            for _ in 0..ANSWER_BYTES / 65_536 {
                if asker.write_all(&[b'x'; 65_536]).is_err() {
                    return false;
                }
                count.fetch_add(65_536, Ordering::SeqCst);
            }
            true
        });
        let gateway = setup(engine, &upstream, vec![route("r", upstream.addr(), json!({}))])
            .with("proxy.request_body_limit_bytes", 16 * 1024 * 1024).start_ready();
        let body: Vec<u8> = (0..12 * 1024 * 1024_u32).map(|at| (at % 251) as u8).collect();
        let answer = ask_known(&gateway, "POST /r/up", &body);
        assert!(answer.status == 200 && answer.body == body);
        let mut raw = gateway.connect();
        raw.send(format!("GET /r/down HTTP/1.1\r\nhost: g\r\n{}\r\n", bearer(CALLER_KEY)).as_bytes());
        raw.wait_until_blocked();
        assert!(written.load(Ordering::SeqCst) < ANSWER_BYTES / 2, "a slow reader slows the upstream");
        let answer = raw.response();
        assert_eq!((answer.status, answer.body.len()), (200, ANSWER_BYTES));
        refuses_longer(&gateway, &upstream);
    }
}

/// A body over the limit is refused ahead of the key where it is announced, and once it is too long.
fn refuses_longer(gateway: &Gateway, upstream: &Scripted) {
    let before = upstream.asked().len();
    let mut raw = gateway.connect();
    raw.send(b"POST /r HTTP/1.1\r\nhost: g\r\ncontent-length: 16777217\r\n\r\n");
    assert_eq!(raw.response().status, 413);
    let mut raw = gateway.connect();
    raw.send(
        format!(
            "POST /r HTTP/1.1\r\nhost: g\r\n{}transfer-encoding: chunked\r\n\r\n1000001\r\n",
            bearer(CALLER_KEY)
        )
        .as_bytes(),
    );
    // The gateway may answer and close while the rest is on its way.
    let _ = raw.try_send(&vec![b'x'; 0x100_0001]);
    assert_eq!(raw.response().status, 413);
    assert_eq!(upstream.asked().len(), before);
}
