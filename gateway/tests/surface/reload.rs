//! SIGHUP: the resources file again, whole or not at all, and nobody notices but by its content.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::on_both_engines;
use crate::support::gateway::{chat, post};
use crate::support::{Gateway, Setup, event_numbers, mock, upstream_requests, wait_for};

const CHAT: &str = "/v1/chat/completions";
const RELOADED: &str = "resources file reloaded";
const FAILED: &str = "resources file reload failed";

/// Puts `text` in place and waits until the gateway has said `said` once more.
fn reload(gateway: &Gateway, text: &str, said: &str) {
    let times = || gateway.stderr().matches(said).count();
    let before = times();
    gateway.write_resources(text);
    gateway.signal(Signal::HUP);
    wait_for(said, || (times() > before).then_some(()));
}

/// `resources` with the upstream name of the model `m` changed.
fn renamed(mut resources: Value, upstream: &str) -> String {
    resources["models"][0]["model_name"] = upstream.into();
    resources.to_string()
}

fn status(gateway: &Gateway) -> Value {
    gateway.status_page("/status/config").json()
}

#[expect(clippy::disallowed_methods, reason = "the pace of a load")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

on_both_engines! {
    fn new_resources_serve_at_once_and_old_requests_keep_theirs(engine) {
        let setup = Setup::new(engine, mock());
        let mut resources = setup.resources.clone();
        let gateway = setup.start();
        let mut stream = gateway.connect();
        stream.send(&post(CHAT, &chat("script/events=6,gap_ms=100", true)));
        stream.until(b"\"e0 ");
        let hash = status(&gateway)["applied"]["config_hash"].clone();
        // Neither the model nor its credential is known any more.
        let models = resources["models"].as_array_mut().unwrap();
        models.retain(|model| model["display_name"] == "m");
        models[0]["display_name"] = "new".into();
        resources["api_keys"][0]["allowed_models"] = json!(["new", "script/*"]);
        reload(&gateway, &resources.to_string(), RELOADED);
        let answer = gateway.post(CHAT, &chat("new", false));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(gateway.post(CHAT, &chat("script/events=1", true)).status, 404);
        let rest = String::from_utf8(stream.rest_of_stream()).unwrap();
        assert_eq!(event_numbers(&rest), [1, 2, 3, 4, 5]);
        assert!(rest.ends_with("data: [DONE]\n\n"), "{rest}");
        let now = status(&gateway);
        assert_eq!(now["state"], "synced", "{now}");
        assert_eq!(now["applied"]["apply_seq"], 2, "{now}");
        assert_eq!(now["applied"]["resource_counts"]["models"], 1, "{now}");
        assert_ne!(now["applied"]["config_hash"], hash, "{now}");
        assert_eq!(gateway.metric("sluice_config_reloads_total", &[]), 2.0);
    }

    fn a_bad_file_is_refused_whole_and_the_last_good_one_serves_on(engine) {
        let setup = Setup::new(engine, mock());
        let resources = setup.resources.clone();
        let gateway = setup.start();
        let good = status(&gateway);
        // Each has a good new model beside what is wrong.
        let mut with_new = resources.clone();
        let new = json!({"display_name": "new", "provider": "openai", "model_name": "n",
            "provider_key": "up"});
        with_new["models"].as_array_mut().unwrap().push(new);
        let mut dangling = with_new.clone();
        dangling["models"][0]["provider_key"] = "nobody".into();
        let mut unknown = with_new.clone();
        unknown["modles"] = json!([]);
        let broken = [
            ("{", "non_json", "parse"),
            (&*dangling.to_string(), "schema_failed", "validate"),
            (&*unknown.to_string(), "schema_failed", "validate"),
        ];
        for (number, (text, kind, reason)) in broken.into_iter().enumerate() {
            reload(&gateway, text, FAILED);
            let answer = gateway.post(CHAT, &chat("m", false));
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_ne!(gateway.post(CHAT, &chat("new", false)).status, 200);
            let now = status(&gateway);
            assert_eq!(now["state"], "out_of_sync", "{now}");
            assert_eq!(now["applied"], good["applied"], "{now}");
            assert_eq!(now["last_reload"]["successful"], false, "{now}");
            assert_eq!(now["last_failure"]["last_error_kind"], kind, "{now}");
            assert_eq!(gateway.metric("sluice_config_last_reload_successful", &[]), 0.0);
            let failures = "sluice_config_reload_failures_total";
            assert!(gateway.metric(failures, &[reason]) >= 1.0, "{reason}");
            assert_eq!(gateway.metric(failures, &[]), number as f64 + 1.0);
        }
        with_new["api_keys"][0]["allowed_models"] = json!(["*"]);
        reload(&gateway, &with_new.to_string(), RELOADED);
        assert_eq!(gateway.post(CHAT, &chat("new", false)).status, 200);
        let now = status(&gateway);
        assert_eq!(now["state"], "synced", "{now}");
        assert_eq!(now["last_reload"]["successful"], true, "{now}");
        assert_eq!(gateway.metric("sluice_config_last_reload_successful", &[]), 1.0);
    }

    fn reloads_under_load_fail_no_request(engine) {
        const RELOADS: usize = 20;
        const CLIENTS: u64 = 5;
        let mock = mock();
        let setup = Setup::new(engine, mock);
        let resources = setup.resources.clone();
        let gateway = setup.start();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let stop = Raise(&done);
            let clients: Vec<_> = (0..CLIENTS)
                .map(|number| {
                    let (gateway, done) = (&gateway, &done);
                    scope.spawn(move || {
                        let mut raw = gateway.connect();
                        let mut served = 0;
                        while !done.load(Ordering::Relaxed) {
                            raw.send(&post(CHAT, &chat("m", number % 2 == 0)));
                            let answer = raw.response();
                            assert_eq!(answer.status, 200, "{}", answer.text());
                            served += 1;
                            pause(Duration::from_millis(100));
                        }
                        served
                    })
                })
                .collect();
            for number in 0..RELOADS {
                let upstream = format!("gpt-{}", number % 2);
                reload(&gateway, &renamed(resources.clone(), &upstream), RELOADED);
                pause(Duration::from_millis(60));
            }
            drop(stop);
            let served: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
            assert!(served >= RELOADS, "{served} requests");
            let lines = gateway.access_lines(served);
            assert!(lines.iter().all(|line| line["status"] == 200), "{lines:?}");
        });
        let records = upstream_requests(mock);
        for upstream in ["gpt-0", "gpt-1"] {
            let name = format!("\"model\":\"{upstream}\"");
            let named = |record: &&Value| record["body"].as_str().unwrap().contains(&name);
            assert!(records.iter().filter(named).count() > 0, "nobody asked for {upstream}");
        }
    }
}

/// Raises a flag when dropped, after a failure too.
struct Raise<'f>(&'f AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
