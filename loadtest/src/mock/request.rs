//! Reading one request off a connection, as raw as the record needs it. [cold]

use std::ops::Range;

use crate::chunked::Chunked;
use crate::clock;
use crate::mock::peer::Peer;

/// Longest head and body read, in bytes. The mock is a test tool: generous, but bounded.
const HEAD_BYTES_MAX: usize = 1024 * 1024;
const BODY_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Most headers of a head.
pub(super) const HEADERS_MAX: usize = 1024;

/// A request as it came.
#[derive(Debug)]
pub(super) struct Request {
    /// The head as sent, then the body without its framing.
    bytes: Vec<u8>,
    head_bytes: usize,
    method: Range<usize>,
    target: Range<usize>,
    script: Option<Range<usize>>,
    keep_alive: bool,
    /// Whether the whole body arrived.
    pub(super) complete: bool,
    /// When the head was complete.
    pub(super) received_unix_ms: u64,
}

/// Why no request could be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoRequest {
    /// The peer closed between requests.
    Closed,
    /// Not HTTP/1, or over a limit.
    Malformed,
}

enum Body {
    Exact(u64),
    Chunked,
}

impl Request {
    /// Reads the next request. A body that ends early gives a request that is not complete.
    pub(super) async fn read(peer: &mut Peer) -> Result<Self, NoRequest> {
        loop {
            if !peer.inbox.is_empty()
                && let Some((mut request, body, expects)) = parse(&peer.inbox)?
            {
                peer.inbox.drain(..request.head_bytes);
                if expects && peer.send(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_err() {
                    return Err(NoRequest::Closed);
                }
                request.complete = match body {
                    Body::Exact(length) => read_exact(peer, length, &mut request.bytes).await?,
                    Body::Chunked => read_chunked(peer, &mut request.bytes).await?,
                };
                return Ok(request);
            }
            if peer.inbox.len() > HEAD_BYTES_MAX {
                return Err(NoRequest::Malformed);
            }
            match peer.receive().await {
                Ok(0) | Err(_) => return Err(NoRequest::Closed),
                Ok(_) => {}
            }
        }
    }

    pub(super) fn method(&self) -> &str {
        self.text(&self.method)
    }

    /// Path and query as sent.
    pub(super) fn target(&self) -> &str {
        self.text(&self.target)
    }

    pub(super) fn path(&self) -> &str {
        let target = self.target();
        target.split_once('?').map_or(target, |(path, _)| path)
    }

    /// Value of `x-mock-script`.
    pub(super) fn script(&self) -> Option<&str> {
        self.script.as_ref().map(|range| self.text(range))
    }

    pub(super) fn keep_alive(&self) -> bool {
        self.keep_alive && self.complete
    }

    pub(super) fn head(&self) -> &[u8] {
        self.bytes.get(..self.head_bytes).unwrap_or_default()
    }

    pub(super) fn body(&self) -> &[u8] {
        self.bytes.get(self.head_bytes..).unwrap_or_default()
    }

    /// Memory this request holds, in bytes.
    pub(super) fn size(&self) -> usize {
        self.bytes.capacity() + size_of::<Self>()
    }

    fn text(&self, range: &Range<usize>) -> &str {
        let bytes = self.bytes.get(range.clone()).unwrap_or_default();
        str::from_utf8(bytes).unwrap_or("")
    }
}

fn parse(inbox: &[u8]) -> Result<Option<(Request, Body, bool)>, NoRequest> {
    let mut few = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Request::new(&mut few);
    match head.parse(inbox) {
        Err(httparse::Error::TooManyHeaders) => {
            let mut many = vec![httparse::EMPTY_HEADER; HEADERS_MAX];
            let mut head = httparse::Request::new(&mut many);
            let status = head.parse(inbox).map_err(|_| NoRequest::Malformed)?;
            understand(inbox, &head, status)
        }
        Err(_) => Err(NoRequest::Malformed),
        Ok(status) => understand(inbox, &head, status),
    }
}

fn understand(
    inbox: &[u8],
    head: &httparse::Request<'_, '_>,
    status: httparse::Status<usize>,
) -> Result<Option<(Request, Body, bool)>, NoRequest> {
    let httparse::Status::Complete(head_bytes) = status else {
        return Ok(None);
    };
    let within = |part: &[u8]| -> Range<usize> {
        let start = part.as_ptr().addr() - inbox.as_ptr().addr();
        start..start + part.len()
    };
    let mut request = Request {
        bytes: Vec::new(),
        head_bytes,
        method: within(head.method.unwrap_or("").as_bytes()),
        target: within(head.path.unwrap_or("").as_bytes()),
        script: None,
        keep_alive: head.version == Some(1),
        complete: false,
        received_unix_ms: clock::unix_millis(),
    };
    let (mut body, mut expects) = (Body::Exact(0), false);
    for header in head.headers.iter() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("content-length") {
            let length = str::from_utf8(header.value)
                .ok()
                .and_then(|text| text.parse().ok());
            match (length, &body) {
                (Some(length), Body::Exact(_)) if length <= BODY_BYTES_MAX => {
                    body = Body::Exact(length);
                }
                (Some(_), Body::Chunked) => {}
                _ => return Err(NoRequest::Malformed),
            }
        } else if is("transfer-encoding") {
            body = Body::Chunked;
        } else if is("x-mock-script") {
            request.script = Some(within(header.value));
        } else if is("connection") {
            request.keep_alive &= !header.value.eq_ignore_ascii_case(b"close");
        } else if is("expect") {
            expects = true;
        }
    }
    let body_bytes = match body {
        Body::Exact(length) => usize::try_from(length).unwrap_or(0),
        Body::Chunked => 0,
    };
    // The reservation trusts the peer's figure up to one megabyte only.
    request
        .bytes
        .reserve_exact(head_bytes + body_bytes.min(1024 * 1024));
    request
        .bytes
        .extend_from_slice(inbox.get(..head_bytes).unwrap_or_default());
    Ok(Some((request, body, expects)))
}

/// Moves `length` body bytes to `out`; `false` if the peer closed before.
async fn read_exact(peer: &mut Peer, length: u64, out: &mut Vec<u8>) -> Result<bool, NoRequest> {
    let mut left = usize::try_from(length).map_err(|_| NoRequest::Malformed)?;
    loop {
        let here = left.min(peer.inbox.len());
        out.extend(peer.inbox.drain(..here));
        left -= here;
        if left == 0 {
            return Ok(true);
        }
        if !matches!(peer.receive().await, Ok(1..)) {
            return Ok(false);
        }
    }
}

async fn read_chunked(peer: &mut Peer, out: &mut Vec<u8>) -> Result<bool, NoRequest> {
    let mut decoder = Chunked::default();
    loop {
        let mut used = 0;
        while let Some(input) = peer.inbox.get(used..) {
            let piece = decoder.next(input).map_err(|_| NoRequest::Malformed)?;
            out.extend_from_slice(input.get(piece.data).unwrap_or_default());
            used += piece.consumed;
            if piece.consumed == 0 {
                break;
            }
        }
        peer.inbox.drain(..used);
        if decoder.is_done() {
            return Ok(true);
        }
        if out.len() as u64 > BODY_BYTES_MAX {
            return Err(NoRequest::Malformed);
        }
        if !matches!(peer.receive().await, Ok(1..)) {
            return Ok(false);
        }
    }
}
