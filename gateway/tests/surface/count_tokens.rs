//! `POST /v1/messages/count_tokens` where the target has no such endpoint: estimated here.

use serde_json::{Value, json};

use crate::on_both_engines;
use crate::support::gateway::{named, post};
use crate::support::{Setup, mock, upstream_requests};

const PATH: &str = "/v1/messages/count_tokens";

/// A prompt of 8 + 4 bytes of text.
fn prompt(model: &str) -> Value {
    json!({"model": model, "system": "1234", "messages": [{"role": "user", "content": "12345678"}]})
}

on_both_engines! {
    fn tokens_are_estimated_without_asking_the_upstream(engine) {
        let mock = mock();
        let gateway = Setup::new(engine, mock).start();
        let mut raw = gateway.connect();
        raw.send(&named("counted", &post(PATH, &prompt("m"))));
        let answer = raw.response();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.text(), r#"{"input_tokens":3}"#);
        assert_eq!(answer.header("x-sluice-estimated"), Some("true"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let line = gateway.access_line("counted");
        assert_eq!(line["status"], 200);
        assert_eq!(line["path"], PATH);
        assert_eq!(line["model"], "m");
        assert_eq!(line["upstream_model"], Value::Null);
        assert_eq!(line["usage_source"], "absent");
        assert_eq!(line["attempts"], 0);
        assert!(upstream_requests(mock).is_empty());
        // The connection goes on.
        raw.send(&post(PATH, &prompt("m")));
        assert_eq!(raw.response().status, 200);
    }

    fn a_count_is_refused_as_the_message_would_be(engine) {
        let gateway = Setup::new(engine, mock()).start();
        for (body, status, kind) in [
            (prompt("other"), 403, "permission_error"),
            (prompt("script/no"), 200, ""),
            (json!({"model": "m"}), 400, "invalid_request_error"),
            (json!({"messages": []}), 400, "invalid_request_error"),
            (json!({"model": "m", "messages": "x"}), 400, "invalid_request_error"),
        ] {
            let answer = gateway.post(PATH, &body);
            assert_eq!(answer.status, status, "{body}: {}", answer.text());
            if status != 200 {
                let told: Value = serde_json::from_str(answer.text()).unwrap();
                assert_eq!((&told["type"], &told["error"]["type"]), (&json!("error"), &json!(kind)));
            }
        }
        let mut raw = gateway.connect();
        raw.send(format!("POST {PATH} HTTP/1.1\r\nhost: g\r\ncontent-length: 2\r\n\r\n{{}}").as_bytes());
        assert_eq!(raw.response().status, 401);
    }
}
