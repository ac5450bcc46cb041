//! An upstream's error: its envelope read, and fit to be shown. [pure]

use config_sync::model::provider_key::ProviderKey;
use serde_json::{Map, Value};

use crate::provider::retry_after;
use crate::rejection::{Rejection, UpstreamError};

/// Bytes of an error body that are looked at; callers need not read more.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Longest text that is kept of an error, in bytes.
const TEXT_BYTES_MAX: usize = 1024;
/// Default headers and body fields shorter than this are words such as `prod`: they stay readable.
const SECRET_BYTES_MIN: usize = 8;

/// An answer with a status other than success.
#[derive(Clone, Copy, Debug)]
pub struct ErrorAnswer<'a> {
    pub status: u16,
    /// Value of its `Retry-After`.
    pub retry_after: Option<&'a [u8]>,
    /// Its body, or the first [`BODY_BYTES_MAX`] bytes of it.
    pub body: &'a [u8],
    pub now_unix_s: i64,
}

/// The rejection for an error answer.
///
/// The key's credential never comes back in it, even if the upstream repeats it; nor does what the
/// operator has added to headers and body.
pub(super) fn read(answer: &ErrorAnswer<'_>, key: &ProviderKey) -> Rejection {
    read_as(answer, key, |said| said.code.clone())
}

/// As [`read`]; `code_of` names the code of what an upstream said about a request.
pub(super) fn read_as(
    answer: &ErrorAnswer<'_>,
    key: &ProviderKey,
    code_of: impl FnOnce(&Said) -> Option<String>,
) -> Rejection {
    let body = answer.body.get(..BODY_BYTES_MAX).unwrap_or(answer.body);
    let said = parse(body).unwrap_or_else(|| Said {
        message: Some(String::from_utf8_lossy(body).into_owned()),
        ..Said::default()
    });
    // Only what is about the request is passed on.
    let about_the_request = (400..=499).contains(&answer.status);
    let code = match answer.status {
        400..=499 => code_of(&said),
        529 => Some("overloaded".to_owned()),
        _ => None,
    };
    let waits = matches!(answer.status, 429 | 503 | 529);
    let retry_after = answer.retry_after.filter(|_| waits);
    let fit = |text: Option<String>| text.and_then(|text| fit(&text, key));
    Rejection::Upstream(Box::new(UpstreamError {
        upstream_status: answer.status,
        message: fit(said.message),
        param: fit(said.param.filter(|_| about_the_request)),
        code: fit(code),
        retry_after_secs: retry_after
            .and_then(|value| retry_after::seconds(value, answer.now_unix_s)),
        in_band: false,
    }))
}

/// The rejection for a payload that is an error although the status was success.
pub(super) fn in_band(payload: &[u8], key: &ProviderKey) -> Rejection {
    let said = parse(payload).unwrap_or_default();
    let embedded = said.code.as_deref().and_then(|code| code.parse().ok());
    let embedded = embedded.filter(|status| (400..=599).contains(status));
    let upstream_status: u16 = embedded.unwrap_or(0);
    let code = said.code.clone().filter(|_| upstream_status == 0);
    told(said, upstream_status, code, key)
}

/// As [`in_band`]; `meaning_of` names the status and the code of what the upstream said.
pub(super) fn in_band_as(
    payload: &[u8],
    key: &ProviderKey,
    meaning_of: impl FnOnce(&Said) -> (u16, Option<String>),
) -> Rejection {
    let said = parse(payload).unwrap_or_default();
    let (upstream_status, code) = meaning_of(&said);
    told(said, upstream_status, code, key)
}

fn told(said: Said, upstream_status: u16, code: Option<String>, key: &ProviderKey) -> Rejection {
    let fit = |text: Option<String>| text.and_then(|text| fit(&text, key));
    Rejection::Upstream(Box::new(UpstreamError {
        upstream_status,
        message: fit(said.message),
        param: fit(said.param),
        code: fit(code),
        retry_after_secs: None,
        in_band: true,
    }))
}

/// What an envelope says.
#[derive(Debug, Default)]
pub(super) struct Said {
    message: Option<String>,
    /// The `type`, which some vendors have in place of a code.
    pub(super) kind: Option<String>,
    code: Option<String>,
    param: Option<String>,
}

