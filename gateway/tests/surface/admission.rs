//! Bounds on what is taken in: who is told so, how, and who goes on.

use serde_json::json;

use crate::on_both_engines;
use crate::support::gateway::{chat, get, post};
use crate::support::{Engine, Gateway, Raw, Response, Setup, event_numbers, mock, wait_for};

const CHAT: &str = "/v1/chat/completions";
/// A stream that lasts until it is read to its end.
const LONG: &str = "script/events=60,gap_ms=50";
/// An upstream that does not answer in time for anything.
const NEVER: &str = "script/head_ms=600000";
const MIB: usize = 1024 * 1024;

/// What the gateway answers by itself, and goes on answering.
const OWN: [&str; 3] = ["/livez", "/readyz", "/v1/models"];

/// A stream whose first event has come.
fn begin_stream(gateway: &Gateway) -> Raw {
    let mut raw = gateway.connect();
    raw.send(&post(CHAT, &chat(LONG, true)));
    raw.until(b"\"e0 ");
    raw
}

/// The stream comes to its end without a gap.
fn ends_well(mut raw: Raw) {
    let rest = String::from_utf8(raw.rest_of_stream()).unwrap();
    assert_eq!(event_numbers(&rest), (1..60).collect::<Vec<_>>());
    assert!(rest.ends_with("data: [DONE]\n\n"), "{rest}");
}

/// A chat request with a body of about so many bytes, which nobody answers.
fn large(bytes: usize) -> Vec<u8> {
    let mut body = chat(NEVER, false);
    body["user"] = "x".repeat(bytes).into();
    post(CHAT, &body)
}

fn is_refused(answer: &Response) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.header("retry-after"), Some("1"));
    let error = answer.error();
    assert_eq!(
        (&error["type"], &error["code"]),
        (&json!("overloaded"), &json!("overloaded")),
        "{error}"
    );
}

fn refusals(gateway: &Gateway, reason: &str) -> f64 {
    let reason = format!("reason=\"{reason}\"");
    gateway.metric("sluice_admission_refusals_total", &[&reason])
}

fn above_mark(gateway: &Gateway) -> bool {
    gateway.metric("sluice_memory_above_mark", &[]) == 1.0
}

/// Waits until a request is served again.
fn served_again(gateway: &Gateway) {
    wait_for("room", || {
        let mut raw = gateway.connect();
        raw.send(&post(CHAT, &chat("m", false)));
        raw.is_answered()
            .then(|| raw.response().status)
            .filter(|status| *status == 200)
    });
}

/// Room for requests of one worker of which memory is watched against a number of bytes.
fn marked(engine: Engine, high_bytes: usize) -> Setup {
    Setup::new(engine, mock())
        .with("proxy.memory.high_bytes", high_bytes)
        .with("proxy.memory.bodies_bytes", 0)
}

