//! Conversations as exact Messages bodies. [pure]

mod params;

use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::*;
use crate::canonical::{Effort, Format, Marks, Part, Role, Source, Tool, ToolChoice, Turn};
use crate::endpoint::{Endpoint, parse};
use crate::provider::anthropic::request::tests::{route, sent};

const CALL: &str = r#"{"model":"team","messages":[{"role":"user","content":"x"}]}"#;
const START: &str = r#"{"model":"claude-up","max_tokens":4096,"#;
const HI: &str = r#""messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}]"#;

fn raw(json: &str) -> &RawValue {
    serde_json::from_str(json).unwrap()
}

fn text(text: &str) -> Part<'_> {
    Part::Text {
        text: text.into(),
        marks: Marks::default(),
    }
}

fn marked(text: &str) -> Part<'_> {
    let marks = Marks {
        cache_control: Some(raw(r#"{"type": "ephemeral"}"#)),
        ..Marks::default()
    };
    Part::Text {
        text: text.into(),
        marks,
    }
}

fn turn<'b>(role: Role, parts: impl Into<Vec<Part<'b>>>) -> Turn<'b> {
    Turn {
        role,
        name: None,
        parts: parts.into(),
    }
}

fn thinking<'b>(text: &'b str, signature: Option<&'b str>) -> Part<'b> {
    Part::Thinking {
        text: text.into(),
        signature: signature.map(Cow::Borrowed),
    }
}

fn call<'b>(id: &'b str, arguments: &'b str) -> Part<'b> {
    Part::ToolCall {
        id: id.into(),
        name: "f".into(),
        arguments: arguments.into(),
        marks: Marks::default(),
    }
}

fn result<'b>(id: &'b str, parts: impl Into<Vec<Part<'b>>>) -> Part<'b> {
    Part::ToolResult {
        call_id: id.into(),
        parts: parts.into(),
        is_error: false,
        marks: Marks::default(),
    }
}

fn tool<'b>(name: &'b str, parameters: Option<&'b str>) -> Tool<'b> {
    Tool {
        name: name.into(),
        description: None,
        parameters: parameters.map(raw),
        strict: None,
        marks: Marks::default(),
    }
}

fn hi<'b>() -> Conversation<'b> {
    of([turn(Role::User, [text("hi")])])
}

fn of<'b>(turns: impl Into<Vec<Turn<'b>>>) -> Conversation<'b> {
    Conversation {
        turns: turns.into(),
        ..Conversation::default()
    }
}

