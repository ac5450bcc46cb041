use super::*;
use serde_json::json;

fn read_as(value: &Value, unknown: Unknown) -> (PassthroughRoute, Vec<String>, Vec<String>) {
    let problems = Problems::default();
    let route = PassthroughRoute::read(value, &problems, unknown);
    let ignored = problems.ignored();
    let said = problems.into_vec();
    (
        route,
        said.iter().map(ToString::to_string).collect(),
        ignored,
    )
}

/// A minimal valid document with `extra` on top; the fields `extra` writes as `"-"` are left out.
fn with(extra: &Value) -> Value {
    let mut doc = json!({"name": "vendor", "path_prefix": "/vendor",
                         "target_url": "https://api.vendor.example", "provider_key_id": "k1"});
    for (key, value) in extra.as_object().unwrap() {
        doc[key] = value.clone();
    }
    doc.as_object_mut()
        .unwrap()
        .retain(|_, value| *value != json!("-"));
    doc
}

fn accepted(extra: &Value) -> PassthroughRoute {
    let (route, said, _) = read_as(&with(extra), Unknown::Refused);
    assert_eq!(said, Vec::<String>::new(), "{extra}");
    route
}

fn anonymous(extra: &Value) -> Value {
    let mut doc =
        json!({"auth_mode": "anonymous", "anonymous_key_id": "a1", "source_cidrs": ["10.0.0.0/8"]});
    for (key, value) in extra.as_object().unwrap() {
        doc[key] = value.clone();
    }
    doc
}

#[test]
fn absent_fields_have_their_defaults() {
    let want = PassthroughRoute {
        name: "vendor".into(),
        path_prefix: PathPrefix::parse("/vendor", true).ok(),
        hosts: vec![],
        target: RouteTarget::Url(HttpUrl::parse("https://api.vendor.example").unwrap()),
        auth: RouteAuth::GatewayKey,
        source_cidrs: None,
        credential: RouteCredential::Inject {
            provider_key_id: "k1".into(),
        },
        identity_header: None,
        timeout_ms: None,
        enabled: true,
    };
    assert_eq!(accepted(&json!({})), want);
}

#[test]
fn everything_that_may_be_set_is_read() {
    let route = accepted(&json!({
        "path_prefix": "/v1/", "hosts": ["API.example.com", "*.eu.example.com"], "target_url": "-",
        "preserve_host": true, "auth_mode": "header_key", "auth_header_name": "x-gw-key",
        "source_cidrs": ["192.0.2.1"], "credential_mode": "forward_client", "provider_key_id": "-",
        "identity_header": "x-user", "timeout_ms": 1, "enabled": false}));
    assert_eq!(
        route.path_prefix.as_ref().map(PathPrefix::as_str),
        Some("/v1")
    );
    let hosts: Vec<_> = route
        .hosts
        .iter()
        .map(|host| (&*host.name, host.wildcard))
        .collect();
    assert_eq!(
        hosts,
        [("api.example.com", false), ("eu.example.com", true)]
    );
    assert_eq!(route.target, RouteTarget::RequestedHost);
    assert_eq!(
        route.auth,
        RouteAuth::HeaderKey {
            header: "x-gw-key".into()
        }
    );
    assert_eq!(
        route.source_cidrs,
        Some(vec!["192.0.2.1/32".parse().unwrap()])
    );
    assert_eq!(route.credential, RouteCredential::ForwardClient);
    assert_eq!(route.identity_header.as_deref(), Some("x-user"));
    assert_eq!((route.timeout_ms, route.enabled), (Some(1), false));
    let route = accepted(&anonymous(&json!({})));
    assert_eq!(
        route.auth,
        RouteAuth::Anonymous {
            api_key_id: "a1".into()
        }
    );
}

