//! Tokenises a request head, then judges it. [pure]

use std::mem::MaybeUninit;

use httparse::{Request, Status};

use super::diagnosis;
use super::error::HeadError;
use super::head::{Method, RequestHead};
use super::target;
use crate::http::h1::fields::{Fields, Span};
use crate::http::h1::framing::{BodyLength, ContentLength, Framing, TransferEncoding, Version};
use crate::http::h1::grammar::is_authority;
use crate::http::h1::head_end::{HeadScanner, ScanError, Shape};
use crate::http::h1::limits::{HEADER_SLOTS, Limits, METHOD_BYTES_MAX};

/// Parses the request head at the start of `buf`.
///
/// Returns it with the number of bytes it took, or `None` when more bytes are needed. Looks at
/// `buf` from its start on each call; on a connection use [`HeadScanner::parse_request`].
///
/// # Errors
///
/// [`HeadError`], after which nothing more may be read from this connection.
pub fn parse_request(
    buf: &[u8],
    limits: &Limits,
) -> Result<Option<(RequestHead, usize)>, HeadError> {
    HeadScanner::new().parse_request(buf, limits)
}

impl HeadScanner {
    /// Like [`parse_request`], but looks only at what was appended to `buf` since the last call.
    ///
    /// # Errors
    ///
    /// [`HeadError`], as soon as the bytes so far cannot become an acceptable head.
    pub fn parse_request(
        &mut self,
        buf: &[u8],
        limits: &Limits,
    ) -> Result<Option<(RequestHead, usize)>, HeadError> {
        let found = self.find(buf, &Shape::request(limits));
        let Some(range) = found.map_err(HeadError::from)? else {
            return Ok(None);
        };
        let end = range.end;
        let head = parse(buf.get(range).unwrap_or_default(), limits)?;
        Ok(Some((head, end)))
    }
}

impl From<ScanError> for HeadError {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Start => Self::RequestLine,
            ScanError::BareLf => Self::BareLf,
            ScanError::StartLineTooLong => Self::TargetTooLong,
            ScanError::TooLong => Self::HeadTooLong,
        }
    }
}

/// Parses one complete head.
fn parse(bytes: &[u8], limits: &Limits) -> Result<RequestHead, HeadError> {
    let mut slots = [const { MaybeUninit::uninit() }; HEADER_SLOTS];
    let slots = slots
        .get_mut(..limits.header_slots())
        .expect("header_slots is at most HEADER_SLOTS");
    let mut request = Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, slots) {
        Ok(Status::Complete(_)) => {}
        // The scanner found the blank line: an unfinished head cannot be well-formed.
        Ok(Status::Partial) => return Err(HeadError::RequestLine),
        Err(refused) => return Err(diagnosis::of(bytes, refused, limits)),
    }
    judge(bytes, &request, limits)
}

fn judge(
    bytes: &[u8],
    request: &Request<'_, '_>,
    limits: &Limits,
) -> Result<RequestHead, HeadError> {
    let (Some(name), Some(text)) = (request.method, request.path) else {
        return Err(HeadError::RequestLine);
    };
    if name.len() > METHOD_BYTES_MAX {
        return Err(HeadError::MethodTooLong);
    }
    if text.len() > limits.uri_bytes_max {
        return Err(HeadError::TargetTooLong);
    }
    let version = match request.version {
        Some(0) => Version::Http10,
        Some(1) => Version::Http11,
        _ => return Err(HeadError::Version),
    };
    let target = target::parse(name, text)?;
    let framing = Framing::of(request.headers);
    check_host(&framing, version)?;
    let body = body_length(&framing, version)?;
    if framing.expects_other {
        return Err(HeadError::Expectation);
    }
    let host = (framing.hosts > 0).then_some(framing.host);
    let authority = target.authority.map(str::as_bytes).or(host);
    let span = |part: &[u8]| Span::of(part, bytes);
    Ok(RequestHead {
        fields: Fields::new(bytes, request.headers),
        method: Method::parse(name),
        version,
        target: span(text.as_bytes()),
        path: span(target.path.as_bytes()),
        query: target.query.map(|query| span(query.as_bytes())),
        authority: authority.map(span),
        body,
        keep_alive: framing.persists(version),
        // RFC 9110 10.1.1: ignored in HTTP/1.0, and pointless without a body.
        expects_continue: framing.expects_continue
            && version == Version::Http11
            && !matches!(body, BodyLength::None | BodyLength::Exact(0)),
        upgrade: framing.upgrade,
    })
}

/// RFC 9112 3.2: exactly one valid `Host`, even when the target is in absolute form.
fn check_host(framing: &Framing<'_>, version: Version) -> Result<(), HeadError> {
    match framing.hosts {
        0 if version == Version::Http10 => Ok(()),
        0 => Err(HeadError::MissingHost),
        1 if is_authority(framing.host) => Ok(()),
        1 => Err(HeadError::Host),
        _ => Err(HeadError::RepeatedHost),
    }
}

/// RFC 9112 6.3, with every case refused in which two readers could differ.
fn body_length(framing: &Framing<'_>, version: Version) -> Result<BodyLength, HeadError> {
    if framing.coding != TransferEncoding::Absent {
        if version == Version::Http10 {
            return Err(HeadError::CodingInHttp10);
        }
        if framing.length != ContentLength::Absent {
            return Err(HeadError::CodingAndLength);
        }
    }
    match framing.coding {
        TransferEncoding::Absent => {}
        TransferEncoding::Chunked => return Ok(BodyLength::Chunked),
        TransferEncoding::Repeated => return Err(HeadError::RepeatedTransferEncoding),
        TransferEncoding::Malformed => return Err(HeadError::TransferEncoding),
        TransferEncoding::Unsupported => return Err(HeadError::UnsupportedTransferEncoding),
    }
    match framing.length {
        ContentLength::Absent => Ok(BodyLength::None),
        ContentLength::Once(length) => Ok(BodyLength::Exact(length)),
        ContentLength::Repeated(_) => Err(HeadError::RepeatedContentLength),
        ContentLength::Conflicting => Err(HeadError::ConflictingContentLength),
        ContentLength::Malformed => Err(HeadError::ContentLength),
    }
}
