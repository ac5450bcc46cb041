use super::*;
use serde_json::json;

fn read_as(value: &Value, unknown: Unknown) -> (McpServer, Vec<String>, Vec<String>) {
    let problems = Problems::default();
    let server = McpServer::read(value, &problems, unknown);
    let ignored = problems.ignored();
    let said = problems.into_vec();
    (
        server,
        said.iter().map(ToString::to_string).collect(),
        ignored,
    )
}

/// A minimal valid document with `extra` on top.
fn with(extra: &Value) -> Value {
    let mut doc = json!({"name": "tickets", "url": "https://mcp.example.net/mcp"});
    for (key, value) in extra.as_object().unwrap() {
        doc[key] = value.clone();
    }
    doc
}

fn accepted(extra: &Value) -> McpServer {
    let (server, said, _) = read_as(&with(extra), Unknown::Refused);
    assert_eq!(said, Vec::<String>::new(), "{extra}");
    server
}

#[test]
fn absent_fields_have_their_defaults() {
    let server = accepted(&json!({}));
    assert_eq!(&*server.name, "tickets");
    assert_eq!(&*server.url.unwrap().path, "/mcp");
    assert_eq!(
        (server.kind, server.auth),
        (McpServerKind::Mcp, McpAuth::None)
    );
    assert_eq!((server.protocol_version, server.timeout_ms), (None, 30_000));
    assert!(server.enabled && !server.secret_in_clear);
}

#[test]
fn everything_that_may_be_set_is_read() {
    let server = accepted(&json!({
        "type": "openapi", "transport": "streamable_http", "auth_type": "api_key", "secret": "k",
        "spec": {"openapi": "3.1.0", "paths": {"x": null}}, "api_key_header": "X-Key",
        "protocol_version": "2026-07-28", "timeout_ms": 1, "enabled": false}));
    let auth = McpAuth::ApiKey {
        header: "x-key".into(),
        secret: "k".into(),
    };
    assert_eq!(server.auth, auth);
    let McpServerKind::Openapi(spec) = &server.kind else {
        panic!("{server:?}")
    };
    assert!(spec.0.contains_key("paths"));
    assert_eq!(server.protocol_version, Some(McpProtocolVersion::V20260728));
    assert_eq!((server.timeout_ms, server.enabled), (1, false));
    let auths = [
        (
            json!({"auth_type": "none", "secret": "unused"}),
            McpAuth::None,
        ),
        (
            json!({"auth_type": "bearer", "secret": "t"}),
            McpAuth::Bearer("t".into()),
        ),
        (
            json!({"auth_type": "api_key", "secret": "t"}),
            McpAuth::ApiKey {
                header: "x-api-key".into(),
                secret: "t".into(),
            },
        ),
        (
            json!({"auth_type": "oauth2", "secret": "t", "client_id": "c", "scopes": ["a", "b"],
                   "token_url": "https://idp.example.net/token"}),
            McpAuth::Oauth2 {
                client_id: "c".into(),
                client_secret: "t".into(),
                token_url: HttpUrl::parse("https://idp.example.net/token").ok(),
                scopes: "a b".into(),
            },
        ),
    ];
    for (extra, want) in auths {
        assert_eq!(accepted(&extra).auth, want, "{extra}");
    }
}

