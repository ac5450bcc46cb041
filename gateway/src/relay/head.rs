//! The head of every response the proxy listener sends. [ring]

use config_sync::model::Model;

use crate::http::h1::write;
use crate::limit::Headroom;
use crate::route::Row;
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
    /// What is said about the call.
    pub marks: Marks,
}

/// What a response says about the call it answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    /// Whether a success carries the id once more, in `x-sluice-call-id` (chat).
    pub call_id: bool,
    /// The target that serves a call to a group, in `x-sluice-served-by`.
    pub served_by: Option<Row<Model>>,
    /// What is left of the tightest limits, in `x-ratelimit-*`.
    pub headroom: Headroom,
}

impl Marks {
    fn write(&self, id: &[u8], status: u16, out: &mut Vec<u8>) {
        if self.call_id && status == 200 {
            write::header(out, "x-sluice-call-id", id);
        }
        if let Some(model) = &self.served_by {
            let name = model.display_name.as_bytes();
            // A name that no header can hold stays unsaid.
            if name.iter().all(|byte| (0x20..0x7f).contains(byte)) {
                write::header(out, "x-sluice-served-by", name);
            }
        }
        let Headroom {
            requests,
            tokens,
            concurrent,
        } = self.headroom;
        for (lines, room) in [(REQUESTS, requests), (TOKENS, tokens)] {
            let Some(room) = room else { continue };
            let numbers = [room.limit, room.remaining, room.reset_secs.into()];
            limit_lines(&lines, &numbers, out);
            out.extend_from_slice(b"s\r\n");
        }
        if let Some(room) = concurrent {
            limit_lines(&CONCURRENT, &[room.limit, room.remaining], out);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// What stands before each number of a limit: of the first line its name, of others the end of the
/// line before them too.
const REQUESTS: [&str; 3] = [
    "x-ratelimit-limit-requests: ",
    "\r\nx-ratelimit-remaining-requests: ",
    "\r\nx-ratelimit-reset-requests: ",
];
const TOKENS: [&str; 3] = [
    "x-ratelimit-limit-tokens: ",
    "\r\nx-ratelimit-remaining-tokens: ",
    "\r\nx-ratelimit-reset-tokens: ",
];
const CONCURRENT: [&str; 2] = [
    "x-ratelimit-limit-concurrent: ",
    "\r\nx-ratelimit-remaining-concurrent: ",
];

fn limit_lines<const LINES: usize>(
    lines: &[&str; LINES],
    numbers: &[u64; LINES],
    out: &mut Vec<u8>,
) {
    for (line, number) in lines.iter().zip(numbers) {
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes());
    }
}

impl ResponseWriter {
    /// The same with `marks`.
    pub(crate) fn with(self, marks: Marks) -> Self {
        Self { marks, ..self }
    }

    /// The same as long as nobody serves the call for certain.
    pub(crate) fn unserved(&self) -> Self {
        let mut writer = self.clone();
        writer.marks.served_by = None;
        writer
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
        out.extend_from_slice(b"\r\n");
        self.marks.write(id, status, out);
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
