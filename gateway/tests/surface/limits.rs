//! Limits of keys, models and policies, on every endpoint.

use serde_json::{Value, json};

use crate::on_both_engines;
use crate::support::gateway::{chat, post};
use crate::support::{Engine, Gateway, Response, Setup, mock};

const CHAT: &str = "/v1/chat/completions";

fn gateway(engine: Engine, change: impl FnOnce(&mut Value)) -> Gateway {
    Setup::new(engine, mock()).resources(change).start()
}

fn refused(response: &Response, sentence: &str, case: &str) {
    assert_eq!(response.status, 429, "{case}: {}", response.text());
    let error = &response.json()["error"];
    let kind = error["type"].as_str().unwrap();
    assert!(
        ["rate_limit_exceeded", "rate_limit_error"].contains(&kind),
        "{case}: {error}"
    );
    assert!(
        error["message"].as_str().unwrap().contains(sentence),
        "{case}: {error}"
    );
    let retry_after: u64 = response.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=86_400).contains(&retry_after), "{case}: {retry_after}");
}

on_both_engines! {
    fn a_window_admits_what_it_says_and_tells_what_is_left(engine) {
        let gateway = gateway(engine, |file| file["api_keys"][0]["rate_limit"] = json!({"rpd": 3}));
        for left in ["2", "1", "0"] {
            let response = gateway.post(CHAT, &chat("m", false));
            assert_eq!(response.status, 200);
            assert_eq!(response.header("x-ratelimit-limit-requests"), Some("3"));
            assert_eq!(response.header("x-ratelimit-remaining-requests"), Some(left));
            assert!(response.header("x-ratelimit-reset-requests").unwrap().ends_with('s'));
        }
        refused(&gateway.post(CHAT, &chat("m", true)), "(requests)", "the fourth");
        let line = gateway.access_lines(4).pop().unwrap();
        assert_eq!((&line["limit_scope"], &line["limit_layer"]), (&json!("requests"), &json!("api_key")));
        assert_eq!(line["attempts"], 0, "nobody was asked");
    }

    fn tokens_are_charged_once_they_are_known(engine) {
        let gateway = gateway(engine, |file| {
            file["api_keys"][0]["rate_limit"] = json!({"tpd": 100});
            file["api_keys"][0]["allowed_models"] = json!(["*"]);
        });
        let body = |tokens: u64| chat(&format!("script/usage_in={tokens},usage_out=1"), false);
        for tokens in [60, 30, 500] {
            let response = gateway.post(CHAT, &body(tokens));
            assert_eq!(response.status, 200, "{tokens}");
        }
        refused(&gateway.post(CHAT, &body(1)), "token limit exceeded (tokens)", "over it");
    }

    fn a_caller_who_leaves_before_the_answer_pays_for_the_prompt(engine) {
        let gateway = gateway(engine, |file| {
            file["api_keys"][0]["rate_limit"] = json!({"tpd": 50});
            file["models"][0]["model_name"] = json!("events=3,head_ms=60000");
        });
        let content = "word ".repeat(80);
        let body = json!({"model": "m", "messages": [{"role": "user", "content": content}]});
        let mut raw = gateway.connect();
        raw.send(&post(CHAT, &body));
        crate::support::wait_for("the request", || (gateway.in_flight() > 0.0).then_some(()));
        drop(raw);
        assert_eq!(gateway.access_lines(1)[0]["end"], "client_gone");
        let next = json!({"model": "embed", "input": "x"});
        refused(&gateway.post("/v1/embeddings", &next), "(tokens)", "a hundred were used");
    }

    fn a_slot_is_held_until_its_stream_ends_or_its_caller_leaves(engine) {
        let gateway = gateway(engine, |file| {
            file["models"][0]["rate_limit"] = json!({"concurrency": 1});
            file["models"][0]["model_name"] = json!("events=1000,gap_ms=50");
        });
        let mut stream = gateway.connect();
        stream.send(&post(CHAT, &chat("m", true)));
        assert_eq!(stream.head().status, 200);
        let response = gateway.post(CHAT, &chat("m", true));
        refused(&response, "concurrency limit exceeded", "the second");
        assert_eq!(response.header("x-ratelimit-limit-concurrent"), Some("1"));
        drop(stream);
        crate::support::wait_for("the slot", || {
            let mut next = gateway.connect();
            next.send(&post(CHAT, &chat("m", true)));
            (next.head().status == 200).then_some(())
        });
    }

    fn a_policy_that_refuses_names_itself(engine) {
        let gateway = gateway(engine, |file| {
            file["api_keys"][0]["team_id"] = json!("t-7");
            file["rate_limit_policies"] = json!([{"name": "night \"shift\"",
                "conditions": [{"dimension": "model_name", "operator": "~~", "value": "^m$"}],
                "group_by": ["team"], "limits": {"rpd": 1}}]);
        });
        assert_eq!(gateway.post(CHAT, &chat("m", false)).status, 200);
        let response = gateway.post(CHAT, &chat("m", false));
        refused(&response, "request limit exceeded (requests): night \"shift\"", "the second");
        let policy = &response.json()["error"]["policy"];
        assert_eq!(policy["name"], "night \"shift\"");
        assert_eq!(policy["id"].as_str().unwrap().len(), 36);
        let other = gateway.post("/v1/embeddings", &json!({"model": "embed", "input": "x"}));
        assert_eq!(other.status, 200, "the policy is about another model");
        let labels = ["layer=\"policy\"", "scope=\"requests\""];
        assert_eq!(gateway.metric("sluice_ratelimit_rejections_total", &labels), 1.0);
    }

    fn a_target_at_its_limit_is_passed_over(engine) {
        let gateway = gateway(engine, |file| {
            file["models"][0]["rate_limit"] = json!({"rpd": 1});
            let models = file["models"].as_array_mut().unwrap();
            models.push(json!({"display_name": "team", "routing": {"targets": [{"model": "m"}, {"model": "other"}]}}));
            file["api_keys"][0]["allowed_models"] = json!(["team"]);
            file["models"][1]["rate_limit"] = json!({"rpd": 2});
        });
        let served: Vec<(u16, String)> = (0..4)
            .map(|_| {
                let response = gateway.post(CHAT, &chat("team", false));
                let by = response.header("x-sluice-served-by").unwrap_or_default().to_owned();
                (response.status, by)
            })
            .collect();
        let by = |status, name: &str| (status, name.to_owned());
        assert_eq!(served, [by(200, "m"), by(200, "other"), by(200, "other"), by(429, "")]);
    }

    fn a_passthrough_route_goes_past_no_limit_either(engine) {
        let upstream = mock();
        let gateway = gateway(engine, |file| {
            file["passthrough_routes"] = json!([{"name": "raw", "path_prefix": "/raw",
                "target_url": format!("http://{upstream}/v1"), "provider_key": "up"}]);
            file["api_keys"][0]["allowed_routes"] = json!(["raw"]);
            file["api_keys"][0]["rate_limit"] = json!({"rpd": 2});
            file["models"][0]["rate_limit"] = json!({"rpd": 1});
        });
        let path = "/raw/chat/completions";
        assert_eq!(gateway.post(path, &chat("m", false)).status, 200);
        let response = gateway.post(path, &chat("m", false));
        refused(&response, "(requests)", "the model's limit");
        assert_eq!(gateway.post(path, &chat("no-such-model", false)).status, 200);
        refused(&gateway.post(path, &chat("no-such-model", false)), "(requests)", "the key's limit");
    }
}
