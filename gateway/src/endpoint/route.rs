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

/// One path that the gateway serves itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Served {
    /// The path; one that ends in a slash is followed by a parameter.
    pub path: &'static str,
    pub endpoint: Endpoint,
}

/// Makes the table of paths, and of the same rows the look-up in it: comparisons that are compiled, no
/// loop over the table.
macro_rules! routes {
    (exact: $($path:literal => $exact:ident),+; below: $($prefix:literal => $below:ident),+;) => {
        /// Every path that is served, passthrough routes apart.
        pub const ROUTES: &[Served] = &[
            $(Served { path: $path, endpoint: Endpoint::$exact },)+
            $(Served { path: $prefix, endpoint: Endpoint::$below },)+
        ];

        /// The endpoint at `path`, with its parameter as sent.
        fn find(path: &str) -> Option<(Endpoint, Option<&str>)> {
            match path {
                $($path => Some((Endpoint::$exact, None)),)+
                $(_ if is_below(path, $prefix) => {
                    Some((Endpoint::$below, path.strip_prefix($prefix)))
                })+
                _ => None,
            }
        }
    };
}

routes! {
    exact:
        "/v1/chat/completions" => ChatCompletions,
        "/v1/completions" => Completions,
        "/v1/embeddings" => Embeddings,
        "/v1/messages" => Messages,
        "/v1/messages/count_tokens" => CountTokens,
        "/v1/responses" => Responses,
        "/v1/models" => Models,
        "/livez" => Livez,
        "/readyz" => Readyz;
    below:
        // Names like `openai/gpt-4o` are common, and many clients leave their slash as it is.
        "/v1/models/" => Model;
}

/// Whether something follows `prefix` in `path`.
fn is_below(path: &str, prefix: &str) -> bool {
    path.len() > prefix.len() && path.starts_with(prefix)
}

/// Finds the endpoint of a request. `path` is the rewritten one, without query; a trailing slash
/// makes it another path. HEAD is served wherever GET is.
pub fn route<'p>(method: &Method, path: &'p str) -> Routed<'p> {
    let Some((endpoint, parameter)) = find(path) else {
        return match path.starts_with("/passthrough/") {
            true => Routed::Gone,
            false => Routed::NotFound,
        };
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
    fn every_row_of_the_table_is_found_at_its_path() {
        let mut seen = std::collections::HashSet::new();
        for served in ROUTES {
            assert!(seen.insert(served.path), "{} twice", served.path);
            let method = match served.endpoint.takes_body() {
                true => Method::Post,
                false => Method::Get,
            };
            let (path, parameter) = match served.path.ends_with('/') {
                true => (format!("{}x", served.path), Some("x")),
                false => (served.path.to_owned(), None),
            };
            let want = Routed::Endpoint(served.endpoint, parameter);
            assert_eq!(route(&method, &path), want, "{path}");
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
