//! From the signal to the end of the process.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::on_both_engines;
use crate::support::gateway::{chat, get, named, post};
use crate::support::{Engine, Gateway, Raw, Setup, mock, upstream_request, wait_for};

const CHAT: &str = "/v1/chat/completions";

/// A stream whose first event has come.
fn open_stream(gateway: &Gateway, id: &str, script: &str) -> Raw {
    let mut raw = gateway.connect();
    let body = chat(&format!("script/{script}"), true);
    raw.send(&named(id, &post(CHAT, &body)));
    raw.until(b"\"e0 ");
    raw
}

/// Tells the gateway to end, and waits until it says that it is not ready.
fn start_draining(gateway: &Gateway) {
    gateway.signal(Signal::TERM);
    wait_for("/readyz to fail", || {
        (gateway.get("/readyz").status == 503).then_some(())
    });
}

/// Access lines of a process that has ended.
fn lines_left(gateway: &Gateway) -> Vec<Value> {
    let text = std::fs::read_to_string(gateway.access_log()).unwrap();
    let lines = text.lines().map(serde_json::from_str);
    lines
        .map(|line| line.expect("an access line is JSON"))
        .collect()
}

fn outcome(gateway: &Gateway) -> Value {
    wait_for("the last word", || gateway.logged("stopped"))["outcome"].clone()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the duration of a drain is tested"
)]
fn now() -> Instant {
    Instant::now()
}

fn on(engine: Engine) -> Setup {
    Setup::new(engine, mock())
}

on_both_engines! {
    fn streams_finish_and_the_process_ends_clean(engine) {
        let mut gateway = on(engine).start();
        let mut idle = gateway.connect();
        idle.send(&get("/v1/models"));
        let answer = idle.response();
        assert_eq!((answer.status, answer.header("connection")), (200, None));
        let mut streams: Vec<_> = (0..8)
            .map(|number| open_stream(&gateway, &number.to_string(), "events=8,gap_ms=120"))
            .collect();
        start_draining(&gateway);
        assert_eq!(gateway.get("/livez").status, 503);
        let mut late = gateway.connect();
        late.send(&named("late", &post(CHAT, &chat("m", false))));
        let answer = late.response();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(late.closes());
        for stream in &mut streams {
            let rest = String::from_utf8(stream.rest()).unwrap();
            assert!(rest.contains("\"e7 "), "{rest}");
            assert!(rest.ends_with("data: [DONE]\n\n\r\n0\r\n\r\n"), "{rest}");
        }
        assert!(idle.closes(), "an idle connection is closed at the end");
        assert_eq!(gateway.ended().code(), Some(0));
        assert_eq!(outcome(&gateway), "drain complete");
        let lines = lines_left(&gateway);
        assert_eq!(lines.len(), 10, "{lines:?}");
        assert!(lines.iter().all(|line| line["end"] == "completed"), "{lines:?}");
    }

    fn an_answer_that_was_under_way_says_that_the_connection_closes(engine) {
        let mock = mock();
        let mut gateway = Setup::new(engine, mock).start();
        let mut raw = gateway.connect();
        raw.send(&named("before", &post(CHAT, &chat("script/head_ms=500", false))));
        wait_for("the upstream to be asked", || upstream_request(mock, "before"));
        gateway.signal(Signal::INT);
        let answer = raw.response();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(raw.closes());
        assert_eq!(gateway.ended().code(), Some(0));
    }

    fn livez_may_stay_while_draining(engine) {
        let mut gateway = on(engine).with("shutdown.livez_during_drain", true).start();
        let mut stream = open_stream(&gateway, "stream", "events=6,gap_ms=100");
        start_draining(&gateway);
        assert_eq!(gateway.get("/livez").status, 200);
        assert_eq!(gateway.get("/readyz").status, 503);
        stream.rest();
        assert_eq!(gateway.ended().code(), Some(0));
    }

    fn an_idle_gateway_serves_on_for_the_least_time(engine) {
        let mut gateway = on(engine).with("shutdown.min_drain_secs", 1).start();
        let started = now();
        start_draining(&gateway);
        let answer = gateway.post(CHAT, &chat("m", false));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(gateway.ended().code(), Some(0));
        let took = started.elapsed();
        assert!(took >= Duration::from_secs(1), "ended after {took:?}");
        assert_eq!(outcome(&gateway), "drain complete");
    }

    fn a_second_signal_ends_at_once(engine) {
        let mut gateway = on(engine).start();
        let mut stream = open_stream(&gateway, "stream", "events=2,gap_ms=60000");
        start_draining(&gateway);
        gateway.signal(Signal::TERM);
        assert_eq!(gateway.ended().code(), Some(1));
        assert!(!String::from_utf8(stream.rest()).unwrap().contains("[DONE]"));
        assert_eq!(outcome(&gateway), "stopped by a second signal");
    }

    fn what_outlasts_the_longest_drain_is_cut_and_recorded(engine) {
        let mut gateway = on(engine).with("shutdown.max_drain_secs", 1).start();
        let mut stream = open_stream(&gateway, "stream", "events=2,gap_ms=60000");
        let mut unary = gateway.connect();
        unary.send(&named("unary", &post(CHAT, &chat("script/head_ms=60000", false))));
        wait_for("both to be in flight", || (gateway.in_flight() == 2.0).then_some(()));
        start_draining(&gateway);
        assert_eq!(gateway.ended().code(), Some(1));
        assert_eq!(outcome(&gateway), "drain cut at its bound");
        assert!(!String::from_utf8(stream.rest()).unwrap().contains("[DONE]"));
        unary.rest();
        let lines = lines_left(&gateway);
        assert_eq!(lines.len(), 2, "{lines:?}");
        for line in &lines {
            assert_eq!(line["end"], "drained", "{line}");
            assert_eq!(line["error_kind"], "shutting_down", "{line}");
        }
    }
}
