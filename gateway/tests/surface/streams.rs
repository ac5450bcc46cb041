//! Streams that fail in the middle, and comments that keep silent ones open.

use serde_json::Value;

use crate::on_both_engines;
use crate::support::gateway::{chat, named, post};
use crate::support::{Gateway, Raw, Setup, event_numbers, mock, upstream_connections, wait_for};

const CHAT: &str = "/v1/chat/completions";

/// How a broken stream must end.
struct Broken {
    /// After the events, what goes wrong.
    script: &'static str,
    /// Content events that must arrive before.
    events: usize,
    /// `type` of the error event.
    kind: &'static str,
    /// What the record says.
    status: u16,
    error_kind: &'static str,
}

const fn broken(script: &'static str, events: usize, kind: &'static str) -> Broken {
    Broken {
        script,
        events,
        kind,
        status: 502,
        error_kind: kind,
    }
}

const BROKEN: [Broken; 11] = [
    broken("gap_ms=30,cut_at=2", 2, "transport_error"),
    broken("gap_ms=30,cut_at=2,cut=fin", 2, "stream_aborted"),
    broken("gap_ms=30,cut_at=2,cut=fin,te=close", 2, "stream_aborted"),
    broken("gap_ms=30,cut_at=2,cut=fin,te=length", 2, "stream_aborted"),
    Broken {
        status: 504,
        ..broken("stall_at=3", 3, "timeout")
    },
    Broken {
        error_kind: "upstream_error",
        ..broken("error_at=2", 2, "upstream_in_band_error")
    },
    Broken {
        error_kind: "upstream_error",
        ..broken("error_at=2,done=yes", 2, "upstream_in_band_error")
    },
    broken("gap_ms=30,bad=event_json", 1, "upstream_decode_error"),
    broken("gap_ms=30,bad=huge_event", 1, "upstream_decode_error"),
    broken("gap_ms=30,bad=chunk", 0, "upstream_decode_error"),
    broken("gap_ms=30,bad=chunk_end", 1, "upstream_decode_error"),
];

fn check_broken(gateway: &Gateway, case: &Broken) {
    let script = case.script;
    let id = format!("broken-by-{}", script.replace(',', "-"));
    let mut raw = gateway.connect();
    raw.send(&named(
        &id,
        &post(CHAT, &chat(&format!("script/{script}"), true)),
    ));
    let answer = raw.response();
    assert!(
        raw.closes(),
        "{script}: the connection ends with the stream"
    );
    let text = answer.text();
    assert_eq!(answer.status, 200, "{script}: {text}");
    assert!(!text.contains("[DONE]"), "{script}: {text}");
    let wanted: Vec<u64> = (0..case.events as u64).collect();
    assert_eq!(event_numbers(text), wanted, "{script}: {text}");
    assert_eq!(
        text.matches("event: error\n").count(),
        1,
        "{script}: {text}"
    );
    let (_, data) = text.rsplit_once("event: error\ndata: ").unwrap();
    let data: Value = serde_json::from_str(data.strip_suffix("\n\n").unwrap()).unwrap();
    let error = &data["error"];
    assert_eq!(error["type"], case.kind, "{script}: {text}");
    assert_eq!(error["request_id"], *id, "{script}: {text}");
    let line = gateway.access_line(&id);
    assert_eq!(line["status"], case.status, "{line}");
    assert_eq!(line["end"], "upstream_failed", "{line}");
    assert_eq!(line["error_kind"], case.error_kind, "{line}");
    assert_eq!(line["usage_source"], "estimated", "{line}");
}

