//! Bodies as conversations, and what is wrong with bodies. [pure]

use proptest::prelude::*;

use super::*;
use crate::canonical::{Part, Role, Source};
use crate::endpoint::{Endpoint, parse};

fn opened(body: &str) -> Result<Conversation<'_>, Rejection> {
    let call = parse(Endpoint::ChatCompletions, body.as_bytes()).expect("the call is sound");
    read(&call, body.as_bytes())
}

/// The turns of `messages`, as text.
fn turns(messages: &str) -> String {
    let body = format!(r#"{{"model":"m","messages":{messages}}}"#);
    let conversation = opened(&body).unwrap();
    let turns = conversation.turns.iter();
    let shown = turns.map(|turn| format!("{:?} {:?} {:?}", turn.role, turn.name, turn.parts));
    shown.collect::<Vec<_>>().join("\n")
}

/// A body with `members` beside the required ones.
fn with(members: &str) -> String {
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],{members}}}"#)
}

#[test]
fn every_member_finds_its_place() {
    let body = with(
        r#""stream":true,"stream_options":{"include_usage":true},"max_tokens":5,
        "max_completion_tokens":7,"temperature":0.70,"top_p":1e-1,"stop":["a","\n"],"user":"u",
        "safety_identifier":"s","parallel_tool_calls":false,"reasoning_effort":"xhigh","n":2,
        "response_format":{"type":"json_schema","json_schema":{"name":"r","description":"d","schema":{"b":1, "a":2},"strict":true}},
        "tools":[{"type":"function","cache_control":{"type":"ephemeral"},"function":{"name":"f","description":"g","parameters":{"type":"object"},"strict":false}},
                 {"type":"function","function":{"name":"h","cache_control":{"ttl":"1h"}}}],
        "tool_choice":{"type":"function","function":{"name":"f"}},"seed":null,"top_k":5,"a\u0062":[1.0]"#,
    );
    let got = opened(&body).unwrap();
    assert!(got.stream);
    assert_eq!(got.max_tokens, Some(7));
    assert_eq!(got.temperature.unwrap().get(), "0.70");
    assert_eq!(got.top_p.unwrap().get(), "1e-1");
    assert_eq!(got.stop, ["a", "\n"]);
    assert_eq!(got.user.as_deref(), Some("u"));
    assert_eq!(got.parallel_tool_calls, Some(false));
    assert_eq!(got.effort, Some(Effort::XHigh));
    let Some(Format::JsonSchema {
        name,
        schema,
        strict,
        ..
    }) = &got.format
    else {
        panic!("{:?}", got.format);
    };
    assert_eq!((name.as_deref(), strict), (Some("r"), &Some(true)));
    assert_eq!(schema.get(), r#"{"b":1, "a":2}"#);
    assert_eq!(got.tool_choice, Some(ToolChoice::Named("f".into())));
    let mark = |tool: &Tool<'_>| tool.marks.cache_control.unwrap().get().to_owned();
    assert_eq!(mark(&got.tools[0]), r#"{"type":"ephemeral"}"#);
    assert_eq!(mark(&got.tools[1]), r#"{"ttl":"1h"}"#);
    assert_eq!(got.tools[0].strict, Some(false));
    assert_eq!(
        got.tools[0].parameters.unwrap().get(),
        r#"{"type":"object"}"#
    );
    assert!(got.tools[1].parameters.is_none());
    let extra: Vec<(&str, &str)> = got
        .extra
        .iter()
        .map(|(name, value)| (&**name, value.get()))
        .collect();
    assert_eq!(extra, [("n", "2"), ("top_k", "5"), ("ab", "[1.0]")]);
}

#[test]
fn older_names_mean_the_same() {
    let body = with(
        r#""functions":[{"name":"f","parameters":{}}],"function_call":{"name":"f"},"stop":"a","max_tokens":5.0,"safety_identifier":"s""#,
    );
    let got = opened(&body).unwrap();
    assert_eq!((&*got.tools[0].name, got.tools.len()), ("f", 1));
    assert_eq!(got.tool_choice, Some(ToolChoice::Named("f".into())));
    assert_eq!((got.max_tokens, got.stop.len()), (Some(5), 1));
    assert_eq!(got.user.as_deref(), Some("s"));
    for (choice, want) in [
        (r#""tool_choice":"auto""#, ToolChoice::Auto),
        (r#""tool_choice":"none""#, ToolChoice::None),
        (r#""tool_choice":"required""#, ToolChoice::Required),
        (r#""function_call":"auto""#, ToolChoice::Auto),
    ] {
        assert_eq!(opened(&with(choice)).unwrap().tool_choice, Some(want));
    }
    for (format, some) in [("text", false), ("json_object", true)] {
        let body = with(&format!(r#""response_format":{{"type":"{format}"}}"#));
        assert_eq!(opened(&body).unwrap().format.is_some(), some);
    }
}

#[test]
fn roles_and_parts_are_read() {
    let none = "marks: Marks { cache_control: None, citations: None }";
    let text = |text: &str| format!("Text {{ text: {text:?}, {none} }}");
    for (messages, want) in [
        (
            r#"[{"role":"system","content":"a"},{"role":"developer","content":[{"type":"text","text":"b\u00e9"}]}]"#,
            format!("System None [{}]\nSystem None [{}]", text("a"), text("bé")),
        ),
        (
            r#"[{"role":"user","name":"ann","content":null}]"#,
            "User Some(\"ann\") []".to_owned(),
        ),
        (
            r#"[{"role":"assistant","content":"","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},
                {"role":"tool","tool_call_id":"c","content":[{"type":"text","text":"r"}]}]"#,
            format!(
                "Assistant None [ToolCall {{ id: \"c\", name: \"f\", arguments: \"{{\\\"a\\\":1}}\", {none} }}]\n\
                Tool None [ToolResult {{ call_id: \"c\", parts: [{}], is_error: false, {none} }}]",
                text("r")
            ),
        ),
        (
            r#"[{"role":"assistant","function_call":{"name":"f"}},{"role":"function","name":"f","content":"r"},
                {"role":"assistant","function_call":{"name":"f","arguments":{"a": 1}}}]"#,
            format!(
                "Assistant None [ToolCall {{ id: \"call_1\", name: \"f\", arguments: \"{{}}\", {none} }}]\n\
                Tool None [ToolResult {{ call_id: \"call_1\", parts: [{}], is_error: false, {none} }}]\n\
                Assistant None [ToolCall {{ id: \"call_2\", name: \"f\", arguments: \"{{\\\"a\\\": 1}}\", {none} }}]",
                text("r")
            ),
        ),
        (
            r#"[{"role":"assistant","content":[{"type":"refusal","refusal":"no"}],"refusal":null},{"role":"assistant","refusal":"never"}]"#,
            "Assistant None [Refusal { text: \"no\" }]\nAssistant None [Refusal { text: \"never\" }]".to_owned(),
        ),
        (
            r#"[{"role":"user","content":[{"type":"video_url","video_url":{}}]}]"#,
            "User None [Foreign { kind: \"video_url\" }]".to_owned(),
        ),
        (
            r#"[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"d","format":"wav"}}]}]"#,
            "User None [Audio { data: \"d\", format: \"wav\" }]".to_owned(),
        ),
    ] {
        assert_eq!(turns(messages), want);
    }
}

#[test]
fn images_and_files_say_where_their_bytes_are() {
    for (part, want) in [
        (
            r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,aGk=","detail":"low"}}"#,
            r#"Base64 { media_type: "image/png", data: "aGk=" }"#,
        ),
        (
            r#"{"type":"image_url","image_url":{"url":"DATA:image\/png;charset=x;Base64,aGk="}}"#,
            r#"Base64 { media_type: "image/png", data: "aGk=" }"#,
        ),
        (
            r#"{"type":"image_url","image_url":"https://x.test/a,b"}"#,
            r#"Url("https://x.test/a,b")"#,
        ),
        (
            r#"{"type":"file","file":{"file_data":"data:;base64,aGk=","filename":"n"}}"#,
            r#"Base64 { media_type: "text/plain", data: "aGk=" }"#,
        ),
        (
            r#"{"type":"file","file":{"file_id":"file-1"}}"#,
            r#"FileId("file-1")"#,
        ),
    ] {
        let shown = turns(&format!(r#"[{{"role":"user","content":[{part}]}}]"#));
        assert!(shown.contains(want), "{shown}");
    }
    let body = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{}"}}}}]}}]}}"#,
        "A".repeat(1000)
    );
    let conversation = opened(&body).unwrap();
    let [
        Part::Image {
            source: Source::Base64 { data, .. },
            ..
        },
    ] = &*conversation.turns[0].parts
    else {
        panic!("{conversation:?}");
    };
    assert!(matches!(data, Cow::Borrowed(_)), "pictures are not copied");
}

#[test]
fn reasoning_comes_back_with_its_signatures() {
    let messages = r#"[{"role":"assistant","content":"a","reasoning_content":"unused","thinking_blocks":[
        {"type":"thinking","thinking":"t\n","signature":"s\/+="},{"type":"redacted_thinking","data":"d"}]},
        {"role":"assistant","content":"b","reasoning_content":"r"},{"role":"assistant","content":"c","reasoning_content":""}]"#;
    let shown = turns(messages);
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].starts_with(
        r#"Assistant None [Thinking { text: "t\n", signature: Some("s/+=") }, RedactedThinking { data: "d" }, Text"#
    ), "{}", lines[0]);
    assert!(
        lines[1].starts_with(r#"Assistant None [Thinking { text: "r", signature: None }, Text"#)
    );
    assert!(lines[2].starts_with("Assistant None [Text"));
}

#[test]
fn marks_stand_on_parts_or_on_the_last_part_of_a_message() {
    let body = r#"{"model":"m","messages":[
        {"role":"system","content":[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}},{"type":"text","text":"b","citations":[1]}]},
        {"role":"user","content":"x","cache_control":{"ttl":"5m"}},
        {"role":"tool","tool_call_id":"c","content":"r","cache_control":{"ttl":"1h"}}]}"#;
    let got = opened(body).unwrap();
    let mark = |part: &Part<'_>| match part {
        Part::Text { marks, .. } | Part::ToolResult { marks, .. } => {
            let mark = marks.cache_control.or(marks.citations);
            mark.unwrap().get().to_owned()
        }
        other => panic!("{other:?}"),
    };
    let marks = |turn: usize| got.turns[turn].parts.iter().map(mark).collect::<Vec<_>>();
    assert_eq!(marks(0), [r#"{"type":"ephemeral"}"#, "[1]"]);
    assert_eq!(marks(1), [r#"{"ttl":"5m"}"#]);
    assert_eq!(marks(2), [r#"{"ttl":"1h"}"#]);
    assert_eq!(got.turns[2].role, Role::Tool);
}

#[test]
fn faults_are_named() {
    let message =
        |message: &str| format!(r#"{{"model":"m","messages":[{{"role":"user"}},{message}]}}"#);
    let part = |part: &str| message(&format!(r#"{{"role":"user","content":[{part}]}}"#));
    for (body, want) in [
        (part("{}"), "messages[1].content[0].type: missing field"),
        (
            part(r#"{"type":7}"#),
            "messages[1].content[0].type: must be a string",
        ),
        (
            part(r#"{"type":"text"}"#),
            "messages[1].content[0].text: missing field",
        ),
        (
            part(r#"{"type":"text","text":"\ud83d"}"#),
            "messages[1].content[0].text: holds half of a surrogate pair",
        ),
        (
            part(r#"{"type":"image_url","image_url":{"url":"ftp://x"}}"#),
            "messages[1].content[0].image_url.url: must be an http(s) URL or a data URL in base64",
        ),
        (
            part(r#"{"type":"file","file":{"file_data":"data:a/b,plain"}}"#),
            "messages[1].content[0].file.file_data: must be a data URL in base64",
        ),
        (
            message(r#"{"role":"tool","content":"x"}"#),
            "messages[1].tool_call_id: missing field",
        ),
        (
            message(r#"{"role":"function","name":"f","content":"x"}"#),
            "messages[1].role: a function message needs a function_call before it",
        ),
        (
            message(
                r#"{"role":"assistant","tool_calls":[{"id":"c","function":{"arguments":"{}"}}]}"#,
            ),
            "messages[1].tool_calls[0].function.name: missing field",
        ),
        (
            message(r#"{"role":"assistant","tool_calls":{}}"#),
            "messages[1].tool_calls: must be a list",
        ),
        (
            message(r#"{"role":"assistant","thinking_blocks":[{"type":"x"}]}"#),
            "messages[1].thinking_blocks[0].type: unknown type",
        ),
        (
            with(r#""temperature":"1""#),
            "temperature: must be a number",
        ),
        (
            with(r#""max_tokens":1.5"#),
            "max_tokens: must be a whole number",
        ),
        (with(r#""stop":[1]"#), "stop[0]: must be a string"),
        (
            with(r#""parallel_tool_calls":1"#),
            "parallel_tool_calls: must be true or false",
        ),
        (
            with(r#""tools":[{"type":"custom"}]"#),
            "tools[0].type: this model's upstream takes functions only",
        ),
        (
            with(r#""tools":[{"function":{}}]"#),
            "tools[0].function.name: missing field",
        ),
        (
            with(r#""tools":[{"function":{"name":"f","parameters":[]}}]"#),
            "tools[0].function.parameters: must be an object",
        ),
        (
            with(r#""functions":[{"name":""}]"#),
            "functions[0].name: must not be empty",
        ),
        (
            with(r#""tool_choice":"any""#),
            "tool_choice: must be auto, none, required or name a function",
        ),
        (
            with(r#""tool_choice":{"type":"allowed_tools"}"#),
            "tool_choice.type: this model's upstream takes function only",
        ),
        (
            with(r#""reasoning_effort":"max""#),
            "reasoning_effort: must be none, minimal, low, medium, high or xhigh",
        ),
        (
            with(r#""response_format":{"type":"json_schema","json_schema":{"name":"n"}}"#),
            "response_format.json_schema.schema: missing field",
        ),
    ] {
        match opened(&body).unwrap_err() {
            Rejection::InvalidRequest { problem, param } => {
                assert_eq!(problem, want);
                assert!(want.starts_with(param.unwrap()), "{param:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

proptest! {
    #[test]
    fn no_sound_call_panics(text in "[\\[\\]{}:,\"a-z0-9\\\\]{0,40}", at in any::<prop::sample::Index>()) {
        let mut body = with(r#""tools":[{"type":"function","function":{"name":"f"}}],"stop":"a""#);
        let at = at.index(body.len());
        body.insert_str(at, &text);
        if let Ok(call) = parse(Endpoint::ChatCompletions, body.as_bytes()) {
            let _ = read(&call, body.as_bytes());
        }
    }
}
