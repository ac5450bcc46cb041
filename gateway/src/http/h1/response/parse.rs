//! Tokenises a response head, then judges it. [pure]

use std::mem::MaybeUninit;

use httparse::{Response, Status};

use super::error::ResponseError;
use super::head::ResponseHead;
use crate::http::h1::fields::Fields;
use crate::http::h1::framing::{BodyLength, ContentLength, Framing, TransferEncoding, Version};
use crate::http::h1::head_end::{HeadScanner, ScanError, Shape};
use crate::http::h1::limits::{HEADER_SLOTS, Limits};
use crate::http::h1::request::Method;

/// Parses the response head at the start of `buf`: the answer to a `request` of this method.
///
/// Returns it with the number of bytes it took, or `None` when more bytes are needed. Interim
/// responses are returned like any other; see [`ResponseHead::is_interim`]. Looks at `buf` from its
/// start on each call; on a connection use [`HeadScanner::parse_response`].
///
/// # Errors
///
/// [`ResponseError`], after which the connection is of no use.
pub fn parse_response(
    buf: &[u8],
    request: &Method,
    limits: &Limits,
) -> Result<Option<(ResponseHead, usize)>, ResponseError> {
    HeadScanner::new().parse_response(buf, request, limits)
}

impl HeadScanner {
    /// Like [`parse_response`], but looks only at what was appended to `buf` since the last call.
    ///
    /// # Errors
    ///
    /// [`ResponseError`], as soon as the bytes so far cannot become an acceptable head.
    pub fn parse_response(
        &mut self,
        buf: &[u8],
        request: &Method,
        limits: &Limits,
    ) -> Result<Option<(ResponseHead, usize)>, ResponseError> {
        let found = self.find(buf, &Shape::response(limits));
        let Some(range) = found.map_err(ResponseError::from)? else {
            return Ok(None);
        };
        let end = range.end;
        let head = parse(buf.get(range).unwrap_or_default(), request, limits)?;
        Ok(Some((head, end)))
    }
}

impl From<ScanError> for ResponseError {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Start => Self::StatusLine,
            ScanError::BareLf => Self::BareLf,
            ScanError::StartLineTooLong | ScanError::TooLong => Self::HeadTooLong,
        }
    }
}

/// Parses one complete head.
fn parse(bytes: &[u8], request: &Method, limits: &Limits) -> Result<ResponseHead, ResponseError> {
    let mut slots = [const { MaybeUninit::uninit() }; HEADER_SLOTS];
    let slots = slots
        .get_mut(..limits.header_slots())
        .expect("header_slots is at most HEADER_SLOTS");
    let mut response = Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut response, bytes, slots) {
        Ok(Status::Complete(_)) => {}
        // The scanner found the blank line: an unfinished head cannot be well-formed.
        Ok(Status::Partial) => return Err(ResponseError::StatusLine),
        Err(httparse::Error::TooManyHeaders) => return Err(ResponseError::TooManyHeaders),
        Err(httparse::Error::HeaderName | httparse::Error::HeaderValue) => {
            return Err(ResponseError::Header);
        }
        Err(
            httparse::Error::NewLine
            | httparse::Error::Status
            | httparse::Error::Token
            | httparse::Error::Version,
        ) => return Err(ResponseError::StatusLine),
    }
    judge(bytes, &response, request)
}

fn judge(
    bytes: &[u8],
    response: &Response<'_, '_>,
    request: &Method,
) -> Result<ResponseHead, ResponseError> {
    let version = match response.version {
        Some(0) => Version::Http10,
        Some(1) => Version::Http11,
        _ => return Err(ResponseError::StatusLine),
    };
    let status = response
        .code
        .filter(|status| *status >= 100)
        .ok_or(ResponseError::StatusLine)?;
    let framing = Framing::of(response.headers);
    let framed = framed_length(&framing, version)?;
    let has_body = !matches!(status, 100..=199 | 204 | 304) && *request != Method::Head;
    // A body where there is none by definition: the peer may send it all the same.
    let is_ambiguous = matches!(status, 100..=199 | 204)
        && !matches!(framed, BodyLength::UntilClose | BodyLength::Exact(0));
    let body = if has_body { framed } else { BodyLength::None };
    Ok(ResponseHead {
        fields: Fields::new(bytes, response.headers),
        status,
        version,
        body,
        keep_alive: version == Version::Http11
            && status >= 200
            && !framing.close
            && body != BodyLength::UntilClose
            && !is_ambiguous,
    })
}

/// RFC 9112 6.3 for a response that may have a body. Equal lengths said twice are taken for one, as
/// the RFC allows; nothing else that two readers could see differently is.
fn framed_length(framing: &Framing<'_>, version: Version) -> Result<BodyLength, ResponseError> {
    match framing.coding {
        TransferEncoding::Absent => {}
        _ if version == Version::Http10 => return Err(ResponseError::CodingInHttp10),
        _ if framing.length != ContentLength::Absent => {
            return Err(ResponseError::CodingAndLength);
        }
        TransferEncoding::Chunked => return Ok(BodyLength::Chunked),
        TransferEncoding::Repeated
        | TransferEncoding::Malformed
        | TransferEncoding::Unsupported => return Err(ResponseError::TransferEncoding),
    }
    match framing.length {
        ContentLength::Absent => Ok(BodyLength::UntilClose),
        ContentLength::Once(length) | ContentLength::Repeated(length) => {
            Ok(BodyLength::Exact(length))
        }
        ContentLength::Conflicting => Err(ResponseError::ConflictingContentLength),
        ContentLength::Malformed => Err(ResponseError::ContentLength),
    }
}
