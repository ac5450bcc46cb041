//! Why a request failed: status, envelope, side at fault. [pure]
//!
//! The caller's message and the log's detail are separate: what an upstream, a library or the
//! configuration said in its own words goes to [`Rejection::detail`] only, and the caller gets the
//! fixed sentence of the class with the request id.

mod envelope;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::bridge::domain::Overload;
use crate::limit::Limited;

/// Seconds a caller is asked to stay away when the gateway is full: long enough to shed a spike.
const OVERLOAD_RETRY_SECS: u32 = 1;

/// Longest part of a caller's text that a message repeats, in bytes.
const QUOTED_BYTES_MAX: usize = 256;

/// Why a request was not relayed to its end.
#[derive(Debug)]
pub enum Rejection {
    /// The head broke HTTP or a limit of the codec; the sentence says which.
    Head { status: u16, message: &'static str },
    /// The body is not what the endpoint takes. `problem` names the field where one is at fault.
    InvalidRequest {
        problem: Cow<'static, str>,
        param: Option<&'static str>,
    },
    /// The body ended early or broke its framing.
    BodyUnreadable,
    /// The body did not arrive in time.
    BodyTimeout,
    /// The body exceeds this many bytes.
    BodyTooLarge { limit: u64 },
    /// A path parameter has malformed percent-encoding.
    PathParameter,
    /// No endpoint has this path.
    UnknownUrl,
    /// A path with `.` or `..` segments, however they are written.
    UnconfinedPath,
    /// The endpoint has other methods; `allow` is the `Allow` header's value.
    MethodNotAllowed { allow: &'static str },
    /// The endpoint existed once.
    EndpointRemoved,
    /// The caller is not known.
    Unauthenticated(AuthFault),
    /// The header in which a passthrough route looks for a key holds none that is known.
    HeaderKey { header: Box<str> },
    /// The key's `allowed_routes` does not admit the passthrough route.
    RouteForbidden { route: Box<str> },
    /// No such model.
    ModelNotFound { model: Box<str> },
    /// The key's `allowed_models` does not admit the name.
    ModelForbidden { model: Box<str> },
    /// The `allowed_cidrs` of the model, or the `source_cidrs` of the route, do not admit the caller's
    /// address.
    IpRestricted,
    /// The target cannot be served by this gateway; the sentence says why.
    ProviderUnavailable(&'static str),
    /// No target of the group may be tried now.
    AllUnavailable { retry_after_secs: u32 },
    /// A limit of the caller, its model or a policy is reached.
    RateLimited(Box<Limited>),
    /// The target's provider has no such endpoint.
    NotImplemented,
    /// The stored upstream settings cannot be used; the sentence names the setting.
    UpstreamUnusable(&'static str),
    /// The stored upstream credential cannot be sent.
    CredentialUnusable,
    /// A fault of the gateway while it built the upstream request.
    Config { detail: String },
    /// The upstream answered with an error.
    Upstream(Box<UpstreamError>),
    /// No answer, or no next event, within the deadline.
    UpstreamTimeout { after_ms: u64 },
    /// The upstream could not be reached, or the connection to it broke.
    Transport { detail: String },
    /// The upstream answered success with something that could not be understood.
    Decode { detail: Cow<'static, str> },
    /// A stream ended before it was complete.
    StreamAborted,
    /// There is no more room for it.
    Overloaded(Overload),
    /// The gateway is shutting down.
    Draining,
    /// A fault of the gateway itself.
    Internal { detail: String },
}

/// What is wrong with a caller's credential.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AuthFault {
    /// None was presented, or not as a bearer token.
    Missing,
    /// No key has this digest.
    Unknown,
    Disabled,
    Expired,
}

/// An error an upstream reported, fit to be shown: cut to size, without control characters.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct UpstreamError {
    /// Status of the upstream's answer, or embedded in its stream; 0 where a stream named none.
    pub upstream_status: u16,
    /// The provider's own words. Callers see those about a client error; of others the status.
    pub message: Option<Box<str>>,
    pub param: Option<Box<str>>,
    pub code: Option<Box<str>>,
    /// Seconds until the upstream wants to be asked again.
    pub retry_after_secs: Option<u32>,
    /// Whether the error came inside a stream that had begun with status 200.
    pub in_band: bool,
}

impl UpstreamError {
    /// The status passed on: client errors as they are, overload as such, everything else as 502.
    pub fn status(&self) -> u16 {
        match self.upstream_status {
            status @ 400..=499 => status,
            529 => 503,
            _ => 502,
        }
    }

    /// The provider's words, where a caller may see them.
    fn shown(&self) -> Option<&str> {
        let about_the_request = (400..=499).contains(&self.upstream_status);
        self.message.as_deref().filter(|_| about_the_request)
    }
}

/// Who is at fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    Caller,
    Upstream,
    Gateway,
}

impl Rejection {
    /// A body that is valid JSON but not a valid request: `field` is at fault.
    pub fn field(field: &'static str, fault: &str) -> Self {
        Self::InvalidRequest {
            problem: format!("{field}: {fault}").into(),
            param: Some(field),
        }
    }

    /// HTTP status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            Self::Head { status, .. } => *status,
            Self::InvalidRequest { .. }
            | Self::BodyUnreadable
            | Self::PathParameter
            | Self::UnconfinedPath
            | Self::UpstreamUnusable(_) => 400,
            Self::Unauthenticated(_) | Self::HeaderKey { .. } | Self::CredentialUnusable => 401,
            Self::ModelForbidden { .. } | Self::RouteForbidden { .. } | Self::IpRestricted => 403,
            Self::UnknownUrl | Self::ModelNotFound { .. } => 404,
            Self::MethodNotAllowed { .. } => 405,
            Self::BodyTimeout => 408,
            Self::EndpointRemoved => 410,
            Self::BodyTooLarge { .. } => 413,
            Self::Config { .. } | Self::Internal { .. } => 500,
            Self::NotImplemented => 501,
            Self::Transport { .. } | Self::Decode { .. } | Self::StreamAborted => 502,
            Self::RateLimited(_) => 429,
            Self::ProviderUnavailable(_)
            | Self::AllUnavailable { .. }
            | Self::Overloaded(_)
            | Self::Draining => 503,
            Self::UpstreamTimeout { .. } => 504,
            Self::Upstream(error) => error.status(),
        }
    }

