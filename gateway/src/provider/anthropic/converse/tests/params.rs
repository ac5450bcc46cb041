//! Tools and parameters as exact members of a body. [pure]

use super::*;

#[test]
fn tools_and_the_choice_among_them_are_translated() {
    let strict = Tool {
        description: Some("d\"".into()),
        strict: Some(true),
        marks: Marks {
            cache_control: Some(raw(r#"{"type":"ephemeral"}"#)),
            ..Marks::default()
        },
        ..tool(
            "f",
            Some(r#"{"type": "object", "properties": {"b": {}, "a": {}}}"#),
        )
    };
    let tools = vec![
        strict,
        tool("g", None),
        tool("h", Some("{ }")),
        tool("i", Some(r#"{ "properties":{"x":{"type":"string"}}}"#)),
        tool("j", Some("null")),
        tool("", None),
    ];
    let conversation = Conversation { tools, ..hi() };
    let none = r#"{"type":"object","properties":{}}"#;
    let want = [
        r#","tools":[{"name":"f","description":"d\"","input_schema":{"type": "object", "properties": {"b": {}, "a": {}}},"strict":true,"cache_control":{"type":"ephemeral"}}"#,
        &format!(r#"{{"name":"g","input_schema":{none}}}"#),
        &format!(r#"{{"name":"h","input_schema":{none}}}"#),
        r#"{"name":"i","input_schema":{"type":"object","properties":{"x":{"type":"string"}}}}"#,
        &format!(r#"{{"name":"j","input_schema":{none}}}]"#),
    ];
    assert_eq!(rest(&conversation), want.join(","));

    let choice = |tool_choice, parallel_tool_calls, effort, tools: &[&'static str]| {
        let conversation = Conversation {
            tools: tools.iter().map(|name| tool(name, None)).collect(),
            tool_choice,
            parallel_tool_calls,
            effort,
            ..hi()
        };
        let rest = rest(&conversation);
        let found = rest.split_once(r#""tool_choice":"#);
        found.map_or(String::new(), |(_, choice)| {
            choice.split_inclusive('}').next().unwrap().to_owned()
        })
    };
    let named = || Some(ToolChoice::Named("f".into()));
    let thinks = Some(Effort::Low);
    for (given, parallel, effort, want) in [
        (None, None, None, ""),
        (None, Some(true), None, ""),
        (
            None,
            Some(false),
            None,
            r#"{"type":"auto","disable_parallel_tool_use":true}"#,
        ),
        (Some(ToolChoice::Auto), None, None, r#"{"type":"auto"}"#),
        (
            Some(ToolChoice::None),
            Some(false),
            None,
            r#"{"type":"none"}"#,
        ),
        (Some(ToolChoice::Required), None, None, r#"{"type":"any"}"#),
        (
            Some(ToolChoice::Required),
            None,
            thinks,
            r#"{"type":"auto"}"#,
        ),
        (
            named(),
            Some(false),
            None,
            r#"{"type":"tool","name":"f","disable_parallel_tool_use":true}"#,
        ),
        (named(), None, thinks, r#"{"type":"auto"}"#),
    ] {
        assert_eq!(choice(given, parallel, effort, &["f"]), want);
    }
    assert_eq!(choice(named(), Some(false), None, &[]), "");
}

#[test]
fn effort_becomes_a_budget_of_thinking_with_what_that_forbids() {
    let asked = |effort, max_tokens| Conversation {
        effort: Some(effort),
        max_tokens,
        temperature: Some(raw("0.5")),
        top_p: Some(raw("0.9")),
        extra: vec![("top_k".into(), raw("5"))],
        ..hi()
    };
    for (effort, max_tokens, bound, budget) in [
        (Effort::Low, None, 4096, 1024),
        (Effort::Medium, Some(2048), 3072, 2048),
        (Effort::Medium, Some(2049), 2049, 2048),
        (Effort::High, None, 5120, 4096),
        (Effort::XHigh, Some(100), 9216, 8192),
    ] {
        let want = format!(
            r#"{{"model":"claude-up","max_tokens":{bound},{HI},"thinking":{{"type":"enabled","budget_tokens":{budget}}}}}"#
        );
        assert_eq!(body(&asked(effort, max_tokens)), want);
    }
    for effort in [Effort::None, Effort::Minimal] {
        let want = r#","temperature":0.5,"top_p":0.9,"top_k":5"#;
        assert_eq!(rest(&asked(effort, None)), want);
    }
    let mut own = asked(Effort::High, None);
    own.extra
        .push(("thinking".into(), raw(r#"{"type":"adaptive"}"#)));
    let want = r#","temperature":0.5,"top_p":0.9,"top_k":5,"thinking":{"type":"adaptive"}"#;
    assert_eq!(rest(&own), want);
}

#[test]
fn thinking_does_not_begin_amid_tool_calls() {
    let thinks = |kept: Vec<Part<'static>>, last: Turn<'static>| {
        let mut parts = kept;
        parts.push(call("t", "{}"));
        let turns = [
            turn(Role::User, [text("a")]),
            turn(Role::Assistant, parts),
            turn(Role::Tool, [result("t", [text("1")])]),
            last,
        ];
        let conversation = Conversation {
            effort: Some(Effort::Low),
            ..of(turns)
        };
        body(&conversation).contains("budget_tokens")
    };
    let user = || turn(Role::User, [text("b")]);
    assert!(!thinks(vec![], user()));
    assert!(!thinks(vec![thinking("h", None)], user()));
    assert!(thinks(vec![thinking("h", Some("s"))], user()));
    assert!(thinks(
        vec![Part::RedactedThinking { data: "d".into() }],
        user()
    ));
    // The round is over.
    let said = turn(Role::Assistant, [text("done")]);
    assert!(thinks(vec![], said));
}

#[test]
fn the_rest_is_translated_forwarded_or_left_out() {
    let schema = || Format::JsonSchema {
        name: Some("n".into()),
        description: None,
        schema: raw(r#"{"b": 1, "a": 2}"#),
        strict: Some(true),
    };
    let given = Conversation {
        stream: true,
        max_tokens: Some(7),
        temperature: Some(raw("1.50")),
        top_p: Some(raw("0.70")),
        stop: vec!["a\n".into(), " ".into(), "b".into()],
        format: Some(schema()),
        user: Some("u\"".into()),
        ..hi()
    };
    assert_eq!(
        body(&given),
        format!(
            r#"{{"model":"claude-up","max_tokens":7,{HI},"stop_sequences":["a\n","b"],"temperature":1,"top_p":0.70,"output_config":{{"format":{{"type":"json_schema","schema":{{"b": 1, "a": 2}}}}}},"metadata":{{"user_id":"u\""}},"stream":true}}"#
        )
    );
    let with = |extra: &[(&'static str, &'static str)]| {
        let extra = extra
            .iter()
            .map(|(name, value)| ((*name).into(), raw(value)))
            .collect();
        rest(&Conversation { extra, ..hi() })
    };
    for (extra, want) in [
        (
            &[
                ("top_k", "5"),
                ("mcp_servers", "[ ]"),
                ("x", "1.0"),
                ("system", "\"s\""),
            ][..],
            r#","top_k":5,"mcp_servers":[ ],"x":1.0,"system":"s""#,
        ),
        (
            &[
                ("n", "1"),
                ("seed", "1"),
                ("logit_bias", "{}"),
                ("store", "true"),
                ("model", "\"x\""),
            ],
            "",
        ),
        (&[("service_tier", "\"auto\"")], r#","service_tier":"auto""#),
        (&[("service_tier", "\"flex\"")], ""),
        (&[("thinking", "null")], ""),
        (
            &[("stop_sequences", r#"["a"," "]"#)],
            r#","stop_sequences":["a"]"#,
        ),
        (
            &[
                ("metadata", r#"{"user_id":"m","x":1}"#),
                ("safety_identifier", "\"s\""),
            ],
            r#","metadata":{"user_id":"m"}"#,
        ),
        (&[("metadata", r#"{"x":1}"#)], ""),
        (
            &[("metadata", "7"), ("safety_identifier", "\"s\"")],
            r#","metadata":{"user_id":"s"}"#,
        ),
        (
            &[("output_config", r#"{"effort":"low"}"#)],
            r#","output_config":{"effort":"low"}"#,
        ),
    ] {
        assert_eq!(with(extra), want);
    }
    for (own, want) in [
        (
            r#"{ "effort":"low"}"#,
            r#"{"format":{"type":"json_schema","schema":{"b": 1, "a": 2}}, "effort":"low"}"#,
        ),
        (
            "{}",
            r#"{"format":{"type":"json_schema","schema":{"b": 1, "a": 2}}}"#,
        ),
        (r#"{"format":{"x":1}}"#, r#"{"format":{"x":1}}"#),
    ] {
        let conversation = Conversation {
            format: Some(schema()),
            extra: vec![("output_config".into(), raw(own))],
            ..hi()
        };
        assert_eq!(rest(&conversation), format!(r#","output_config":{want}"#));
    }
    let object = Conversation {
        format: Some(Format::JsonObject),
        ..hi()
    };
    assert_eq!(rest(&object), "");
}

#[test]
fn the_operators_policy_and_the_models_markers_apply_to_what_is_written() {
    let key = json!({"request": {
        "param_renames": {"top_p": "p"},
        "param_constraints": {"temperature_max": 0.25},
        "default_body_fields": {"top_k": 3, "max_tokens": 1},
    }});
    let model = json!({"auto_prompt_caching": {"enabled": true}});
    let given = Conversation {
        temperature: Some(raw("0.5")),
        top_p: Some(raw("0.9")),
        ..of([
            turn(Role::System, [text("s")]),
            turn(Role::User, [text("hi")]),
        ])
    };
    let marker = r#""cache_control":{"type":"ephemeral"}"#;
    assert_eq!(
        written(&given, key, model.clone()).unwrap(),
        format!(
            r#"{START}"system":[{{"type":"text","text":"s",{marker}}}],"messages":[{{"role":"user","content":[{{"type":"text","text":"hi",{marker}}}]}}],"temperature":0.25,"p":0.9,"top_k":3}}"#
        )
    );
    let own = of([turn(Role::User, [marked("a"), text("b")])]);
    assert_eq!(written(&own, json!({}), model).unwrap(), body(&own));
}
