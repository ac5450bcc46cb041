//! Why a response head is not believed. [pure]

use std::fmt;

/// A response head that is not relayed. All of these are the upstream's fault: the caller gets a
/// 502, and the upstream connection is closed, since where the next response starts is not known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ResponseError {
    /// A line ended by LF without CR.
    BareLf,
    /// Not `HTTP/1.x SP 3DIGIT [SP reason]`, a status below 100, or bytes ahead of the line.
    StatusLine,
    /// A header line that is none: bad name, obs-fold, control bytes.
    Header,
    /// A head longer than `Limits::head_bytes_max`.
    HeadTooLong,
    /// More lines than `Limits::headers_max`.
    TooManyHeaders,
    /// A `Content-Length` that is not `1*DIGIT` within 64 bits.
    ContentLength,
    /// Two different `Content-Length`s.
    ConflictingContentLength,
    /// `Transfer-Encoding` and `Content-Length` in one head.
    CodingAndLength,
    /// `Transfer-Encoding` in HTTP/1.0.
    CodingInHttp10,
    /// Codings other than exactly `chunked`, or more than one line of them.
    TransferEncoding,
}

impl ResponseError {
    /// A sentence for the log. Holds nothing of the response.
    pub fn message(&self) -> &'static str {
        match self {
            Self::BareLf => "malformed response head: LF without CR",
            Self::StatusLine => "malformed status line",
            Self::Header => "malformed response header",
            Self::HeadTooLong => "response head is too large",
            Self::TooManyHeaders => "too many response headers",
            Self::ContentLength => "malformed Content-Length header in the response",
            Self::ConflictingContentLength => "conflicting Content-Length headers in the response",
            Self::CodingAndLength => "Transfer-Encoding and Content-Length in one response",
            Self::CodingInHttp10 => "Transfer-Encoding in an HTTP/1.0 response",
            Self::TransferEncoding => "unsupported Transfer-Encoding in the response",
        }
    }
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for ResponseError {}