on_both_engines! {
    fn requests_beyond_the_limit_are_told_so_and_those_in_flight_go_on(engine) {
        let gateway = Setup::new(engine, mock())
            .with("proxy.max_requests_per_worker", 2)
            .start_ready();
        let streams = [begin_stream(&gateway), begin_stream(&gateway)];
        let mut kept = gateway.connect();
        // Before the body: none of it is sent.
        kept.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-length: 900000\r\n\r\n");
        is_refused(&kept.response());
        assert!(kept.closes());
        let mut kept = gateway.connect();
        for _ in 0..3 {
            kept.send(&post(CHAT, &chat("m", false)));
            is_refused(&kept.response());
        }
        // Nobody is asked for a key by a gateway that has no room for anybody.
        kept.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-length: 0\r\n\r\n");
        is_refused(&kept.response());
        let answer = gateway.post("/v1/messages", &json!({"model": "m", "max_tokens": 1,
            "messages": [{"role": "user", "content": "x"}]}));
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
        assert_eq!(answer.error()["type"], "overloaded_error");
        assert_eq!(answer.json()["type"], "error");
        for path in OWN {
            kept.send(&get(path));
            assert_eq!(kept.response().status, 200, "{path}");
        }
        kept.send(&get("/nowhere"));
        assert_eq!(kept.response().status, 404);
        let lines = gateway.access_lines(6);
        let line = lines.iter().find(|line| line["status"] == 503).unwrap();
        assert_eq!((&line["error_kind"], &line["end"]), (&json!("overloaded"), &json!("rejected")), "{line}");
        let said = line["error"].as_str().unwrap();
        assert!(said.contains("proxy.max_requests_per_worker"), "{line}");
        wait_for("six refusals to be counted", || (refusals(&gateway, "requests") == 6.0).then_some(()));
        streams.into_iter().for_each(ends_well);
        served_again(&gateway);
    }

    fn connections_beyond_the_limit_may_ask_how_the_gateway_is(engine) {
        let gateway = Setup::new(engine, mock())
            .with("proxy.max_connections_per_worker", 1)
            .start_ready();
        let stream = begin_stream(&gateway);
        for path in OWN {
            let mut raw = gateway.connect();
            raw.send(&get(path));
            let answer = raw.response();
            assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{path}");
            assert!(raw.closes());
        }
        let mut raw = gateway.connect();
        raw.send(&post(CHAT, &chat("m", false)));
        is_refused(&raw.response());
        assert!(raw.closes());
        let mut garbage = gateway.connect();
        garbage.send(b"\0\0\0\0");
        is_refused(&garbage.response());
        wait_for("two refusals", || (refusals(&gateway, "connections") == 2.0).then_some(()));
        ends_well(stream);
    }

    fn above_the_mark_nothing_is_taken_in_and_probes_are_answered(engine) {
        let gateway = marked(engine, 1).start_ready();
        for path in OWN {
            let mut raw = gateway.connect();
            raw.send(&get(path));
            let answer = raw.response();
            assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{path}");
        }
        let answer = gateway.post(CHAT, &chat("m", false));
        is_refused(&answer);
        assert_eq!(answer.header("connection"), Some("close"));
        // One that asks nothing is told too.
        is_refused(&gateway.connect().response());
        wait_for("two refusals", || (refusals(&gateway, "memory") == 2.0).then_some(()));
        assert!(above_mark(&gateway));
        assert_eq!(gateway.metric("sluice_memory_mark_bytes", &[]), 1.0);
        let page = gateway.status_page("/status/ready?verbose");
        assert_eq!(page.status, 200);
        assert!(page.text().contains("[-]memory above its mark: "), "{}", page.text());
        let line = gateway.access_lines(1).into_iter().find(|line| line["status"] == 503).unwrap();
        assert!(line["error"].as_str().unwrap().contains("proxy.memory"), "{line}");
    }

    fn above_the_mark_streams_go_on_and_below_it_all_are_served(engine) {
        let gateway = marked(engine, 96 * MIB).start_ready();
        let stream = begin_stream(&gateway);
        let mut idle = gateway.connect();
        idle.send(&get("/v1/models"));
        assert_eq!(idle.response().status, 200);
        let mut held = Vec::new();
        wait_for("memory to rise", || {
            let mut raw = gateway.connect();
            raw.try_send(&large(4 * MIB)).ok();
            held.push(raw);
            above_mark(&gateway).then_some(())
        });
        assert!(held.len() > 2, "{}", held.len());
        wait_for("a word in the log", || {
            gateway.logged("memory is above its mark: new requests are refused, streams go on")
        });
        is_refused(&gateway.post(CHAT, &chat("m", false)));
        // It would only have been refused.
        assert!(idle.closes());
        ends_well(stream);
        drop(held);
        wait_for("memory to fall", || (!above_mark(&gateway)).then_some(()));
        served_again(&gateway);
        assert!(gateway.metric("sluice_memory_mark_crossings_total", &[]) >= 1.0);
        wait_for("a word in the log", || gateway.logged("memory is below its mark again"));
    }

    fn bodies_share_one_room(engine) {
        let gateway = Setup::new(engine, mock())
            .with("proxy.memory.bodies_bytes", MIB)
            .start_ready();
        // More than there can ever be room for is too much, not too early.
        let answer = gateway.post(CHAT, &json!({"model": "m", "x": "x".repeat(MIB)}));
        assert_eq!(answer.status, 413);
        assert!(answer.text().contains("1048576-byte limit"), "{}", answer.text());
        let mut first = gateway.connect();
        first.send(&large(700_000));
        wait_for("a body to be held", || {
            (gateway.metric("sluice_bodies_held_bytes", &[]) >= 700_000.0).then_some(())
        });
        let mut second = gateway.connect();
        second.try_send(&large(700_000)).ok();
        is_refused(&second.response());
        // Without large bodies there is room.
        assert_eq!(gateway.post(CHAT, &chat("m", false)).status, 200);
        wait_for("one refusal", || (refusals(&gateway, "bodies") == 1.0).then_some(()));
        // A large answer needs room too.
        let large_answer = chat("script/reply_bytes=700000", false);
        is_refused(&gateway.post(CHAT, &large_answer));
        drop(first);
        wait_for("the room to be empty", || {
            (gateway.metric("sluice_bodies_held_bytes", &[]) == 0.0).then_some(())
        });
        assert_eq!(gateway.post(CHAT, &large_answer).status, 200);
        let mut body = chat("script/events=60,gap_ms=50", true);
        body["user"] = "x".repeat(700_000).into();
        let mut stream = gateway.connect();
        stream.send(&post(CHAT, &body));
        stream.until(b"\"e0 ");
        // A stream that has begun holds nothing of its request.
        assert_eq!(gateway.metric("sluice_bodies_held_bytes", &[]), 0.0);
        ends_well(stream);
    }
}
