//! Requests as exact bytes, from conversations built by hand. [pure]

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::*;
use crate::canonical::{Marks, Part, Role, Source, Turn};
use crate::endpoint::parse;
use crate::http::h1::{Limits, parse_request};
use crate::provider::Asker;
use crate::route::{fixture, resolve};

/// What is sent for `conversation` of a Messages caller.
fn sent(key: Value, conversation: &Conversation<'_>) -> Result<String, Rejection> {
    let key = fixture::provider_key(key);
    let model = fixture::model("team", json!({}));
    let caller = json!({"allowed_models": ["*"]});
    let snapshot = fixture::snapshot(vec![model], &[&key], &[("sk-caller-canary", caller)]);
    let caller = snapshot.api_keys().next().unwrap();
    let stream = conversation.stream;
    let body = format!(r#"{{"model":"team","messages":[],"max_tokens":1,"stream":{stream}}}"#);
    let call = parse(Endpoint::Messages, body.as_bytes()).unwrap();
    let route = resolve(&snapshot, caller, &call.model, [192, 0, 2, 1].into()).unwrap();
    let head = b"POST /v1/messages HTTP/1.1\r\nHost: gw\r\n\r\n";
    let head = parse_request(head, &Limits::default()).unwrap().unwrap().0;
    let asker = Asker {
        head: &head,
        key: caller,
        request_id: "req-1",
    };
    let outbound = Outbound {
        route: &route,
        call: &call,
        asker: &asker,
    };
    let mut out = b"before".to_vec();
    match write(&outbound, conversation, &mut out) {
        Ok(()) => Ok(String::from_utf8(out.split_off(6)).unwrap()),
        Err(rejection) => {
            assert_eq!(out, b"before");
            Err(rejection)
        }
    }
}

fn body_of(key: Value, conversation: &Conversation<'_>) -> String {
    let request = sent(key, conversation).unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let length = format!("\r\ncontent-length: {}", body.len());
    assert!(head.ends_with(&length), "{head} for {} bytes", body.len());
    serde_json::from_str::<Value>(body).expect("the body is JSON");
    body.to_owned()
}

/// The `messages` of what `vendor` is sent for `turns`.
fn messages(vendor: &str, turns: Vec<Turn<'_>>) -> Result<String, Rejection> {
    let key = json!({"provider": vendor, "adapter": "openai"});
    let conversation = Conversation {
        turns,
        ..Conversation::default()
    };
    sent(key, &conversation).map(|request| {
        let (_, messages) = request.split_once(r#""messages":"#).unwrap();
        messages.strip_suffix('}').unwrap().to_owned()
    })
}

fn turn<'b>(role: Role, parts: Vec<Part<'b>>) -> Turn<'b> {
    Turn {
        role,
        name: None,
        parts,
    }
}

fn text(text: &str) -> Part<'_> {
    Part::Text {
        text: text.into(),
        marks: Marks::default(),
    }
}

fn image(source: Source<'_>) -> Part<'_> {
    Part::Image {
        source,
        detail: None,
        marks: Marks::default(),
    }
}

fn file<'b>(source: Source<'b>, name: Option<&'b str>) -> Part<'b> {
    Part::File {
        source,
        name: name.map(Into::into),
        marks: Marks::default(),
    }
}

fn base64<'b>(media_type: &'b str, data: &'b str) -> Source<'b> {
    Source::Base64 {
        media_type: media_type.into(),
        data: data.into(),
    }
}

fn call<'b>(id: &'b str, name: &'b str, arguments: &'b str) -> Part<'b> {
    Part::ToolCall {
        id: id.into(),
        name: name.into(),
        arguments: arguments.into(),
        marks: Marks::default(),
    }
}

fn result<'b>(call_id: &'b str, parts: Vec<Part<'b>>, is_error: bool) -> Part<'b> {
    Part::ToolResult {
        call_id: call_id.into(),
        parts,
        is_error,
        marks: Marks::default(),
    }
}

fn thinking(text: &str) -> Part<'_> {
    Part::Thinking {
        text: text.into(),
        signature: Some("sig".into()),
    }
}

