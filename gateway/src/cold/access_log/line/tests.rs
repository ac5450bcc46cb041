use serde_json::{Value, json};

use super::*;
use crate::bridge::record::tests::{caller, record, target};
use crate::bridge::record::{End, Usage};
use crate::bridge::tried::{AttemptKind, Tried};

fn line(record: &RequestRecord) -> String {
    let mut out = Vec::new();
    Lines::default().append(record, &mut out);
    String::from_utf8(out).unwrap()
}

fn parsed(record: &RequestRecord) -> Value {
    serde_json::from_str(&line(record)).unwrap()
}

fn full() -> RequestRecord {
    RequestRecord {
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".into()),
        caller: Some(caller("k1")),
        target: Some(target("fast-*")),
        requested_model: "fast-7".into(),
        upstream_model: "gpt-4o-7".into(),
        passthrough_route: Some("vendor-x".into()),
        client_identity: Some("ann".into()),
        stream: true,
        user_agent: "curl/8".into(),
        usage: Usage {
            source: UsageSource::Estimated,
            prompt: 8,
            completion: 2,
            total: 10,
            cached_prompt: 4,
            reasoning: 0,
            cache_creation: 5,
            cache_read: 6,
        },
        cost_micro_usd: 7,
        ttft_us: Some(310_050),
        upstream_us: Some(9_000),
        events: 12,
        error_kind: Some("upstream_error"),
        error: Some("said \"no\"".into()),
        end: End::UpstreamFailed,
        provider_request_id: Some("chatcmpl-1".into()),
        upstream_request_id: Some("req_2".into()),
        finish_reason: Some("stop".into()),
        attempts: 1,
        group: None,
        fallbacks: 0,
        limit: None,
        worker: 3,
        ..record()
    }
}

#[test]
fn a_full_line_is_golden() {
    let want = concat!(
        r#"{"ts":"2026-01-05T10:00:00.123Z","level":"info","message":"proxy request completed","#,
        r#""request_id":"req-1","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","method":"POST","#,
        r#""path":"/v1/chat/completions","status":200,"latency_ms":12.345,"#,
        r#""inbound_protocol":"openai","provider":"openai","served_by_model":"fast-*","#,
        r#""model":"fast-7","upstream_model":"gpt-4o-7","passthrough_route_name":"vendor-x","#,
        r#""api_key_id":"k1","client_identity":"ann","#,
        r#""client_ip":"192.0.2.7","user_agent":"curl/8","stream":true,"#,
        r#""usage_source":"estimated","prompt_tokens":8,"completion_tokens":2,"total_tokens":10,"#,
        r#""cached_prompt_tokens":4,"cache_creation_tokens":5,"cache_read_tokens":6,"usage_estimated":true,"cost_micro_usd":7,"head_ms":12,"#,
        r#""ttft_ms":310.050,"upstream_ms":9,"bytes_in":100,"bytes_out":200,"events":12,"#,
        r#""error_kind":"upstream_error","error":"said \"no\"","end":"upstream_failed","#,
        r#""finish_reason":"stop","provider_request_id":"chatcmpl-1","#,
        r#""upstream_request_id":"req_2","attempts":1,"worker":3}"#,
        "\n"
    );
    assert_eq!(line(&full()), want);
}

#[test]
fn attempts_are_listed_in_their_order_each_with_what_is_known_of_it() {
    let tried = |kind, status, error_class, spent_us| Tried {
        target: target("m\"1"),
        kind,
        status,
        error_class,
        spent_us,
        upstream_request_id: None,
        discarded_tokens: None,
    };
    let record = RequestRecord {
        group: Some("team".into()),
        target: Some(target("served")),
        attempts: 2,
        fallbacks: 2,
        tried: vec![
            tried(AttemptKind::Initial, 429, Some("rate_limit_exceeded"), None),
            Tried {
                upstream_request_id: Some("up-1".into()),
                discarded_tokens: Some(0),
                ..tried(
                    AttemptKind::Fallback,
                    503,
                    Some("upstream_status"),
                    Some(1_500),
                )
            },
            tried(AttemptKind::Retry, 200, None, Some(7_000)),
        ],
        ..record()
    };
    let one = |index, kind, status| {
        json!({"attempt_index": index, "attempt_kind": kind, "attempt_model": "m\"1", "model_id": "m1",
            "provider": "openai", "status_code": status})
    };
    let mut want = [
        one(0, "initial", 429),
        one(1, "fallback", 503),
        one(2, "retry", 200),
    ];
    want[0]["error_class"] = json!("rate_limit_exceeded");
    want[0]["dispatched"] = json!(false);
    want[1]["error_class"] = json!("upstream_status");
    want[1]["upstream_latency_ms"] = json!(1.5);
    want[1]["upstream_request_id"] = json!("up-1");
    want[1]["discarded_tokens"] = json!(0);
    want[2]["upstream_latency_ms"] = json!(7);
    assert_eq!(parsed(&record)["attempt_list"], json!(want));
    assert_eq!(line(&record).matches("served_by_model").count(), 1);
    assert!(!line(&self::record()).contains("attempt_list"));
}

