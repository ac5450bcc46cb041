//! Groups that ask a second target where the first one is slow.

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::hold_back::{begin, numbers, of_kind};
use crate::on_both_engines;
use crate::routing::{CHAT, ENDPOINTS, ask, asked, gateway, setup};
use crate::support::{
    Engine, Gateway, Scripted, mock, upstream_connections, upstream_requests, wait_for,
};

const GOOD: &str = "events=4,usage_in=7,usage_out=9";

fn hedge(after: impl Into<Value>, max_percent: u32) -> Value {
    json!({"hedge": {"after": after.into(), "max_percent": max_percent}})
}

/// Hedges started, won, and refused for the share of the group.
fn hedges(gateway: &Gateway) -> [f64; 3] {
    ["started", "won", "refused"].map(|what| {
        let name = format!("sluice_routing_hedges_{what}_total");
        gateway.metric(&name, &["model=\"team\""])
    })
}

/// Model, kind, status and class of each attempt in the list of an access line.
fn listed(line: &Value) -> Vec<(String, String, u64, String)> {
    let list = line["attempt_list"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    list.map(|one| {
        (
            text(&one["attempt_model"]),
            text(&one["attempt_kind"]),
            one["status_code"].as_u64().unwrap(),
            text(&one["error_class"]),
        )
    })
    .collect()
}

fn entry(model: &str, kind: &str, status: u64, class: &str) -> (String, String, u64, String) {
    (model.to_owned(), kind.to_owned(), status, class.to_owned())
}

/// What the upstream at `mock` has recorded of the model whose script begins so.
fn record(mock: std::net::SocketAddr, script: &str) -> Option<Value> {
    let mut records = upstream_requests(mock).into_iter();
    records.find(|record| {
        let body = record["body"].as_str().unwrap_or_default();
        body.contains(&format!("\"{script}"))
    })
}

/// Asks `team` for a stream and returns what was sent and what its line says.
fn stream(gateway: &Gateway, endpoint: &str) -> (String, Value) {
    let (response, _) = asked(gateway, endpoint, &ask(endpoint, "team", true), "");
    assert_eq!(response.status, 200, "{}", response.text());
    let id = response.header("x-sluice-request-id").unwrap();
    let served_by = response.header("x-sluice-served-by").unwrap();
    let line = gateway.access_line(id);
    assert_eq!(line["served_by_model"], served_by, "{line}");
    (response.text().to_owned(), line)
}

/// A group whose first target stops to answer at its request number `prompt + 1`.
fn tiring(engine: Engine, prompt: u32) -> (Gateway, Scripted) {
    let count = AtomicU32::new(0);
    let scripted = Scripted::new(move |_, asker| {
        if count.fetch_add(1, Ordering::Relaxed) >= prompt {
            // Silent until the other side leaves.
            let mut byte = [0];
            return std::io::Read::read(asker, &mut byte).is_ok_and(|count| count > 0);
        }
        let event = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"e0 \"},\
                     \"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
        let answer = format!("{head}content-length: {}\r\n\r\n{event}", event.len());
        asker.write_all(answer.as_bytes()).is_ok()
    });
    let targets = [of_kind("tiring", "gpt", "own"), of_kind("good", GOOD, "up")];
    let addr = scripted.addr();
    let gateway = setup(engine, mock(), &targets, &hedge("p95", 100))
        .resources(|file| {
            let keys = file["provider_keys"].as_array_mut().unwrap();
            keys.push(
                json!({"display_name": "own", "provider": "openai", "adapter": "openai",
                "api_key": "k", "api_base": format!("http://{addr}/v1")}),
            );
        })
        .start();
    (gateway, scripted)
}

on_both_engines! {
    fn a_second_target_is_asked_and_wins(engine) {
        for script in ["first_ms=60000,events=9", "head_ms=60000,events=9", "events=9,stall_at=0"] {
            for kind in ["plain", "openai", "claude"] {
                let mock = mock();
                let targets = [of_kind("slow", script, kind), of_kind("good", GOOD, kind)];
                let gateway = setup(engine, mock, &targets, &hedge(50, 100)).start();
                for endpoint in ENDPOINTS {
                    let (text, line) = stream(&gateway, endpoint);
                    assert_eq!(numbers(endpoint, &text), [0, 1, 2, 3], "{script}: {text}");
                    assert_eq!(listed(&line), [
                        entry("slow", "initial", 499, "hedge_lost"),
                        entry("good", "hedge", 200, ""),
                    ], "{script} {kind} {endpoint}");
                    assert_eq!(line["attempts"], 2, "{line}");
                    assert_eq!(line["routing_fallback_count"], 1, "{line}");
                    let tokens = (&line["prompt_tokens"], &line["completion_tokens"]);
                    assert_eq!(tokens, (&json!(7), &json!(9)), "{line}");
                    assert_eq!(line["end"], "completed", "{line}");
                }
                assert_eq!(hedges(&gateway), [3.0, 3.0, 0.0]);
                let asked = |model: &str| {
                    let label = format!("model=\"{model}\"");
                    ["requests", "success_responses", "failure_responses"].map(|what| {
                        let name = format!("sluice_deployment_{what}_total");
                        gateway.metric(&name, &[&label])
                    })
                };
                assert_eq!(asked("slow"), [3.0, 0.0, 0.0]);
                assert_eq!(asked("good"), [3.0, 3.0, 0.0]);
                // The slow one was left, each time, and nothing of it is kept.
                wait_for("the slow calls to end", || {
                    let records = upstream_requests(mock);
                    let left = records.iter().filter(|record| record["hung_up"] == true).count();
                    (left == 3).then_some(())
                });
            }
        }
    }

    fn the_slow_one_is_left_while_the_answer_is_still_on_its_way(engine) {
        let mock = mock();
        let good = of_kind("good", "events=9,gap_ms=5000", "up");
        let targets = [of_kind("slow", "first_ms=60000,events=9", "up"), good];
        let gateway = setup(engine, mock, &targets, &hedge(50, 100)).start();
        let mut raw = begin(&gateway, "going", CHAT);
        raw.until(b"\"e0 ");
        wait_for("the slow call to end", || {
            record(mock, "first_ms=60000").filter(|record| record["hung_up"] == true)
        });
        assert_eq!(record(mock, "events=9,gap_ms").unwrap()["ended_at_ms"], Value::Null);
        assert_eq!(upstream_connections(mock), 1);
        drop(raw);
        assert_eq!(gateway.access_line("going")["end"], "client_gone");
    }

    fn the_first_target_may_still_be_first(engine) {
        for (second, kept) in [("first_ms=60000,events=9", true), ("events=9,status=500", false)] {
            let mock = mock();
            let slow = of_kind("slow", "first_ms=1500,events=4,usage_in=7,usage_out=9", "up");
            let targets = [slow, of_kind("second", second, "up")];
            let gateway = setup(engine, mock, &targets, &hedge(50, 100)).start();
            for endpoint in ENDPOINTS {
                let (text, line) = stream(&gateway, endpoint);
                assert_eq!(numbers(endpoint, &text), [0, 1, 2, 3], "{text}");
                let second = match kept {
                    true => entry("second", "hedge", 499, "hedge_lost"),
                    false => entry("second", "hedge", 500, "upstream_status"),
                };
                assert_eq!(listed(&line), [second, entry("slow", "initial", 200, "")]);
                assert_eq!(line["routing_fallback_count"], 0, "{line}");
                assert_eq!(line["upstream_model"], "first_ms=1500,events=4,usage_in=7,usage_out=9");
                assert_eq!(line["completion_tokens"], 9, "{line}");
            }
            assert_eq!(hedges(&gateway), [3.0, 0.0, 0.0]);
            wait_for("the second calls to end", || {
                let records = upstream_requests(mock);
                let open = records.iter().filter(|record| record["ended_at_ms"].is_null()).count();
                (open == 0).then_some(())
            });
        }
    }

    fn no_more_are_asked_than_the_share_of_the_group(engine) {
        let slow = of_kind("slow", "first_ms=1000,events=4", "up");
        let targets = [slow, of_kind("good", GOOD, "up")];
        let gateway = gateway(engine, &targets, &hedge(50, 50));
        let served: Vec<String> = (0..4)
            .map(|_| {
                let (_, line) = stream(&gateway, CHAT);
                line["served_by_model"].as_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(served, ["slow", "good", "slow", "good"]);
        assert_eq!(hedges(&gateway), [2.0, 2.0, 2.0]);
    }

    fn a_caller_who_leaves_ends_both(engine) {
        let mock = mock();
        let slow = |name: &str| of_kind(name, &format!("first_ms=60000,tag={name}"), "up");
        let gateway = setup(engine, mock, &[slow("a"), slow("b")], &hedge(50, 100)).start();
        for endpoint in ENDPOINTS {
            let before = upstream_requests(mock).len();
            let id = format!("left{}", endpoint.replace('/', "-"));
            let raw = begin(&gateway, &id, endpoint);
            wait_for("both to be asked", || {
                (upstream_requests(mock).len() == before + 2).then_some(())
            });
            raw.reset();
            let line = gateway.access_line(&id);
            assert_eq!((&line["end"], &line["status"]), (&json!("client_gone"), &json!(499)));
            assert_eq!(line["attempts"], 2, "{line}");
            wait_for("both to notice", || (upstream_connections(mock) == 0).then_some(()));
        }
        assert!(upstream_requests(mock).iter().all(|record| record["hung_up"] == true));
        let requests = gateway.metric("sluice_deployment_requests_total", &[]);
        assert_eq!(requests, 6.0);
        assert_eq!(gateway.in_flight(), 0.0);
    }

    fn what_the_loser_held_of_its_limits_is_free_at_once(engine) {
        let mut slow = of_kind("slow", "first_ms=60000", "up");
        slow["rate_limit"] = json!({"concurrency": 1});
        let good = of_kind("good", "events=9,gap_ms=60000", "up");
        let gateway = gateway(engine, &[slow, good], &hedge(50, 100));
        // Each answer goes on while the next one is asked for.
        let mut open = Vec::new();
        for round in 0..3 {
            let mut raw = begin(&gateway, &format!("round-{round}"), CHAT);
            assert_eq!(raw.head().header("x-sluice-served-by"), Some("good"));
            raw.until(b"\"e0 ");
            open.push(raw);
        }
        drop(open);
        for round in 0..3 {
            let line = gateway.access_line(&format!("round-{round}"));
            assert_eq!(listed(&line), [
                entry("slow", "initial", 499, "hedge_lost"),
                entry("good", "hedge", 200, ""),
            ], "{line}");
        }
    }

    fn a_target_at_its_limit_is_no_second_one(engine) {
        let mut full = of_kind("full", GOOD, "up");
        full["rate_limit"] = json!({"rpd": 1});
        let slow = of_kind("slow", "first_ms=1000,events=4", "up");
        let gateway = gateway(engine, &[slow, full], &hedge(50, 100));
        assert_eq!(stream(&gateway, CHAT).1["served_by_model"], "full");
        let (_, line) = stream(&gateway, CHAT);
        assert_eq!(listed(&line), [
            entry("full", "fallback", 429, "rate_limit_exceeded"),
            entry("slow", "initial", 200, ""),
        ], "{line}");
        assert_eq!(line["attempts"], 1, "{line}");
        assert_eq!(line["upstream_model"], "first_ms=1000,events=4", "{line}");
        assert_eq!(hedges(&gateway), [1.0, 1.0, 0.0]);
    }

    fn what_fails_is_followed_by_what_is_under_way_and_then_by_the_next(engine) {
        let targets = [
            of_kind("first", "first_ms=600,events=4,cut_at=0", "up"),
            of_kind("second", "first_ms=1500,events=4,error_at=0", "up"),
            of_kind("third", GOOD, "up"),
        ];
        let gateway = gateway(engine, &targets, &hedge(50, 100));
        for endpoint in ENDPOINTS {
            let (text, line) = stream(&gateway, endpoint);
            assert_eq!(numbers(endpoint, &text), [0, 1, 2, 3], "{text}");
            assert_eq!(listed(&line), [
                entry("first", "initial", 502, "transport"),
                entry("second", "hedge", 502, "upstream_in_band"),
                entry("third", "fallback", 200, ""),
            ], "{line}");
            assert_eq!(line["completion_tokens"], 9, "{line}");
        }
    }

    fn a_winner_that_breaks_within_its_window_is_replaced_too(engine) {
        let targets = [
            of_kind("slow", "first_ms=60000", "up"),
            of_kind("bad", "gap_ms=5,events=9,cut_at=3", "up"),
            of_kind("good", GOOD, "up"),
        ];
        let mut routing = hedge(50, 100);
        routing["hold_back"] = json!({"tokens": 16_384, "max_ms": 60_000});
        let gateway = gateway(engine, &targets, &routing);
        for endpoint in ENDPOINTS {
            let (text, line) = stream(&gateway, endpoint);
            assert_eq!(numbers(endpoint, &text), [0, 1, 2, 3], "{text}");
            assert_eq!(listed(&line), [
                entry("slow", "initial", 499, "hedge_lost"),
                entry("bad", "hedge", 502, "transport"),
                entry("good", "fallback", 200, ""),
            ], "{line}");
        }
    }

    fn a_comment_is_due_while_both_are_silent(engine) {
        let slow = |name: &str| of_kind(name, "first_ms=1500,events=4", "up");
        let gateway = setup(engine, mock(), &[slow("a"), slow("b")], &hedge(50, 100))
            .with("downstream.sse_keepalive_interval_secs", 1)
            .start();
        for endpoint in ENDPOINTS {
            let mut raw = begin(&gateway, "silent", endpoint);
            let response = raw.response();
            let text = response.text();
            assert!(text.starts_with(":\n\n"), "{text}");
            assert_eq!(numbers(endpoint, text), [0, 1, 2, 3], "{text}");
            assert_eq!(response.header("x-sluice-served-by"), None);
        }
    }

    fn a_target_is_slow_by_its_own_measure_once_enough_is_known(engine) {
        let (gateway, scripted) = tiring(engine, 20);
        for _ in 0..20 {
            assert_eq!(stream(&gateway, CHAT).1["served_by_model"], "tiring");
        }
        let (_, line) = stream(&gateway, CHAT);
        assert_eq!(listed(&line), [
            entry("tiring", "initial", 499, "hedge_lost"),
            entry("good", "hedge", 200, ""),
        ], "{line}");
        assert_eq!(hedges(&gateway)[1], 1.0);
        assert_eq!(scripted.asked().len(), 21);
    }

    fn what_is_not_streamed_and_what_is_not_asked_for_is_not_hedged(engine) {
        let slow = of_kind("slow", "head_ms=400,first_ms=400,events=4", "up");
        let targets = [slow, of_kind("good", GOOD, "up")];
        for (routing, stream) in [(hedge(20, 100), false), (json!({}), true)] {
            let gateway = gateway(engine, &targets, &routing);
            let (response, told) = asked(&gateway, CHAT, &ask(CHAT, "team", stream), "");
            assert_eq!(response.status, 200, "{}", response.text());
            assert_eq!(told, (1, 0, "slow".to_owned()), "{routing}");
            assert_eq!(hedges(&gateway), [0.0; 3]);
        }
    }
}
