//! Rows of a store that change while they are served: at once, and whole.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::Value;

use crate::on_both_engines;
use crate::support::gateway::{CALLER_KEY, chat, get, post};
use crate::support::store::{self, Etcd, Rows, caller, model, took_ms};
use crate::support::{Gateway, Setup, event_numbers, mock, wait_for};

const CHAT: &str = "/v1/chat/completions";

fn chat_status(gateway: &Gateway, model: &str) -> u16 {
    gateway.post(CHAT, &chat(model, false)).status
}

/// Waits until a chat with `model` is answered `status`; prints how long that took.
fn becomes(gateway: &Gateway, model: &str, status: u16, what: &str) {
    let took = took_ms(what, || chat_status(gateway, model) == status);
    println!("{what}: a new request saw it {took} ms after the store had it");
}

on_both_engines! {
    fn each_change_serves_at_once_and_a_running_stream_keeps_what_it_began_with(engine) {
        let (etcd, mock) = (Etcd::start(), mock());
        let mut rows = Rows::new(etcd.addr());
        rows.seed(mock);
        let gateway = Setup::new(engine, mock).following(etcd.addr()).start_ready();
        let before = gateway.config();
        assert_eq!(before["state"], "synced", "{before}");
        assert_eq!(before["source"]["connected"], true, "{before}");
        let mut stream = gateway.connect();
        stream.send(&post(CHAT, &chat("script/events=15,gap_ms=200", true)));
        stream.until(b"\"e0 ");
        assert_eq!(chat_status(&gateway, "new"), 404);
        rows.put("models/new", &model("new", "gpt-new"));
        becomes(&gateway, "new", 403, "a model");
        rows.put("api_keys/caller", &caller(CALLER_KEY, &["new"]));
        becomes(&gateway, "new", 200, "the right to it");
        assert_eq!(chat_status(&gateway, "m"), 403);
        rows.delete("models/new");
        becomes(&gateway, "new", 404, "a model is gone");
        rows.delete("api_keys/caller");
        becomes(&gateway, "new", 401, "a caller is gone");
        // All that the stream began with goes at once, and something else comes.
        let other = caller(CALLER_KEY, &["late"]);
        let mut up = store::provider_key(mock);
        up["display_name"] = "up2".into();
        let mut late = model("late", "gpt-late");
        late["provider_key_id"] = "up2".into();
        let revision = rows.commit(&[
            ("models/script", None), ("models/m", None), ("provider_keys/up", None),
            ("api_keys/caller2", Some(&other)), ("models/late", Some(&late)),
            ("provider_keys/up2", Some(&up)),
        ]);
        becomes(&gateway, "late", 200, "a transaction");
        let rest = String::from_utf8(stream.rest_of_stream()).unwrap();
        assert_eq!(event_numbers(&rest), (1..15).collect::<Vec<_>>());
        assert!(rest.ends_with("data: [DONE]\n\n"), "{rest}");
        assert_eq!(chat_status(&gateway, "script/events=1"), 404);
        let after = gateway.config();
        assert_eq!(after["applied"]["applied_revision"], revision, "{after}");
        assert_eq!(after["source"]["observed_revision"], revision, "{after}");
        let seq = |status: &Value| status["applied"]["apply_seq"].as_u64().unwrap();
        assert_eq!(seq(&after), seq(&before) + 5, "{after}");
        assert_eq!(gateway.metric("sluice_config_reloads_total", &[]), 1.0);
        let count = "sluice_config_propagation_seconds_count";
        assert_eq!(gateway.metric(count, &[]), 5.0);
    }

    fn a_transaction_is_never_seen_in_part(engine) {
        let (etcd, mock) = (Etcd::start(), mock());
        let mut rows = Rows::new(etcd.addr());
        rows.seed(mock);
        rows.put("api_keys/caller", &caller(CALLER_KEY, &["left-*", "right-*"]));
        let pair = |number: u32| ["left", "right"].map(|side| model(&format!("{side}-{number}"), "x"));
        let [left, right] = pair(0);
        rows.commit(&[("models/a", Some(&left)), ("models/b", Some(&right))]);
        let gateway = Setup::new(engine, mock).following(etcd.addr()).start_ready();
        let (done, seen) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            let stop = Raise(&done);
            let reader = scope.spawn(|| {
                let mut raw = gateway.connect();
                while !done.load(Ordering::Relaxed) {
                    raw.send(&get("/v1/models"));
                    let list = raw.response().json();
                    let ids: Vec<&str> = list["data"].as_array().unwrap().iter()
                        .map(|model| model["id"].as_str().unwrap())
                        .collect();
                    let number = ids[0].strip_prefix("left-").expect("the list is by name");
                    assert_eq!(ids, [format!("left-{number}"), format!("right-{number}")]);
                    seen.store(number.parse().unwrap(), Ordering::Relaxed);
                }
            });
            for number in 1..=200 {
                let [left, right] = pair(number);
                rows.commit(&[("models/a", Some(&left)), ("models/b", Some(&right))]);
            }
            wait_for("the last pair", || (seen.load(Ordering::Relaxed) == 200).then_some(()));
            drop(stop);
            reader.join().unwrap();
        });
    }
}

/// Raises a flag when dropped, after a failure too.
struct Raise<'f>(&'f AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