#[test]
fn absent_values_have_no_key_and_absent_usage_no_figures() {
    let line = parsed(&record());
    for key in [
        "trace_id",
        "model",
        "provider",
        "api_key_id",
        "prompt_tokens",
        "events",
        "error",
    ] {
        assert!(line.get(key).is_none(), "{key}");
    }
    assert_eq!(line["usage_source"], "absent");
    let zero = Usage {
        source: UsageSource::Reported,
        ..Usage::default()
    };
    let line = parsed(&RequestRecord {
        usage: zero,
        ..record()
    });
    assert_eq!(line["prompt_tokens"], 0, "zero is not absent");
}

#[test]
fn what_comes_from_outside_is_stripped_cut_and_escaped() {
    let cases = [
        ("a\r\nb\u{0}c\u{1b}[31m\u{7f}\u{85}", "abc[31m".to_owned()),
        ("q\"b\\", "q\"b\\".to_owned()),
        ("ünï", "ünï".to_owned()),
        (&"é".repeat(300), "é".repeat(256)),
        (&"x".repeat(257), "x".repeat(256)),
        (&format!("{}\n", "x".repeat(256)), "x".repeat(256)),
    ];
    for (sent, want) in cases {
        let record = RequestRecord {
            user_agent: sent.into(),
            path: sent.into(),
            ..record()
        };
        let text = line(&record);
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["user_agent"], json!(want));
        assert_eq!(line["path"], json!(want));
    }
    let record = RequestRecord {
        error: Some("e".repeat(3_000).into()),
        ..record()
    };
    assert_eq!(parsed(&record)["error"].as_str().unwrap().len(), 2_048);
}

#[test]
fn a_denied_request_is_a_line_of_its_own_kind() {
    let denied = parsed(&RequestRecord {
        status: 401,
        ..record()
    });
    assert_eq!(
        (&denied["target"], &denied["message"]),
        (&json!("auth"), &json!("authentication denied"))
    );
    let upstream = parsed(&RequestRecord {
        status: 401,
        caller: Some(caller("k1")),
        ..record()
    });
    assert_eq!(upstream["message"], "proxy request completed");
}

#[test]
fn times_are_utc_whatever_the_second() {
    let cases = [
        (0, "1970-01-01T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (951_782_399_007, "2000-02-28T23:59:59.007Z"),
        (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
    ];
    let mut lines = Lines::default();
    for (unix_ms, want) in cases {
        let mut out = Vec::new();
        lines.timestamp(unix_ms, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }
}

#[test]
fn no_key_of_a_line_is_named_like_a_credential_or_content() {
    let line = parsed(&full());
    let forbidden = [
        "authorization",
        "cookie",
        "secret",
        "password",
        "body",
        "prompt",
        "header",
    ];
    for key in line.as_object().unwrap().keys() {
        // The figures, and the id of the key, are what is meant to be there.
        let allowed = [
            "prompt_tokens",
            "cached_prompt_tokens",
            "cache_creation_tokens",
            "cache_read_tokens",
            "api_key_id",
        ];
        let bad = forbidden.iter().any(|word| key.contains(word)) || key.contains("key");
        assert!(!bad || allowed.contains(&key.as_str()), "{key}");
    }
}

#[test]
fn addresses_are_written_as_they_are_read() {
    for text in [
        "0.0.0.0",
        "192.0.2.7",
        "255.255.255.255",
        "::1",
        "2001:db8::7",
    ] {
        let record = RequestRecord {
            client_ip: text.parse().unwrap(),
            ..record()
        };
        assert_eq!(parsed(&record)["client_ip"], text);
    }
}
