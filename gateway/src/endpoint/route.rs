//! From method and path to an endpoint. [pure]

use super::Endpoint;
use crate::dialect::Dialect;
use crate::http::h1::Method;

const ALLOW_READ: &str = "GET, HEAD";
const ALLOW_POST: &str = "POST";

/// Where a request goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Routed<'p> {
    /// An endpoint, with its path parameter as sent (percent-encoded).
    Endpoint(Endpoint, Option<&'p str>),
    /// A known path with another method.
    MethodNotAllowed {
        allow: &'static str,
        endpoint: Endpoint,
    },
    /// No such path.
    NotFound,
    /// Below `/passthrough/`, which is gone.
    Gone,
}

impl Routed<'_> {
    /// The endpoint whose path it is.
    pub fn endpoint(&self) -> Option<Endpoint> {
        match *self {
            Self::Endpoint(endpoint, _) | Self::MethodNotAllowed { endpoint, .. } => Some(endpoint),
            Self::NotFound | Self::Gone => None,
        }
    }

    /// The protocol in which the caller wants to be told what is wrong.
    pub fn dialect(&self) -> Dialect {
        self.endpoint().map_or(Dialect::Openai, Endpoint::dialect)
    }
}

/// Finds the endpoint of a request. `path` is the rewritten one, without query; a trailing slash
/// makes it another path. HEAD is served wherever GET is.
pub fn route<'p>(method: &Method, path: &'p str) -> Routed<'p> {
    let (endpoint, parameter) = match path {
        "/v1/chat/completions" => (Endpoint::ChatCompletions, None),
        "/v1/completions" => (Endpoint::Completions, None),
        "/v1/embeddings" => (Endpoint::Embeddings, None),
        "/v1/messages" => (Endpoint::Messages, None),
        "/v1/messages/count_tokens" => (Endpoint::CountTokens, None),
        "/v1/responses" => (Endpoint::Responses, None),
        "/v1/models" => (Endpoint::Models, None),
        "/livez" => (Endpoint::Livez, None),
        "/readyz" => (Endpoint::Readyz, None),
        _ => match path.strip_prefix("/v1/models/") {
            // Names like `openai/gpt-4o` are common, and many clients leave their slash as it is.
            Some(name) if !name.is_empty() => (Endpoint::Model, Some(name)),
            _ if path.starts_with("/passthrough/") => return Routed::Gone,
            _ => return Routed::NotFound,
        },
    };
    let allow = if endpoint.takes_body() {
        ALLOW_POST
    } else {
        ALLOW_READ
    };
    let allowed = match method {
        Method::Post => allow == ALLOW_POST,
        Method::Get | Method::Head => allow == ALLOW_READ,
        _ => false,
    };
    if allowed {
        Routed::Endpoint(endpoint, parameter)
    } else {
        Routed::MethodNotAllowed { allow, endpoint }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_exact_and_methods_are_checked_after_them() {
        use Endpoint::{
            ChatCompletions, Completions, CountTokens, Embeddings, Livez, Messages, Model, Models,
            Readyz, Responses,
        };
        let wrong = |allow, endpoint| Routed::MethodNotAllowed { allow, endpoint };
        let found = |endpoint| Routed::Endpoint(endpoint, None);
        let named = |name| Routed::Endpoint(Model, Some(name));
        let cases = [
            (Method::Post, "/v1/chat/completions", found(ChatCompletions)),
            (Method::Post, "/v1/completions", found(Completions)),
            (Method::Post, "/v1/embeddings", found(Embeddings)),
            (Method::Get, "/v1/models", found(Models)),
            (Method::Head, "/v1/models", found(Models)),
            (Method::Get, "/v1/models/gpt-4o", named("gpt-4o")),
            (Method::Get, "/v1/models/a/b%20c", named("a/b%20c")),
            (Method::Get, "/v1/models/", Routed::NotFound),
            (Method::Get, "/livez", found(Livez)),
            (Method::Head, "/readyz", found(Readyz)),
            (
                Method::Get,
                "/v1/chat/completions",
                wrong("POST", ChatCompletions),
            ),
            (Method::Head, "/v1/embeddings", wrong("POST", Embeddings)),
            (
                Method::Options,
                "/v1/completions",
                wrong("POST", Completions),
            ),
            (Method::Get, "/v1/messages", wrong("POST", Messages)),
            (Method::Post, "/v1/messages", found(Messages)),
            (
                Method::Post,
                "/v1/messages/count_tokens",
                found(CountTokens),
            ),
            (Method::Post, "/v1/messages/batches", Routed::NotFound),
            (Method::Post, "/v1/responses", found(Responses)),
            (Method::Post, "/v1/responses/resp_1", Routed::NotFound),
            (Method::Post, "/v1/models", wrong("GET, HEAD", Models)),
            (Method::Delete, "/v1/models/x", wrong("GET, HEAD", Model)),
            (Method::Post, "/livez", wrong("GET, HEAD", Livez)),
            (
                Method::Other("BREW".into()),
                "/readyz",
                wrong("GET, HEAD", Readyz),
            ),
            (Method::Post, "/v1/chat/completions/", Routed::NotFound),
            (Method::Post, "/V1/completions", Routed::NotFound),
            (Method::Get, "/", Routed::NotFound),
            (Method::Get, "", Routed::NotFound),
            (Method::Get, "/passthrough", Routed::NotFound),
            (Method::Post, "/passthrough/openai/v1", Routed::Gone),
        ];
        for (method, path, want) in cases {
            assert_eq!(route(&method, path), want, "{method:?} {path}");
        }
    }

    #[test]
    fn only_probes_need_no_key_and_only_forwarded_calls_have_an_upstream_path() {
        for endpoint in [Endpoint::Livez, Endpoint::Readyz] {
            assert!(!endpoint.needs_key() && !endpoint.takes_body());
            assert_eq!(endpoint.label(), "other");
        }
        for endpoint in [
            Endpoint::ChatCompletions,
            Endpoint::Completions,
            Endpoint::Embeddings,
            Endpoint::Messages,
            Endpoint::CountTokens,
            Endpoint::Responses,
        ] {
            assert!(endpoint.needs_key() && endpoint.takes_body());
            assert_eq!(endpoint.label(), format!("/v1{}", endpoint.path()));
        }
    }
}
