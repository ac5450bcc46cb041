//! Why a request head is refused: the status and the sentence that the caller gets. [pure]

use std::fmt;

/// A request head that is not served. All of these are the caller's fault, and after each of them
/// the connection is closed: where the next message would start is not known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HeadError {
    /// A line ended by LF without CR, anywhere in the head.
    BareLf,
    /// A CR that no LF follows.
    BareCr,
    /// Not `method SP target SP version`, or bytes that are no HTTP at all.
    RequestLine,
    /// A method of more than 32 bytes: none that anybody implements.
    MethodTooLong,
    /// A target with control bytes, bytes beyond ASCII, or a fragment.
    Target,
    /// `CONNECT`, authority-form, `*` without `OPTIONS`, or a scheme that is not HTTP.
    TargetForm,
    /// A target longer than `Limits::uri_bytes_max`.
    TargetTooLong,
    /// Well-formed, but neither HTTP/1.0 nor HTTP/1.1.
    Version,
    /// A header line without colon, or whose name is no token.
    HeaderName,
    /// White space between a header's name and its colon.
    SpaceBeforeColon,
    /// A line that starts with white space: obs-fold.
    FoldedLine,
    /// NUL or another control byte in a header's value.
    HeaderValue,
    /// A head longer than `Limits::head_bytes_max`.
    HeadTooLong,
    /// More lines than `Limits::headers_max`.
    TooManyHeaders,
    /// HTTP/1.1 without `Host`.
    MissingHost,
    /// Two `Host` lines.
    RepeatedHost,
    /// A `Host` that is not `host [":" port]`.
    Host,
    /// A `Content-Length` that is not `1*DIGIT` within 64 bits.
    ContentLength,
    /// The same `Content-Length` twice, on two lines or in a list.
    RepeatedContentLength,
    /// Two different `Content-Length`s.
    ConflictingContentLength,
    /// `Transfer-Encoding` and `Content-Length` in one head.
    CodingAndLength,
    /// `Transfer-Encoding` in HTTP/1.0.
    CodingInHttp10,
    /// Two `Transfer-Encoding` lines.
    RepeatedTransferEncoding,
    /// `identity`, an empty member, or no list of codings.
    TransferEncoding,
    /// Codings other than exactly `chunked`.
    UnsupportedTransferEncoding,
    /// An `Expect` other than `100-continue`.
    Expectation,
}

impl HeadError {
    /// The status to answer with: 400, 414, 417, 431, 501 or 505.
    pub fn status(&self) -> u16 {
        match self {
            Self::BareLf
            | Self::BareCr
            | Self::RequestLine
            | Self::Target
            | Self::TargetForm
            | Self::HeaderName
            | Self::SpaceBeforeColon
            | Self::FoldedLine
            | Self::HeaderValue
            | Self::MissingHost
            | Self::RepeatedHost
            | Self::Host
            | Self::ContentLength
            | Self::RepeatedContentLength
            | Self::ConflictingContentLength
            | Self::CodingAndLength
            | Self::CodingInHttp10
            | Self::RepeatedTransferEncoding
            | Self::TransferEncoding => 400,
            Self::TargetTooLong => 414,
            Self::Expectation => 417,
            Self::HeadTooLong | Self::TooManyHeaders => 431,
            Self::MethodTooLong | Self::UnsupportedTransferEncoding => 501,
            Self::Version => 505,
        }
    }

    /// The sentence for the error envelope. Holds nothing of the request.
    pub fn message(&self) -> &'static str {
        match self {
            Self::BareLf => "malformed request head: LF without CR",
            Self::BareCr => "malformed request head: CR without LF",
            Self::RequestLine => "malformed request line",
            Self::MethodTooLong => "unknown method",
            Self::Target => "malformed request target",
            Self::TargetForm => "unsupported form of request target",
            Self::TargetTooLong => "request target is too long",
            Self::Version => "unsupported HTTP version",
            Self::HeaderName => "malformed header name",
            Self::SpaceBeforeColon => "malformed header: white space before the colon",
            Self::FoldedLine => "malformed header: folded line",
            Self::HeaderValue => "malformed header value",
            Self::HeadTooLong => "request head is too large",
            Self::TooManyHeaders => "too many request headers",
            Self::MissingHost => "missing Host header",
            Self::RepeatedHost => "repeated Host header",
            Self::Host => "malformed Host header",
            Self::ContentLength => "malformed Content-Length header",
            Self::RepeatedContentLength => "repeated Content-Length header",
            Self::ConflictingContentLength => "conflicting Content-Length headers",
            Self::CodingAndLength => "Transfer-Encoding and Content-Length in one request",
            Self::CodingInHttp10 => "Transfer-Encoding in an HTTP/1.0 request",
            Self::RepeatedTransferEncoding => "repeated Transfer-Encoding header",
            Self::TransferEncoding => "malformed Transfer-Encoding header",
            Self::UnsupportedTransferEncoding => "unsupported transfer coding",
            Self::Expectation => "unsupported expectation",
        }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for HeadError {}
