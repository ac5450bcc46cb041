//! Groups: which target serves, what is tried after a failure, and which target is left alone.

use std::net::{SocketAddr, TcpListener};

use serde_json::{Value, json};

use crate::on_both_engines;
use crate::support::gateway::{chat, post};
use crate::support::{Engine, Gateway, Raw, Response, Setup, mock};

pub(crate) const CHAT: &str = "/v1/chat/completions";
pub(crate) const MESSAGES: &str = "/v1/messages";
pub(crate) const RESPONSES: &str = "/v1/responses";
pub(crate) const ENDPOINTS: [&str; 3] = [CHAT, MESSAGES, RESPONSES];

/// A body that asks `model` for a short answer.
pub(crate) fn ask(endpoint: &str, model: &str, stream: bool) -> Value {
    match endpoint {
        MESSAGES => json!({"model": model, "stream": stream, "max_tokens": 9,
            "messages": [{"role": "user", "content": "Hello"}]}),
        RESPONSES => json!({"model": model, "stream": stream, "input": "Hello"}),
        _ => chat(model, stream),
    }
}

/// A model called `name` that does what `script` says; `key` is its provider key.
pub(crate) fn target(name: &str, script: &str, key: &str) -> Value {
    json!({"display_name": name, "provider": "openai", "model_name": script, "provider_key": key})
}

/// A gateway with the group `team` of the direct models `targets`, in this order.
pub(crate) fn gateway(engine: Engine, targets: &[Value], routing: &Value) -> Gateway {
    setup(engine, mock(), targets, routing).start()
}

/// The same before it is started, with the upstream at `mock`.
pub(crate) fn setup(engine: Engine, mock: SocketAddr, targets: &[Value], routing: &Value) -> Setup {
    // Nobody listens there, and nobody will: the port is taken.
    let dead = TcpListener::bind("127.0.0.1:0").unwrap();
    let dead_addr = dead.local_addr().unwrap();
    drop(dead);
    crate::protocols::setup(engine, mock).resources(|file| {
        let keys = file["provider_keys"].as_array_mut().unwrap();
        keys.push(
            json!({"display_name": "dead", "provider": "openai", "adapter": "openai",
            "api_key": "k", "api_base": format!("http://{dead_addr}/v1")}),
        );
        let models = file["models"].as_array_mut().unwrap();
        models.extend_from_slice(targets);
        let members: Vec<Value> = targets
            .iter()
            .map(|target| json!({"model": target["display_name"]}))
            .collect();
        let mut routing = routing.clone();
        if routing.get("targets").is_none() {
            routing["targets"] = json!(members);
        }
        models.push(json!({"display_name": "team", "routing": routing}));
        file["api_keys"][0]["allowed_models"] = json!(["*"]);
    })
}

/// One answer, and what its access line says: attempts, fallbacks and target.
pub(crate) fn asked(
    gateway: &Gateway,
    endpoint: &str,
    body: &Value,
    lines: &str,
) -> (Response, (u64, u64, String)) {
    let id = format!("r-{}", uuid());
    let request = String::from_utf8(post(endpoint, body)).unwrap();
    let at = request.find("\r\n").unwrap() + 2;
    let (line, rest) = request.split_at(at);
    let request = format!("{line}x-sluice-request-id: {id}\r\n{lines}{rest}");
    let mut raw = gateway.connect();
    raw.send(request.as_bytes());
    let response = raw.response();
    let line = gateway.access_line(&id);
    let number = |key: &str| line[key].as_u64().unwrap_or_default();
    let target = line["served_by_model"].as_str().unwrap_or_default();
    let told = (
        number("attempts"),
        number("routing_fallback_count"),
        target.to_owned(),
    );
    (response, told)
}

pub(crate) fn uuid() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

const GOOD: &str = "events=3";