#[test]
fn each_mistake_is_named_by_its_field_and_never_quoted() {
    const OK: &str = "";
    let both = |extra: Value, want: &'static str| (extra, want, want);
    let preserve = |hosts: Value| json!({"target_url": "-", "preserve_host": true, "hosts": hosts});
    let cases = [
        both(json!({"name": ""}), "name: must not be empty"),
        both(json!({"name": "-", "display_name": "b"}), OK),
        both(
            json!({"display_name": "canary"}),
            "name: `name` and its former name",
        ),
        both(
            json!({"path_prefix": "-"}),
            "path_prefix: is required where",
        ),
        both(
            json!({"path_prefix": null}),
            "path_prefix: must not be null",
        ),
        both(
            json!({"path_prefix": "canary"}),
            "path_prefix: must start with `/`",
        ),
        both(
            json!({"path_prefix": "/v1/canary"}),
            "path_prefix: must not start with one of v1",
        ),
        both(
            json!({"path_prefix": "/status"}),
            "path_prefix: must not start with one of v1",
        ),
        both(json!({"path_prefix": "/v1x"}), OK),
        both(json!({"path_prefix": "/v1", "hosts": ["h.example"]}), OK),
        (
            json!({"path_prefix": "/canary?"}),
            "path_prefix: must be a path",
            OK,
        ),
        both(json!({"path_prefix": "-", "hosts": ["h"]}), OK),
        both(json!({"hosts": null}), "hosts: must not be null"),
        both(json!({"hosts": []}), "hosts: must not be empty"),
        both(
            json!({"hosts": ["h", "*.canary"]}),
            "hosts[1]: must be a host",
        ),
        both(json!({"hosts": [5]}), "hosts[0]: must be a host"),
        both(
            json!({"target_url": "-"}),
            "target_url: is required without",
        ),
        both(json!({"target_url": null}), "target_url: must not be null"),
        both(
            json!({"target_url": "ftp://canary"}),
            "target_url: must start with http",
        ),
        (
            json!({"target_url": "https://canary@h"}),
            "target_url: must not hold a user name",
            OK,
        ),
        (
            json!({"target_url": "https://h?canary"}),
            "target_url: must not hold a query",
            OK,
        ),
        both(json!({"preserve_host": false}), OK),
        both(
            json!({"preserve_host": null}),
            "preserve_host: must not be null",
        ),
        both(
            json!({"preserve_host": false, "target_url": "-"}),
            "target_url: is required without",
        ),
        both(
            json!({"preserve_host": true, "hosts": ["h.example"]}),
            "target_url: has no use with",
        ),
        both(
            json!({"preserve_host": true, "target_url": "-"}),
            "hosts: is required with",
        ),
        both(preserve(json!(["*.example.com"])), OK),
        both(
            preserve(json!(["canary"])),
            "hosts[0]: must be a name of two labels",
        ),
        both(
            preserve(json!(["h.example", "10.0.0.1"])),
            "hosts[1]: must be a name of two labels",
        ),
        both(json!({"auth_mode": "canary"}), "auth_mode: must be one of"),
        both(json!({"auth_mode": null}), "auth_mode: must not be null"),
        both(
            json!({"auth_mode": "header_key"}),
            "auth_header_name: is required for",
        ),
        both(
            json!({"auth_header_name": "x-k"}),
            "auth_header_name: is for `auth_mode: header_key`",
        ),
        both(
            json!({"auth_header_name": null}),
            "auth_header_name: must not be null",
        ),
        both(
            json!({"auth_mode": "header_key", "auth_header_name": "X-Canary"}),
            "auth_header_name: must be a legal header name in lower",
        ),
        both(
            json!({"auth_mode": "header_key", "auth_header_name": ""}),
            "auth_header_name: must be a legal",
        ),
        both(
            json!({"auth_mode": "header_key", "auth_header_name": "cookie"}),
            "auth_header_name: must not be one of",
        ),
        both(anonymous(&json!({})), OK),
        both(
            anonymous(&json!({"anonymous_key_id": ""})),
            "anonymous_key_id: must not be empty",
        ),
        both(
            anonymous(&json!({"anonymous_key_id": "-"})),
            "anonymous_key_id: is required for",
        ),
        both(
            json!({"anonymous_key_id": "a"}),
            "anonymous_key_id: is for `auth_mode: anonymous`",
        ),
        both(
            anonymous(&json!({"source_cidrs": "-"})),
            "source_cidrs: is required",
        ),
        both(
            anonymous(&json!({"source_cidrs": null})),
            "source_cidrs: is required",
        ),
        both(
            anonymous(&json!({"source_cidrs": []})),
            "source_cidrs: must not be empty",
        ),
        both(json!({"source_cidrs": null}), OK),
        (
            json!({"source_cidrs": []}),
            "source_cidrs: must not be empty",
            OK,
        ),
        both(
            json!({"source_cidrs": ["canary"]}),
            "source_cidrs[0]: must be a network",
        ),
        both(
            json!({"credential_mode": "canary"}),
            "credential_mode: must be one of inject",
        ),
        both(
            json!({"credential_mode": null}),
            "credential_mode: must not be null",
        ),
        both(
            json!({"provider_key_id": "-"}),
            "provider_key_id: is required for",
        ),
        both(
            json!({"provider_key_id": ""}),
            "provider_key_id: must not be empty",
        ),
        both(
            json!({"provider_key_id": null}),
            "provider_key_id: must not be null",
        ),
        both(
            json!({"credential_mode": "forward_client"}),
            "provider_key_id: is for `credential_mode",
        ),
        both(
            json!({"identity_header": "X"}),
            "identity_header: must be a legal header name in lower",
        ),
        both(
            json!({"identity_header": "x-api-key"}),
            "identity_header: must not be one of",
        ),
        both(
            json!({"identity_header": null}),
            "identity_header: must not be null",
        ),
        (
            json!({"auth_mode": "header_key", "auth_header_name": "x-k", "identity_header": "x-k"}),
            "identity_header: must not be `auth_header_name`",
            OK,
        ),
        both(json!({"timeout_ms": null}), OK),
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
fn a_stored_route_never_records_the_callers_key() {
    let extra = json!({"auth_mode": "header_key", "auth_header_name": "x-k", "identity_header": "x-k",
                       "source_cidrs": [], "novel": 1});
    let (route, said, ignored) = read_as(&with(&extra), Unknown::Ignored);
    assert_eq!(said, Vec::<String>::new());
    assert_eq!((route.identity_header, route.source_cidrs), (None, None));
    assert_eq!(ignored, ["inapplicable:identity_header", "novel"]);
}

#[test]
fn credentials_in_the_target_are_not_printed() {
    let extra = json!({"target_url": "https://u:canary@h/canary?k=canary"});
    let (route, said, _) = read_as(&with(&extra), Unknown::Ignored);
    assert_eq!(said, Vec::<String>::new());
    let printed = format!("{route:?} {route:#?}");
    assert!(
        !printed.contains("canary") && printed.contains("vendor"),
        "{printed}"
    );
}
