//! Background checks: models that fail them are left alone, and served by again once they pass.

use serde_json::{Value, json};

use crate::on_both_engines;
use crate::support::gateway::{chat, named, post};
use crate::support::tls::{Authority, Behaviour, TlsUpstream};
use crate::support::{
    Engine, Gateway, Response, Setup, mock, upstream_connections, upstream_request,
    upstream_requests, wait_for,
};

const CHAT: &str = "/v1/chat/completions";
const CHECK_ID: &str = "background-model-check";

/// A model that does what `script` says and is checked every 5 s; `extra` members of its check.
fn checked(name: &str, script: &str, extra: &Value) -> Value {
    let mut check = json!({"enabled": true, "interval_seconds": 5, "timeout_seconds": 20,
        "prompt": "are you there?", "max_tokens": 7, "stale_after_seconds": 600});
    check
        .as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    json!({"display_name": name, "provider": "openai", "model_name": script, "provider_key": "up",
        "background_model_check": check})
}

fn group(name: &str, targets: &[&str], extra: &Value) -> Value {
    let targets: Vec<Value> = targets
        .iter()
        .map(|target| json!({"model": target}))
        .collect();
    let mut routing = json!({"targets": targets});
    routing
        .as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    json!({"display_name": name, "routing": routing})
}

fn setup(engine: Engine, upstream: std::net::SocketAddr, models: Vec<Value>) -> Setup {
    Setup::new(engine, upstream).resources(|file| {
        file["models"].as_array_mut().unwrap().extend(models);
        file["api_keys"][0]["allowed_models"] = json!(["*"]);
    })
}

/// What `/status/models` says of the model called `name`.
fn standing(gateway: &Gateway, name: &str) -> Value {
    let page = gateway.status_page("/status/models").json();
    let mut models = page.as_array().unwrap().iter();
    models
        .find(|model| model["display_name"] == name)
        .unwrap()
        .clone()
}

fn until(gateway: &Gateway, name: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    wait_for(&format!("{name}: {what}"), || {
        Some(standing(gateway, name)).filter(&is)
    })
}

fn until_status(gateway: &Gateway, name: &str, status: &str) -> Value {
    until(gateway, name, status, |seen| seen["status"] == status)
}

fn ask(gateway: &Gateway, id: &str, model: &str) -> Response {
    let mut raw = gateway.connect();
    raw.send(&named(id, &post(CHAT, &chat(model, false))));
    raw.response()
}

