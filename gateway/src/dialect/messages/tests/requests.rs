//! Bodies to conversations. [pure]

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::canonical::{Effort, Format, Part, Source, ToolChoice};

const AGENT: &str = include_str!("../../../../tests/fixtures/messages/agent_request.json");
const UNDERSTOOD: &str = include_str!("../../../../tests/fixtures/messages/agent_conversation.txt");

/// One part a line.
fn lines(parts: &[Part<'_>], indent: &str, out: &mut String) {
    let at = |source: &Source<'_>| match source {
        Source::Base64 { media_type, data } => format!("base64 {media_type} {data}"),
        Source::Url(url) => format!("url {url}"),
        Source::FileId(id) => format!("id {id}"),
        Source::Text(text) => format!("text {text}"),
    };
    for part in parts {
        let line = match part {
            Part::Text { text, marks } => {
                let cached = marks.cache_control.map_or("", |_| " cached");
                format!("text {text:?}{cached}")
            }
            Part::Image { source, .. } => format!("image {}", at(source)),
            Part::File { source, name, .. } => {
                format!(
                    "file {:?} {}",
                    name.as_deref().unwrap_or_default(),
                    at(source)
                )
            }
            Part::Thinking { text, signature } => {
                format!(
                    "thinking {text:?} signed {}",
                    signature.as_deref().unwrap_or_default()
                )
            }
            Part::RedactedThinking { data } => format!("redacted {data}"),
            Part::ToolCall {
                id,
                name,
                arguments,
                ..
            } => format!("call {id} {name} {arguments}"),
            Part::ToolResult {
                call_id, is_error, ..
            } => {
                let failed = if *is_error { " failed" } else { "" };
                format!("result {call_id}{failed}")
            }
            Part::Foreign { kind } => format!("foreign {kind}"),
            part => panic!("a Messages body has no {part:?}"),
        };
        writeln!(out, "{indent}{line}").unwrap();
        if let Part::ToolResult { parts, .. } = part {
            lines(parts, "    ", out);
        }
    }
}

fn understood(conversation: &Conversation<'_>) -> String {
    let mut out = String::new();
    for turn in &conversation.turns {
        writeln!(out, "{:?}", turn.role).unwrap();
        lines(&turn.parts, "  ", &mut out);
    }
    out
}

#[test]
fn an_agents_turn_is_understood_whole() {
    let (conversation, _) = open(&call(AGENT), AGENT.as_bytes(), SEED).unwrap();
    assert_eq!(understood(&conversation), UNDERSTOOD);
    assert!(conversation.stream);
    assert_eq!(conversation.max_tokens, Some(1024));
    assert_eq!(conversation.temperature.unwrap().get(), "0.70");
    assert!(conversation.top_p.is_none());
    assert_eq!(conversation.stop, ["END", "\n\nHuman:"]);
    assert_eq!(conversation.user.as_deref(), Some("u-1"));
    assert_eq!(conversation.effort, Some(Effort::Medium));
    assert_eq!(conversation.tool_choice, Some(ToolChoice::Required));
    assert_eq!(conversation.parallel_tool_calls, Some(false));
    let extra: Vec<_> = conversation
        .extra
        .iter()
        .map(|(name, raw)| (name.as_ref(), raw.get()))
        .collect();
    assert_eq!(extra, [("top_k", "40")]);
    let [read_file, run] = &conversation.tools[..] else {
        panic!("{:?}", conversation.tools);
    };
    assert_eq!(read_file.description.as_deref(), Some("Reads \"a\" file"));
    // The order of a schema's keys is part of what the model reads.
    let schema = read_file.parameters.unwrap().get();
    assert!(schema.find("\"z\"") < schema.find("\"a\""));
    assert!(read_file.marks.cache_control.is_some() && read_file.strict.is_none());
    assert_eq!((run.name.as_ref(), run.strict), ("run", Some(true)));
}

/// The conversation of a body with these members beside the required ones.
fn with<T>(more: &str, look: impl FnOnce(Conversation<'_>) -> T) -> T {
    let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],{more}}}"#);
    let (conversation, _) = open(&call(&body), body.as_bytes(), SEED).unwrap();
    look(conversation)
}

