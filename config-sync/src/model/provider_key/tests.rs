use super::*;
use serde_json::json;

fn read_as(value: &Value, unknown: Unknown) -> (ProviderKeyDocument, Vec<String>) {
    let problems = Problems::default();
    let document = ProviderKeyDocument::read(value, &problems, unknown);
    let said = problems.into_vec();
    (document, said.iter().map(ToString::to_string).collect())
}

/// A minimal valid document with `extra` on top.
fn with(extra: &Value) -> Value {
    let mut doc = json!({"display_name": "main", "api_key": "sk-canary", "adapter": "openai"});
    for (key, value) in extra.as_object().unwrap() {
        doc[key] = value.clone();
    }
    doc
}

fn accepted(extra: &Value) -> ProviderKey {
    let (document, said) = read_as(&with(extra), Unknown::Refused);
    assert_eq!(said, Vec::<String>::new(), "{extra}");
    document.into_key("id-1".into())
}

#[test]
fn absent_fields_have_their_defaults() {
    let key = accepted(&json!({"provider": "openai"}));
    assert_eq!(
        (&*key.id, &*key.name, &*key.vendor),
        ("id-1", "main", "openai")
    );
    assert_eq!(key.api_key.expose(), "sk-canary");
    assert_eq!(&*key.base.as_ref().unwrap().host, "api.openai.com");
    assert_eq!(key.headers, HeaderPolicy::default());
    assert_eq!(key.body, BodyPolicy::default());
    assert_eq!(key.tls, KeyTls::default());
    assert!(key.tls.verify);
    assert_eq!((key.stream_done_marker, key.reasoning_field), (None, None));
}

