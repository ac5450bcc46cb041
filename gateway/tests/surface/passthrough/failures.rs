//! Upstreams that fail and callers that leave.

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::json;

use super::{ask, ask_known, bearer, route, setup};
use crate::on_both_engines;
use crate::support::gateway::CALLER_KEY;
use crate::support::scripted::reply;
use crate::support::{Scripted, unix_ms, wait_for};

/// An address that nobody listens at.
fn nobody() -> std::net::SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// Longest time from a hang-up to the end of the upstream's connection.
const NOTICED_MS_MAX: u64 = 100;

on_both_engines! {
    fn an_upstream_without_an_answer_is_told_as_such(engine) {
        let silent = Scripted::new(|_, asker| {
            let _ = asker.read(&mut [0]);
            false
        });
        let hasty = Scripted::new(|_, _| false);
        let switching = Scripted::new(|_, asker| {
            asker.write_all(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n").is_ok()
        });
        let gateway = setup(engine, &silent, vec![
            route("dead", nobody(), json!({})),
            route("silent", silent.addr(), json!({"timeout_ms": 150})),
            route("hasty", hasty.addr(), json!({})),
            route("switching", switching.addr(), json!({})),
        ]).start_ready();
        for (path, status, kind) in [
            ("/dead", 502, "transport_error"),
            ("/silent", 504, "timeout"),
            ("/hasty", 502, "transport_error"),
            ("/switching", 502, "upstream_decode_error"),
        ] {
            let headers = format!("x-sluice-request-id: {}\r\n{}", &path[1..], bearer(CALLER_KEY));
            let answer = ask(&gateway, &format!("POST {path}"), &headers, b"{}");
            assert_eq!((answer.status, &answer.error()["type"]), (status, &json!(kind)), "{path}");
            let line = gateway.access_line(&path[1..]);
            assert_eq!((&line["attempts"], &line["end"]), (&json!(1), &json!("upstream_failed")), "{path}");
        }
        assert_eq!(hasty.asked().len(), 1, "nothing is tried again");
    }

    fn an_answer_that_breaks_off_breaks_off_for_the_caller(engine) {
        let upstream = Scripted::new(|asked, asker| {
            let head = match asked.line().split(' ').nth(1).unwrap() {
                "/length" => "content-length: 100\r\n\r\nhalf",
                "/chunks" => "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
                "/stall" => "content-length: 100\r\n\r\nhalf",
                _ => "content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
            };
            asker.write_all(format!("HTTP/1.1 200 OK\r\n{head}").as_bytes()).unwrap();
            if asked.line().contains("/stall") {
                let _ = asker.read(&mut [0]);
            }
            false
        });
        let gateway = setup(engine, &upstream, vec![
            route("r", upstream.addr(), json!({"timeout_ms": 300})),
        ]).start_ready();
        for (path, want, status) in [
            ("/length", "half", 502),
            ("/chunks", "half", 502),
            ("/stall", "half", 504),
            ("/events", "event: error\ndata: {\"error\":", 502),
        ] {
            let mut raw = gateway.connect();
            raw.send(format!("GET /r{path} HTTP/1.1\r\nhost: g\r\nx-sluice-request-id: {}\r\n{}\r\n", &path[1..],
                bearer(CALLER_KEY)).as_bytes());
            assert_eq!(raw.head().status, 200, "{path}");
            let rest = String::from_utf8(raw.rest()).unwrap();
            assert!(rest.contains(want), "{path}: {rest}");
            // The missing end tells, where nothing in the stream can.
            assert_eq!(rest.ends_with("\r\n0\r\n\r\n"), path == "/events", "{path}: {rest}");
            let line = gateway.access_line(&path[1..]);
            assert_eq!((&line["status"], &line["end"]), (&json!(status), &json!("upstream_failed")), "{line}");
        }
    }

    fn a_timeout_ends_no_stream_of_events(engine) {
        let upstream = Scripted::new(|_, asker| {
            asker.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n").unwrap();
            let started = unix_ms();
            wait_for("the timeout to pass", || (unix_ms() > started + 400).then_some(()));
            asker.write_all(b"data: 2\n\n").unwrap();
            false
        });
        let gateway = setup(engine, &upstream, vec![
            route("r", upstream.addr(), json!({"timeout_ms": 100})),
        ]).start_ready();
        let answer = ask_known(&gateway, "GET /r", b"");
        assert_eq!((answer.status, answer.text()), (200, "data: 1\n\ndata: 2\n\n"));
    }

    fn a_caller_that_leaves_takes_its_upstream_request_along(engine) {
        let upstream = Scripted::new(|asked, asker| {
            let head = match asked.line().split(' ').nth(1).unwrap() {
                "/events" => "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n",
                "/body" => "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
                _ => "",
            };
            asker.write_all(head.as_bytes()).unwrap();
            let _ = asker.read(&mut [0]);
            false
        });
        let gateway = setup(engine, &upstream, vec![route("r", upstream.addr(), json!({}))]).start_ready();
        for path in ["/head", "/events", "/body"] {
            // The machine is shared: the best of a few counts.
            let noticed = (0..8).map(|_| {
                let (asked, closed) = (upstream.asked().len(), upstream.closed());
                let mut raw = gateway.connect();
                raw.send(format!("GET /r{path} HTTP/1.1\r\nhost: g\r\n{}\r\n", bearer(CALLER_KEY)).as_bytes());
                wait_for("the upstream to be asked", || (upstream.asked().len() > asked).then_some(()));
                if path != "/head" {
                    raw.head();
                }
                let left_at = unix_ms();
                raw.reset();
                wait_for("the upstream to be left", || (upstream.closed() > closed).then(|| unix_ms() - left_at))
            });
            let best = noticed.min().unwrap();
            assert!(best <= NOTICED_MS_MAX, "{path}: {best} ms");
        }
        wait_for("nothing in flight", || (gateway.in_flight() == 0.0).then_some(()));
        let lines = gateway.access_lines(24);
        assert!(lines.iter().all(|line| line["status"] == 499 && line["end"] == "client_gone"), "{lines:?}");
    }

    fn connections_are_used_again_and_a_reload_changes_routes(engine) {
        let upstream = Scripted::new(|_, asker| reply(asker, "", b"ok"));
        let setup = setup(engine, &upstream, vec![route("r", upstream.addr(), json!({}))]);
        let mut changed = setup.resources.clone();
        let gateway = setup.start_ready();
        let mut raw = gateway.connect();
        for _ in 0..3 {
            raw.send(format!("GET /r HTTP/1.1\r\nhost: g\r\n{}\r\n", bearer(CALLER_KEY)).as_bytes());
            assert_eq!(raw.response().text(), "ok");
        }
        assert_eq!(gateway.metric("sluice_runtime_core_upstream_reused_total", &[]), 2.0);
        changed["passthrough_routes"] = json!([route("s", upstream.addr(), json!({}))]);
        gateway.write_resources(&changed.to_string());
        gateway.signal(rustix::process::Signal::HUP);
        wait_for("the new route", || (ask_known(&gateway, "GET /s", b"").status == 200).then_some(()));
        assert_eq!(ask_known(&gateway, "GET /r", b"").status, 404);
        assert!(!gateway.stderr().contains("not enforced"), "{}", gateway.stderr());
    }
}