#[test]
fn budgets_for_thinking_are_efforts_and_an_effort_named_wins() {
    use Effort::{High, Low, Medium, Minimal, XHigh};
    let enabled =
        |budget: u64| format!(r#""thinking":{{"type":"enabled","budget_tokens":{budget}}}"#);
    for (more, want) in [
        (enabled(512), Some(Minimal)),
        (enabled(1024), Some(Low)),
        (enabled(2048), Some(Medium)),
        (enabled(4096), Some(High)),
        (r#""thinking":{"type":"adaptive"}"#.into(), Some(Medium)),
        (r#""thinking":{"type":"disabled"}"#.into(), None),
        (r#""thinking":null"#.into(), None),
        (
            r#""output_config":{"effort":"max"},"thinking":{"type":"adaptive"}"#.into(),
            Some(XHigh),
        ),
        (
            r#""thinking":{"type":"adaptive"},"output_config":{"effort":"low"}"#.into(),
            Some(Low),
        ),
    ] {
        assert_eq!(
            with(&more, |conversation| conversation.effort),
            want,
            "{more}"
        );
    }
}

#[test]
fn choices_without_tools_are_not_asked_for() {
    let tool = r#""tools":[{"name":"f","input_schema":{}}]"#;
    let server = r#""tools":[{"type":"web_search_20250305","name":"web_search"}]"#;
    for (choice, want, parallel) in [
        (r#"{"type":"auto"}"#, ToolChoice::Auto, None),
        (r#"{"type":"none"}"#, ToolChoice::None, None),
        (
            r#"{"type":"tool","name":"f","disable_parallel_tool_use":true}"#,
            ToolChoice::Named("f".into()),
            Some(false),
        ),
        (
            r#"{"type":"any","disable_parallel_tool_use":false}"#,
            ToolChoice::Required,
            None,
        ),
    ] {
        with(
            &format!(r#"{tool},"tool_choice":{choice}"#),
            |conversation| {
                assert_eq!(conversation.tool_choice, Some(want));
                assert_eq!(conversation.parallel_tool_calls, parallel);
            },
        );
        with(
            &format!(r#""tool_choice":{choice},{server}"#),
            |conversation| {
                assert_eq!(conversation.tool_choice, None);
                assert_eq!(conversation.parallel_tool_calls, None);
            },
        );
    }
}

#[test]
fn structured_output_is_strict_where_the_schema_allows() {
    let closed =
        r#"{"type":"object","properties":{"a":{}},"required":["a"],"additionalProperties":false}"#;
    for (more, want) in [
        (
            format!(r#""output_config":{{"format":{{"type":"json_schema","schema":{closed}}}}}"#),
            Some(true),
        ),
        (
            format!(r#""output_format":{{"type":"json_schema","schema":{closed}}}"#),
            Some(true),
        ),
        (
            r#""output_format":{"type":"json_schema","schema":{"type":"object"}}"#.into(),
            None,
        ),
    ] {
        with(&more, |conversation| match conversation.format {
            Some(Format::JsonSchema { strict, schema, .. }) => {
                assert_eq!(strict, want, "{more}");
                assert!(more.contains(schema.get()));
            }
            format => panic!("{format:?}"),
        });
    }
}

#[test]
fn long_names_are_shortened_alike_everywhere() {
    let long = "n".repeat(70);
    let body = format!(
        r#"{{"model":"m","metadata":{{"user_id":"{long}"}},"tools":[{{"name":"{long}"}}],"tool_choice":{{"type":"tool","name":"{long}"}},
        "messages":[{{"role":"assistant","content":[{{"type":"tool_use","id":"t","name":"{long}","input":{{}}}}]}}]}}"#
    );
    let (conversation, _) = open(&call(&body), body.as_bytes(), SEED).unwrap();
    let short = conversation.tools[0].name.as_ref();
    assert_eq!(short.len(), 64);
    assert_eq!(
        conversation.tool_choice,
        Some(ToolChoice::Named(short.into()))
    );
    assert_eq!(conversation.user.as_deref(), Some(short));
    assert!(understood(&conversation).contains(&format!("call t {short} {{}}")));
}

#[test]
fn faults_name_their_place() {
    let message = |content: &str| format!(r#""messages":[{{"role":"user","content":{content}}}]"#);
    let cases = [
        (r#""messages":[]"#.into(), "messages: must not be empty"),
        (
            r#""messages":["x"]"#.into(),
            "messages[0]: must be an object",
        ),
        (
            r#""messages":[["user","x"]]"#.into(),
            "messages[0]: must be an object",
        ),
        (
            r#""messages":[{"content":"x"}]"#.into(),
            "messages[0].role: missing field",
        ),
        (
            r#""messages":[{"role":"tool","content":"x"}]"#.into(),
            "messages[0].role: must be user, assistant or system",
        ),
        (
            r#""messages":[{"role":7,"content":"x"}]"#.into(),
            "messages[0].role: must be a string",
        ),
        (
            r#""messages":[{"role":"user"}]"#.into(),
            "messages[0].content: missing field",
        ),
        (
            r#""messages":[{"role":"user","role":"user","content":"x"}]"#.into(),
            "messages[0]: duplicate field `role`",
        ),
        (
            message("7"),
            "messages[0].content: must be a string or a list of blocks",
        ),
        (message("[7]"), "messages[0].content[0]: must be an object"),
        (
            message(r#"["\ud83d"]"#),
            "messages[0].content[0]: must be an object",
        ),
        (
            message(r#"[{"text":"x"}]"#),
            "messages[0].content[0].type: missing field",
        ),
        (
            message(r#"[{"type":"text"}]"#),
            "messages[0].content[0].text: missing field",
        ),
        (
            message(r#"[{"type":"text","text":"\ud83d"}]"#),
            "messages[0].content[0].text: unexpected end of hex escape",
        ),
        (
            message(r#"[{"type":"image"}]"#),
            "messages[0].content[0].source: missing field",
        ),
        (
            message(r#"[{"type":"image","source":{"type":"text","data":"x"}}]"#),
            "messages[0].content[0].source.type: an image must come as base64, url or file",
        ),
        (
            message(r#"[{"type":"tool_result"}]"#),
            "messages[0].content[0].tool_use_id: missing field",
        ),
        (
            message(
                r#"[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":1}]}]"#,
            ),
            "messages[0].content[0].content[0].text: must be a string",
        ),
        (
            message(r#"[{"type":"tool_result","tool_use_id":"t","is_error":1}]"#),
            "messages[0].content[0].is_error: must be true or false",
        ),
        (
            r#""messages":[{"role":"user","content":"x"}],"tools":[{"name":"f","strict":1}]"#
                .into(),
            "tools[0].strict: must be true or false",
        ),
        (
            r#""messages":[{"role":"user","content":"x"}],"tool_choice":{"type":"x"}"#.into(),
            "tool_choice.type: must be auto, any, tool or none",
        ),
        (
            r#""messages":[{"role":"user","content":"x"}],"system":[1]"#.into(),
            "system[0]: must be an object",
        ),
        (
            r#""messages":[{"role":"user","content":"x"}],"temperature":"1""#.into(),
            "temperature: must be a number",
        ),
        (
            r#""messages":[{"role":"user","content":"x"}],"stop_sequences":[1]"#.into(),
            "stop_sequences[0]: must be a string",
        ),
        (
            r#""messages":[{"role":"user","content":"x"}],"thinking":{"type":"enabled"}"#.into(),
            "thinking.budget_tokens: missing field",
        ),
        (
            r#""messages":[{"role":"user","content":"x"}],"output_config":{"effort":"huge"}"#
                .into(),
            "output_config.effort: must be low, medium, high, xhigh or max",
        ),
    ];
    for (members, want) in cases {
        let body = format!(r#"{{"model":"m",{members}}}"#);
        match open(&call(&body), body.as_bytes(), SEED) {
            Err(Rejection::InvalidRequest { problem, param }) => {
                assert_eq!(problem, want);
                assert_eq!(param, want.split(['[', '.', ':']).next());
            }
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn blocks_of_callers_own_kinds_are_left_for_the_target_to_refuse() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":[{"type":"container_upload","file_id":"f"},{"type":"image","source":{"type":"file","file_id":"f"}}]}]}"#;
    let (conversation, _) = open(&call(body), body.as_bytes(), SEED).unwrap();
    assert_eq!(
        understood(&conversation),
        "User\n  foreign container_upload\n  image id f\n"
    );
}

#[test]
fn a_count_is_estimated_from_all_that_the_model_reads() {
    let tokens = |body: &str| {
        let call = parse(Endpoint::CountTokens, body.as_bytes()).unwrap();
        String::from_utf8(count(&call)).unwrap()
    };
    for (body, bytes) in [
        (r#"{"model":"m","messages":[]}"#, 0),
        (
            r#"{"model":"m","messages":[{"role":"user","content":"12345678"}]}"#,
            8,
        ),
        (
            r#"{"model":"m","system":"1234","messages":[{"content":[{"type":"text","text":"é😀"}]}]}"#,
            10,
        ),
        (r#"{"model":"m","messages":[],"tools":[{"name":"f"}]}"#, 14),
        (
            r#"{"model":"m","messages":[{"content":[{"type":"tool_use","name":"f","input":{"a":1}}]}]}"#,
            7,
        ),
        (
            r#"{"model":"m","messages":[{"content":[{"type":"tool_result","content":[{"text":"12"}]},{"type":"thinking","thinking":"123"}]}]}"#,
            5,
        ),
        (
            r#"{"model":"m","messages":[{"content":[{"source":{"type":"text","data":"1234"}},{"source":{"data":"iVBO","type":"base64"}}]}]}"#,
            4,
        ),
        (
            r#"{"model":"m","messages":[{"content":[{"source":{"type":"content","content":"123456"}}]}],"tools":null}"#,
            6,
        ),
    ] {
        let want = usage::tokens_of(bytes);
        assert_eq!(
            tokens(body),
            format!(r#"{{"input_tokens":{want}}}"#),
            "{body}"
        );
    }
}

proptest! {
    #[test]
    fn no_body_panics(body in ".{0,200}", at in 0..4096_usize, byte: u8) {
        let _ = request::read(body.as_bytes());
        let mut broken = AGENT.as_bytes().to_vec();
        let at = at % broken.len();
        broken[at] = byte;
        let _ = request::read(&broken);
        let _ = request::read(&broken[..at]);
    }
}