#[test]
fn everything_that_may_be_set_is_read() {
    let key = accepted(&json!({
        "provider": "deepseek", "api_base": "https://h/v1/chat/completions",
        "strip_headers": ["x"], "tls": {"verify": false, "ca_cert": " ", "server_name": " api.example "},
        "telemetry_tags": {"kind": "byo", "featured": true, "pk_label": "l"},
        "request": {
            "param_renames": {"max_tokens": "max_completion_tokens", "same": "same"},
            "param_constraints": {"temperature_min": 0, "temperature_max": 1.5},
            "default_headers": {"X-Tenant": "${request.api_key.team_id}"},
            "forward_client_headers": ["Anthropic-*"],
            "default_body_fields": {"store": false, "metadata": {"b": 1, "a": null}}},
        "response": {"stream_done_marker": "required", "content_list_to_string": true,
                     "reasoning_field": "delta.reasoning", "error_envelope": "x"}}));
    assert_eq!(&*key.base.unwrap().path, "/v1");
    assert!(!key.tls.verify && key.tls.ca_cert.is_none());
    assert_eq!(key.tls.server_name.as_deref(), Some("api.example"));
    assert_eq!(
        key.body.renames,
        [("max_tokens".into(), "max_completion_tokens".into())]
    );
    assert_eq!(
        (key.body.temperature_min, key.body.temperature_max),
        (Some(0.0), Some(1.5))
    );
    let defaults: Vec<(&str, &str)> = key
        .body
        .defaults
        .iter()
        .map(|(name, json)| (&**name, &***json))
        .collect();
    assert_eq!(
        defaults,
        [("store", "false"), ("metadata", r#"{"b":1,"a":null}"#)]
    );
    assert!(key.body.content_list_to_string);
    assert_eq!(&*key.headers.defaults[0].0, "x-tenant");
    assert!(key.headers.forward[0].matches("anthropic-beta"));
    assert_eq!(key.stream_done_marker, Some(DoneMarker::Required));
    assert_eq!(key.reasoning_field.as_deref(), Some("delta.reasoning"));
}

#[test]
fn adapter_decides_and_else_the_two_vendors_imply_one() {
    let cases = [
        (
            json!({"provider": "openai", "adapter": null}),
            Some(Adapter::Openai),
            false,
        ),
        (
            json!({"provider": "anthropic", "adapter": null}),
            Some(Adapter::Anthropic),
            false,
        ),
        (json!({"provider": "OpenAI", "adapter": null}), None, false),
        (
            json!({"provider": "deepseek", "adapter": null}),
            None,
            false,
        ),
        (
            json!({"provider": "anthropic", "adapter": "openai"}),
            Some(Adapter::Openai),
            true,
        ),
        (
            json!({"provider": "openai", "adapter": "openai"}),
            Some(Adapter::Openai),
            false,
        ),
        (
            json!({"provider": "x", "adapter": "azure-openai"}),
            Some(Adapter::AzureOpenai),
            false,
        ),
    ];
    for (extra, adapter, disagrees) in cases {
        let (document, said) = read_as(&with(&extra), Unknown::Refused);
        assert!(said.is_empty(), "{extra}: {said:?}");
        assert_eq!(document.key.adapter, adapter, "{extra}");
        assert_eq!(document.adapter_disagrees, disagrees, "{extra}");
    }
}

#[test]
fn each_mistake_is_named_by_its_field_and_never_quoted() {
    let cases = [
        (
            json!({"display_name": ""}),
            "display_name: must not be empty",
        ),
        (json!({"api_key": ""}), "api_key: must not be empty"),
        (
            json!({"api_key": 5}),
            "api_key: must be a string, not a number",
        ),
        (
            json!({"api_key": "canary\n"}),
            "api_key: must not hold line breaks",
        ),
        (
            json!({"secret": "canary"}),
            "api_key: `api_key` and its former name `secret` are mutually",
        ),
        (
            json!({"adapter": "canary"}),
            "adapter: must be one of openai, anthropic,",
        ),
        (json!({"provider": null}), "provider: must not be null"),
        (
            json!({"api_base": "https://u:canary@h"}),
            "api_base: must not hold a user name",
        ),
        (
            json!({"api_base": "canary"}),
            "api_base: must start with http",
        ),
        (
            json!({"strip_headers": null}),
            "strip_headers: must not be null",
        ),
        (
            json!({"tls": {"ca_cert": "canary"}}),
            "tls.ca_cert: must be certificates in PEM",
        ),
        (
            json!({"tls": {"verify": null}}),
            "tls.verify: must not be null",
        ),
        (
            json!({"tls": {"server_name": "not a name"}}),
            "tls.server_name: must be a host name or an address",
        ),
        (
            json!({"tls": {"insecure": true}}),
            "tls.insecure: unknown key",
        ),
        (
            json!({"telemetry_tags": {"kind": "canary"}}),
            "telemetry_tags.kind: must be one of",
        ),
        (
            json!({"request": {"param_renames": {"model": "m"}}}),
            "request.param_renames.model: must not rename",
        ),
        (
            json!({"request": {"param_renames": {"x": "stream"}}}),
            "request.param_renames.x: must not rename",
        ),
        (
            json!({"request": {"param_renames": {"x": ""}}}),
            "request.param_renames.x: must not be empty",
        ),
        (
            json!({"request": {"param_constraints": {"temperature_min": 2, "temperature_max": 1}}}),
            "request.param_constraints.temperature_min: must not be above",
        ),
        (
            json!({"request": {"default_headers": {"a b": "canary"}}}),
            "request.default_headers.a b: is not a legal",
        ),
        (
            json!({"request": {"default_headers": {"Host": "canary"}}}),
            "request.default_headers.Host: is a header that only",
        ),
        (
            json!({"request": {"default_headers": {"x": "${canary}"}}}),
            "request.default_headers.x: has an unknown placeholder",
        ),
        (
            json!({"request": {"default_headers": {"x": "1", "X": "2"}}}),
            "request.default_headers.X: is written twice",
        ),
        (
            json!({"request": {"default_headers": {"x": 1}}}),
            "request.default_headers.x: must be a string",
        ),
        (
            json!({"request": {"default_headers": null}}),
            "request.default_headers: must not be null",
        ),
        (
            json!({"request": {"forward_client_headers": ["x-*-*"]}}),
            "request.forward_client_headers[0]: must hold at most one",
        ),
        (
            json!({"request": {"default_body_fields": []}}),
            "request.default_body_fields: must be a mapping",
        ),
        (
            json!({"response": {"stream_done_marker": "canary"}}),
            "response.stream_done_marker: must be one of",
        ),
        (
            json!({"response": {"reasoning_field": "canary"}}),
            "response.reasoning_field: must be a dotted path",
        ),
        (json!({"apikey": "canary"}), "apikey: unknown key"),
    ];
    for (extra, want) in cases {
        let (_, said) = read_as(&with(&extra), Unknown::Refused);
        assert_eq!(said.len(), 1, "{extra}: {said:?}");
        assert!(said[0].starts_with(want), "{extra}: {said:?}");
        assert!(!said[0].contains("canary"), "{said:?}");
    }
    let (_, said) = read_as(&json!({}), Unknown::Refused);
    assert_eq!(said, ["display_name: is required", "api_key: is required"]);
}

#[test]
fn a_newer_writers_document_loads_without_what_was_never_sent() {
    let extra = json!({"novel": 1, "tls": {"novel": 1},
        "request": {"default_headers": {"Host": "x", "x-ok": "1"}, "forward_client_headers": ["a**", "b"]},
        "response": {"reasoning_field": "elsewhere"}});
    let (document, said) = read_as(&with(&extra), Unknown::Ignored);
    assert_eq!(said, Vec::<String>::new());
    assert_eq!(document.key.headers.defaults.len(), 1);
    assert_eq!(document.key.headers.forward.len(), 1);
    assert_eq!(document.key.reasoning_field, None);
}

#[test]
fn the_former_name_of_the_credential_is_read() {
    let doc = json!({"display_name": "main", "secret": "canary-old", "adapter": "openai"});
    let (document, said) = read_as(&doc, Unknown::Refused);
    assert!(said.is_empty(), "{said:?}");
    assert_eq!(document.key.api_key.expose(), "canary-old");
}

#[test]
fn roots_must_be_certificates() {
    let pem = include_str!("../../../tests/fixtures/root.pem");
    assert!(holds_roots(pem) && holds_roots(&format!("{pem}\n{pem}")));
    let broken = pem.replace(
        "-----BEGIN CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nAAAA",
    );
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    for text in ["", "text", &broken, key, &format!("{pem}\n{broken}")] {
        assert!(!holds_roots(text), "{text}");
    }
    let key = accepted(&json!({"tls": {"ca_cert": pem}}));
    assert_eq!(key.tls.ca_cert.as_deref(), Some(pem));
}

#[test]
fn no_credential_is_printed() {
    let (document, _) = read_as(
        &with(&json!({"request": {"default_headers": {"x-k": "canary-h"},
                                 "default_body_fields": {"k": "canary-b"}}})),
        Unknown::Refused,
    );
    let printed = format!("{document:?} {document:#?}");
    assert!(
        !printed.contains("canary") && printed.contains("x-k"),
        "{printed}"
    );
}

#[test]
fn headers_to_strip_are_a_list_of_distinct_lower_case_names() {
    let usual = ["authorization", "cookie", "set-cookie", "x-api-key"];
    let cases: [(Value, &[&str]); 4] = [
        (json!({}), &usual),
        (json!({"strip_headers": []}), &[]),
        (
            json!({"strip_headers": [" Cookie", "x-a", "cookie ", " "]}),
            &["cookie", "x-a"],
        ),
        (json!({"strip_headers": ["X-A"]}), &["x-a"]),
    ];
    for (extra, want) in cases {
        let key = accepted(&extra);
        let names: Vec<&str> = key.strip_headers.iter().map(|name| &**name).collect();
        assert_eq!(names, want, "{extra}");
    }
}
