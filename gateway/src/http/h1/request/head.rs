//! A request head that passed every check. [pure]

use std::fmt;

use crate::http::h1::fields::{Fields, Span};
use crate::http::h1::framing::{BodyLength, Version};
use crate::http::h1::grammar::members;

/// A request method. Names are case-sensitive: `get` is `Other`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// `PATCH`
    Patch,
    /// `OPTIONS`
    Options,
    /// Any other token, at most 32 bytes. Never `CONNECT`, which is refused.
    Other(Box<str>),
}

impl Method {
    pub(super) fn parse(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "PATCH" => Self::Patch,
            "OPTIONS" => Self::Options,
            other => Self::Other(other.into()),
        }
    }

    /// The name as sent.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Patch => "PATCH",
            Self::Options => "OPTIONS",
            Self::Other(name) => name,
        }
    }

    /// The name for logs and labels, which must not grow with what callers invent: `OTHER` for
    /// whatever has no variant.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Patch => "PATCH",
            Self::Options => "OPTIONS",
            Self::Other(_) => "OTHER",
        }
    }
}

/// One parsed request head. Owns a single copy of its bytes, so the read buffer is free at once.
#[derive(Clone, Eq, PartialEq)]
pub struct RequestHead {
    pub(super) fields: Fields,
    pub(super) method: Method,
    pub(super) version: Version,
    pub(super) target: Span,
    pub(super) path: Span,
    pub(super) query: Option<Span>,
    pub(super) authority: Option<Span>,
    pub(super) body: BodyLength,
    pub(super) keep_alive: bool,
    pub(super) expects_continue: bool,
    pub(super) upgrade: bool,
}

impl RequestHead {
    /// Bytes of the head, its final blank line included.
    pub fn bytes_len(&self) -> usize {
        self.fields.head().len()
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The whole target as sent; printable ASCII.
    pub fn target(&self) -> &str {
        self.target.text(self.fields.head())
    }

    /// The path, still percent-encoded. `/` when an absolute-form target has none, `*` for `OPTIONS *`.
    pub fn path(&self) -> &str {
        match self.path.text(self.fields.head()) {
            "" => "/",
            path => path,
        }
    }

    /// What follows the first `?`, without it.
    pub fn query(&self) -> Option<&str> {
        self.query.map(|span| span.text(self.fields.head()))
    }

    /// Whom the request addresses: the authority of an absolute-form target, else `Host`
    /// (RFC 9112 3.2.2). `None` in HTTP/1.0 only. Use this, never `header("host")`.
    pub fn authority(&self) -> Option<&str> {
        self.authority.map(|span| span.text(self.fields.head()))
    }

    /// The version of this message.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Header lines in the order and case sent; values without surrounding white space.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter()
    }

    /// The first value of `name`, given in any case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.fields.first(name)
    }

    /// Every value of `name`, given in any case, in order.
    pub fn header_all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.fields.all(name)
    }

    /// Whether a `Connection` line names `name`, which is then for this hop only.
    pub fn is_connection_option(&self, name: &str) -> bool {
        self.fields
            .all("connection")
            .flat_map(members)
            .any(|option| option.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// How the body is delimited. Never [`BodyLength::UntilClose`].
    pub fn body(&self) -> BodyLength {
        self.body
    }

    /// Whether the caller wants to send another request on this connection.
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// Whether the caller holds its body back until it is sent `100 Continue`.
    pub fn expects_continue(&self) -> bool {
        self.expects_continue
    }

    /// Whether the caller asks to change the protocol. What to answer is up to the listener.
    pub fn is_upgrade(&self) -> bool {
        self.upgrade
    }
}

/// Names only: values hold credentials.
impl fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers().map(|(name, _)| name).collect();
        f.debug_struct("RequestHead")
            .field("method", &self.method)
            .field("path", &self.path())
            .field("version", &self.version)
            .field("headers", &names)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}