fn raw(json: &str) -> &RawValue {
    serde_json::from_str(json).unwrap()
}

fn tool(name: &str) -> Tool<'_> {
    Tool {
        name: name.into(),
        description: None,
        parameters: None,
        strict: None,
        marks: Marks::default(),
    }
}

#[test]
fn everything_that_chat_has_is_written_in_its_place() {
    let conversation = Conversation {
        turns: vec![
            turn(Role::System, vec![text("one"), text("two")]),
            turn(Role::User, vec![text("a\"b\né")]),
        ],
        stream: true,
        max_tokens: Some(100),
        temperature: Some(raw("0.70")),
        top_p: Some(raw("1e-1")),
        stop: vec!["x".into(), "\n\n".into()],
        tools: vec![
            Tool {
                description: Some("d".into()),
                parameters: Some(raw(r#"{"z":1, "a":2}"#)),
                strict: Some(true),
                ..tool("f")
            },
            tool("g"),
        ],
        tool_choice: Some(ToolChoice::Named("f".into())),
        parallel_tool_calls: Some(false),
        effort: Some(Effort::High),
        format: Some(Format::JsonSchema {
            name: None,
            description: None,
            schema: raw(r#"{"type": "object"}"#),
            strict: Some(true),
        }),
        user: Some("u-1".into()),
        extra: vec![("top_k".into(), raw("5"))],
    };
    let want = concat!(
        r#"{"model":"gpt-up","messages":[{"role":"system","content":"one\ntwo"},"#,
        r#"{"role":"user","content":"a\"b\né"}],"#,
        r#""stream":true,"stream_options":{"include_usage":true},"max_completion_tokens":100,"#,
        r#""temperature":0.70,"top_p":1e-1,"stop":["x","\n\n"],"tools":["#,
        r#"{"type":"function","function":{"name":"f","description":"d","parameters":{"z":1, "a":2},"strict":true}},"#,
        r#"{"type":"function","function":{"name":"g"}}],"#,
        r#""tool_choice":{"type":"function","function":{"name":"f"}},"parallel_tool_calls":false,"#,
        r#""response_format":{"type":"json_schema","json_schema":{"name":"response","schema":{"type": "object"},"strict":true}},"#,
        r#""reasoning_effort":"high","user":"u-1"}"#,
    );
    assert_eq!(body_of(json!({}), &conversation), want);
    let other = body_of(
        json!({"provider": "groq", "adapter": "openai"}),
        &conversation,
    );
    assert!(other.contains(r#","max_tokens":100,"#), "{other}");
    let head = sent(json!({}), &conversation).unwrap();
    assert!(
        head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"),
        "{head}"
    );
    for line in [
        "accept: text/event-stream",
        "authorization: Bearer sk-up-canary",
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{head}");
    }
}

#[test]
fn the_operators_edits_come_last() {
    let key = json!({"request": {
        "param_renames": {"max_completion_tokens": "max_tokens"},
        "param_constraints": {"temperature_max": 1.0},
        "default_body_fields": {"service_tier": "flex"},
    }});
    let conversation = Conversation {
        turns: vec![turn(Role::User, vec![text("x")])],
        max_tokens: Some(7),
        temperature: Some(raw("1.5")),
        ..Conversation::default()
    };
    let want = r#"{"model":"gpt-up","messages":[{"role":"user","content":"x"}],"max_tokens":7,"temperature":1,"service_tier":"flex"}"#;
    assert_eq!(body_of(key, &conversation), want);
}

#[test]
fn parts_become_one_string_where_all_are_text() {
    let turns = || {
        vec![
            turn(Role::User, vec![text("a"), text("b")]),
            turn(Role::Assistant, vec![thinking("t"), text("c"), text("d")]),
            turn(
                Role::User,
                vec![
                    text("see"),
                    image(base64("image/png", "aGk=")),
                    image(Source::Url("https://x.test/?a=\"".into())),
                    file(base64("application/pdf", "cGRm"), None),
                    file(base64("text/csv", "Y3N2"), Some("t.csv")),
                    file(Source::FileId("file-1".into()), None),
                    file(Source::Text("plain".into()), Some("n")),
                    Part::Audio {
                        data: "d2F2".into(),
                        format: "wav".into(),
                    },
                ],
            ),
        ]
    };
    let want = concat!(
        r#"[{"role":"user","content":"a\nb"},{"role":"assistant","content":"cd"},"#,
        r#"{"role":"user","content":[{"type":"text","text":"see"},"#,
        r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,aGk="}},"#,
        r#"{"type":"image_url","image_url":{"url":"https://x.test/?a=\""}},"#,
        r#"{"type":"file","file":{"filename":"document.pdf","file_data":"data:application/pdf;base64,cGRm"}},"#,
        r#"{"type":"file","file":{"filename":"t.csv","file_data":"data:text/csv;base64,Y3N2"}},"#,
        r#"{"type":"file","file":{"file_id":"file-1"}},{"type":"text","text":"plain"},"#,
        r#"{"type":"input_audio","input_audio":{"data":"d2F2","format":"wav"}}]}]"#,
    );
    assert_eq!(messages("openai", turns()).unwrap(), want);
}

#[test]
fn every_result_is_a_tool_message_and_its_images_follow_them_all() {
    let calls = || {
        vec![
            text("so"),
            call("c1", "f", "{\"a\":1}"),
            call("c2", "g", "{}"),
        ]
    };
    let picture = || vec![text("it"), image(base64("image/png", "aGk="))];
    let assistant = concat!(
        r#"[{"role":"assistant","content":"so","tool_calls":["#,
        r#"{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},"#,
        r#"{"id":"c2","type":"function","function":{"name":"g","arguments":"{}"}}]},"#,
    );
    let tools = concat!(
        r#"{"role":"tool","tool_call_id":"c1","content":"it"},"#,
        r#"{"role":"tool","tool_call_id":"c2","content":"Error: gone\naway"},"#,
    );
    let follows = concat!(
        r#"{"role":"user","content":[{"type":"text","text":"Output of tool call c1:"},"#,
        r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,aGk="}}"#,
    );
    let failed = || result("c2", vec![text("gone"), text("away")], true);
    // Results in a turn of their own each, then the user.
    let apart = vec![
        turn(Role::Assistant, calls()),
        turn(Role::Tool, vec![result("c1", picture(), false)]),
        turn(Role::Tool, vec![failed()]),
        turn(Role::User, vec![text("next")]),
    ];
    let want = format!(r#"{assistant}{tools}{follows},{{"type":"text","text":"next"}}]}}]"#);
    assert_eq!(messages("openai", apart).unwrap(), want);
    // Results inside a user's turn, as Anthropic has them.
    let inside = vec![
        turn(Role::Assistant, calls()),
        turn(
            Role::User,
            vec![result("c1", picture(), false), failed(), text("next")],
        ),
    ];
    assert_eq!(messages("openai", inside).unwrap(), want);
    // Nothing but results, at the end and before the assistant.
    let last = vec![
        turn(Role::Assistant, calls()),
        turn(Role::User, vec![result("c1", picture(), false), failed()]),
    ];
    assert_eq!(
        messages("openai", last).unwrap(),
        format!("{assistant}{tools}{follows}]}}]")
    );
    let before = vec![
        turn(Role::Assistant, calls()),
        turn(Role::User, vec![result("c1", picture(), false), failed()]),
        turn(Role::Assistant, vec![text("seen")]),
    ];
    let want =
        format!(r#"{assistant}{tools}{follows}]}},{{"role":"assistant","content":"seen"}}]"#);
    assert_eq!(messages("openai", before).unwrap(), want);
}

#[test]
fn what_an_assistant_said_goes_back_as_far_as_the_vendor_takes_it() {
    let called = || {
        vec![turn(
            Role::Assistant,
            vec![
                thinking("hm\n"),
                Part::RedactedThinking { data: "r".into() },
                call("c", "f", "{}"),
            ],
        )]
    };
    let calls =
        r#""tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]"#;
    for (vendor, want) in [
        (
            "openai",
            format!(r#"[{{"role":"assistant","content":null,{calls}}}]"#),
        ),
        (
            "groq",
            format!(r#"[{{"role":"assistant","content":null,{calls}}}]"#),
        ),
        (
            "deepseek",
            format!(
                r#"[{{"role":"assistant","content":null,"reasoning_content":"hm\n",{calls}}}]"#
            ),
        ),
    ] {
        assert_eq!(messages(vendor, called()).unwrap(), want);
    }
    let spoken = vec![turn(Role::Assistant, vec![thinking("hm"), text("x")])];
    let want = r#"[{"role":"assistant","content":"x"}]"#;
    assert_eq!(messages("deepseek", spoken).unwrap(), want);
    for (vendor, want) in [
        (
            "openai",
            r#"[{"role":"assistant","content":"","refusal":"no"}]"#,
        ),
        ("groq", r#"[{"role":"assistant","content":"no"}]"#),
    ] {
        let refused = vec![turn(
            Role::Assistant,
            vec![Part::Refusal { text: "no".into() }],
        )];
        assert_eq!(messages(vendor, refused).unwrap(), want);
    }
}

fn problem(rejection: Rejection) -> String {
    match rejection {
        Rejection::InvalidRequest { problem, .. } => problem.into_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_chat_cannot_carry_is_refused_by_name() {
    let user = |part| vec![turn(Role::User, vec![part])];
    let foreign = |kind: &'static str| Part::Foreign { kind: kind.into() };
    for (turns, what) in [
        (
            user(image(Source::FileId("f".into()))),
            "an image by file id in a user message",
        ),
        (
            user(file(Source::Url("u".into()), None)),
            "a file by URL in a user message",
        ),
        (
            user(foreign("search_result")),
            "search_result in a user message",
        ),
        (user(call("c", "f", "{}")), "a tool call in a user message"),
        (
            user(result("c", vec![foreign("tool_reference")], false)),
            "tool_reference in a user message",
        ),
        (
            vec![turn(Role::Assistant, vec![image(Source::Url("u".into()))])],
            "an image in an assistant message",
        ),
        (
            vec![turn(Role::System, vec![foreign("x")])],
            "x in a system message",
        ),
    ] {
        let got = problem(messages("openai", turns).unwrap_err());
        assert_eq!(
            got,
            format!("messages: the upstream of this model cannot take {what}")
        );
    }
    assert!(problem(messages("openai", Vec::new()).unwrap_err()).starts_with("messages: "));
    let asked = || Conversation {
        turns: vec![turn(Role::User, vec![text("x")])],
        ..Conversation::default()
    };
    let stops = Conversation {
        stop: vec!["x".into(); 5],
        ..asked()
    };
    let got = problem(sent(json!({}), &stops).unwrap_err());
    assert!(got.starts_with("stop_sequences: "), "{got}");
    let forced = Conversation {
        tool_choice: Some(ToolChoice::Required),
        ..asked()
    };
    assert!(problem(sent(json!({}), &forced).unwrap_err()).starts_with("tool_choice: "));
    let unneeded = Conversation {
        tool_choice: Some(ToolChoice::Auto),
        parallel_tool_calls: Some(false),
        ..asked()
    };
    let want = r#"{"model":"gpt-up","messages":[{"role":"user","content":"x"}]}"#;
    assert_eq!(body_of(json!({}), &unneeded), want);
    assert!(
        sent(
            json!({"api_base": null, "provider": "x", "adapter": "openai"}),
            &asked()
        )
        .is_err()
    );
}

#[test]
fn a_user_too_long_is_told_by_its_digest() {
    let conversation = |user: &str| Conversation {
        turns: vec![turn(Role::User, vec![text("x")])],
        user: Some(user.to_owned().into()),
        ..Conversation::default()
    };
    let user = |length: usize| {
        let body = body_of(json!({}), &conversation(&"u".repeat(length)));
        let body: Value = serde_json::from_str(&body).unwrap();
        body["user"].as_str().unwrap().to_owned()
    };
    assert_eq!(user(64), "u".repeat(64));
    assert_eq!(user(65).len(), 64);
    assert_ne!(user(65), user(66));
}
