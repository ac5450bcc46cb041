//! Groups that hold the beginning of a stream back: what fails within the window is served by another
//! target, and what has left it is not.

use serde_json::{Value, json};

use crate::on_both_engines;
use crate::routing::{CHAT, ENDPOINTS, MESSAGES, RESPONSES, ask, asked, gateway, setup, target};
use crate::support::gateway::{named, post};
use crate::support::{
    Gateway, Raw, event_numbers, mock, unix_ms, upstream_connections, upstream_request, wait_for,
};

const GOOD: &str = "events=4,usage_in=7,usage_out=9";
/// A window that neither tokens nor time close in a test.
const WIDE: (u32, u32) = (16_384, 60_000);

fn window((tokens, max_ms): (u32, u32)) -> Value {
    json!({"hold_back": {"tokens": tokens, "max_ms": max_ms}})
}

/// A direct model that does what `script` says behind the upstream of this kind, and never cools down.
pub(crate) fn of_kind(name: &str, script: &str, kind: &str) -> Value {
    let mut model = target(name, script, kind);
    model["provider"] = json!(if kind == "claude" {
        "anthropic"
    } else {
        "openai"
    });
    model["cooldown"] = json!({"enabled": false});
    model
}

/// Ways in which a stream fails after three events, and what the list of attempts calls it.
const FAULTS: [(&str, &str); 6] = [
    ("gap_ms=5,events=9,cut_at=3", "transport"),
    ("gap_ms=5,events=9,cut_at=3,cut=fin", "stream_aborted"),
    (
        "gap_ms=5,events=9,cut_at=3,cut=fin,te=close",
        "stream_aborted",
    ),
    ("gap_ms=5,events=9,error_at=3", "upstream_in_band"),
    ("events=9,error_at=3", "upstream_in_band"),
    ("gap_ms=5,events=9,stall_at=3", "timeout"),
];

fn check_rescued(gateway: &Gateway, endpoint: &str, error_class: &str, case: &str) {
    let body = ask(endpoint, "team", true);
    let (response, told) = asked(gateway, endpoint, &body, "");
    let text = response.text();
    assert_eq!(response.status, 200, "{case}: {text}");
    assert_eq!(
        response.header("x-sluice-served-by"),
        Some("good"),
        "{case}"
    );
    assert_eq!(told, (2, 1, "good".to_owned()), "{case}");
    assert!(!text.contains("event: error"), "{case}: {text}");
    // What the first target said is nowhere, and of the second nothing is missing.
    assert_eq!(numbers(endpoint, text), [0, 1, 2, 3], "{case}: {text}");
    let id = response.header("x-sluice-request-id").unwrap();
    let line = gateway.access_line(id);
    let list = line["attempt_list"].as_array().unwrap();
    assert_eq!(list.len(), 2, "{case}: {line}");
    assert_eq!(list[0]["error_class"], error_class, "{case}: {line}");
    assert_eq!(list[0]["attempt_model"], "bad", "{case}: {line}");
    assert!(
        list[0]["discarded_tokens"].as_u64() > Some(5),
        "{case}: {line}"
    );
    assert_eq!(list[1]["attempt_kind"], "fallback", "{case}: {line}");
    assert!(list[1]["discarded_tokens"].is_null(), "{case}: {line}");
    // Only what served is paid for.
    assert_eq!(line["usage_source"], "reported", "{case}: {line}");
    assert_eq!(
        (&line["prompt_tokens"], &line["completion_tokens"]),
        (&json!(7), &json!(9))
    );
    assert_eq!(line["end"], "completed", "{case}: {line}");
}

/// The numbers of the content events of a stream of `endpoint`.
pub(crate) fn numbers(endpoint: &str, text: &str) -> Vec<u64> {
    if endpoint != RESPONSES {
        return event_numbers(text);
    }
    let deltas = text.split("response.output_text.delta\",");
    let found = deltas
        .skip(1)
        .filter_map(|delta| delta.split_once("\"delta\":\"e"));
    found
        .filter_map(|(_, rest)| rest.split(' ').next()?.parse().ok())
        .collect()
}

/// Sends a stream's request to `team` and leaves its answer to be read.
pub(crate) fn begin(gateway: &Gateway, id: &str, endpoint: &str) -> Raw {
    let mut raw = gateway.connect();
    raw.send(&named(id, &post(endpoint, &ask(endpoint, "team", true))));
    raw
}

