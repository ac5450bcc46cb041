//! Request bodies, valid and invalid side by side. [pure]

use super::*;
use crate::dialect::Dialect;
use crate::json::Span;
use crate::rejection::Rejection;

fn chat(body: &str) -> Result<Call, Rejection> {
    parse(Endpoint::ChatCompletions, body.as_bytes())
}

/// The envelope's message and `param` of a refusal; "ok" for a call.
fn verdict(endpoint: Endpoint, body: &[u8]) -> (String, String) {
    let Err(rejection) = parse(endpoint, body) else {
        return ("ok".to_owned(), String::new());
    };
    assert_eq!(rejection.status(), 400);
    let mut out = Vec::new();
    rejection.write_envelope(Dialect::Openai, "r", &mut out);
    let envelope: serde_json::Value = serde_json::from_slice(&out).unwrap();
    let text = |field: &str| envelope["error"][field].as_str().unwrap_or("").to_owned();
    let message = text("message");
    let problem = message
        .strip_prefix("request payload is invalid: ")
        .unwrap();
    (problem.to_owned(), text("param"))
}

#[test]
fn chat_bodies_are_refused_with_the_field_at_fault() {
    const ROLE: &str =
        "messages[0].role: must be system, developer, user, assistant, tool or function";
    let m = r#""messages":[{"role":"user","content":"x"}]"#;
    let cases = [
        (format!(r#"{{"model":"m",{m}}}"#), "ok", ""),
        (format!(r#"{{{m}}}"#), "model: missing field", "model"),
        (
            format!(r#"{{"model":1,{m}}}"#),
            "model: must be a string",
            "model",
        ),
        (
            format!(r#"{{"model":null,{m}}}"#),
            "model: must be a string",
            "model",
        ),
        (
            format!(r#"{{"model":"",{m}}}"#),
            "model: must not be empty",
            "model",
        ),
        (
            format!(r#"{{"model":"\ud83d",{m}}}"#),
            "model: holds half of a surrogate pair",
            "model",
        ),
        (
            format!(r#"{{"model":"a",{m},"model":"b"}}"#),
            "model: duplicate field",
            "model",
        ),
        (
            format!(r#"{{"model":"a",{m},"\u006dodel":"b"}}"#),
            "model: duplicate field",
            "model",
        ),
        (
            r#"{"model":"m"}"#.into(),
            "messages: missing field",
            "messages",
        ),
        (
            r#"{"model":"m","messages":[]}"#.into(),
            "messages: must not be empty",
            "messages",
        ),
        (
            r#"{"model":"m","messages":{}}"#.into(),
            "messages: must be a list",
            "messages",
        ),
        (
            r#"{"model":"m","messages":null}"#.into(),
            "messages: must be a list",
            "messages",
        ),
        (
            r#"{"model":"m","messages":["x"]}"#.into(),
            "messages[0]: must be an object",
            "messages",
        ),
        (
            r#"{"model":"m","messages":[{}]}"#.into(),
            "messages[0].role: missing field",
            "messages",
        ),
        (
            r#"{"model":"m","messages":[{"role":"robot"}]}"#.into(),
            ROLE,
            "messages",
        ),
        (
            r#"{"model":"m","messages":[{"role":7}]}"#.into(),
            ROLE,
            "messages",
        ),
        (
            r#"{"model":"m","messages":[{"role":"user","content":1}]}"#.into(),
            "messages[0].content: must be a string, null or a list",
            "messages",
        ),
        (
            r#"{"model":"m","messages":[{"role":"user","content":["x"]}]}"#.into(),
            "messages[0].content: parts must be objects",
            "messages",
        ),
        (
            r#"{"model":"m","messages":[{"role":"user","content":"a","content":"b"}]}"#.into(),
            "messages[0].content: duplicate field",
            "messages",
        ),
        (
            format!(r#"{{"model":"m",{m},{m}}}"#),
            "messages: duplicate field",
            "messages",
        ),
        (
            format!(r#"{{"model":"m",{m},"stream":"yes"}}"#),
            "stream: must be true or false",
            "stream",
        ),
        (
            format!(r#"{{"model":"m",{m},"stream":true,"stream":false}}"#),
            "stream: duplicate field",
            "stream",
        ),
        (
            format!(r#"{{"model":"m",{m},"max_tokens":-1}}"#),
            "max_tokens: must not be negative",
            "max_tokens",
        ),
        (
            format!(r#"{{"model":"m",{m},"max_tokens":"9"}}"#),
            "max_tokens: must be a number",
            "max_tokens",
        ),
        (
            format!(r#"{{"model":"m",{m},"max_completion_tokens":-2}}"#),
            "max_completion_tokens: must not be negative",
            "max_completion_tokens",
        ),
        (
            format!(r#"{{"model":"m",{m},"max_tokens":1,"max_tokens":2}}"#),
            "max_tokens: duplicate field",
            "max_tokens",
        ),
        (
            format!(r#"{{"model":"m",{m},"stream_options":true}}"#),
            "stream_options: must be an object",
            "stream_options",
        ),
        (
            format!(r#"{{"model":"m",{m},"stream_options":{{"include_usage":1}}}}"#),
            "stream_options.include_usage: must be true or false",
            "stream_options.include_usage",
        ),
        ("[]".into(), "the body must be a JSON object", ""),
        (String::new(), "the body must be a JSON object", ""),
        ("{".into(), "not valid JSON: expected a key at byte 1", ""),
        (
            format!(r#"{{"model":"m",{m}}} x"#),
            "not valid JSON: unexpected text after the document at byte 57",
            "",
        ),
    ];
    for (body, problem, param) in cases {
        let got = verdict(Endpoint::ChatCompletions, body.as_bytes());
        assert_eq!((got.0.as_str(), got.1.as_str()), (problem, param), "{body}");
    }
    let got = verdict(Endpoint::ChatCompletions, b"{\"model\":\"\xff\"}");
    assert_eq!(got.0, "not UTF-8");
}

#[test]
fn every_role_that_clients_send_is_accepted_with_any_extra_field() {
    for role in [
        "system",
        "user",
        "assistant",
        "tool",
        "developer",
        "function",
    ] {
        let body = format!(
            r#"{{"x":[{{}}],"model":"m","messages":[{{"content_blocks":[1],"role":"{role}","content":null}}],"n":2,"max_tokens":null}}"#
        );
        assert!(chat(&body).is_ok(), "{body}");
    }
}

#[test]
fn the_prompt_text_is_counted_in_bytes_of_utf8() {
    let chat_bodies = [
        (r#"[{"role":"user","content":"four"}]"#, 4),
        (
            r#"[{"role":"user","content":"\u00e9\n"},{"content":"é","role":"tool"}]"#,
            5,
        ),
        (
            r#"[{"role":"user","content":[{"type":"text","text":"abc"},{"type":"image_url","image_url":{"url":"data:xxxx"}},{"text":"d"}]}]"#,
            4,
        ),
        (
            r#"[{"role":"assistant","content":null,"tool_calls":[{"id":"c"}]}]"#,
            0,
        ),
    ];
    for (messages, want) in chat_bodies {
        let call = chat(&format!(r#"{{"messages":{messages},"model":"m"}}"#)).unwrap();
        assert_eq!(call.prompt_bytes, want, "{messages}");
    }
    for (endpoint, field) in [
        (Endpoint::Completions, "prompt"),
        (Endpoint::Embeddings, "input"),
    ] {
        for (value, want) in [
            (r#""four""#, 4),
            (r#"["ab","c"]"#, 3),
            ("[1,2,3]", 12),
            ("[[1,2],[3]]", 12),
            ("[[]]", 0),
        ] {
            let body = format!(r#"{{"model":"m","{field}":{value}}}"#);
            let call = parse(endpoint, body.as_bytes()).unwrap();
            assert_eq!(call.prompt_bytes, want, "{body}");
        }
    }
    let body = br#"{"model":"m","instructions":"be brief"}"#;
    assert_eq!(parse(Endpoint::Responses, body).unwrap().prompt_bytes, 8);
}

#[test]
fn inputs_of_other_kinds_are_refused() {
    const KINDS: &str = "must be a string, a list of strings or lists of token ids";
    for value in [
        "1",
        "{}",
        "true",
        "[true]",
        r#"["a",1]"#,
        "[[\"a\"]]",
        "[[1],2]",
        "[null]",
    ] {
        let body = format!(r#"{{"model":"m","input":{value}}}"#);
        let want = (format!("input: {KINDS}"), "input".to_owned());
        assert_eq!(
            verdict(Endpoint::Embeddings, body.as_bytes()),
            want,
            "{body}"
        );
        let body = format!(r#"{{"model":"m","prompt":{value}}}"#);
        let want = (format!("prompt: {KINDS}"), "prompt".to_owned());
        assert_eq!(
            verdict(Endpoint::Completions, body.as_bytes()),
            want,
            "{body}"
        );
    }
    for (endpoint, body, problem) in [
        (
            Endpoint::Embeddings,
            r#"{"model":"m"}"#,
            "input: missing field",
        ),
        (
            Endpoint::Embeddings,
            r#"{"model":"m","input":[]}"#,
            "input: must not be empty",
        ),
        (
            Endpoint::Embeddings,
            r#"{"input":"a"}"#,
            "model: missing field",
        ),
        (Endpoint::Completions, r#"{"model":"m"}"#, "ok"),
        (
            Endpoint::Completions,
            r#"{"model":"m","prompt":null}"#,
            "ok",
        ),
        (
            Endpoint::Completions,
            r#"{"model":"m","prompt":"a","prompt":"b"}"#,
            "prompt: duplicate field",
        ),
    ] {
        assert_eq!(verdict(endpoint, body.as_bytes()).0, problem, "{body}");
    }
}

#[test]
fn places_to_edit_are_remembered() {
    let body = |tail: &str| {
        format!(r#"{{"\u006dodel": "m\u0031","messages":[{{"role":"user"}}],"stream":true{tail}}}"#)
    };
    let span = |body: &str, part: &str| {
        let start = body.find(part).unwrap();
        Span {
            start,
            end: start + part.len(),
        }
    };
    let plain = body("");
    let call = chat(&plain).unwrap();
    assert_eq!(
        (&*call.model, call.stream, call.wants_usage),
        ("m1", true, false)
    );
    assert_eq!(call.model_span, span(&plain, r#""m\u0031""#));
    assert_eq!(
        call.usage_ask,
        UsageAsk::Absent {
            insert_at: plain.len() - 1
        }
    );
    let options = |value: &str| {
        let body = body(&format!(r#","stream_options":{value}"#));
        let ask = chat(&body).unwrap().usage_ask;
        (body, ask)
    };
    let (text, ask) = options("null");
    assert_eq!(ask, UsageAsk::Null(span(&text, "null")));
    let (text, ask) = options("{ }");
    assert_eq!(
        ask,
        UsageAsk::Lacking {
            insert_at: text.find("{ }").unwrap() + 1,
            empty: true
        }
    );
    let (text, ask) = options(r#"{"x":1}"#);
    assert_eq!(
        ask,
        UsageAsk::Lacking {
            insert_at: text.find("{\"x").unwrap() + 1,
            empty: false
        }
    );
    let (text, ask) = options(r#"{"include_usage":false}"#);
    assert_eq!(ask, UsageAsk::Declined(span(&text, "false")));
    let (text, _) = options(r#"{"include_usage":true}"#);
    let call = chat(&text).unwrap();
    assert_eq!((call.usage_ask, call.wants_usage), (UsageAsk::Asked, true));
}
