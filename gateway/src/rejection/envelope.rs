//! A rejection as the caller's protocol shows it. [pure]
//!
//! The message is the same in every dialect; what stands around it differs.

use super::{AuthFault, Rejection, quoted};
use crate::dialect::Dialect;
use crate::json::text::write_escaped;
use crate::limit::Dimension;

impl Rejection {
    /// Appends the body of the answer, absent members left out: `{"error":{"message",…,"request_id"}}`,
    /// or Anthropic's `{"type":"error","error":{"type","message"},"request_id"}`.
    pub fn write_envelope(&self, dialect: Dialect, request_id: &str, out: &mut Vec<u8>) {
        match dialect {
            Dialect::Openai | Dialect::Responses => {
                self.write_openai(self.kind(), request_id, out);
            }
            Dialect::Anthropic => self.write_anthropic(request_id, out),
        }
    }

    /// Appends the last event of a stream that had begun. No `[DONE]` may follow.
    ///
    /// On Responses it is the bare `error` event, for a stream of which nothing else is known.
    pub fn write_stream_error(&self, dialect: Dialect, request_id: &str, out: &mut Vec<u8>) {
        let kind = match self {
            Self::Upstream(error) if error.in_band => "upstream_in_band_error",
            _ => self.kind(),
        };
        out.extend_from_slice(b"event: error\ndata: ");
        match dialect {
            Dialect::Openai => self.write_openai(kind, request_id, out),
            Dialect::Anthropic => self.write_anthropic(request_id, out),
            Dialect::Responses => self.write_responses_event(request_id, out),
        }
        out.extend_from_slice(b"\n\n");
    }