fn rescued(gateway: &Gateway) -> f64 {
    let labels = ["model=\"team\"", "failed_model=\"bad\""];
    gateway.metric("sluice_routing_rescued_streams_total", &labels)
}

on_both_engines! {
    fn a_stream_that_fails_within_its_window_is_served_by_the_next_target(engine) {
        for (script, error_class) in FAULTS {
            for kind in ["plain", "openai", "claude"] {
                let mut bad = of_kind("bad", script, kind);
                bad["stream_timeout"] = json!(400);
                let targets = [bad, of_kind("good", GOOD, kind)];
                let gateway = gateway(engine, &targets, &window(WIDE));
                for endpoint in ENDPOINTS {
                    let case = format!("{script} at {endpoint} of {kind}");
                    check_rescued(&gateway, endpoint, error_class, &case);
                }
                assert_eq!(rescued(&gateway), 3.0, "{script} {kind}");
            }
        }
    }

    fn without_a_window_or_another_target_what_is_said_is_sent(engine) {
        let bad = of_kind("bad", "gap_ms=5,events=9,cut_at=3", "up");
        let good = of_kind("good", GOOD, "up");
        let cases = [
            (vec![bad.clone(), good.clone()], json!({})),
            (vec![bad.clone()], window(WIDE)),
            (vec![bad, good], json!({"hold_back": {"max_ms": 60_000}, "max_fallbacks": 0})),
        ];
        for (targets, routing) in cases {
            let gateway = gateway(engine, &targets, &routing);
            let (response, told) = asked(&gateway, CHAT, &ask(CHAT, "team", true), "");
            let text = response.text();
            assert_eq!(event_numbers(text), [0, 1, 2], "{routing}: {text}");
            assert!(text.contains("event: error"), "{routing}: {text}");
            assert_eq!(told, (1, 0, "bad".to_owned()), "{routing}");
            assert_eq!(rescued(&gateway), 0.0, "{routing}");
        }
    }

    fn enough_tokens_bind_the_stream(engine) {
        // Each event has 40 bytes, ten tokens.
        let bad = of_kind("bad", "gap_ms=20,events=9,size=40,cut_at=5", "up");
        let targets = [bad, of_kind("good", GOOD, "up")];
        for (tokens, want, told) in [(40, 5, (1, 0, "bad")), (60, 4, (2, 1, "good"))] {
            let gateway = gateway(engine, &targets, &window((tokens, 60_000)));
            let (response, got) = asked(&gateway, CHAT, &ask(CHAT, "team", true), "");
            let text = response.text();
            assert_eq!(event_numbers(text).len(), want, "{tokens}: {text}");
            assert_eq!(got, (told.0, told.1, told.2.to_owned()), "{tokens}");
            assert_eq!(text.contains("event: error"), told.2 == "bad", "{tokens}: {text}");
        }
    }

    fn what_is_held_is_sent_as_one_once_there_is_enough_and_the_rest_as_it_comes(engine) {
        let slow = of_kind("bad", "gap_ms=300,events=4,size=40", "up");
        let targets = [slow, of_kind("good", GOOD, "up")];
        let gateway = gateway(engine, &targets, &window((20, 60_000)));
        let mut raw = begin(&gateway, "held", CHAT);
        assert_eq!(raw.head().header("x-sluice-served-by"), Some("bad"));
        let first = String::from_utf8(raw.chunk().unwrap()).unwrap();
        assert_eq!(event_numbers(&first), [0, 1]);
        let second = String::from_utf8(raw.chunk().unwrap()).unwrap();
        assert_eq!(event_numbers(&second), [2]);
        while raw.chunk().is_some() {}
        let line = gateway.access_line("held");
        assert!(line["ttft_ms"].as_f64() >= Some(290.0), "{line}");
        assert!(line["attempt_list"].is_null(), "{line}");
    }

    fn its_time_binds_the_stream_even_while_nothing_comes(engine) {
        let silent = of_kind("bad", "events=9,stall_at=2", "up");
        let targets = [silent, of_kind("good", GOOD, "up")];
        for endpoint in ENDPOINTS {
            let gateway = gateway(engine, &targets, &window((16_384, 100)));
            let mut raw = begin(&gateway, "timed", endpoint);
            let head = raw.head();
            assert_eq!(head.header("x-sluice-served-by"), Some("bad"));
            let first = String::from_utf8(raw.chunk().unwrap()).unwrap();
            assert_eq!(numbers(endpoint, &first), [0, 1], "{endpoint}: {first}");
            drop(raw);
            assert_eq!(gateway.access_line("timed")["attempts"], 1);
        }
    }

    fn as_much_as_is_held_at_most_binds_the_stream(engine) {
        // 64 KiB are reached with the seventh event; tokens and time are not.
        let bad = of_kind("bad", "gap_ms=20,events=20,size=10000,cut_at=9", "up");
        let targets = [bad, of_kind("good", GOOD, "up")];
        let limits = json!({"hold_back": {"tokens": 16_384, "max_ms": 60_000}});
        let gateway = gateway(engine, &targets, &limits);
        // Reported tokens count instead of bytes: there are none until the end, so bytes decide.
        let (response, told) = asked(&gateway, CHAT, &ask(CHAT, "team", true), "");
        let text = response.text();
        assert_eq!(event_numbers(text).len(), 9, "{}", text.len());
        assert_eq!(told, (1, 0, "bad".to_owned()));
    }

    fn a_short_answer_does_not_wait_for_its_window(engine) {
        let short = of_kind("bad", "events=2", "up");
        let gateway = gateway(engine, &[short, of_kind("good", GOOD, "up")], &window(WIDE));
        for endpoint in ENDPOINTS {
            let before = unix_ms();
            let (response, told) = asked(&gateway, endpoint, &ask(endpoint, "team", true), "");
            assert_eq!(numbers(endpoint, response.text()), [0, 1], "{endpoint}");
            assert_eq!(told, (1, 0, "bad".to_owned()));
            assert!(unix_ms() - before < 30_000, "{endpoint} waited for its window");
        }
        assert_eq!(rescued(&gateway), 0.0);
    }

    fn a_caller_who_leaves_within_the_window_ends_the_upstream_call(engine) {
        let mock = mock();
        let slow = of_kind("bad", "events=99,gap_ms=20,size=40,usage=no", "up");
        let targets = [slow, of_kind("good", GOOD, "up")];
        let gateway = setup(engine, mock, &targets, &window(WIDE)).start();
        for endpoint in ENDPOINTS {
            let id = format!("left{}", endpoint.replace('/', "-"));
            let raw = begin(&gateway, &id, endpoint);
            wait_for("some events", || {
                let record = upstream_request(mock, &id)?;
                (record["received_at_ms"].as_u64()? + 200 < unix_ms()).then_some(())
            });
            raw.reset();
            let line = gateway.access_line(&id);
            assert_eq!(line["end"], "client_gone", "{line}");
            assert_eq!((&line["status"], &line["events"]), (&json!(499), &json!(0)), "{line}");
            assert!(line["head_ms"].is_null() && line["ttft_ms"].is_null(), "{line}");
            // What the model wrote until then is paid for.
            assert_eq!(line["usage_source"], "estimated", "{line}");
            assert!(line["completion_tokens"].as_u64() >= Some(10), "{line}");
            wait_for("the upstream to notice", || {
                upstream_request(mock, &id).filter(|record| record["hung_up"] == true)
            });
        }
        wait_for("no upstream connection", || (upstream_connections(mock) == 0).then_some(()));
    }

    fn a_keep_alive_comment_sends_the_head_and_binds_nothing(engine) {
        let scripts = [
            // It says nothing before the comment, or something.
            "first_ms=1500,events=9,cut_at=0",
            "gap_ms=700,events=9,cut_at=4",
        ];
        for script in scripts {
            let bad = of_kind("bad", script, "up");
            let targets = [bad, of_kind("good", GOOD, "up")];
            let gateway = setup(engine, mock(), &targets, &window(WIDE))
                .with("downstream.sse_keepalive_interval_secs", 1)
                .start();
            // Only silence brings a comment about: events that are held back are none.
            let comments = if script.starts_with("first") { 1 } else { 0 };
            for endpoint in ENDPOINTS {
                let id = format!("kept{}", endpoint.replace('/', "-"));
                let mut raw = begin(&gateway, &id, endpoint);
                let response = raw.response();
                let text = response.text();
                assert_eq!(numbers(endpoint, text), [0, 1, 2, 3], "{script}: {text}");
                assert!(!text.contains("event: error"), "{script}: {text}");
                assert!(text.matches(":\n\n").count() >= comments, "{script}: {text}");
                // The head went before it was known who serves.
                let served_by = (comments == 0).then_some("good");
                assert_eq!(response.header("x-sluice-served-by"), served_by, "{script}");
                let line = gateway.access_line(&id);
                assert_eq!(line["served_by_model"], "good", "{line}");
                assert_eq!((&line["attempts"], &line["end"]), (&json!(2), &json!("completed")));
            }
        }
    }

    fn once_the_head_is_sent_the_last_failure_is_told_in_band(engine) {
        let bad = of_kind("bad", "first_ms=1500,events=9,cut_at=0", "up");
        let lasts = [
            "events=9,status=500",
            "events=9,cut_at=0",
            "events=9,cut_at=head",
            "te=length,raw=485454502f312e3120323030204f4b0d0a636f6e74656e742d6c656e6774683a20320d0a0d0a7b7d",
        ];
        for last in lasts {
            let targets = [bad.clone(), of_kind("last", last, "up")];
            let gateway = setup(engine, mock(), &targets, &window(WIDE))
                .with("downstream.sse_keepalive_interval_secs", 1)
                .start();
            for endpoint in ENDPOINTS {
                let id = format!("told{}", endpoint.replace('/', "-"));
                let mut raw = begin(&gateway, &id, endpoint);
                let response = raw.response();
                let text = response.text();
                assert_eq!(response.status, 200, "{last}: {text}");
                assert_eq!(text.matches("event: error\n").count(), 1, "{last}: {text}");
                let (_, data) = text.rsplit_once("data: ").unwrap();
                let data: Value = serde_json::from_str(data.trim_end()).unwrap();
                let marked = data["type"] == "error";
                assert_eq!(marked, endpoint != CHAT, "{endpoint}: {data}");
                assert_eq!(data["error"].is_object(), endpoint != RESPONSES, "{data}");
                assert!(raw.closes(), "{last}: the connection ends with the stream");
                let line = gateway.access_line(&id);
                assert_eq!(line["end"], "upstream_failed", "{last}: {line}");
                assert_eq!((&line["status"], &line["attempts"]), (&json!(502), &json!(2)), "{line}");
            }
        }
    }

    fn a_stream_that_is_rescued_and_breaks_later_is_cut(engine) {
        let targets = [
            of_kind("bad", "gap_ms=5,events=9,cut_at=3", "claude"),
            of_kind("worse", "gap_ms=5,events=9,cut_at=2", "openai"),
            of_kind("last", "gap_ms=5,events=9,cut_at=5", "plain"),
        ];
        let gateway = gateway(engine, &targets, &window(WIDE));
        for endpoint in [CHAT, MESSAGES] {
            let (response, told) = asked(&gateway, endpoint, &ask(endpoint, "team", true), "");
            let text = response.text();
            assert_eq!(numbers(endpoint, text), [0, 1, 2, 3, 4], "{text}");
            assert!(text.contains("event: error"), "{text}");
            assert_eq!(told, (3, 2, "last".to_owned()));
        }
        assert_eq!(rescued(&gateway), 0.0);
    }

    fn a_translated_stream_that_fails_before_its_content_is_tried_again_in_translation(engine) {
        for (endpoint, kind) in [(CHAT, "claude"), (MESSAGES, "openai"), (RESPONSES, "claude")] {
            let script = format!("events=4,cut_at=0,times=1,tag={}", kind.len());
            let mut direct = of_kind("direct", &script, kind);
            direct["retries"] = json!(1);
            let gateway = gateway(engine, &[direct], &json!({}));
            let (response, told) = asked(&gateway, endpoint, &ask(endpoint, "direct", true), "");
            let text = response.text();
            assert_eq!((response.status, told.0), (200, 2), "{endpoint}: {text}");
            assert_eq!(numbers(endpoint, text), [0, 1, 2, 3], "{endpoint}: {text}");
            let ours = match endpoint {
                CHAT => "chat.completion.chunk",
                MESSAGES => "event: message_stop",
                _ => "event: response.completed",
            };
            assert!(text.contains(ours), "{endpoint}: {text}");
        }
    }
}