on_both_engines! {
    fn a_model_that_fails_its_check_is_left_alone_until_it_passes(engine) {
        let upstream = mock();
        let cold = json!({"enabled": false});
        let mut down = checked("down", "events=3,status=503", &json!({}));
        down["cooldown"] = cold;
        let gateway = setup(engine, upstream, vec![
            down,
            checked("sick", "events=3,status=500,times=1", &json!({})),
            checked("well", "events=3", &json!({})),
            checked("off", "events=3,status=503", &json!({"enabled": false})),
            group("team", &["down", "well"], &json!({})),
            group("lone", &["down"], &json!({})),
            group("bold", &["down"], &json!({"when_all_unavailable": "try_anyway"})),
            group("hope", &["sick", "well"], &json!({})),
        ]).start_ready();
        let seen = until_status(&gateway, "down", "unhealthy");
        assert_eq!((&seen["status_reason"], &seen["last_check_status"]), (&json!("background_check_failed"), &json!(503)));
        assert!(seen["last_checked_at"]["secs_since_epoch"].as_u64().is_some(), "{seen}");
        let seen = until(&gateway, "well", "checked", |seen| seen.get("last_checked_at").is_some());
        assert_eq!((&seen["status"], &seen["last_check_status"]), (&json!("healthy"), &json!(200)), "{seen}");
        assert_eq!(standing(&gateway, "off").get("last_checked_at"), None);

        // A group passes it over, and says so where it has nobody else.
        let answer = ask(&gateway, "team", "team");
        assert_eq!((answer.status, answer.header("x-sluice-served-by")), (200, Some("well")));
        assert_eq!(gateway.access_line("team")["attempts"], 1);
        let answer = ask(&gateway, "lone", "lone");
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("30")));
        assert_eq!(answer.error()["type"], "all_candidates_unavailable");
        for id in ["bold", "down"] {
            assert_eq!(ask(&gateway, id, id).status, 502, "{id} is tried nevertheless");
            assert_eq!(gateway.access_line(id)["attempts"], 1);
        }
        assert_eq!(gateway.metric("sluice_deployment_state", &["model=\"down\""]), 2.0);

        // The check after the one that failed passes, and the group goes back to it.
        let again = "a model passes its background check again";
        let line = wait_for(again, || gateway.logged(again));
        assert_eq!(line["model"], "sick", "{line}");
        until_status(&gateway, "sick", "healthy");
        let answer = ask(&gateway, "hope", "hope");
        assert_eq!((answer.status, answer.header("x-sluice-served-by")), (200, Some("sick")));
        let counted = |model: &str, result: &str| {
            let labels = [format!("model=\"{model}\""), format!("result=\"{result}\"")];
            gateway.metric("sluice_model_checks_total", &[&labels[0], &labels[1]])
        };
        assert_eq!((counted("sick", "failed"), counted("sick", "passed") >= 1.0), (1.0, true));
        assert_eq!((counted("down", "passed"), counted("down", "failed") >= 1.0), (0.0, true));
        wait_for("a warning", || gateway.logged("a model failed its background check"));

        // It was a chat call like any other, and no caller's usage.
        let asked = upstream_request(upstream, CHECK_ID).unwrap();
        let body: Value = serde_json::from_str(asked["body"].as_str().unwrap()).unwrap();
        assert_eq!(body["messages"], json!([{"role": "user", "content": "are you there?"}]));
        assert_eq!(body["max_tokens"], 7);
        let lines = gateway.access_lines(5);
        assert!(lines.iter().all(|line| line["request_id"] != CHECK_ID), "{lines:?}");
        let tokens: u64 = lines.iter().filter_map(|line| line["total_tokens"].as_u64()).sum();
        assert_eq!(gateway.metric("sluice_tokens_consumed_total", &[]), tokens as f64);

        // Who is checked no more is not held to what was found.
        let mut resources: Value = serde_json::from_str(
            &std::fs::read_to_string(gateway.dir.path().join("resources.yaml")).unwrap()).unwrap();
        for model in resources["models"].as_array_mut().unwrap() {
            if model["display_name"] == "down" {
                model["background_model_check"]["enabled"] = json!(false);
            }
        }
        gateway.write_resources(&resources.to_string());
        gateway.signal(rustix::process::Signal::HUP);
        let seen = until_status(&gateway, "down", "healthy");
        assert_eq!(seen.get("last_checked_at"), None, "{seen}");
    }

    fn silence_counts_as_408_and_listed_statuses_say_nothing(engine) {
        let hasty = |ignored: &[u16]| json!({"timeout_seconds": 1, "ignore_statuses": ignored});
        let gateway = setup(engine, mock(), vec![
            checked("silent", "events=3,head_ms=60000", &hasty(&[])),
            checked("stuck", "events=3,slow_body_ms=60000", &hasty(&[])),
            checked("excused", "events=3,head_ms=60000", &hasty(&[408])),
            checked("busy", "events=3,status=429", &json!({"ignore_statuses": [429]})),
            checked("odd", "events=3,bad=html", &json!({})),
            checked("brief", "events=3,status=500", &json!({"stale_after_seconds": 1, "interval_seconds": 30})),
        ]).start_ready();
        for (name, status) in [("silent", 408), ("stuck", 408), ("odd", 200)] {
            let seen = until_status(&gateway, name, "unhealthy");
            assert_eq!(seen["last_check_status"], status, "{seen}");
        }
        for (name, status) in [("excused", 408), ("busy", 429)] {
            let seen = until(&gateway, name, "checked", |seen| seen.get("last_check_status").is_some());
            assert_eq!((&seen["status"], &seen["status_reason"]), (&json!("healthy"), &json!("ignored_transient_error")), "{seen}");
            assert_eq!(seen["last_check_status"], status, "{seen}");
        }
        // A finding grows old.
        let seen = until(&gateway, "brief", "stale", |seen| {
            seen["last_check_status"] == 500 && seen["status"] == "healthy"
        });
        assert_eq!(seen.get("status_reason"), None, "{seen}");
    }

    fn at_most_four_checks_run_at_once_and_all_have_their_turn(engine) {
        let upstream = mock();
        let names: Vec<String> = (0..10).map(|number| format!("slow-{number}")).collect();
        let slow = |name: &String| checked(name, "events=3,head_ms=1500", &json!({}));
        let models: Vec<Value> = names.iter().map(slow).collect();
        let gateway = setup(engine, upstream, models).start_ready();
        let mut most = 0;
        wait_for("all to be checked", || {
            most = most.max(upstream_connections(upstream));
            let all = names.iter().all(|name| standing(&gateway, name).get("last_checked_at").is_some());
            all.then_some(())
        });
        assert_eq!(most, 4, "no more, and no fewer while ten are due");
        let asked = upstream_requests(upstream);
        assert!(asked.iter().all(|one| one["path"] == CHAT), "{asked:?}");
    }

    fn a_check_speaks_tls_as_requests_do(engine) {
        let authority = Authority::new();
        let upstream = TlsUpstream::start(&authority.server("localhost"), &Behaviour::default());
        let base = format!("https://localhost:{}/v1", upstream.addr.port());
        let setup = setup(engine, upstream.addr, vec![
            checked("known", "events=3", &json!({})),
            checked("unknown", "events=3", &json!({})),
        ]);
        let gateway = setup.resources(|file| {
            file["provider_keys"][0]["api_base"] = json!(base);
            let mut trusting = file["provider_keys"][0].clone();
            trusting["display_name"] = json!("trusting");
            trusting["tls"] = json!({"ca_cert": authority.pem});
            file["provider_keys"].as_array_mut().unwrap().push(trusting);
            for model in file["models"].as_array_mut().unwrap() {
                if model["display_name"] == "known" {
                    model["provider_key"] = json!("trusting");
                }
            }
        }).start_ready();
        let seen = until_status(&gateway, "unknown", "unhealthy");
        assert_eq!(seen.get("last_check_status"), None, "{seen}");
        let seen = until(&gateway, "known", "checked", |seen| seen.get("last_check_status").is_some());
        assert_eq!((&seen["status"], &seen["last_check_status"]), (&json!("healthy"), &json!(200)), "{seen}");
        assert!(!gateway.stderr().contains("sk-upstream-canary"));
    }
}