/// Reads `{"error":{…}}`, `{"error":"text"}`, a list around them, or the members without `error`.
fn parse(body: &[u8]) -> Option<Said> {
    let document: Value = serde_json::from_slice(body).ok()?;
    let document = match &document {
        Value::Array(items) => items.first()?,
        other => other,
    };
    let members = document.as_object()?;
    match members.get("error") {
        Some(Value::String(text)) => Some(Said {
            message: Some(text.clone()),
            code: text_of(members, "code"),
            ..Said::default()
        }),
        Some(Value::Object(error)) => Some(said(error)),
        _ => Some(said(members)).filter(|said| said.message.is_some()),
    }
}

fn said(members: &Map<String, Value>) -> Said {
    Said {
        message: text_of(members, "message").or_else(|| text_of(members, "detail")),
        kind: text_of(members, "type"),
        code: text_of(members, "code"),
        param: text_of(members, "param"),
    }
}

/// A text, or a number as text: codes come as both.
fn text_of(members: &Map<String, Value>, name: &str) -> Option<String> {
    match members.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// `text` fit to be shown: without the key's secrets and control characters, at most
/// [`TEXT_BYTES_MAX`] bytes, with an ellipsis where it was cut. `None` where nothing is left.
fn fit(text: &str, key: &ProviderKey) -> Option<Box<str>> {
    let text = without_secrets(text, key);
    let plain = text.replace(char::is_control, " ");
    let plain = plain.trim();
    if plain.len() <= TEXT_BYTES_MAX {
        return (!plain.is_empty()).then(|| plain.into());
    }
    let room = TEXT_BYTES_MAX - '…'.len_utf8();
    let cut = plain.get(..plain.floor_char_boundary(room))?;
    Some(format!("{cut}…").into())
}

/// Whether an upstream's words repeat a secret of the key, so that they cannot be passed on.
pub(super) fn tells_secrets(words: &[u8], key: &ProviderKey) -> bool {
    let words = String::from_utf8_lossy(words);
    without_secrets(&words, key) != words
}

fn without_secrets(text: &str, key: &ProviderKey) -> String {
    let mut text = text.to_owned();
    hide(&mut text, key.api_key.expose());
    let is_long = |part: &&str| part.len() >= SECRET_BYTES_MIN;
    let headers = key.headers.defaults.iter();
    headers
        .flat_map(|(_, value)| value.literals())
        .filter(is_long)
        .for_each(|part| hide(&mut text, part));
    for (_, json) in &key.body.defaults {
        hide_texts_of(&mut text, &serde_json::from_str(json).unwrap_or_default());
    }
    text
}

fn hide(text: &mut String, secret: &str) {
    if !secret.is_empty() && text.contains(secret) {
        *text = text.replace(secret, "***");
    }
}

/// Hides every string inside `value`.
fn hide_texts_of(text: &mut String, value: &Value) {
    match value {
        Value::String(part) if part.len() >= SECRET_BYTES_MIN => hide(text, part),
        Value::Array(items) => items.iter().for_each(|item| hide_texts_of(text, item)),
        Value::Object(map) => map.values().for_each(|item| hide_texts_of(text, item)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::dialect::Dialect;
    use crate::route::fixture;

    fn error(rejection: Rejection) -> UpstreamError {
        match rejection {
            Rejection::Upstream(error) => *error,
            other => panic!("{other:?}"),
        }
    }

    fn read_one(status: u16, retry_after: Option<&str>, body: &str) -> UpstreamError {
        let answer = ErrorAnswer {
            status,
            retry_after: retry_after.map(str::as_bytes),
            body: body.as_bytes(),
            now_unix_s: 0,
        };
        error(read(&answer, &fixture::provider_key(json!({}))))
    }

    #[test]
    fn every_envelope_is_understood_and_the_rest_is_quoted() {
        let openai = r#"{"error":{"message":"bad","type":"t","param":"messages","code":"c"}}"#;
        for (body, message, param, code) in [
            (openai, "bad", "messages", "c"),
            (
                r#"{"error":{"message":"bad","param":null,"code":null}}"#,
                "bad",
                "",
                "",
            ),
            (
                r#"{"error":{"message":"bad","code":429,"status":"S"}}"#,
                "bad",
                "",
                "429",
            ),
            (r#"{"error":"text"}"#, "text", "", ""),
            (
                r#"{"type":"error","error":{"type":"x","message":"bad"}}"#,
                "bad",
                "",
                "",
            ),
            (
                r#"[{"error":{"code":400,"message":"bad"}}]"#,
                "bad",
                "",
                "400",
            ),
            (
                r#"{"object":"error","message":"bad","code":"c"}"#,
                "bad",
                "",
                "c",
            ),
            (r#"{"detail":"bad"}"#, "bad", "", ""),
            (r#"{"x":1}"#, r#"{"x":1}"#, "", ""),
            ("<html>\r\n\tno\u{7}</html>", "<html>   no </html>", "", ""),
            ("", "", "", ""),
            ("[]", "[]", "", ""),
        ] {
            let got = read_one(400, None, body);
            let text = |part: Option<Box<str>>| part.unwrap_or_default();
            assert_eq!(&*text(got.message), message, "{body}");
            assert_eq!(
                (&*text(got.param), &*text(got.code)),
                (param, code),
                "{body}"
            );
        }
    }

    #[test]
    fn statuses_decide_what_is_passed_on() {
        let body = r#"{"error":{"message":"said","code":"c","param":"p"}}"#;
        for (status, passed, code, waits) in [
            (400, 400, Some("c"), None),
            (429, 429, Some("c"), Some(7)),
            (401, 401, Some("c"), None),
            (302, 502, None, None),
            (500, 502, None, None),
            (503, 502, None, Some(7)),
            (529, 503, Some("overloaded"), Some(7)),
            (600, 502, None, None),
        ] {
            let got = read_one(status, Some("7"), body);
            assert_eq!((got.status(), got.code.as_deref()), (passed, code));
            assert_eq!(got.retry_after_secs, waits, "{status}");
            let rejection = Rejection::Upstream(Box::new(got));
            let mut out = Vec::new();
            rejection.write_envelope(Dialect::Openai, "r", &mut out);
            let said = String::from_utf8(out).unwrap().contains("said");
            assert_eq!(said, (400..500).contains(&status), "{status}");
            assert!(
                !rejection.detail().unwrap().contains("said"),
                "may quote a prompt"
            );
        }
    }

    #[test]
    fn texts_are_cut_on_a_character_boundary() {
        for length in [500, 512, 513, 40_000] {
            let text = "é".repeat(length);
            let message = read_one(400, None, &text).message.unwrap();
            assert!(message.len() <= 1024, "{length}");
            assert_eq!(message.ends_with('…'), length > 512, "{length}");
        }
    }

    #[test]
    fn what_the_operator_adds_to_requests_does_not_come_back() {
        let key = fixture::provider_key(json!({"request": {
            "default_headers": {"x-tenant": "tenant-canary-${request.id}", "x-env": "prod"},
            "default_body_fields": {"user": {"ids": ["field-canary"]}, "n": 1, "tier": "flex"},
        }}));
        let said = "tenant-canary-7 and field-canary in prod, flex 1";
        let got = fit(said, &key);
        assert_eq!(got.as_deref(), Some("***7 and *** in prod, flex 1"));
    }

    #[test]
    fn a_repeated_credential_does_not_come_back() {
        let body = r#"{"error":{"message":"bad key sk-up-canary!","code":"sk-up-canary"}}"#;
        let got = read_one(401, None, body);
        assert_eq!(got.message.as_deref(), Some("bad key ***!"));
        assert_eq!(got.code.as_deref(), Some("***"));
        let long = format!("{}sk-up-canary", "x".repeat(1015));
        assert!(
            !read_one(401, None, &long)
                .message
                .unwrap()
                .contains("sk-up")
        );
    }

    #[test]
    fn errors_inside_a_stream_may_embed_a_status() {
        let key = fixture::provider_key(json!({}));
        for (payload, status, code) in [
            (r#"{"error":{"message":"m","code":429}}"#, 429, None),
            (r#"{"error":{"message":"m","code":"404"}}"#, 404, None),
            (r#"{"error":{"message":"m","code":503}}"#, 502, None),
            (r#"{"error":{"message":"m","code":200}}"#, 502, Some("200")),
            (
                r#"{"error":{"message":"m","code":"busy"}}"#,
                502,
                Some("busy"),
            ),
            (r#"{"error":"m"}"#, 502, None),
            ("not json", 502, None),
        ] {
            let got = error(in_band(payload.as_bytes(), &key));
            assert_eq!((got.status(), got.code.as_deref()), (status, code));
            assert!(got.in_band);
        }
    }
}