#[test]
fn each_mistake_is_named_by_its_field_and_never_quoted() {
    const OK: &str = "";
    let oauth2 = |extra: Value| {
        let mut doc = json!({"auth_type": "oauth2", "secret": "s", "client_id": "c",
                             "token_url": "https://h/t"});
        for (key, value) in extra.as_object().unwrap() {
            doc[key] = value.clone();
        }
        doc
    };
    let openapi = |spec: Value| json!({"type": "openapi", "spec": spec});
    let both = |extra: Value, want: &'static str| (extra, want, want);
    let cases = [
        both(json!({"name": ""}), "name: must not be empty"),
        both(json!({"name": "a__canary"}), "name: must not hold `__`"),
        both(json!({"name": "canary_"}), "name: must not hold `__`"),
        (json!({"name": "canary/b"}), "name: must be one segment", OK),
        both(
            json!({"display_name": "canary"}),
            "name: `name` and its former name",
        ),
        both(json!({"name": null, "display_name": "b"}), OK),
        both(json!({"url": ""}), "url: must not be empty"),
        both(json!({"url": null}), "url: is required"),
        (
            json!({"url": "ftp://canary"}),
            "url: must start with http",
            OK,
        ),
        (
            json!({"url": "https://canary@h"}),
            "url: must not hold a user name",
            OK,
        ),
        both(json!({"url": "https://h/p?key=v"}), OK),
        both(
            json!({"type": "canary"}),
            "type: must be one of mcp, openapi",
        ),
        both(json!({"type": null}), "type: must not be null"),
        both(
            json!({"transport": "sse"}),
            "transport: must be one of streamable_http",
        ),
        both(json!({"transport": null}), "transport: must not be null"),
        both(json!({"auth_type": "basic"}), "auth_type: must be one of"),
        both(json!({"auth_type": null}), "auth_type: must not be null"),
        both(json!({"auth_type": "bearer"}), "secret: is required"),
        both(
            json!({"auth_type": "api_key", "secret": ""}),
            "secret: must not be empty",
        ),
        both(
            json!({"auth_type": "oauth2", "secret": null, "client_id": "c", "token_url": "https://h"}),
            "secret: is required",
        ),
        both(
            json!({"auth_type": "bearer", "secret": "canary\n"}),
            "secret: must not hold line breaks",
        ),
        both(json!({"secret": 5}), "secret: must be a string"),
        both(
            json!({"secret": null, "client_id": null, "token_url": null, "scopes": null, "spec": null,
                    "api_key_header": null, "protocol_version": null, "timeout_ms": null}),
            OK,
        ),
        both(
            oauth2(json!({"client_id": ""})),
            "client_id: must not be empty",
        ),
        both(oauth2(json!({"client_id": null})), "client_id: is required"),
        both(oauth2(json!({"token_url": null})), "token_url: is required"),
        (
            oauth2(json!({"token_url": "canary"})),
            "token_url: must start with http",
            OK,
        ),
        both(oauth2(json!({"scopes": "a"})), "scopes: must be a list"),
        (
            json!({"scopes": ["a"]}),
            "scopes: is for the `auth_type` `oauth2` only",
            OK,
        ),
        both(
            json!({"spec": {"openapi": "3.0.0"}}),
            "spec: is for the type `openapi`",
        ),
        both(
            json!({"api_key_header": "x"}),
            "api_key_header: is for the type `openapi`",
        ),
        both(json!({"type": "openapi"}), "spec: is required for"),
        both(openapi(json!("canary")), "spec: must be a mapping"),
        both(
            openapi(json!({"swagger": "2.0"})),
            "spec: must be an OpenAPI 3 document",
        ),
        (
            openapi(json!({"openapi": "2.9"})),
            "spec: must be an OpenAPI 3 document",
            OK,
        ),
        (
            json!({"type": "openapi", "spec": {"openapi": "3.0.0"}, "api_key_header": "x-k"}),
            "api_key_header: is for the `auth_type` `api_key` only",
            OK,
        ),
        both(
            json!({"type": "openapi", "spec": {"openapi": "3.0.0"}, "api_key_header": "a b",
                    "auth_type": "api_key", "secret": "s"}),
            "api_key_header: must be a legal",
        ),
        both(
            json!({"protocol_version": "2025-03-26"}),
            "protocol_version: must be one of",
        ),
        both(json!({"timeout_ms": 0}), "timeout_ms: must be 1 to"),
        both(json!({"enabled": null}), "enabled: must not be null"),
        (json!({"novel": "canary"}), "novel: unknown key", OK),
    ];
    for (extra, strict, lenient) in cases {
        for (unknown, want) in [(Unknown::Refused, strict), (Unknown::Ignored, lenient)] {
            let (_, said, _) = read_as(&with(&extra), unknown);
            assert_eq!(
                said.len(),
                usize::from(!want.is_empty()),
                "{unknown:?} {extra}: {said:?}"
            );
            assert!(
                said.iter().all(|line| line.starts_with(want)),
                "{extra}: {said:?}"
            );
            assert!(said.iter().all(|line| !line.contains("canary")), "{said:?}");
        }
    }
}

#[test]
fn what_a_store_holds_and_nobody_can_use_is_passed_over() {
    let extra = json!({"url": "stdio:x", "scopes": ["a"], "novel": null,
                       "type": "openapi", "spec": {}, "api_key_header": "x-k"});
    let (server, said, ignored) = read_as(&with(&extra), Unknown::Ignored);
    assert_eq!(said, Vec::<String>::new());
    assert_eq!(server.url, None);
    assert_eq!(
        ignored,
        [
            "url",
            "inapplicable:api_key_header",
            "inapplicable:scopes",
            "novel"
        ]
    );
}

#[test]
fn a_secret_without_tls_is_noticed() {
    let bearer = |url: &str| json!({"url": url, "auth_type": "bearer", "secret": "s"});
    let oauth2 = |token: &str| json!({"auth_type": "oauth2", "secret": "s", "client_id": "c", "token_url": token});
    let cases = [
        (bearer("http://mcp.example.net"), true),
        (bearer("http://127.0.0.1:81"), false),
        (bearer("https://mcp.example.net"), false),
        (
            json!({"url": "http://mcp.example.net", "secret": "unused"}),
            false,
        ),
        (oauth2("http://idp.example.net"), true),
        (oauth2("https://idp.example.net"), false),
    ];
    for (extra, want) in cases {
        assert_eq!(accepted(&extra).secret_in_clear, want, "{extra}");
    }
}

#[test]
fn no_credential_is_printed() {
    let server = accepted(&json!({
        "url": "https://h/canary?k=canary", "type": "openapi", "auth_type": "oauth2",
        "secret": "canary", "client_id": "app", "token_url": "https://h/?canary",
        "spec": {"openapi": "3.0.0", "x": "canary"}}));
    let printed = format!("{server:?} {server:#?}");
    assert!(
        !printed.contains("canary") && printed.contains("app"),
        "{printed}"
    );
}
