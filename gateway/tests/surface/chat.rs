//! `POST /v1/chat/completions`.

use crate::on_both_engines;
use crate::support::gateway::{chat, post};
use crate::support::{Setup, mock};

on_both_engines! {
    fn an_answer_comes_back_under_the_requested_name(engine) {
        let gateway = Setup::new(engine, mock()).start();
        let answer = gateway.post("/v1/chat/completions", &chat("m", false));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["model"], "m");
        let line = &gateway.access_lines(1)[0];
        assert_eq!(line["usage_source"], "reported");
        assert_eq!(line["end"], "completed");
    }

    fn a_stream_arrives_whole_and_hides_usage_nobody_asked_for(engine) {
        let gateway = Setup::new(engine, mock()).start();
        let mut raw = gateway.connect();
        for _ in 0..2 {
            raw.send(&post("/v1/chat/completions", &chat("script/events=5,gap_ms=1", true)));
            let answer = raw.response();
            assert_eq!(answer.status, 200);
            let text = answer.text();
            for event in 0..5 {
                assert!(text.contains(&format!("e{event} ")), "event {event} in {text}");
            }
            assert!(!text.contains("prompt_tokens"), "{text}");
            assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
        }
        let lines = gateway.access_lines(2);
        assert!(lines.iter().all(|line| line["usage_source"] == "reported"), "{lines:?}");
    }
}
