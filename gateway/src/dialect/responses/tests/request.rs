//! Bodies as conversations, and bodies refused. [pure]

use proptest::prelude::*;

use super::{opened, refused};
use crate::canonical::{Conversation, Effort, Format, Part, Source, ToolChoice, Turn};

fn read(body: &str) -> Conversation<'_> {
    opened(body).unwrap().0
}

/// A turn in few words.
fn brief(turn: &Turn<'_>) -> String {
    let parts: Vec<String> = turn.parts.iter().map(part).collect();
    format!("{:?}: {}", turn.role, parts.join(" | "))
}

fn source(source: &Source<'_>) -> String {
    match source {
        Source::Base64 { media_type, data } => format!("{media_type} {data}"),
        Source::Url(url) => url.to_string(),
        Source::FileId(id) => format!("id {id}"),
        Source::Text(text) => format!("text {text}"),
    }
}

fn part(part: &Part<'_>) -> String {
    match part {
        Part::Text { text, .. } => text.to_string(),
        Part::Image {
            source: it, detail, ..
        } => format!("image {} {detail:?}", source(it)),
        Part::File {
            source: it, name, ..
        } => format!("file {} {name:?}", source(it)),
        Part::Audio { data, format } => format!("audio {format} {data}"),
        Part::Refusal { text } => format!("refusal {text}"),
        Part::ToolCall {
            id,
            name,
            arguments,
            ..
        } => format!("call {id} {name} {arguments}"),
        Part::ToolResult { call_id, parts, .. } => {
            let parts: Vec<String> = parts.iter().map(self::part).collect();
            format!("result {call_id} {}", parts.join(" + "))
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn every_kind_of_item_becomes_its_turn() {
    let body = r#"{"model":"m","instructions":"be brief","input":[
      "hello",
      {"role":"developer","content":"dev"},
      {"type":"message","role":"user","content":[
        {"type":"input_text","text":"see \u00e9"},
        {"type":"input_image","image_url":"data:image/png;base64,AAA=","detail":"low"},
        {"type":"input_image","image_url":"https://x.test/a.png"},
        {"type":"input_image","file_id":"file-1"},
        {"type":"input_file","filename":"a.pdf","file_data":"data:application/pdf;base64,JVB="},
        {"type":"input_file","file_url":"https://x.test/a.pdf"},
        {"type":"input_file","file_id":"file-2"},
        {"type":"input_audio","input_audio":{"data":"UkI=","format":"wav"}}]},
      {"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"zzz"},
      {"type":"message","role":"assistant","id":"msg_1","status":"completed","content":[
        {"type":"output_text","text":"ok","annotations":[]},{"type":"refusal","refusal":"no"},
        {"type":"output_text","text":""}]},
      {"type":"function_call","id":"fc_1","call_id":"c1","name":"f","arguments":"{\"a\":1}"},
      {"type":"custom_tool_call","call_id":"c2","name":"patch","input":"a\nb"},
      {"type":"function_call_output","call_id":"c1","output":"42"},
      {"type":"custom_tool_call_output","call_id":"c2","output":[
        {"type":"input_text","text":"done"},{"type":"input_image","image_url":"https://x.test/b.png"}]},
      {"type":"web_search_call","id":"ws_1","status":"completed"},
      {"role":"user","content":""},
      {"type":"function_call","id":"fc_9","name":"g","arguments":""}]}"#;
    let conversation = read(body);
    let turns: Vec<String> = conversation.turns.iter().map(brief).collect();
    assert_eq!(
        turns,
        [
            "System: be brief",
            "User: hello",
            "System: dev",
            "User: see é | image image/png AAA= Some(\"low\") | image https://x.test/a.png None | \
             image id file-1 None | file application/pdf JVB= Some(\"a.pdf\") | \
             file https://x.test/a.pdf None | file id file-2 None | audio wav UkI=",
            "Assistant: ok | refusal no | call c1 f {\"a\":1} | call c2 patch {\"input\":\"a\\nb\"}",
            "Tool: result c1 42 | result c2 done + image https://x.test/b.png None",
            "Assistant: call fc_9 g ",
        ]
    );
    let turns = read(r#"{"model":"m","input":"hi"}"#).turns;
    assert_eq!(turns.iter().map(brief).collect::<Vec<_>>(), ["User: hi"]);
}

#[test]
fn settings_find_their_place() {
    let body = r#"{"model":"m","input":"x","max_output_tokens":7,"temperature":0.70,"top_p":1e-1,
      "parallel_tool_calls":false,"user":"u","reasoning":{"effort":"xhigh","summary":"auto"},
      "text":{"verbosity":"low","format":{"type":"json_schema","name":"n","strict":true,
        "schema":{"b":1,"a":2}}},
      "store":true,"include":["reasoning.encrypted_content"],"truncation":"auto","metadata":{"a":"b"},
      "service_tier":"flex","prompt_cache_key":"k","top_k":3,"background":false,
      "previous_response_id":null,"stream":true,"stream_options":{"include_obfuscation":false}}"#;
    let conversation = read(body);
    assert!(conversation.stream);
    assert_eq!(conversation.max_tokens, Some(7));
    assert_eq!(conversation.temperature.unwrap().get(), "0.70");
    assert_eq!(conversation.top_p.unwrap().get(), "1e-1");
    assert_eq!(conversation.parallel_tool_calls, Some(false));
    assert_eq!(conversation.user.as_deref(), Some("u"));
    assert_eq!(conversation.effort, Some(Effort::XHigh));
    let Some(Format::JsonSchema {
        name,
        schema,
        strict,
        ..
    }) = &conversation.format
    else {
        panic!("{:?}", conversation.format)
    };
    assert_eq!((name.as_deref(), *strict), (Some("n"), Some(true)));
    assert_eq!(schema.get(), r#"{"b":1,"a":2}"#);
    let extra = conversation.extra.iter();
    let extra: Vec<_> = extra.map(|(name, json)| (&**name, json.get())).collect();
    assert_eq!(
        extra,
        [
            ("service_tier", "\"flex\""),
            ("prompt_cache_key", "\"k\""),
            ("top_k", "3"),
            ("verbosity", "\"low\""),
        ]
    );
}

#[test]
fn tools_become_functions() {
    let body = r#"{"model":"m","input":"x","tools":[
      {"type":"function","name":"f","description":"d","parameters":{"type":"object"},"strict":true},
      {"type":"function","name":"g","parameters":null,"strict":null},
      {"type":"custom","name":"patch","description":"p","format":{"type":"grammar","syntax":"lark","definition":"start: A"}},
      {"type":"custom","name":"note","format":{"type":"text"}}],
      "tool_choice":{"type":"custom","name":"patch"}}"#;
    let conversation = read(body);
    let [f, g, patch, note] = &conversation.tools[..] else {
        panic!("{:?}", conversation.tools)
    };
    assert_eq!(
        (&*f.name, f.description.as_deref(), f.strict),
        ("f", Some("d"), Some(true))
    );
    assert_eq!(f.parameters.unwrap().get(), r#"{"type":"object"}"#);
    assert_eq!(
        (&*g.name, g.parameters.is_none(), g.strict),
        ("g", true, None)
    );
    let description = patch.description.as_deref().unwrap();
    assert_eq!(
        description,
        "p\n\n`input` must match this lark grammar:\nstart: A"
    );
    let schema: serde_json::Value = serde_json::from_str(note.parameters.unwrap().get()).unwrap();
    assert_eq!(schema["required"][0], "input");
    assert_eq!(schema["properties"]["input"]["type"], "string");
    assert_eq!(
        conversation.tool_choice,
        Some(ToolChoice::Named("patch".into()))
    );
}

#[test]
fn a_choice_is_a_word_a_name_or_a_list() {
    let tools = r#""tools":[{"type":"function","name":"f"},{"type":"function","name":"g"}]"#;
    for (choice, want, left) in [
        (r#""auto""#, ToolChoice::Auto, 2),
        (r#""none""#, ToolChoice::None, 2),
        (r#""required""#, ToolChoice::Required, 2),
        (
            r#"{"type":"function","name":"g"}"#,
            ToolChoice::Named("g".into()),
            2,
        ),
        (
            r#"{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"g"}]}"#,
            ToolChoice::Required,
            1,
        ),
    ] {
        let body = format!(r#"{{"model":"m","tool_choice":{choice},"input":"x",{tools}}}"#);
        let conversation = read(&body);
        assert_eq!(conversation.tool_choice, Some(want));
        assert_eq!(conversation.tools.len(), left);
    }
}

#[test]
fn what_cannot_be_carried_is_refused_by_name() {
    let cases = [
        (
            r#""previous_response_id":"resp_1""#,
            "previous_response_id: is not supported with this model: send the whole conversation in input",
            "previous_response_id",
        ),
        (
            r#""conversation":{"id":"c"}"#,
            "conversation: is not supported with this model: send the whole conversation in input",
            "conversation",
        ),
        (
            r#""prompt":{"id":"p"}"#,
            "prompt: is not supported with this model: send the whole conversation in input",
            "prompt",
        ),
        (
            r#""background":true"#,
            "background: is not supported with this model",
            "background",
        ),
        (
            r#""tools":[{"type":"function","name":"f"},{"type":"web_search"}]"#,
            "tools[1].type: \"web_search\" is not supported with this model",
            "tools",
        ),
        (
            r#""tools":[{"type":"custom","name":"f","format":{"type":"x"}}]"#,
            "tools[0].format.type: \"x\" is not supported with this model",
            "tools",
        ),
        (
            r#""tools":[{"type":"function"}]"#,
            "tools[0].name: missing field",
            "tools",
        ),
        (
            r#""tool_choice":{"type":"file_search"}"#,
            "tool_choice.type: \"file_search\" is not supported with this model",
            "tool_choice",
        ),
        (
            r#""tool_choice":"any""#,
            "tool_choice: must be none, auto or required",
            "tool_choice",
        ),
        (
            r#""reasoning":{"effort":"huge"}"#,
            "reasoning.effort: must be none, minimal, low, medium, high or xhigh",
            "reasoning",
        ),
        (
            r#""text":{"format":{"type":"json_schema"}}"#,
            "text.format.schema: missing field",
            "text",
        ),
        (
            r#""temperature":"hot""#,
            "temperature: must be a number",
            "temperature",
        ),
        (
            r#""max_output_tokens":-1"#,
            "max_output_tokens: must be a whole number that is not negative",
            "max_output_tokens",
        ),
        (
            r#""parallel_tool_calls":1"#,
            "parallel_tool_calls: must be true or false",
            "parallel_tool_calls",
        ),
        (r#""user":7"#, "user: must be a string", "user"),
    ];
    for (member, problem, param) in cases {
        let got = refused(&format!(r#"{{"model":"m","input":"x",{member}}}"#));
        assert_eq!(
            (got.0.as_str(), got.1.as_str()),
            (problem, param),
            "{member}"
        );
    }
    let items = [
        (
            r#"{"type":"item_reference","id":"x"}"#,
            "[0].type: \"item_reference\" is not supported with this model",
        ),
        (
            r#"{"type":"computer_call_output"}"#,
            "[0].type: \"computer_call_output\" is not supported with this model",
        ),
        (r#"{"id":"x"}"#, "[0].type: missing field"),
        (
            r#"{"role":"robot","content":"x"}"#,
            "[0].role: must be user, assistant, system or developer",
        ),
        (r#"{"role":"user"}"#, "[0].content: missing field"),
        (
            r#"{"role":"user","content":7}"#,
            "[0].content: must be a string or a list of parts",
        ),
        (
            r#"{"role":"user","content":["x"]}"#,
            "[0].content[0]: must be an object",
        ),
        (
            r#"{"role":"user","content":[{"type":"hologram"}]}"#,
            "[0].content[0].type: \"hologram\" is not supported with this model",
        ),
        (
            r#"{"role":"user","content":[{"type":"input_text"}]}"#,
            "[0].content[0].text: missing field",
        ),
        (
            r#"{"role":"user","content":"\ud83d"}"#,
            "[0].content: holds half of a surrogate pair",
        ),
        (
            r#"{"role":"user","content":[{"type":"input_file","file_data":"JVB="}]}"#,
            "[0].content[0].file_data: must be a data URL, such as data:application/pdf;base64,…",
        ),
        (
            r#"{"type":"function_call","call_id":"c","arguments":"{}"}"#,
            "[0].name: missing field",
        ),
        (
            r#"{"type":"function_call_output","output":"x"}"#,
            "[0].call_id: missing field",
        ),
        ("7", "[0]: must be an object or a string"),
    ];
    for (item, problem) in items {
        let got = refused(&format!(r#"{{"model":"m","input":[{item}]}}"#));
        assert_eq!(
            got,
            (format!("input{problem}"), "input".to_owned()),
            "{item}"
        );
    }
    assert_eq!(refused(r#"{"model":"m"}"#).0, "input: missing field");
    assert_eq!(
        refused(r#"{"model":"m","input":{}}"#).0,
        "input: must be a string or a list of items"
    );
    assert_eq!(
        refused(r#"{"model":"m","input":"x","instructions":7}"#).0,
        "instructions: must be a string"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(at in 0..200_usize, with in "[\\[\\]{}\":,a-z0-9\\\\ ]{0,4}") {
        let mut body = r#"{"model":"m","input":[{"role":"user","content":[{"type":"input_image","image_url":"data:,"}]}],"tools":[{"type":"custom","name":"n"}],"tool_choice":{"type":"custom","name":"n"}}"#.to_owned();
        body.insert_str(at.min(body.len()), &with);
        let _ = opened(&body);
    }
}

#[test]
fn reasoning_goes_back_to_the_provider_that_wrote_it_in_its_place() {
    let signed = r#"{"type":"reasoning","summary":[{"type":"summary_text","text":"let "},
      {"type":"summary_text","text":"me"}],"encrypted_content":"sluice.signature:s\u0069g="}"#;
    let hidden =
        r#"{"type":"reasoning","id":"rs_2","summary":[],"encrypted_content":"sluice.redacted:xy"}"#;
    let plain = r#"{"type":"reasoning","summary":[{"type":"summary_text","text":"hm"}]}"#;
    let others = r#"{"type":"reasoning","summary":[{"type":"summary_text","text":"hm"}],
      "encrypted_content":"gAAAA"},{"type":"reasoning","summary":[],"encrypted_content":null}"#;
    let text = r#"{"role":"assistant","content":"ok"}"#;
    let call = r#"{"type":"function_call","call_id":"c1","name":"f","arguments":"{}"}"#;
    let result = r#"{"type":"function_call_output","call_id":"c1","output":"42"}"#;
    let sig = r#"Thinking { text: "let me", signature: Some("sig=") }"#;
    let redacted = r#"RedactedThinking { data: "xy" }"#;
    let unsigned = r#"Thinking { text: "hm", signature: None }"#;
    let cases: [(&[&str], &[&str]); 6] = [
        (
            &[signed, hidden, text, call, result],
            &[
                &format!("Assistant: {sig} | {redacted} | ok | call c1 f {{}}"),
                "Tool: result c1 42",
            ],
        ),
        (
            &[plain, call],
            &[&format!("Assistant: {unsigned} | call c1 f {{}}")],
        ),
        (&[others, text], &["Assistant: ok"]),
        (
            &[text, signed, call],
            &[
                "Assistant: ok",
                &format!("Assistant: {sig} | call c1 f {{}}"),
            ],
        ),
        (
            &[call, signed, text],
            &[
                &format!("Assistant: call c1 f {{}} | {sig}"),
                "Assistant: ok",
            ],
        ),
        (
            &[signed, text, hidden, text],
            &[
                &format!("Assistant: {sig} | ok | {redacted}"),
                "Assistant: ok",
            ],
        ),
    ];
    for (items, want) in cases {
        let body = format!(r#"{{"model":"m","input":[{}]}}"#, items.join(","));
        let turns: Vec<String> = read(&body).turns.iter().map(brief).collect();
        assert_eq!(turns, want, "{items:?}");
    }
}