/// The body that is sent for `conversation` with members of the key and of the model.
fn written(conversation: &Conversation<'_>, key: Value, model: Value) -> Result<String, Rejection> {
    let call = parse(Endpoint::ChatCompletions, CALL.as_bytes()).unwrap();
    let route = route(key, model, "team");
    let write = |outbound: &Outbound<'_>, out: &mut Vec<u8>| write(outbound, conversation, out);
    let (_, body) = sent(&route, &call, "", write)?;
    serde_json::from_str::<Value>(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
    Ok(body)
}

fn body(conversation: &Conversation<'_>) -> String {
    written(conversation, json!({}), json!({})).unwrap()
}

/// What stands behind the messages of a conversation that says `hi`.
fn rest(conversation: &Conversation<'_>) -> String {
    let body = body(conversation);
    let (_, rest) = body.split_once(HI).unwrap();
    rest.strip_suffix('}').unwrap().to_owned()
}

/// The messages of a conversation.
fn messages<'b>(turns: impl Into<Vec<Turn<'b>>>) -> String {
    let body = body(&of(turns));
    let messages = body
        .strip_prefix(&format!(r#"{START}"messages":["#))
        .unwrap();
    messages.strip_suffix("]}").unwrap().to_owned()
}

fn refusal(conversation: &Conversation<'_>) -> String {
    let rejection = written(conversation, json!({}), json!({})).unwrap_err();
    match rejection {
        Rejection::InvalidRequest { problem, .. } => problem.into_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_head_is_that_of_a_message_whatever_the_caller_speaks() {
    let call = parse(Endpoint::ChatCompletions, CALL.as_bytes()).unwrap();
    let key = json!({"request": {"forward_client_headers": ["anthropic-*"]}});
    let route = route(key, json!({}), "team");
    let conversation = hi();
    let write = |outbound: &Outbound<'_>, out: &mut Vec<u8>| write(outbound, &conversation, out);
    let fields = "anthropic-version: 1\r\nanthropic-beta: a\r\nanthropic-beta: b\r\n";
    let (head, body) = sent(&route, &call, fields, write).unwrap();
    assert!(head.starts_with("POST /v1/messages HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nx-api-key: sk-up-canary\r\nanthropic-version: 2023-06-01\r\n"));
    assert!(head.ends_with("\r\nanthropic-beta: a, b"), "{head}");
    assert_eq!(body, format!("{START}{HI}}}"));
}

#[test]
fn leading_system_turns_become_the_system_prompt() {
    let system = |turns: Vec<Turn<'_>>| {
        let mut all = turns;
        all.push(turn(Role::User, [text("hi")]));
        let body = body(&of(all));
        let rest = body.strip_prefix(START).unwrap();
        rest.strip_suffix(&format!("{HI}}}")).unwrap().to_owned()
    };
    let system_turn = |parts: Vec<Part<'static>>| turn(Role::System, parts);
    for (turns, want) in [
        (vec![], ""),
        (vec![system_turn(vec![text("a\n")])], r#""system":"a\n","#),
        (
            vec![
                system_turn(vec![text("a")]),
                system_turn(vec![text(" ")]),
                system_turn(vec![text("b")]),
            ],
            r#""system":"a\n\nb","#,
        ),
        (
            vec![
                system_turn(vec![text("a"), text("b")]),
                system_turn(vec![text("c")]),
            ],
            r#""system":[{"type":"text","text":"a"},{"type":"text","text":"b"},{"type":"text","text":"c"}],"#,
        ),
        (
            vec![system_turn(vec![marked("a")])],
            r#""system":[{"type":"text","text":"a","cache_control":{"type": "ephemeral"}}],"#,
        ),
        (vec![system_turn(vec![text("\n")]), system_turn(vec![])], ""),
    ] {
        assert_eq!(system(turns), want);
    }
}

#[test]
fn turns_become_messages_of_alternating_speakers() {
    let got = messages([
        turn(Role::User, [text("a"), text(" \n"), marked("b")]),
        turn(Role::System, [text("mid")]),
        turn(Role::Assistant, [text("c")]),
        turn(Role::Assistant, [Part::Refusal { text: "no".into() }]),
        turn(Role::User, [text("")]),
    ]);
    let want = [
        r#"{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b","cache_control":{"type": "ephemeral"}},{"type":"text","text":"mid"}]}"#,
        r#"{"role":"assistant","content":[{"type":"text","text":"c"},{"type":"text","text":"no"}]}"#,
        r#"{"role":"user","content":[{"type":"text","text":""}]}"#,
    ];
    assert_eq!(got, want.join(","));
}

#[test]
fn parallel_tool_calls_and_their_results_share_a_message() {
    let image = Part::Image {
        source: Source::Base64 {
            media_type: "image/png".into(),
            data: "iVBO".into(),
        },
        detail: None,
        marks: Marks::default(),
    };
    let failed = Part::ToolResult {
        call_id: "toolu_3".into(),
        parts: vec![],
        is_error: true,
        marks: Marks {
            cache_control: Some(raw("{}")),
            ..Marks::default()
        },
    };
    let got = messages([
        turn(Role::User, [text("a")]),
        turn(
            Role::Assistant,
            [
                text("b"),
                call("call_1", r#" {"x": 1.0, "a":"é"} "#),
                call("functions.f:2", "not json"),
                call("toolu_3", "[1]"),
                call("", "{}"),
            ],
        ),
        turn(Role::Tool, [result("call_1", [text("1\n")])]),
        turn(
            Role::Tool,
            [result("functions.f:2", [text("2"), image, text("")])],
        ),
        turn(Role::Tool, [failed]),
        turn(Role::User, [text("go on")]),
    ]);
    let want = [
        r#"{"role":"user","content":[{"type":"text","text":"a"}]}"#,
        r#"{"role":"assistant","content":[{"type":"text","text":"b"},{"type":"tool_use","id":"call_1","name":"f","input":{"x": 1.0, "a":"é"}},{"type":"tool_use","id":"functions_f_2","name":"f","input":{}},{"type":"tool_use","id":"toolu_3","name":"f","input":{}}]}"#,
        r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"call_1","content":"1\n"},{"type":"tool_result","tool_use_id":"functions_f_2","content":[{"type":"text","text":"2"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBO"}}]},{"type":"tool_result","tool_use_id":"toolu_3","is_error":true,"cache_control":{}},{"type":"text","text":"go on"}]}"#,
    ];
    assert_eq!(got, want.join(","));
}

#[test]
fn signed_thinking_goes_back_first_and_unsigned_does_not() {
    let redacted = || Part::RedactedThinking {
        data: "Em\"w=".into(),
    };
    let got = messages([
        turn(Role::User, [text("a")]),
        turn(
            Role::Assistant,
            [
                text("b"),
                call("t", "{}"),
                thinking("h\nm", Some("EqQB/==")),
                redacted(),
            ],
        ),
        turn(Role::Tool, [result("t", [text("1")])]),
        turn(
            Role::Assistant,
            [
                thinking("x", Some("s")),
                text("c"),
                thinking("y", Some("t")),
                thinking("z", None),
                thinking("z", Some("")),
            ],
        ),
    ]);
    let want = [
        r#"{"role":"user","content":[{"type":"text","text":"a"}]}"#,
        r#"{"role":"assistant","content":[{"type":"thinking","thinking":"h\nm","signature":"EqQB/=="},{"type":"redacted_thinking","data":"Em\"w="},{"type":"text","text":"b"},{"type":"tool_use","id":"t","name":"f","input":{}}]}"#,
        r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"1"}]}"#,
        r#"{"role":"assistant","content":[{"type":"thinking","thinking":"x","signature":"s"},{"type":"text","text":"c"},{"type":"thinking","thinking":"y","signature":"t"}]}"#,
    ];
    assert_eq!(got, want.join(","));
}

#[test]
fn images_and_documents_keep_their_source() {
    let url = || Source::Url("https://x/y?a=\"b\"".into());
    let image = |source| Part::Image {
        source,
        detail: Some("high".into()),
        marks: Marks::default(),
    };
    let file = |source, name: Option<&'static str>| Part::File {
        source,
        name: name.map(Cow::Borrowed),
        marks: Marks {
            citations: Some(raw(r#"{"enabled":true}"#)),
            ..Marks::default()
        },
    };
    let pdf = Source::Base64 {
        media_type: "application/pdf".into(),
        data: "JVBE".into(),
    };
    let got = messages([turn(
        Role::User,
        [
            image(url()),
            image(Source::FileId("file_1".into())),
            file(pdf, Some("a.pdf")),
            file(url(), None),
            file(Source::Text("plain".into()), None),
        ],
    )]);
    let want = [
        r#"{"role":"user","content":[{"type":"image","source":{"type":"url","url":"https://x/y?a=\"b\""}}"#,
        r#"{"type":"image","source":{"type":"file","file_id":"file_1"}}"#,
        r#"{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBE"},"title":"a.pdf","citations":{"enabled":true}}"#,
        r#"{"type":"document","source":{"type":"url","url":"https://x/y?a=\"b\""},"citations":{"enabled":true}}"#,
        r#"{"type":"document","source":{"type":"text","media_type":"text/plain","data":"plain"},"citations":{"enabled":true}}]}"#,
    ];
    assert_eq!(got, want.join(","));
}

#[test]
fn what_cannot_be_carried_is_refused_by_name() {
    let audio = || Part::Audio {
        data: "UklG".into(),
        format: "wav".into(),
    };
    let word = || Part::File {
        source: Source::Base64 {
            media_type: "application/msword".into(),
            data: "0M8R".into(),
        },
        name: None,
        marks: Marks::default(),
    };
    let foreign = || Part::Foreign {
        kind: "video_url".into(),
    };
    let user = |part| {
        of([
            turn(Role::System, [text("s")]),
            turn(Role::User, [text("a"), part]),
        ])
    };
    let not_sent = "cannot be sent to the provider of this model";
    for (conversation, want) in [
        (user(audio()), format!("messages[1].content[1].type: input_audio {not_sent}")),
        (user(foreign()), format!("messages[1].content[1].type: video_url {not_sent}")),
        (
            user(word()),
            "messages[1].content[1].type: file must be a PDF or a text for the provider of this model".to_owned(),
        ),
        (
            user(result("", Vec::<Part<'_>>::new())),
            "messages[1].content[1]: a tool result must name its call".to_owned(),
        ),
        (
            user(result("t", [audio()])),
            "messages[1].content[1].type: input_audio cannot be part of a tool result".to_owned(),
        ),
        (
            of([turn(Role::System, [foreign()]), turn(Role::User, Vec::<Part<'_>>::new())]),
            "messages[0].content[0].type: video_url has no place in a system prompt".to_owned(),
        ),
        (
            of([turn(Role::System, [text("s")])]),
            "messages: must hold a message that is not a system prompt".to_owned(),
        ),
        (of(Vec::<Turn<'_>>::new()), "messages: must hold a message that is not a system prompt".to_owned()),
    ] {
        assert_eq!(refusal(&conversation), want);
    }
    let with = |name: &'static str, value| Conversation {
        extra: vec![(name.into(), raw(value))],
        ..of([
            turn(Role::System, [text("s")]),
            turn(Role::User, [text("a")]),
        ])
    };
    assert!(refusal(&with("n", "2")).starts_with("n: "));
    assert!(refusal(&with("system", "\"t\"")).starts_with("system: "));
    assert!(refusal(&with("stop_sequences", "7")).starts_with("stop_sequences: "));
}

/// Parts with any text in them.
fn part() -> impl Strategy<Value = Part<'static>> {
    let text = || any::<String>().prop_map(Cow::Owned);
    prop_oneof![
        text().prop_map(|text| Part::Text {
            text,
            marks: Marks::default()
        }),
        (text(), prop::option::of(text()))
            .prop_map(|(text, signature)| Part::Thinking { text, signature }),
        text().prop_map(|data| Part::RedactedThinking { data }),
        text().prop_map(|text| Part::Refusal { text }),
        (text(), text(), text()).prop_map(|(id, name, arguments)| Part::ToolCall {
            id,
            name,
            arguments,
            marks: Marks::default(),
        }),
        (text(), text()).prop_map(|(call_id, text)| Part::ToolResult {
            call_id,
            parts: vec![Part::Text {
                text,
                marks: Marks::default()
            }],
            is_error: true,
            marks: Marks::default(),
        }),
        text().prop_map(|url| Part::Image {
            source: Source::Url(url),
            detail: None,
            marks: Marks::default(),
        }),
    ]
}

fn role() -> impl Strategy<Value = Role> {
    prop::sample::select(vec![Role::System, Role::User, Role::Assistant, Role::Tool])
}

proptest! {
    #[test]
    fn whatever_is_sent_is_json_of_alternating_speakers(
        turns in prop::collection::vec((role(), prop::collection::vec(part(), 0..4)), 0..6),
        effort in any::<bool>(),
    ) {
        let turns: Vec<_> = turns.into_iter().map(|(role, parts)| turn(role, parts)).collect();
        let conversation = Conversation {
            effort: effort.then_some(Effort::Low),
            ..of(turns)
        };
        if let Ok(body) = written(&conversation, json!({}), json!({})) {
            let body: Value = serde_json::from_str(&body).unwrap();
            let messages = body["messages"].as_array().unwrap();
            prop_assert!(!messages.is_empty());
            for pair in messages.windows(2) {
                prop_assert_ne!(&pair[0]["role"], &pair[1]["role"]);
            }
            for message in messages {
                prop_assert!(!message["content"].as_array().unwrap().is_empty());
            }
        }
    }
}