    /// The envelope's `type`, which is also the error kind of logs and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Head { .. }
            | Self::InvalidRequest { .. }
            | Self::BodyUnreadable
            | Self::BodyTimeout
            | Self::BodyTooLarge { .. }
            | Self::PathParameter
            | Self::UnknownUrl
            | Self::UnconfinedPath
            | Self::MethodNotAllowed { .. }
            | Self::EndpointRemoved
            | Self::UpstreamUnusable(_) => "invalid_request_error",
            Self::Unauthenticated(_) | Self::HeaderKey { .. } => "invalid_api_key",
            Self::ModelNotFound { .. } => "model_not_found",
            Self::ModelForbidden { .. } | Self::RouteForbidden { .. } | Self::IpRestricted => {
                "permission_denied"
            }
            Self::ProviderUnavailable(_) => "provider_unavailable",
            Self::AllUnavailable { .. } => "all_candidates_unavailable",
            Self::RateLimited(_) => "rate_limit_exceeded",
            Self::NotImplemented => "not_implemented",
            Self::CredentialUnusable => "authentication_error",
            Self::Config { .. } => "config_error",
            Self::Upstream(_) => "upstream_error",
            Self::UpstreamTimeout { .. } => "timeout",
            Self::Transport { .. } => "transport_error",
            Self::Decode { .. } => "upstream_decode_error",
            Self::StreamAborted => "stream_aborted",
            Self::Overloaded(_) => "overloaded",
            Self::Draining => "shutting_down",
            Self::Internal { .. } => "api_error",
        }
    }

    /// The envelope's `code`: the specific one, or the type where there is none.
    pub fn code(&self) -> &str {
        let specific = match self {
            Self::BodyTimeout => Some("request_timeout"),
            Self::BodyTooLarge { .. } => Some("request_too_large"),
            Self::UnknownUrl | Self::MethodNotAllowed { .. } => Some("unknown_url"),
            Self::EndpointRemoved => Some("endpoint_removed"),
            Self::Unauthenticated(AuthFault::Disabled) => Some("api_key_disabled"),
            Self::Unauthenticated(AuthFault::Expired) => Some("api_key_expired"),
            Self::IpRestricted => Some("ip_restricted"),
            Self::Upstream(error) => error.code.as_deref(),
            Self::Unauthenticated(AuthFault::Missing | AuthFault::Unknown)
            | Self::Head { .. }
            | Self::InvalidRequest { .. }
            | Self::BodyUnreadable
            | Self::PathParameter
            | Self::UnconfinedPath
            | Self::HeaderKey { .. }
            | Self::RouteForbidden { .. }
            | Self::UpstreamUnusable(_)
            | Self::ModelNotFound { .. }
            | Self::ModelForbidden { .. }
            | Self::ProviderUnavailable(_)
            | Self::AllUnavailable { .. }
            | Self::RateLimited(_)
            | Self::NotImplemented
            | Self::CredentialUnusable
            | Self::Config { .. }
            | Self::UpstreamTimeout { .. }
            | Self::Transport { .. }
            | Self::Decode { .. }
            | Self::StreamAborted
            | Self::Overloaded(_)
            | Self::Draining
            | Self::Internal { .. } => None,
        };
        specific.unwrap_or_else(|| self.kind())
    }

    /// The envelope's `param`: the request field at fault.
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::InvalidRequest { param, .. } => *param,
            Self::ModelNotFound { .. } | Self::ModelForbidden { .. } => Some("model"),
            Self::Upstream(error) => error.param.as_deref(),
            _ => None,
        }
    }

    /// Value of the answer's `Retry-After` header.
    pub fn retry_after_secs(&self) -> Option<u32> {
        match self {
            Self::Upstream(error) => error.retry_after_secs,
            Self::AllUnavailable { retry_after_secs } => Some(*retry_after_secs),
            Self::RateLimited(limited) => Some(limited.retry_after_secs),
            Self::Overloaded(_) | Self::Draining => Some(OVERLOAD_RETRY_SECS),
            _ => None,
        }
    }

    /// Value of the answer's `Allow` header.
    pub fn allow(&self) -> Option<&'static str> {
        match self {
            Self::MethodNotAllowed { allow } => Some(allow),
            _ => None,
        }
    }

    /// Who is at fault.
    pub fn side(&self) -> Side {
        match self {
            Self::Head { .. }
            | Self::InvalidRequest { .. }
            | Self::BodyUnreadable
            | Self::BodyTimeout
            | Self::BodyTooLarge { .. }
            | Self::PathParameter
            | Self::UnknownUrl
            | Self::UnconfinedPath
            | Self::MethodNotAllowed { .. }
            | Self::EndpointRemoved
            | Self::Unauthenticated(_)
            | Self::HeaderKey { .. }
            | Self::RouteForbidden { .. }
            | Self::ModelNotFound { .. }
            | Self::ModelForbidden { .. }
            | Self::IpRestricted
            | Self::RateLimited(_) => Side::Caller,
            Self::Upstream(_)
            | Self::UpstreamTimeout { .. }
            | Self::Transport { .. }
            | Self::Decode { .. }
            | Self::StreamAborted => Side::Upstream,
            Self::ProviderUnavailable(_)
            | Self::AllUnavailable { .. }
            | Self::NotImplemented
            | Self::UpstreamUnusable(_)
            | Self::CredentialUnusable
            | Self::Config { .. }
            | Self::Overloaded(_)
            | Self::Draining
            | Self::Internal { .. } => Side::Gateway,
        }
    }

    /// What the log says beyond the message; never shown to a caller.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Config { detail } | Self::Transport { detail } | Self::Internal { detail } => {
                Some(detail.clone())
            }
            Self::Decode { detail } => Some(detail.clone().into_owned()),
            Self::Overloaded(what) => Some(format!("the bound of {} is reached", what.setting())),
            Self::Upstream(error) => {
                // The message may quote the prompt, which no log shows.
                let code = error.code.as_deref().unwrap_or("no code");
                Some(format!("upstream status {}: {code}", error.upstream_status))
            }
            _ => None,
        }
    }
}

/// The part of a caller's `text` that a message may repeat.
fn quoted(text: &str) -> &str {
    text.get(..text.floor_char_boundary(QUOTED_BYTES_MAX))
        .unwrap_or_default()
}