on_both_engines! {
    fn whatever_fails_before_the_first_content_is_served_by_the_next_target(engine) {
        let faults = [
            // Script, provider key, whether only a stream can fail so.
            (GOOD, "dead", false),
            ("events=3,cut_at=head", "up", false),
            ("events=3,cut_at=head,cut=fin", "up", false),
            ("events=3,cut_at=0", "up", false),
            ("events=3,status=500", "up", false),
            ("events=3,status=503,retry_after=7", "up", false),
            ("events=3,status=429", "up", false),
            ("events=3,bad=status", "up", false),
            ("events=3,head_ms=60000", "slow", false),
            ("events=3,first_ms=60000", "slow", true),
            ("events=3,error_at=0", "up", true),
        ];
        let cooling = json!({"enabled": false});
        for (script, key, stream_only) in faults {
            let mut broken = target("broken", script, if key == "dead" { "dead" } else { "up" });
            broken["cooldown"] = cooling.clone();
            if key == "slow" {
                broken["timeout"] = json!(300);
            }
            let targets = [broken, target("good", GOOD, "up")];
            let gateway = gateway(engine, &targets, &json!({"retry_on_429": true}));
            for endpoint in ENDPOINTS {
                for stream in [false, true] {
                    if stream_only && !stream {
                        continue;
                    }
                    let case = format!("{script} {key} {endpoint} stream={stream}");
                    let body = ask(endpoint, "team", stream);
                    let (response, told) = asked(&gateway, endpoint, &body, "");
                    assert_eq!(response.status, 200, "{case}: {}", response.text());
                    assert_eq!(response.header("x-sluice-served-by"), Some("good"), "{case}");
                    assert_eq!(told, (2, 1, "good".to_owned()), "{case}");
                    assert!(!response.text().contains("error\":{"), "{case}: {}", response.text());
                }
            }
            let served = gateway.metric(
                "sluice_routing_successful_fallbacks_total",
                &["model=\"team\"", "fallback_model=\"good\""],
            );
            assert_eq!(served, if stream_only { 3.0 } else { 6.0 }, "{script}");
        }
    }

    fn what_no_other_target_can_mend_ends_the_request_at_once(engine) {
        for (script, status) in [
            ("events=3,status=400", 400),
            ("events=3,status=401", 401),
            ("events=3,status=404", 404),
            ("events=3,status=429", 429),
        ] {
            let targets = [target("broken", script, "up"), target("good", GOOD, "up")];
            let gateway = gateway(engine, &targets, &json!({}));
            for endpoint in ENDPOINTS {
                let body = ask(endpoint, "team", false);
                // A 401 and a 429 cool a target down: the next request passes it over.
                let (response, told) = asked(&gateway, endpoint, &body, "");
                let first = endpoint == CHAT || !matches!(status, 401 | 429);
                let want = if first { (status, 0, "broken") } else { (200, 0, "good") };
                let got = (response.status, told.1, told.2.as_str());
                assert_eq!(got, want, "{script} {endpoint}");
                assert_eq!(told.0, 1, "{script} {endpoint}");
            }
        }
    }

    fn what_was_held_back_of_a_stream_that_failed_counts_as_not_sent(engine) {
        let direct = target("direct", "events=3,error_at=0", "up");
        let gateway = gateway(engine, &[direct], &json!({}));
        let (response, _) = asked(&gateway, CHAT, &ask(CHAT, "direct", true), "");
        assert_eq!(response.status, 502);
        let line = gateway.access_lines(1).pop().unwrap();
        assert_eq!((&line["events"], &line["status"]), (&json!(0), &json!(502)));
    }

    fn a_stream_that_has_said_something_is_never_begun_anew(engine) {
        let targets = [target("broken", "events=5,cut_at=2", "up"), target("good", GOOD, "up")];
        let gateway = gateway(engine, &targets, &json!({}));
        let (response, told) = asked(&gateway, CHAT, &ask(CHAT, "team", true), "");
        assert_eq!(response.status, 200);
        assert_eq!(told, (1, 0, "broken".to_owned()));
        let text = response.text();
        assert!(text.contains("event: error") && !text.contains("[DONE]"), "{text}");
    }

    fn a_direct_model_is_tried_again_as_often_as_its_number_says(engine) {
        for (retries, times, status, attempts) in [(2, 2, 200, 3), (1, 2, 502, 2), (0, 1, 502, 1)] {
            let script = format!("events=3,status=500,times={times},size={}", uuid() + 1);
            let mut direct = target("direct", &script, "up");
            direct["retries"] = json!(retries);
            let gateway = gateway(engine, &[direct], &json!({}));
            let (response, told) = asked(&gateway, CHAT, &ask(CHAT, "direct", false), "");
            assert_eq!((response.status, told.0), (status, attempts), "{script}");
        }
    }

    fn a_target_that_failed_is_left_alone_but_for_those_who_name_it(engine) {
        let mut broken = target("broken", "events=3,status=503", "up");
        broken["cooldown"] = json!({"default_seconds": 600});
        let gateway = gateway(engine, &[broken, target("good", GOOD, "up")], &json!({}));
        let ask_team = || asked(&gateway, CHAT, &ask(CHAT, "team", false), "").1;
        assert_eq!(ask_team(), (2, 1, "good".to_owned()));
        assert_eq!(ask_team(), (1, 0, "good".to_owned()));
        let (response, told) = asked(&gateway, CHAT, &ask(CHAT, "broken", false), "");
        assert_eq!((response.status, told.0), (502, 1));
        let labels = ["model=\"broken\""];
        assert_eq!(gateway.metric("sluice_deployment_cooled_down_total", &labels), 1.0);
        crate::support::wait_for("the log", || {
            gateway.logged("a target failed and is left alone for a while")
        });
    }

    fn a_group_whose_targets_all_cool_down_tries_them_nevertheless(engine) {
        let fault = |name: &str| target(name, &format!("events=3,status=500,model_echo={name}"), "up");
        let gateway = gateway(engine, &[fault("a"), fault("b")], &json!({}));
        for _ in 0..2 {
            let (response, told) = asked(&gateway, CHAT, &ask(CHAT, "team", false), "");
            assert_eq!((response.status, told.0, told.1), (502, 2, 1));
        }
        let failed = gateway.metric("sluice_routing_failed_fallbacks_total", &["model=\"team\""]);
        assert_eq!(failed, 2.0);
    }

    fn turns_are_taken_by_weight_and_a_key_stays_with_its_target(engine) {
        let names = ["a", "b", "c"];
        let all: Vec<Value> = names.iter().map(|name| target(name, GOOD, "up")).collect();
        let members = json!([{"model": "a", "weight": 5}, {"model": "b"}, {"model": "c"}]);
        let in_turn = gateway(engine, &all, &json!({"strategy": "round_robin", "targets": members}));
        let served: Vec<String> = (0..14)
            .map(|_| asked(&in_turn, CHAT, &ask(CHAT, "team", false), "").1.2)
            .collect();
        assert_eq!(served.concat(), "aabacaaaabacaa");

        let hashed = gateway(engine, &all, &json!({"strategy": "consistent_hash"}));
        let of_key = |key: &str| {
            let line = format!("x-sluice-routing-key: {key}\r\n");
            asked(&hashed, CHAT, &ask(CHAT, "team", false), &line).1.2
        };
        let mut seen = std::collections::BTreeSet::new();
        for key in ["ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal"] {
            let first = of_key(key);
            assert_eq!(first, of_key(key), "{key}");
            seen.insert(first);
        }
        assert!(seen.len() > 1, "{seen:?}");
    }

    fn tags_and_unusable_groups_are_answered_clearly(engine) {
        let all = [target("eu", GOOD, "up"), target("us", GOOD, "up")];
        let members = json!([{"model": "eu", "tags": ["eu"]}, {"model": "us", "tags": ["us", "default"]}]);
        let tagged = gateway(engine, &all, &json!({"targets": members}));
        for (line, want) in [
            ("x-sluice-routing-tags: eu\r\n", "eu"),
            ("x-sluice-routing-tags: mars, us\r\n", "us"),
            ("", "us"),
        ] {
            let (response, told) = asked(&tagged, CHAT, &ask(CHAT, "team", false), line);
            assert_eq!((response.status, told.2.as_str()), (200, want), "{line}");
        }
        let members = json!([{"model": "eu", "tags": ["eu"]}]);
        let tagged = gateway(engine, &all, &json!({"targets": members}));
        let line = "x-sluice-routing-tags: mars\r\n";
        let (response, _) = asked(&tagged, CHAT, &ask(CHAT, "team", false), line);
        assert_eq!(response.status, 400);
        assert!(response.text().contains("no routing target matches request tags"));
    }

    fn a_caller_who_leaves_while_a_retry_waits_ends_the_request(engine) {
        let mut direct = target("direct", "events=3,status=503,retry_after=5", "up");
        direct["retries"] = json!(3);
        let gateway = gateway(engine, &[direct], &json!({}));
        let mut raw: Raw = gateway.connect();
        raw.send(&post(CHAT, &ask(CHAT, "direct", false)));
        crate::support::wait_for("the first attempt", || {
            let failed = gateway.metric("sluice_deployment_failure_responses_total", &["model=\"direct\""]);
            (failed == 1.0).then_some(())
        });
        drop(raw);
        let lines = gateway.access_lines(1);
        assert_eq!(lines[0]["end"], "client_gone");
        assert_eq!(lines[0]["attempts"], 1);
    }
}