    fn write_anthropic(&self, request_id: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"type\":\"error\",\"error\":{\"type\":\"");
        out.extend_from_slice(self.anthropic_type().as_bytes());
        out.extend_from_slice(b"\",\"message\":\"");
        self.write_message(request_id, out);
        out.extend_from_slice(b"\"},\"request_id\":\"");
        write_escaped(request_id, out);
        out.extend_from_slice(b"\"}");
    }

    fn write_responses_event(&self, request_id: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"type\":\"error\",\"code\":\"");
        write_escaped(self.code(), out);
        out.extend_from_slice(b"\",\"message\":\"");
        self.write_message(request_id, out);
        out.extend_from_slice(b"\",\"param\":null}");
    }

    /// The `type` of Anthropic's closed list, by status.
    pub fn anthropic_type(&self) -> &'static str {
        match self.status() {
            400 | 422 => "invalid_request_error",
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            408 => "timeout_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            503 => "overloaded_error",
            _ => "api_error",
        }
    }

    fn write_openai(&self, kind: &str, request_id: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"error\":{\"message\":\"");
        self.write_message(request_id, out);
        member("type", kind, out);
        if let Some(param) = self.param() {
            member("param", param, out);
        }
        member("code", self.code(), out);
        member("request_id", request_id, out);
        out.push(b'"');
        if let Self::RateLimited(limited) = self
            && let Some(policy) = &limited.policy
        {
            out.extend_from_slice(b",\"policy\":{\"id\":\"");
            write_escaped(&policy.id, out);
            member("name", &policy.name, out);
            out.extend_from_slice(b"\"}");
        }
        out.extend_from_slice(b"}}");
    }

    /// Appends the sentence for the caller, escaped.
    pub fn write_message(&self, request_id: &str, out: &mut Vec<u8>) {
        match self {
            Self::InvalidRequest { problem, .. } => {
                out.extend_from_slice(b"request payload is invalid: ");
                write_escaped(problem, out);
            }
            Self::BodyTooLarge { limit } => {
                around("request body exceeds ", *limit, "-byte limit", out);
            }
            Self::ModelNotFound { model } => {
                out.extend_from_slice(b"model \\\"");
                write_escaped(quoted(model), out);
                out.extend_from_slice(b"\\\" not found");
            }
            Self::ModelForbidden { model } => {
                out.extend_from_slice(b"this API key may not use model \\\"");
                write_escaped(quoted(model), out);
                out.extend_from_slice(b"\\\"");
            }
            Self::HeaderKey { header } => {
                out.extend_from_slice(b"missing or invalid API key in header \\\"");
                write_escaped(quoted(header), out);
                out.extend_from_slice(b"\\\"");
            }
            Self::RouteForbidden { route } => {
                out.extend_from_slice(b"this API key may not use passthrough route \\\"");
                write_escaped(quoted(route), out);
                out.extend_from_slice(b"\\\"");
            }
            Self::Upstream(error) => match error.shown() {
                Some(message) => write_escaped(message, out),
                None if error.upstream_status == 0 => {
                    out.extend_from_slice(b"upstream reported an error");
                }
                None => around("upstream returned ", error.upstream_status.into(), "", out),
            },
            Self::RateLimited(limited) => {
                let sentence = match limited.dimension {
                    Dimension::Requests => "request limit exceeded (requests)",
                    Dimension::Tokens => "token limit exceeded (tokens)",
                    Dimension::Concurrency => "concurrency limit exceeded",
                };
                out.extend_from_slice(sentence.as_bytes());
                if let Some(policy) = &limited.policy {
                    out.extend_from_slice(b": ");
                    write_escaped(quoted(&policy.name), out);
                }
            }
            Self::UpstreamTimeout { after_ms } => {
                around("upstream request timed out after ", *after_ms, "ms", out);
            }
            _ => {
                write_escaped(self.sentence(), out);
                if self.hides_detail() {
                    out.extend_from_slice(b" (request id ");
                    write_escaped(request_id, out);
                    out.push(b')');
                }
            }
        }
    }

    /// The fixed sentence of a class; empty for classes whose message has parts.
    fn sentence(&self) -> &'static str {
        match self {
            Self::Head { message, .. } => message,
            Self::BodyUnreadable => "failed to read request body",
            Self::BodyTimeout => "the request body did not arrive in time",
            Self::PathParameter => "invalid path parameter",
            Self::UnknownUrl => "unknown request URL",
            Self::UnconfinedPath => "the path must not hold `.` or `..` segments",
            Self::MethodNotAllowed { .. } => "method not allowed for this URL",
            Self::EndpointRemoved => "this endpoint has been removed",
            Self::Unauthenticated(AuthFault::Missing) => {
                "missing or malformed Authorization header"
            }
            Self::Unauthenticated(AuthFault::Unknown) => "invalid API key",
            Self::Unauthenticated(AuthFault::Disabled) => "key is disabled",
            Self::Unauthenticated(AuthFault::Expired) => "key has expired",
            Self::IpRestricted => "requests from this address are not allowed",
            Self::ProviderUnavailable(sentence) | Self::UpstreamUnusable(sentence) => sentence,
            Self::CredentialUnusable => {
                "the upstream credential of this model is not usable: \
                 api_key must be a non-empty legal header value"
            }
            Self::AllUnavailable { .. } => "no target of this model is available; try again later",
            Self::NotImplemented => "the provider of this model has no such endpoint",
            Self::Config { .. } => "the gateway could not build the upstream request",
            Self::Transport { .. } => "the connection to the upstream failed",
            Self::Decode { .. } => "the upstream's answer could not be understood",
            Self::StreamAborted => "the upstream's stream ended before it was complete",
            Self::Overloaded(_) => "the gateway is at its capacity; try again later",
            Self::Draining => "the gateway is shutting down; try again",
            Self::Internal { .. } => "internal error",
            Self::InvalidRequest { .. }
            | Self::BodyTooLarge { .. }
            | Self::HeaderKey { .. }
            | Self::RouteForbidden { .. }
            | Self::ModelNotFound { .. }
            | Self::ModelForbidden { .. }
            | Self::RateLimited(_)
            | Self::Upstream(_)
            | Self::UpstreamTimeout { .. } => "",
        }
    }

    /// Whether only the log knows more, so that the caller needs the request id to ask for it.
    fn hides_detail(&self) -> bool {
        matches!(
            self,
            Self::Config { .. }
                | Self::Transport { .. }
                | Self::Decode { .. }
                | Self::StreamAborted
                | Self::Internal { .. }
        )
    }
}

/// Ends the string before and appends one more member of the error object, its end quote left off.
fn member(name: &str, text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    write_escaped(text, out);
}

fn around(before: &str, number: u64, after: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(before.as_bytes());
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    out.extend_from_slice(after.as_bytes());
}
