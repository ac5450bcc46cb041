//! Every rejection as exact bytes. [pure]

use super::*;
use crate::dialect::Dialect;

fn envelope(rejection: &Rejection) -> String {
    let mut out = Vec::new();
    rejection.write_envelope(Dialect::Openai, "req-1", &mut out);
    String::from_utf8(out).unwrap()
}

fn upstream(status: u16, message: &str) -> Rejection {
    Rejection::Upstream(Box::new(UpstreamError {
        upstream_status: status,
        message: (!message.is_empty()).then(|| message.into()),
        ..UpstreamError::default()
    }))
}

/// Status, message, type, param (empty: absent) and code.
type Row = (
    Rejection,
    u16,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

fn callers() -> Vec<Row> {
    const INVALID: &str = "invalid_request_error";
    let model = || "a\"b".into();
    let auth = Rejection::Unauthenticated;
    vec![
        (
            Rejection::Head {
                status: 431,
                message: "head too large",
            },
            431,
            "head too large",
            INVALID,
            "",
            INVALID,
        ),
        (
            Rejection::field("messages", "missing field"),
            400,
            "request payload is invalid: messages: missing field",
            INVALID,
            "messages",
            INVALID,
        ),
        (
            Rejection::InvalidRequest {
                problem: "not JSON".into(),
                param: None,
            },
            400,
            "request payload is invalid: not JSON",
            INVALID,
            "",
            INVALID,
        ),
        (
            Rejection::BodyUnreadable,
            400,
            "failed to read request body",
            INVALID,
            "",
            INVALID,
        ),
        (
            Rejection::BodyTimeout,
            408,
            "the request body did not arrive in time",
            INVALID,
            "",
            "request_timeout",
        ),
        (
            Rejection::BodyTooLarge { limit: 10 },
            413,
            "request body exceeds 10-byte limit",
            INVALID,
            "",
            "request_too_large",
        ),
        (
            Rejection::PathParameter,
            400,
            "invalid path parameter",
            INVALID,
            "",
            INVALID,
        ),
        (
            Rejection::UnknownUrl,
            404,
            "unknown request URL",
            INVALID,
            "",
            "unknown_url",
        ),
        (
            Rejection::MethodNotAllowed { allow: "POST" },
            405,
            "method not allowed for this URL",
            INVALID,
            "",
            "unknown_url",
        ),
        (
            Rejection::EndpointRemoved,
            410,
            "this endpoint has been removed",
            INVALID,
            "",
            "endpoint_removed",
        ),
        (
            Rejection::UnconfinedPath,
            400,
            "the path must not hold `.` or `..` segments",
            INVALID,
            "",
            INVALID,
        ),
        (
            Rejection::HeaderKey {
                header: "x-key".into(),
            },
            401,
            "missing or invalid API key in header \\\"x-key\\\"",
            "invalid_api_key",
            "",
            "invalid_api_key",
        ),
        (
            Rejection::RouteForbidden { route: model() },
            403,
            "this API key may not use passthrough route \\\"a\\\"b\\\"",
            "permission_denied",
            "",
            "permission_denied",
        ),
        (
            auth(AuthFault::Missing),
            401,
            "missing or malformed Authorization header",
            "invalid_api_key",
            "",
            "invalid_api_key",
        ),
        (
            auth(AuthFault::Unknown),
            401,
            "invalid API key",
            "invalid_api_key",
            "",
            "invalid_api_key",
        ),
        (
            auth(AuthFault::Disabled),
            401,
            "key is disabled",
            "invalid_api_key",
            "",
            "api_key_disabled",
        ),
        (
            auth(AuthFault::Expired),
            401,
            "key has expired",
            "invalid_api_key",
            "",
            "api_key_expired",
        ),
        (
            Rejection::ModelNotFound { model: model() },
            404,
            r#"model \"a\"b\" not found"#,
            "model_not_found",
            "model",
            "model_not_found",
        ),
        (
            Rejection::ModelForbidden { model: model() },
            403,
            r#"this API key may not use model \"a\"b\""#,
            "permission_denied",
            "model",
            "permission_denied",
        ),
        (
            Rejection::IpRestricted,
            403,
            "requests from this address are not allowed",
            "permission_denied",
            "",
            "ip_restricted",
        ),
    ]
}

fn ours_and_upstreams() -> Vec<Row> {
    let detail = || "10.0.0.7:443 canary".to_owned();
    vec![
        (
            Rejection::ProviderUnavailable("no adapter"),
            503,
            "no adapter",
            "provider_unavailable",
            "",
            "provider_unavailable",
        ),
        (
            Rejection::UpstreamUnusable("api_base is missing"),
            400,
            "api_base is missing",
            "invalid_request_error",
            "",
            "invalid_request_error",
        ),
        (
            Rejection::CredentialUnusable,
            401,
            "the upstream credential of this model is not usable: api_key must be a non-empty legal header value",
            "authentication_error",
            "",
            "authentication_error",
        ),
        (
            Rejection::Config { detail: detail() },
            500,
            "the gateway could not build the upstream request (request id req-1)",
            "config_error",
            "",
            "config_error",
        ),
        (
            upstream(429, "slow\ndown"),
            429,
            r"slow\ndown",
            "upstream_error",
            "",
            "upstream_error",
        ),
        (
            upstream(500, "canary"),
            502,
            "upstream returned 500",
            "upstream_error",
            "",
            "upstream_error",
        ),
        (
            upstream(529, ""),
            503,
            "upstream returned 529",
            "upstream_error",
            "",
            "upstream_error",
        ),
        (
            upstream(302, ""),
            502,
            "upstream returned 302",
            "upstream_error",
            "",
            "upstream_error",
        ),
        (
            upstream(0, ""),
            502,
            "upstream reported an error",
            "upstream_error",
            "",
            "upstream_error",
        ),
        (
            Rejection::UpstreamTimeout { after_ms: 30 },
            504,
            "upstream request timed out after 30ms",
            "timeout",
            "",
            "timeout",
        ),
        (
            Rejection::Transport { detail: detail() },
            502,
            "the connection to the upstream failed (request id req-1)",
            "transport_error",
            "",
            "transport_error",
        ),
        (
            Rejection::Decode {
                detail: detail().into(),
            },
            502,
            "the upstream's answer could not be understood (request id req-1)",
            "upstream_decode_error",
            "",
            "upstream_decode_error",
        ),
        (
            Rejection::StreamAborted,
            502,
            "the upstream's stream ended before it was complete (request id req-1)",
            "stream_aborted",
            "",
            "stream_aborted",
        ),
        (
            Rejection::Overloaded(Overload::Requests),
            503,
            "the gateway is at its capacity; try again later",
            "overloaded",
            "",
            "overloaded",
        ),
        (
            Rejection::Draining,
            503,
            "the gateway is shutting down; try again",
            "shutting_down",
            "",
            "shutting_down",
        ),
        (
            Rejection::Internal { detail: detail() },
            500,
            "internal error (request id req-1)",
            "api_error",
            "",
            "api_error",
        ),
    ]
}

#[test]
fn every_rejection_has_its_status_and_exact_envelope() {
    for (rejection, status, message, kind, param, code) in
        callers().into_iter().chain(ours_and_upstreams())
    {
        let param = match param {
            "" => String::new(),
            param => format!(r#""param":"{param}","#),
        };
        assert_eq!(rejection.status(), status, "{rejection:?}");
        assert_eq!(
            envelope(&rejection),
            format!(
                r#"{{"error":{{"message":"{message}","type":"{kind}",{param}"code":"{code}","request_id":"req-1"}}}}"#
            ),
        );
        assert!(serde_json::from_str::<serde_json::Value>(&envelope(&rejection)).is_ok());
    }
}

#[test]
fn details_reach_the_log_and_never_the_caller() {
    for (rejection, ..) in ours_and_upstreams() {
        assert!(!envelope(&rejection).contains("canary"), "{rejection:?}");
        let mut frame = Vec::new();
        rejection.write_stream_error(Dialect::Openai, "r", &mut frame);
        assert!(!String::from_utf8(frame).unwrap().contains("canary"));
    }
    let transport = Rejection::Transport {
        detail: "canary".to_owned(),
    };
    assert_eq!(transport.detail().as_deref(), Some("canary"));
    assert_eq!(
        upstream(400, "said").detail().as_deref(),
        Some("upstream status 400: no code")
    );
    assert_eq!(Rejection::UnknownUrl.detail(), None);
}

#[test]
fn the_callers_faults_are_on_the_callers_side() {
    for (rejection, ..) in callers() {
        assert_eq!(rejection.side(), Side::Caller, "{rejection:?}");
    }
    for (rejection, ..) in ours_and_upstreams() {
        assert_ne!(rejection.side(), Side::Caller, "{rejection:?}");
    }
}

#[test]
fn a_stream_error_is_one_event_and_in_band_errors_are_named() {
    let in_band = Rejection::Upstream(Box::new(UpstreamError {
        upstream_status: 429,
        message: Some("busy".into()),
        code: Some("rate_limit".into()),
        in_band: true,
        ..UpstreamError::default()
    }));
    let mut out = Vec::new();
    in_band.write_stream_error(Dialect::Openai, "r1", &mut out);
    let want = "event: error\ndata: {\"error\":{\"message\":\"busy\",\"type\":\"upstream_in_band_error\",\
                \"code\":\"rate_limit\",\"request_id\":\"r1\"}}\n\n";
    assert_eq!(String::from_utf8(out).unwrap(), want);
    assert_eq!(in_band.kind(), "upstream_error");
    assert_eq!(in_band.status(), 429);
}

#[test]
fn headers_are_asked_for_where_they_help() {
    assert_eq!(
        Rejection::Overloaded(Overload::Memory).retry_after_secs(),
        Some(1)
    );
    assert_eq!(Rejection::UnknownUrl.retry_after_secs(), None);
    assert_eq!(
        Rejection::MethodNotAllowed { allow: "POST" }.allow(),
        Some("POST")
    );
    let limited = UpstreamError {
        retry_after_secs: Some(9),
        ..UpstreamError::default()
    };
    assert_eq!(
        Rejection::Upstream(Box::new(limited)).retry_after_secs(),
        Some(9)
    );
}

#[test]
fn a_long_name_is_repeated_in_part() {
    let model: Box<str> = "é".repeat(4000).into();
    let said = envelope(&Rejection::ModelNotFound { model });
    assert!(
        said.contains(&"é".repeat(128)) && said.len() < 500,
        "{}",
        said.len()
    );
}
