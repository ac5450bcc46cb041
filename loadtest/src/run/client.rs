//! A small HTTP/1.1 client: one connection, one exchange at a time. [cold]

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::chunked::Chunked;

/// Room made for each read.
const READ_BYTES: usize = 16 * 1024;
/// Longest response head, in bytes.
const HEAD_BYTES_MAX: usize = 256 * 1024;
/// Most headers of a response.
const HEADERS_MAX: usize = 128;

/// Why an exchange failed, by the name that reports use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    Connect,
    /// Closed or reset before the response head.
    NoResponse,
    /// Closed or reset inside the body.
    Truncated,
    Malformed,
    Timeout,
    Status(u16),
    /// The stream reported an error.
    ErrorEvent,
    /// The stream ended without `[DONE]`.
    Unfinished,
}

impl Failure {
    pub(super) fn name(self) -> String {
        match self {
            Self::Connect => "connect".to_owned(),
            Self::NoResponse => "no_response".to_owned(),
            Self::Truncated => "truncated".to_owned(),
            Self::Malformed => "malformed".to_owned(),
            Self::Timeout => "timeout".to_owned(),
            Self::Status(status) => format!("status_{status}"),
            Self::ErrorEvent => "error_event".to_owned(),
            Self::Unfinished => "unfinished".to_owned(),
        }
    }
}

/// One connection to a target.
pub(super) struct Client {
    stream: TcpStream,
    /// Received and not yet used.
    inbox: Vec<u8>,
}

/// A response whose head has been read.
pub(super) struct Response {
    pub(super) status: u16,
    /// Whether the connection may be used again after the body.
    pub(super) keep_alive: bool,
    body: Body,
}

enum Body {
    Exact(u64),
    Chunked(Chunked),
    UntilClose,
}

impl Body {
    fn is_done(&self) -> bool {
        match self {
            Self::Exact(left) => *left == 0,
            Self::Chunked(decoder) => decoder.is_done(),
            Self::UntilClose => false,
        }
    }
}

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|_| Failure::Connect)?;
        // Without it a request may wait for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        Ok(Self {
            stream,
            inbox: Vec::new(),
        })
    }

    pub(super) async fn send(&mut self, request: &[u8]) -> Result<(), Failure> {
        let sent = self.stream.write_all(request).await;
        sent.map_err(|_| Failure::NoResponse)
    }

    /// Reads the head of the final response; interim ones are skipped.
    pub(super) async fn head(&mut self) -> Result<Response, Failure> {
        loop {
            while let Some((response, used)) = parse(&self.inbox)? {
                self.inbox.drain(..used);
                if response.status >= 200 {
                    return Ok(response);
                }
            }
            if self.inbox.len() > HEAD_BYTES_MAX {
                return Err(Failure::Malformed);
            }
            if self.receive().await == 0 {
                return Err(Failure::NoResponse);
            }
        }
    }

    /// Appends body bytes to `out` as soon as there are any; `false` when the body is over.
    pub(super) async fn body(
        &mut self,
        response: &mut Response,
        out: &mut Vec<u8>,
    ) -> Result<bool, Failure> {
        let before = out.len();
        while !response.body.is_done() {
            if self.inbox.is_empty() && self.receive().await == 0 {
                return match response.body {
                    Body::UntilClose => Ok(false),
                    Body::Exact(_) | Body::Chunked(_) => Err(Failure::Truncated),
                };
            }
            let used = self.take(&mut response.body, out)?;
            self.inbox.drain(..used);
            if out.len() > before {
                return Ok(!response.body.is_done());
            }
            // Part of a size line: nothing can be used until more comes.
            if used == 0 && self.receive().await == 0 {
                return Err(Failure::Truncated);
            }
        }
        Ok(false)
    }

    /// Moves what the inbox holds of the body to `out`; the bytes of the inbox that are used up.
    fn take(&self, body: &mut Body, out: &mut Vec<u8>) -> Result<usize, Failure> {
        match body {
            Body::UntilClose => {
                out.extend_from_slice(&self.inbox);
                Ok(self.inbox.len())
            }
            Body::Exact(left) => {
                let here = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(self.inbox.len());
                out.extend_from_slice(self.inbox.get(..here).unwrap_or_default());
                *left -= here as u64;
                Ok(here)
            }
            Body::Chunked(decoder) => {
                let mut used = 0;
                while let Some(input) = self.inbox.get(used..) {
                    let piece = decoder.next(input).map_err(|_| Failure::Malformed)?;
                    out.extend_from_slice(input.get(piece.data).unwrap_or_default());
                    used += piece.consumed;
                    if piece.consumed == 0 {
                        break;
                    }
                }
                Ok(used)
            }
        }
    }

    /// Reads once; zero bytes also stand for a reset.
    async fn receive(&mut self) -> usize {
        if self.inbox.capacity() - self.inbox.len() < READ_BYTES / 4 {
            self.inbox.reserve(READ_BYTES);
        }
        self.stream.read_buf(&mut self.inbox).await.unwrap_or(0)
    }
}

fn parse(inbox: &[u8]) -> Result<Option<(Response, usize)>, Failure> {
    if inbox.is_empty() {
        return Ok(None);
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let used = match head.parse(inbox) {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Failure::Malformed),
    };
    let mut response = Response {
        status: head.code.unwrap_or(0),
        keep_alive: head.version == Some(1),
        body: Body::UntilClose,
    };
    for header in head.headers.iter() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("content-length") && !matches!(response.body, Body::Chunked(_)) {
            let length = str::from_utf8(header.value)
                .ok()
                .and_then(|text| text.parse().ok());
            response.body = Body::Exact(length.ok_or(Failure::Malformed)?);
        } else if is("transfer-encoding") {
            response.body = Body::Chunked(Chunked::default());
        } else if is("connection") {
            response.keep_alive &= !header.value.eq_ignore_ascii_case(b"close");
        }
    }
    if matches!(response.status, 100..=199 | 204 | 304) {
        response.body = Body::Exact(0);
    }
    response.keep_alive &= !matches!(response.body, Body::UntilClose);
    Ok(Some((response, used)))
}
