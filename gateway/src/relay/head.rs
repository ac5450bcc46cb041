//! The head of every response the proxy listener sends. [ring]

use crate::endpoint::{Call, Endpoint};
use crate::http::h1::write;
use crate::short_text::ShortText;
use crate::worker::Worker;

/// What follows the status line of every response: `server` in place of an upstream's, and the start
/// of the next line.
const SERVER_AND_DATE: &str = concat!("server: Sluice/", env!("CARGO_PKG_VERSION"), "\r\ndate: ");

/// A header's name and value.
pub(crate) type Header<'h> = (&'h str, &'h [u8]);

/// What is the same on all responses to one request.
#[derive(Clone, Debug)]
pub(crate) struct ResponseWriter {
    /// The id of the request, in `x-sluice-request-id`.
    pub request_id: ShortText,
    /// Whether the connection carries another request afterwards.
    pub keep_alive: bool,
    /// Whether the client understands chunks (HTTP/1.1).
    pub chunks: bool,
    /// Whether the body is left out (HEAD).
    pub head_only: bool,
    /// Whether a success carries the id once more, in `x-sluice-call-id` (chat).
    pub call_id: bool,
}

impl ResponseWriter {
    /// The same for the answer to `call`.
    pub(crate) fn for_call(mut self, call: &Call) -> Self {
        self.call_id = call.endpoint == Endpoint::ChatCompletions;
        self
    }

    /// The same for a body of unknown length: without chunks, only the end of the connection ends it.
    pub(crate) fn for_stream(mut self) -> Self {
        self.keep_alive &= self.chunks;
        self
    }

    /// Appends the status line and the headers that every response has.
    pub(crate) fn open(&self, worker: &Worker, status: u16, out: &mut Vec<u8>) {
        write::status_line(out, status);
        out.extend_from_slice(SERVER_AND_DATE.as_bytes());
        worker
            .date
            .with(worker.unix_ms(), |date| out.extend_from_slice(date));
        // An id is printable: taken from a caller or minted.
        let id = self.request_id.as_bytes();
        out.extend_from_slice(b"\r\nx-sluice-request-id: ");
        out.extend_from_slice(id);
        if self.call_id && status == 200 {
            out.extend_from_slice(b"\r\nx-sluice-call-id: ");
            out.extend_from_slice(id);
        }
        out.extend_from_slice(b"\r\n");
        if !self.keep_alive {
            write::header(out, "connection", b"close");
        } else if !self.chunks {
            // An HTTP/1.0 client takes silence for a close.
            write::header(out, "connection", b"keep-alive");
        }
    }

    /// Appends a whole response.
    pub(crate) fn whole(
        &self,
        worker: &Worker,
        status: u16,
        headers: &[Header<'_>],
        body: &[u8],
        out: &mut Vec<u8>,
    ) {
        self.whole_head(worker, status, headers, body.len(), out);
        if !self.head_only {
            out.extend_from_slice(body);
        }
    }

    /// Appends the head of a response whose body of `length` bytes follows.
    pub(crate) fn whole_head(
        &self,
        worker: &Worker,
        status: u16,
        headers: &[Header<'_>],
        length: usize,
        out: &mut Vec<u8>,
    ) {
        self.open(worker, status, out);
        for (name, value) in headers {
            write::header(out, name, value);
        }
        write::header_u64(out, "content-length", length as u64);
        write::end(out);
    }

    /// Appends the head of an event stream.
    pub(crate) fn stream_head(&self, worker: &Worker, out: &mut Vec<u8>) {
        self.open(worker, 200, out);
        write::header(out, "content-type", b"text/event-stream");
        write::header(out, "cache-control", b"no-cache");
        if self.chunks {
            write::header(out, "transfer-encoding", b"chunked");
        }
        write::end(out);
    }
}
