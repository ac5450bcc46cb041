//! The five clocks: connect, head, first event, gap, total.

use serde_json::{Value, json};

use crate::on_both_engines;
use crate::support::gateway::{chat, named, post};
use crate::support::{
    BlackHole, Gateway, Raw, Response, Setup, event_numbers, mock, upstream_connections, wait_for,
};

const CHAT: &str = "/v1/chat/completions";

/// A request that must be answered 504 with an envelope that names `ms`.
fn times_out_whole(gateway: &Gateway, id: &str, path: &str, body: &Value, ms: u64) -> Value {
    let mut raw = gateway.connect();
    raw.send(&named(id, &post(path, body)));
    let answer = raw.response();
    assert_eq!(answer.status, 504, "{id}: {}", answer.text());
    let error = answer.error();
    assert_eq!(error["type"], "timeout", "{id}: {error}");
    let message = format!("upstream request timed out after {ms}ms");
    assert_eq!(error["message"], message, "{id}");
    let line = gateway.access_line(id);
    check_line(&line);
    line
}

/// A stream that must end in band with an error that names `ms`; returns its text.
fn times_out_in_band(gateway: &Gateway, id: &str, model: &str, ms: u64) -> String {
    let mut raw = gateway.connect();
    raw.send(&named(id, &post(CHAT, &chat(model, true))));
    let text = cut_stream(&mut raw);
    let error = last_error(&text);
    assert_eq!(error["type"], "timeout", "{id}: {error}");
    let message = format!("upstream request timed out after {ms}ms");
    assert_eq!(error["message"], message, "{id}");
    let line = gateway.access_line(id);
    check_line(&line);
    assert_eq!(line["usage_source"], "estimated", "{line}");
    text
}

fn check_line(line: &Value) {
    assert_eq!(line["status"], 504, "{line}");
    assert_eq!(line["end"], "upstream_failed", "{line}");
    assert_eq!(line["error_kind"], "timeout", "{line}");
}

/// A stream that failed after its head: whole chunks, no `[DONE]`, then the end of the connection.
fn cut_stream(raw: &mut Raw) -> String {
    let answer: Response = raw.response();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    assert!(raw.closes(), "the connection ends with the stream");
    let text = answer.text().to_owned();
    assert!(!text.contains("[DONE]"), "{text}");
    text
}

/// The error of the last event, which is the only one.
fn last_error(text: &str) -> Value {
    assert_eq!(text.matches("event: error\n").count(), 1, "{text}");
    let last = text.trim_end().rsplit("\n\n").next().unwrap();
    let data = last.strip_prefix("event: error\ndata: ");
    let data: Value = serde_json::from_str(data.expect("the error is last")).expect("JSON");
    data["error"].clone()
}

fn upstream_let_go(mock: std::net::SocketAddr) {
    wait_for("the upstream connections to be closed", || {
        (upstream_connections(mock) == 0).then_some(())
    });
}

/// Models with budgets of their own beside `script/*`; the rest of the name is the script.
fn with_own_budgets(setup: Setup) -> Setup {
    setup.resources(|resources| {
        for (name, budgets) in [
            ("own-timeout/*", json!({"timeout": 250})),
            (
                "own-stream/*",
                json!({"stream_timeout": 270, "timeout": 60_000}),
            ),
            ("no-budget/*", json!({"timeout": 0, "stream_timeout": 0})),
        ] {
            let mut model = json!({"display_name": name, "provider": "openai",
                "model_name": "*", "provider_key": "up"});
            let fields = model.as_object_mut().unwrap();
            fields.extend(budgets.as_object().unwrap().clone());
            resources["models"].as_array_mut().unwrap().push(model);
        }
        resources["api_keys"][0]["allowed_models"] = json!(["*"]);
    })
}

