//! Where a caller's key stands in the head. [pure]

use crate::http::h1::RequestHead;

const SCHEME: &[u8] = b"bearer";

/// The key a caller presents: the `Authorization` bearer token, else `x-api-key`.
///
/// An `Authorization` header of any other form denies, and `x-api-key` is not tried: a caller that
/// sends both means the former. So do two of either, since which one counts would be a guess.
pub(super) fn presented(head: &RequestHead) -> Option<&[u8]> {
    let mut authorizations = head.header_all("authorization");
    if let Some(value) = authorizations.next() {
        return match authorizations.next() {
            None => bearer(value),
            Some(_) => None,
        };
    }
    let mut keys = head.header_all("x-api-key");
    let key = keys.next()?.trim_ascii();
    (!key.is_empty() && keys.next().is_none()).then_some(key)
}

/// The token of `Bearer <token>`; the scheme in any case, as RFC 9110, 11.1 has it.
pub(super) fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(SCHEME.len())?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return None;
    }
    let token = rest.strip_prefix(b" ")?.trim_ascii();
    (!token.is_empty()).then_some(token)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::http::h1::{Limits, parse_request};

    pub(in crate::auth) fn head(fields: &str) -> RequestHead {
        let text = format!("POST /v1/embeddings HTTP/1.1\r\nhost: h\r\n{fields}\r\n");
        let parsed = parse_request(text.as_bytes(), &Limits::default());
        parsed.unwrap().unwrap().0
    }

    #[test]
    fn a_bearer_token_wins_and_a_malformed_one_denies() {
        for (fields, want) in [
            ("Authorization: Bearer sk-1\r\n", Some("sk-1")),
            ("authorization: bearer   sk-1 \r\n", Some("sk-1")),
            ("AUTHORIZATION: BEARER sk-1\r\n", Some("sk-1")),
            ("x-api-key: sk-2\r\n", Some("sk-2")),
            ("X-Api-Key:  sk-2 \r\n", Some("sk-2")),
            (
                "x-api-key: sk-2\r\nauthorization: Bearer sk-1\r\n",
                Some("sk-1"),
            ),
            ("", None),
            ("authorization: Basic c2s=\r\nx-api-key: sk-2\r\n", None),
            ("authorization: Bearer\r\nx-api-key: sk-2\r\n", None),
            ("authorization: Bearer  \r\nx-api-key: sk-2\r\n", None),
            ("authorization: Bearersk-1\r\n", None),
            ("authorization: sk-1\r\n", None),
            ("authorization: \r\nx-api-key: sk-2\r\n", None),
            ("x-api-key: \r\n", None),
            (
                "authorization: Bearer a\r\nauthorization: Bearer b\r\n",
                None,
            ),
            ("x-api-key: a\r\nx-api-key: b\r\n", None),
        ] {
            let head = head(fields);
            let got = presented(&head).map(String::from_utf8_lossy);
            assert_eq!(got.as_deref(), want, "{fields}");
        }
    }
}
