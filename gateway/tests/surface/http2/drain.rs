//! HTTP/2 at the end of the process.

use rustix::process::Signal;

use super::client::{H2, get, named, post};
use crate::on_both_engines;
use crate::support::gateway::chat;
use crate::support::{Setup, event_numbers, mock, wait_for};
use crate::upgrade::Generations;

const CHAT: &str = "/v1/chat/completions";

on_both_engines! {
    fn open_streams_finish_and_no_new_ones_begin(engine) {
        let mut gateway = Setup::new(engine, mock()).start();
        let mut idle = H2::connect(&gateway);
        assert_eq!(idle.answer(get("/v1/models"), b"").status, 200);
        let mut h2 = H2::connect(&gateway);
        let streams: Vec<_> = (0..8)
            .map(|number| {
                let script = "script/events=8,gap_ms=120";
                let (request, body) = named(&format!("s{number}"), post(CHAT, &chat(script, true)));
                let asked = h2.ask(request, &body);
                h2.head(asked.response).unwrap()
            })
            .collect();
        gateway.signal(Signal::TERM);
        assert_eq!(idle.ended().map(|error| error.to_string()), None, "told, and closed");
        wait_for("the connection to take no more", || {
            h2.begin(get("/v1/models"), true).err().map(|error| assert!(error.is_go_away()))
        });
        for mut stream in streams {
            let mut text = String::new();
            while let Some(data) = h2.data(&mut stream.body) {
                text.push_str(std::str::from_utf8(&data.unwrap()).unwrap());
            }
            assert_eq!(event_numbers(&text), (0..8).collect::<Vec<u64>>());
            assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
        }
        assert_eq!(gateway.ended().code(), Some(0));
    }

    fn an_upgrade_finishes_open_streams_and_sends_callers_to_the_new_process(engine) {
        let mut gateway = Generations::start(Setup::new(engine, mock()));
        let mut idle = H2::connect(&gateway);
        assert_eq!(idle.answer(get("/v1/models"), b"").status, 200);
        let mut h2 = H2::connect(&gateway);
        let (request, body) = post(CHAT, &chat("script/events=8,gap_ms=200", true));
        let asked = h2.ask(request, &body);
        let mut stream = h2.head(asked.response).unwrap();
        gateway.upgrade();
        assert_eq!(idle.ended().map(|error| error.to_string()), None, "told, and closed");
        let mut text = String::new();
        while let Some(data) = h2.data(&mut stream.body) {
            text.push_str(std::str::from_utf8(&data.unwrap()).unwrap());
        }
        assert_eq!(event_numbers(&text), (0..8).collect::<Vec<u64>>());
        assert_eq!(h2.ended().map(|error| error.to_string()), None);
        assert_eq!(gateway.ended().code(), Some(0));
        assert_eq!(H2::connect(&gateway).answer(get("/v1/models"), b"").status, 200);
    }

    fn who_comes_during_the_drain_is_served_once_and_told(engine) {
        let mut gateway = Setup::new(engine, mock()).with("shutdown.min_drain_secs", 2).start();
        gateway.signal(Signal::TERM);
        wait_for("/readyz to fail", || (gateway.get("/readyz").status == 503).then_some(()));
        let mut h2 = H2::connect(&gateway);
        let (request, body) = post(CHAT, &chat("m", false));
        assert_eq!(h2.answer(request, &body).status, 200);
        assert_eq!(h2.ended().map(|error| error.to_string()), None);
        assert_eq!(gateway.ended().code(), Some(0));
    }

    fn what_outlasts_the_longest_drain_is_cut_and_recorded(engine) {
        let mut gateway = Setup::new(engine, mock()).with("shutdown.max_drain_secs", 1).start();
        let mut h2 = H2::connect(&gateway);
        let (request, body) = post(CHAT, &chat("script/events=2,gap_ms=60000", true));
        let asked = h2.ask(request, &body);
        let mut stream = h2.head(asked.response).unwrap();
        gateway.signal(Signal::TERM);
        assert_eq!(gateway.ended().code(), Some(1));
        while let Some(Ok(_)) = h2.data(&mut stream.body) {}
        let text = std::fs::read_to_string(gateway.access_log()).unwrap();
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(line["end"], "drained", "{line}");
    }
}