on_both_engines! {
    fn what_goes_wrong_in_the_middle_is_told_in_band(engine) {
        let mock = mock();
        let gateway = Setup::new(engine, mock)
            .with("downstream.sse_keepalive_interval_secs", 0)
            .with("upstream.stream_idle_timeout_ms", 400)
            .start();
        for case in &BROKEN {
            check_broken(&gateway, case);
        }
        assert_eq!(gateway.access_lines(BROKEN.len()).len(), BROKEN.len());
        wait_for("the upstream connections to be closed", || {
            (upstream_connections(mock) == 0).then_some(())
        });
        // What broke was one stream, not the gateway.
        let answer = gateway.post(CHAT, &chat("m", true));
        assert!(answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
    }

    fn a_comment_keeps_a_silent_stream_open(engine) {
        let gateway = Setup::new(engine, mock())
            .with("downstream.sse_keepalive_interval_secs", 1)
            .start();
        let mut raw = gateway.connect();
        raw.send(&post(CHAT, &chat("script/first_ms=1300,events=1,gap_ms=1300", true)));
        let head = raw.head();
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        assert_eq!(raw.chunk().as_deref(), Some(&b":\n\n"[..]));
        let first = raw.chunk().unwrap();
        assert!(first.starts_with(b"data: {") && first.ends_with(b"\n\n"), "{first:?}");
        assert_eq!(event_numbers(std::str::from_utf8(&first).unwrap()), [0]);
        assert_eq!(raw.chunk().as_deref(), Some(&b":\n\n"[..]));
        let mut rest = Vec::new();
        while let Some(chunk) = raw.chunk() {
            rest.extend(chunk);
        }
        let rest = String::from_utf8(rest).unwrap();
        assert!(rest.starts_with("data: {") && rest.ends_with("data: [DONE]\n\n"), "{rest}");
        assert_eq!(gateway.metric("sluice_runtime_core_keep_alive_comments_total", &[]), 2.0);
    }

    fn comments_between_events_lose_no_byte(engine) {
        let gateway = Setup::new(engine, mock())
            .with("downstream.sse_keepalive_interval_secs", 1)
            .start();
        // Events that come just before, with and just after the comment that their absence causes,
        // whole and in pieces.
        let mut streams: Vec<Raw> = (990..1014)
            .map(|gap_ms| {
                let split = if gap_ms % 2 == 0 { "" } else { ",split=40" };
                let script = format!("script/events=4,gap_ms={gap_ms}{split}");
                let mut raw = gateway.connect();
                raw.send(&post(CHAT, &chat(&script, true)));
                raw
            })
            .collect();
        for (stream, raw) in streams.iter_mut().enumerate() {
            let answer = raw.response();
            let text = answer.text();
            assert_eq!(event_numbers(text), [0, 1, 2, 3], "stream {stream}: {text}");
            assert!(text.ends_with("data: [DONE]\n\n"), "stream {stream}: {text}");
        }
        let comments = gateway.metric("sluice_runtime_core_keep_alive_comments_total", &[]);
        assert!(comments > 0.5, "no comment was due");
    }

    fn no_comment_is_sent_when_the_interval_is_0(engine) {
        let gateway = Setup::new(engine, mock())
            .with("downstream.sse_keepalive_interval_secs", 0)
            .start();
        // Longer than the shortest interval there is.
        let answer = gateway.post(CHAT, &chat("script/first_ms=1300,events=1", true));
        let text = answer.text();
        assert!(!text.starts_with(':') && !text.contains("\n:"), "{text}");
        assert_eq!(event_numbers(text), [0]);
    }

    fn an_upstreams_comment_is_no_event(engine) {
        let gateway = Setup::new(engine, mock()).start();
        for split in ["", ",split=1", ",split=7"] {
            let mut raw = gateway.connect();
            let id = format!("comments{}", split.replace([',', '='], "-"));
            let script = format!("script/events=4,comment=yes{split}");
            raw.send(&named(&id, &post(CHAT, &chat(&script, true))));
            let answer = raw.response();
            let text = answer.text();
            assert_eq!(event_numbers(text), [0, 1, 2, 3], "{text}");
            assert_eq!(text.matches(": ping\n\n").count(), 4, "{text}");
            // Four with text, the finish reason and `[DONE]`.
            assert_eq!(gateway.access_line(&id)["events"], 6);
        }
    }

    fn a_caller_that_leaves_after_done_had_it_all(engine) {
        let gateway = Setup::new(engine, mock()).start();
        let event = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"e0 \"},\
                     \"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\
                     \"completion_tokens\":4,\"total_tokens\":7}}\n\ndata: [DONE]\n\n";
        // Its last chunk never comes.
        let bytes = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
             transfer-encoding: chunked\r\n\r\n{:x}\r\n{event}\r\n",
            event.len()
        );
        let hex: String = bytes.bytes().map(|byte| format!("{byte:02x}")).collect();
        let body = chat(&format!("script/raw={hex}"), true);
        let mut raw = gateway.connect();
        raw.send(&named("left", &post(CHAT, &body)));
        raw.until(b"data: [DONE]\n\n");
        raw.shutdown_write();
        let line = gateway.access_line("left");
        assert_eq!(line["status"], 200, "{line}");
        assert_eq!(line["end"], "completed", "{line}");
        assert_eq!(line["usage_source"], "reported", "{line}");
        assert_eq!(line["total_tokens"], 7, "{line}");
        // Who stays is not kept waiting for it.
        let mut raw = gateway.connect();
        raw.send(&named("stayed", &post(CHAT, &body)));
        let answer = raw.response();
        assert!(answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
        let line = gateway.access_line("stayed");
        assert_eq!(line["status"], 200, "{line}");
        assert_eq!(line["end"], "completed", "{line}");
    }
}
