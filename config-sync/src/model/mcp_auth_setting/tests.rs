use super::*;
use serde_json::json;

fn read_as(value: &Value, unknown: Unknown) -> (McpAuthSettings, Vec<String>, Vec<String>) {
    let problems = Problems::default();
    let settings = McpAuthSettings::read(value, &problems, unknown);
    let ignored = problems.ignored();
    let said = problems.into_vec();
    (
        settings,
        said.iter().map(ToString::to_string).collect(),
        ignored,
    )
}

/// A minimal valid `anonymous` with `extra` on top.
fn anonymous(extra: &Value) -> Value {
    let mut block =
        json!({"api_key_id": "k1", "source_cidrs": ["10.0.0.0/8"], "servers": ["tickets"]});
    for (key, value) in extra.as_object().unwrap() {
        block[key] = value.clone();
    }
    json!({ "anonymous": block })
}

#[test]
fn absent_fields_have_their_defaults_and_written_ones_are_read() {
    let (settings, said, _) = read_as(&json!({}), Unknown::Refused);
    assert_eq!((settings, said), (McpAuthSettings::default(), vec![]));
    let mut doc = anonymous(&json!({"source_cidrs": ["10.0.0.0/8", "::1"]}));
    doc["resource_url"] = json!("https://GW.example.net:8443/mcp");
    let (settings, said, _) = read_as(&doc, Unknown::Refused);
    let mut want = McpAnonymous {
        enabled: true,
        api_key_id: "k1".into(),
        source_cidrs: vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
        servers: vec!["tickets".into()],
        aggregate_entry: false,
    };
    assert_eq!(said, Vec::<String>::new());
    assert_eq!(
        settings.resource_url.as_deref(),
        Some("https://GW.example.net:8443/mcp")
    );
    assert_eq!(settings.anonymous.as_ref(), Some(&want));
    doc["anonymous"]["enabled"] = json!(false);
    doc["anonymous"]["aggregate_entry"] = json!(true);
    doc["anonymous"]["source_cidrs"] = json!(["::1"]);
    (want.enabled, want.aggregate_entry) = (false, true);
    want.source_cidrs.remove(0);
    assert_eq!(read_as(&doc, Unknown::Refused).0.anonymous, Some(want));
}

#[test]
fn each_mistake_is_named_by_its_field_and_never_quoted() {
    const OK: &str = "";
    let both = |doc: Value, want: &'static str| (doc, want, want);
    let url = |url: &str| json!({ "resource_url": url });
    let with = |extra: Value| anonymous(&extra);
    let cases = [
        both(url("http://gw:3000/mcp"), OK),
        both(url(""), "resource_url: must not be empty"),
        both(
            json!({"resource_url": null}),
            "resource_url: must not be null",
        ),
        both(json!({"resource_url": 5}), "resource_url: must be a string"),
        (url("canary"), "resource_url: must start with http", OK),
        (
            url("https://canary@h/mcp"),
            "resource_url: must not hold a user name",
            OK,
        ),
        (
            url("https://h/mcp?token=canary"),
            "resource_url: must not hold a query",
            OK,
        ),
        (
            url("https://h/mcp#canary"),
            "resource_url: must not hold a query",
            OK,
        ),
        (
            url("https://h/mcp/"),
            "resource_url: must have the path /mcp",
            OK,
        ),
        (
            url("https://h"),
            "resource_url: must have the path /mcp",
            OK,
        ),
        (
            url(" https://h/mcp"),
            "resource_url: must have the path /mcp",
            OK,
        ),
        both(json!({"anonymous": null}), "anonymous: must not be null"),
        both(
            json!({"anonymous": "canary"}),
            "anonymous: must be a mapping",
        ),
        both(
            with(json!({"enabled": null})),
            "anonymous.enabled: must not be null",
        ),
        both(
            with(json!({"api_key_id": null})),
            "anonymous.api_key_id: is required",
        ),
        both(
            with(json!({"api_key_id": ""})),
            "anonymous.api_key_id: must not be empty",
        ),
        both(
            with(json!({"source_cidrs": null})),
            "anonymous.source_cidrs: is required",
        ),
        both(
            with(json!({"source_cidrs": []})),
            "anonymous.source_cidrs: must not be empty",
        ),
        both(
            with(json!({"source_cidrs": ["canary"]})),
            "anonymous.source_cidrs[0]: must be a network",
        ),
        both(
            with(json!({"servers": null})),
            "anonymous.servers: is required",
        ),
        both(
            with(json!({"servers": []})),
            "anonymous.servers: must not be empty",
        ),
        both(
            with(json!({"servers": [""]})),
            "anonymous.servers[0]: must not be empty",
        ),
        both(
            with(json!({"servers": [5]})),
            "anonymous.servers[0]: must be a string",
        ),
        both(
            with(json!({"aggregate_entry": "canary"})),
            "anonymous.aggregate_entry: must be true or",
        ),
        (
            with(json!({"novel": "canary"})),
            "anonymous.novel: unknown key",
            OK,
        ),
        (json!({"novel": null}), "novel: unknown key", OK),
    ];
    for (doc, strict, lenient) in cases {
        for (unknown, want) in [(Unknown::Refused, strict), (Unknown::Ignored, lenient)] {
            let (_, said, _) = read_as(&doc, unknown);
            assert_eq!(said.len(), usize::from(!want.is_empty()), "{doc}: {said:?}");
            assert!(
                said.iter().all(|line| line.starts_with(want)),
                "{doc}: {said:?}"
            );
            assert!(said.iter().all(|line| !line.contains("canary")), "{said:?}");
        }
    }
}

#[test]
fn a_stored_url_that_is_none_leaves_discovery_dormant() {
    let doc = json!({"resource_url": "https://u:canary@h/mcp"});
    let (settings, said, ignored) = read_as(&doc, Unknown::Ignored);
    assert_eq!(said, Vec::<String>::new());
    assert_eq!(
        (
            settings.resource_url.as_deref(),
            settings.resource_url_dormant
        ),
        (None, true)
    );
    assert_eq!(ignored, ["resource_url"]);
}
