//! What is counted against limits goes along, and what the old process still holds is known to the new one.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::Generations;
use crate::on_both_engines;
use crate::support::gateway::{chat, post};
use crate::support::{Engine, Raw, Setup, mock, wait_for};

const CHAT: &str = "/v1/chat/completions";

fn start(engine: Engine, change: impl FnOnce(&mut Value)) -> Generations {
    Generations::start(Setup::new(engine, mock()).resources(change))
}

fn open_stream(gateway: &Generations) -> Raw {
    let mut stream = gateway.connect();
    stream.send(&post(CHAT, &chat("m", true)));
    assert_eq!(stream.head().status, 200);
    stream
}

/// The sentence of a refusal; `None` where the call was answered.
fn refusal(gateway: &Generations, path: &str, body: &Value) -> Option<String> {
    let answer = gateway.post(path, body);
    if answer.status == 200 {
        return None;
    }
    assert_eq!(answer.status, 429, "{}", answer.text());
    Some(
        answer.json()["error"]["message"]
            .as_str()
            .unwrap()
            .to_owned(),
    )
}

on_both_engines! {
    fn windows_go_on_where_they_were_through_two_upgrades(engine) {
        let gateway = start(engine, |file| file["api_keys"][0]["rate_limit"] = json!({"rpd": 4}));
        for left in ["3", "2", "1"] {
            let answer = gateway.post(CHAT, &chat("m", false));
            assert_eq!(answer.header("x-ratelimit-remaining-requests"), Some(left));
            if left != "1" {
                gateway.upgrade();
            }
        }
        assert_eq!(refusal(&gateway, CHAT, &chat("m", false)), None);
        let refused = refusal(&gateway, CHAT, &chat("m", false)).unwrap();
        assert!(refused.contains("(requests)"), "{refused}");
    }

    fn a_stream_of_the_old_process_holds_its_slot_and_is_charged_when_it_ends(engine) {
        let gateway = start(engine, |file| {
            file["models"][0]["rate_limit"] = json!({"concurrency": 1});
            file["models"][0]["model_name"] = json!("events=60,gap_ms=50,usage_in=400,usage_out=200");
            file["api_keys"][0]["rate_limit"] = json!({"tpd": 500});
        });
        let mut stream = open_stream(&gateway);
        gateway.upgrade();
        let refused = refusal(&gateway, CHAT, &chat("m", true)).unwrap();
        assert!(refused.contains("concurrency"), "{refused}");
        let embedding = json!({"model": "embed", "input": "x"});
        assert_eq!(refusal(&gateway, "/v1/embeddings", &embedding), None);
        stream.rest_of_stream();
        let refused = wait_for("the charge", || {
            refusal(&gateway, "/v1/embeddings", &embedding)
        });
        assert!(refused.contains("(tokens)"), "{refused}");
    }

    fn slots_are_free_once_their_streams_end_or_the_old_process_is_killed(engine) {
        let gateway = start(engine, |file| {
            file["models"][0]["rate_limit"] = json!({"concurrency": 1});
            file["models"][0]["model_name"] = json!("events=2000,gap_ms=50");
        });
        let is_free = || {
            let mut next = gateway.connect();
            next.send(&post(CHAT, &chat("m", true)));
            (next.head().status == 200).then_some(next)
        };
        let stream = open_stream(&gateway);
        gateway.upgrade();
        assert!(is_free().is_none());
        drop(stream);
        let stream = wait_for("the caller of the old process to have left", is_free);
        let old = gateway.newest();
        gateway.upgrade();
        assert!(is_free().is_none());
        kill_process(Pid::from_raw(old).unwrap(), Signal::KILL).unwrap();
        wait_for("the slots of the old process", is_free);
        drop(stream);
    }
}
