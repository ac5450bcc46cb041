//! Why an upstream gave no usable response. [pure]

use std::fmt;
use std::io;
use std::time::Duration;

use crate::bridge::dns::DnsError;
use crate::bridge::domain::Overload;
use crate::http::h1::{BodyError, ResponseError};
use crate::rejection::Rejection;

/// One attempt's failure below the level of HTTP statuses.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The provider key has no base URL.
    NoBase,
    /// The host's name has no address.
    Resolve(DnsError),
    /// No address took the connection.
    Connect(io::Error),
    /// Connecting took longer than `upstream.connect_timeout_ms`.
    ConnectTimeout(Duration),
    /// The trust settings of the upstream are unusable.
    TlsSettings(Box<str>),
    /// The TLS handshake failed.
    Tls(io::Error),
    /// A deadline passed while waiting for the response.
    Timeout(Duration),
    /// The connection was closed before a byte of a response came.
    ClosedBeforeHead {
        /// Whether it had carried a request before.
        reused: bool,
    },
    /// The connection failed.
    Broken(io::Error),
    /// The response ended in the middle.
    Truncated,
    /// The response head is not HTTP.
    MalformedHead(ResponseError),
    /// The response body's framing is broken.
    MalformedBody(BodyError),
    /// One interim response after the other.
    TooManyInterims,
    /// A unary response beyond the bound.
    TooLarge,
    /// A unary response that there is no room for.
    NoRoom,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBase => f.write_str("the provider key has no api_base"),
            Self::Resolve(error) => write!(f, "name resolution failed: {}", error.message()),
            Self::Connect(error) => write!(f, "connect failed: {error}"),
            Self::ConnectTimeout(limit) => {
                write!(f, "connect took longer than {} ms", limit.as_millis())
            }
            Self::TlsSettings(cause) => write!(f, "unusable TLS settings: {cause}"),
            Self::Tls(error) => write!(f, "TLS handshake failed: {error}"),
            Self::Timeout(limit) => write!(f, "no response within {} ms", limit.as_millis()),
            Self::ClosedBeforeHead { .. } => f.write_str("closed before a response head came"),
            Self::Broken(error) => write!(f, "connection failed: {error}"),
            Self::Truncated => f.write_str("the response ended in the middle"),
            Self::MalformedHead(error) => write!(f, "malformed response head: {error:?}"),
            Self::MalformedBody(error) => write!(f, "malformed response body: {error:?}"),
            Self::TooManyInterims => f.write_str("too many interim responses"),
            Self::TooLarge => f.write_str("the response is larger than the bound"),
            Self::NoRoom => f.write_str("there is no room for the response"),
        }
    }
}

impl From<Failure> for Rejection {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NoRoom => Self::Overloaded(Overload::Bodies),
            Failure::ConnectTimeout(limit) | Failure::Timeout(limit) => Self::UpstreamTimeout {
                after_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
            },
            Failure::NoBase | Failure::TlsSettings(_) => Self::Config {
                detail: failure.to_string(),
            },
            Failure::MalformedHead(_)
            | Failure::MalformedBody(_)
            | Failure::TooManyInterims
            | Failure::TooLarge => Self::Decode {
                detail: failure.to_string().into(),
            },
            Failure::Resolve(_)
            | Failure::Connect(_)
            | Failure::Tls(_)
            | Failure::ClosedBeforeHead { .. }
            | Failure::Broken(_)
            | Failure::Truncated => Self::Transport {
                detail: failure.to_string(),
            },
        }
    }
}
