//! Errors in Anthropic's envelope: what its types mean. [pure]

use config_sync::model::provider_key::ProviderKey;

use crate::provider::error::{self, ErrorAnswer, Said};
use crate::rejection::Rejection;

/// Types with the status that an answer of that type has, and the code that callers branch on.
///
/// # Source
///
/// Anthropic API, "Errors"; codes by `providers.md` 1.8.
const TYPES: [(&str, u16, Option<&str>); 10] = [
    ("invalid_request_error", 400, None),
    ("authentication_error", 401, Some("invalid_api_key")),
    ("billing_error", 402, None),
    ("permission_error", 403, Some("permission_denied")),
    ("not_found_error", 404, Some("model_not_found")),
    ("request_too_large", 413, Some("request_too_large")),
    ("rate_limit_error", 429, Some("rate_limit_exceeded")),
    ("api_error", 500, None),
    ("timeout_error", 504, None),
    ("overloaded_error", 529, Some("overloaded")),
];

/// The rejection for an answer with a status other than success.
pub(super) fn read(answer: &ErrorAnswer<'_>, key: &ProviderKey) -> Rejection {
    error::read_as(answer, key, |said| meaning_of(said).1)
}

/// The rejection for an error that came where an answer or its next event should.
pub(super) fn in_band(payload: &[u8], key: &ProviderKey) -> Rejection {
    error::in_band_as(payload, key, meaning_of)
}

/// Status and code of an error; 0 where its type is not known.
fn meaning_of(said: &Said) -> (u16, Option<String>) {
    let known = TYPES
        .iter()
        .find(|(kind, ..)| said.kind.as_deref() == Some(kind));
    known.map_or((0, None), |&(_, status, code)| {
        (status, code.map(str::to_owned))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rejection::UpstreamError;
    use crate::route::fixture;

    fn error(rejection: Rejection) -> UpstreamError {
        match rejection {
            Rejection::Upstream(error) => *error,
            other => panic!("{other:?}"),
        }
    }

    fn envelope(kind: &str) -> String {
        json!({"type": "error", "error": {"type": kind, "message": "said"}, "request_id": "req_1"})
            .to_string()
    }

    #[test]
    fn types_give_the_code_of_an_answer_and_the_status_decides_what_is_passed_on() {
        for (status, kind, passed, code) in [
            (400, "invalid_request_error", 400, None),
            (401, "authentication_error", 401, Some("invalid_api_key")),
            (402, "billing_error", 402, None),
            (403, "permission_error", 403, Some("permission_denied")),
            (404, "not_found_error", 404, Some("model_not_found")),
            (413, "request_too_large", 413, Some("request_too_large")),
            (429, "rate_limit_error", 429, Some("rate_limit_exceeded")),
            (422, "new_error", 422, None),
            (500, "api_error", 502, None),
            (504, "timeout_error", 502, None),
            (529, "overloaded_error", 503, Some("overloaded")),
            (529, "", 503, Some("overloaded")),
        ] {
            let body = envelope(kind);
            let answer = ErrorAnswer {
                status,
                retry_after: Some(b"7"),
                body: body.as_bytes(),
                now_unix_s: 0,
            };
            let got = error(read(&answer, &fixture::provider_key(json!({}))));
            assert_eq!(
                (got.status(), got.code.as_deref()),
                (passed, code),
                "{kind}"
            );
            assert_eq!(got.message.as_deref(), Some("said"));
            let waits = matches!(status, 429 | 529);
            assert_eq!(got.retry_after_secs, waits.then_some(7));
        }
    }

    #[test]
    fn errors_in_band_have_the_status_of_their_type_and_no_secret() {
        let key = fixture::provider_key(json!({}));
        for (kind, status, code) in [
            ("invalid_request_error", 400, None),
            ("rate_limit_error", 429, Some("rate_limit_exceeded")),
            ("api_error", 502, None),
            ("overloaded_error", 503, Some("overloaded")),
            ("new_error", 502, None),
        ] {
            let got = error(in_band(envelope(kind).as_bytes(), &key));
            assert_eq!(
                (got.status(), got.code.as_deref()),
                (status, code),
                "{kind}"
            );
            assert!(got.in_band);
        }
        let said = br#"{"error":{"type":"authentication_error","message":"bad sk-up-canary"}}"#;
        assert_eq!(
            error(in_band(said, &key)).message.as_deref(),
            Some("bad ***")
        );
        assert_eq!(error(in_band(b"oops", &key)).status(), 502);
    }
}