on_both_engines! {
    fn connecting_takes_no_longer_than_its_clock(engine) {
        let hole = BlackHole::new();
        let gateway = Setup::new(engine, hole.addr())
            .with("upstream.connect_timeout_ms", 150)
            .start();
        for stream in [false, true] {
            let id = format!("stream-{stream}");
            times_out_whole(&gateway, &id, CHAT, &chat("m", stream), 150);
        }
        let prompt = json!({"model": "m", "prompt": "Hello"});
        times_out_whole(&gateway, "completions", "/v1/completions", &prompt, 150);
        let input = json!({"model": "embed", "input": "Hello"});
        times_out_whole(&gateway, "embeddings", "/v1/embeddings", &input, 150);
        wait_for("nobody to connect any more", || (hole.callers() == 0).then_some(()));
    }

    fn a_silent_target_fails_with_a_status_before_the_head(engine) {
        let mock = mock();
        let gateway = Setup::new(engine, mock)
            .with("upstream.timeout_ms", 200)
            .with("upstream.ttft_timeout_ms", 230)
            .start();
        let model = "script/head_ms=60000";
        let line = times_out_whole(&gateway, "unary", CHAT, &chat(model, false), 200);
        assert_eq!(line["usage_source"], "absent", "{line}");
        times_out_whole(&gateway, "stream", CHAT, &chat(model, true), 230);
        let prompt = json!({"model": model, "prompt": "Hello"});
        times_out_whole(&gateway, "completions", "/v1/completions", &prompt, 200);
        let input = json!({"model": model, "input": "Hello"});
        times_out_whole(&gateway, "embeddings", "/v1/embeddings", &input, 200);
        upstream_let_go(mock);
    }

    fn the_clock_of_a_whole_answer_runs_to_its_last_byte(engine) {
        let mock = mock();
        let gateway = Setup::new(engine, mock).with("upstream.timeout_ms", 400).start();
        // Neither part alone takes as long.
        let model = "script/head_ms=250,slow_body_ms=250";
        times_out_whole(&gateway, "sum", CHAT, &chat(model, false), 400);
        let model = "script/slow_body_ms=60000";
        times_out_whole(&gateway, "body", CHAT, &chat(model, false), 400);
        upstream_let_go(mock);
    }

    fn a_stream_that_was_opened_fails_in_band(engine) {
        let mock = mock();
        let gateway = Setup::new(engine, mock)
            .with("downstream.sse_keepalive_interval_secs", 0)
            .with("upstream.ttft_timeout_ms", 230)
            .with("upstream.stream_idle_timeout_ms", 260)
            .start();
        let text = times_out_in_band(&gateway, "first", "script/first_ms=60000", 230);
        assert_eq!(event_numbers(&text), [0; 0]);
        let text = times_out_in_band(&gateway, "gap", "script/stall_at=2", 260);
        assert_eq!(event_numbers(&text), [0, 1]);
        assert_eq!(gateway.access_line("gap")["events"], 2);
        upstream_let_go(mock);
    }

    fn a_stream_ends_at_its_total_clock_however_lively_it_is(engine) {
        let mock = mock();
        let gateway = Setup::new(engine, mock)
            .with("upstream.stream_total_timeout_ms", 400)
            .start();
        let text = times_out_in_band(&gateway, "total", "script/events=100000,gap_ms=20", 400);
        let numbers = event_numbers(&text);
        // Twenty or so where nothing is late.
        assert!((1..250).contains(&numbers.len()), "{numbers:?}");
        upstream_let_go(mock);
    }

    fn a_models_own_budget_withholds_the_head(engine) {
        let mock = mock();
        // Without the models' own budgets these streams would be opened, and then wait.
        let setup = with_own_budgets(Setup::new(engine, mock))
            .with("downstream.sse_keepalive_interval_secs", 0)
            .with("upstream.stream_timeout_ms", 60_000);
        let gateway = setup.start();
        for (model, ms) in [("own-timeout", 250), ("own-stream", 270)] {
            let script = format!("{model}/first_ms=60000");
            let line = times_out_whole(&gateway, model, CHAT, &chat(&script, true), ms);
            // The target took the prompt.
            assert_eq!(line["usage_source"], "estimated", "{line}");
            assert_eq!(line["completion_tokens"], 0, "{line}");
            let script = format!("{model}/stall_at=1");
            let text = times_out_in_band(&gateway, &format!("{model}-gap"), &script, ms);
            assert_eq!(event_numbers(&text), [0]);
        }
        upstream_let_go(mock);
    }

    fn a_models_zero_is_no_deadline(engine) {
        let gateway = with_own_budgets(Setup::new(engine, mock()))
            .with("upstream.timeout_ms", 150)
            .start();
        let answer = gateway.post(CHAT, &chat("no-budget/head_ms=400", false));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = gateway.post(CHAT, &chat("no-budget/first_ms=400,events=1", true));
        assert!(answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
    }
}
