//! Requests over TLS: what HTTP promises in the clear holds here too.

use serde_json::json;

use super::{NAME, Scene};
use crate::on_both_engines;
use crate::support::gateway::{chat, get, named, post};
use crate::support::tls_client::VERSIONS;
use crate::support::{Raw, event_numbers, mock, unix_ms, upstream_request, wait_for};

const CHAT: &str = "/v1/chat/completions";
/// Longest time from the hang-up to its notice upstream, as in the clear.
const NOTICED_MS_MAX: u64 = 1000;

/// One way to leave.
type Leave = fn(Raw) -> Option<Raw>;

on_both_engines! {
    fn answers_and_streams_come_whole_over_one_connection(engine) {
        let scene = Scene::new();
        let gateway = scene.setup(engine, mock()).start();
        for version in VERSIONS {
            let config = scene.caller().only(version).config();
            let mut raw = Raw::secure(gateway.addr, &config, NAME).unwrap();
            for round in 0..3 {
                raw.send(&post(CHAT, &chat("m", false)));
                let answer = raw.response();
                assert_eq!(answer.status, 200, "{version:?} {round}");
                raw.send(&post(CHAT, &chat("script/events=20,gap_ms=1", true)));
                let stream = raw.response();
                let numbers = event_numbers(stream.text());
                assert_eq!(numbers, (0..20).collect::<Vec<_>>(), "{version:?} {round}");
                assert!(stream.text().ends_with("data: [DONE]\n\n"));
            }
        }
        let opened = gateway.metric("sluice_runtime_core_connections_opened_total", &["downstream"]);
        assert_eq!(opened, 2.0);
    }

    fn a_stream_comes_event_by_event(engine) {
        let scene = Scene::new();
        let gateway = scene.setup(engine, mock()).start();
        let mut raw = scene.connect(&gateway);
        // The last event never comes while the first is waited for.
        raw.send(&post(CHAT, &chat("script/events=2,gap_ms=600000", true)));
        raw.until(b"\"e0 ");
        assert_eq!(gateway.in_flight(), 1.0);
    }

    fn large_bodies_pass_in_both_directions(engine) {
        let scene = Scene::new();
        let mock = mock();
        let gateway = scene.setup(engine, mock).start();
        for version in VERSIONS {
            let id = format!("large-{:?}", version.version);
            let config = scene.caller().only(version).config();
            let mut raw = Raw::secure(gateway.addr, &config, NAME).unwrap();
            let content = "x".repeat(3 << 20);
            let body = json!({"model": "script/reply_bytes=2000000",
                "messages": [{"role": "user", "content": content}]});
            raw.send(&named(&id, &post(CHAT, &body)));
            let answer = raw.response();
            assert_eq!(answer.status, 200);
            assert!(answer.body.len() > 2_000_000, "{}", answer.body.len());
            let seen = upstream_request(mock, &id).expect("it came");
            assert!(seen["body"].as_str().expect("text").len() > 3 << 20);
            // The connection is as good as before.
            raw.send(&get("/v1/models"));
            assert_eq!(raw.response().status, 200);
        }
    }

    fn requests_cut_into_many_records_are_understood(engine) {
        let scene = Scene::new();
        let gateway = scene.setup(engine, mock()).start();
        for version in VERSIONS {
            let config = scene.caller().only(version).config();
            let mut raw = Raw::secure(gateway.addr, &config, NAME).unwrap();
            let request = post(CHAT, &chat("m", false));
            for byte in &request {
                raw.send(std::slice::from_ref(byte));
            }
            assert_eq!(raw.response().status, 200);
            // Two at once, of which the second waits.
            raw.send(&[get("/v1/models"), post(CHAT, &chat("m", false))].concat());
            assert_eq!(raw.response().status, 200);
            assert_eq!(raw.response().status, 200);
        }
    }

    fn who_hangs_up_ends_the_upstream_request(engine) {
        let scene = Scene::new();
        let mock = mock();
        let gateway = scene.setup(engine, mock).start();
        let ways: [(&str, Leave); 4] = [
            ("fin", |raw| {
                raw.shutdown_write();
                Some(raw)
            }),
            ("reset", |raw| {
                raw.reset();
                None
            }),
            // The socket stays open: the alert alone says it.
            ("notify", |mut raw| {
                raw.close_notify();
                Some(raw)
            }),
            ("drop", |_| None),
        ];
        for (way, leave) in ways {
            for stream in [true, false] {
                let id = format!("{way}-{stream}");
                let mut raw = scene.connect(&gateway);
                let script = if stream {
                    "script/events=100,gap_ms=600000"
                } else {
                    "script/head_ms=600000"
                };
                raw.send(&named(&id, &post(CHAT, &chat(script, stream))));
                wait_for("the upstream to be asked", || upstream_request(mock, &id));
                if stream {
                    raw.until(b"\"e0 ");
                }
                let left_at = unix_ms();
                let _held = leave(raw);
                let noticed = wait_for("the upstream to notice", || {
                    upstream_request(mock, &id)?["hung_up_at_ms"].as_u64()
                });
                let took = noticed.saturating_sub(left_at);
                assert!(took <= NOTICED_MS_MAX, "{id}: {took} ms");
                assert_eq!(gateway.access_line(&id)["status"], 499, "{id}");
            }
        }
        wait_for("nothing in flight", || (gateway.in_flight() == 0.0).then_some(()));
    }

    fn a_client_that_does_not_read_holds_the_upstream_up_and_gets_all_of_it_later(engine) {
        let scene = Scene::new();
        let mock = mock();
        let gateway = scene.setup(engine, mock).start();
        let mut raw = scene.connect(&gateway);
        raw.take_in_little();
        // More than all buffers in between hold.
        let script = "script/events=6000,size=8192";
        raw.send(&named("slow", &post(CHAT, &chat(script, true))));
        raw.wait_until_blocked();
        let record = upstream_request(mock, "slow").expect("it came");
        assert!(record["ended_at_ms"].is_null(), "{record}");
        // Others are served meanwhile.
        let mut other = scene.connect(&gateway);
        other.send(&get("/v1/models"));
        assert_eq!(other.response().status, 200);
        let stream = raw.response();
        assert_eq!(event_numbers(stream.text()), (0..6000).collect::<Vec<_>>());
    }

    fn an_answer_that_closes_the_connection_ends_in_order(engine) {
        let scene = Scene::new();
        let gateway = scene.setup(engine, mock()).start();
        for version in VERSIONS {
            let config = scene.caller().only(version).config();
            let mut raw = Raw::secure(gateway.addr, &config, NAME).unwrap();
            raw.send(b"GET /v1/models HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n");
            assert_eq!(raw.response().status, 400);
            // An end without a closing alert would be an error here.
            assert!(raw.closes(), "{version:?}");
        }
    }
}
