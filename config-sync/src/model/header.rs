//! Which request headers an operator or a caller may set on upstream requests. [pure]

/// Set by the gateway alone: credentials and what decides where a request goes.
const RESERVED: [&str; 12] = [
    "authorization",
    "x-api-key",
    "x-goog-api-key",
    "api-key",
    "x-amz-security-token",
    "x-amz-date",
    "x-amz-content-sha256",
    "x-amz-target",
    "x-amzn-bedrock-accept",
    "proxy-authorization",
    "cookie",
    "host",
];

/// Framing and hop-by-hop headers: written by the codec, and a way to smuggle if set by others.
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether `name` (lower case) is a header that a document must not set.
pub(crate) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name) || FRAMING.contains(&name)
}

/// Whether `name` is a legal header name (RFC 9110, 5.6.2).
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tokens() {
        for name in ["x-tenant", "X_1", "anthropic-beta"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "a b", "a:b", "a\r\n", "é", "x\0"] {
            assert!(!is_name(name), "{name:?}");
        }
    }

    #[test]
    fn credentials_and_framing_are_reserved() {
        for name in [
            "authorization",
            "host",
            "content-length",
            "transfer-encoding",
            "cookie",
        ] {
            assert!(is_reserved(name), "{name}");
        }
        for name in ["x-tenant", "traceparent", "anthropic-version"] {
            assert!(!is_reserved(name), "{name}");
        }
    }
}
