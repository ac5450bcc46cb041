//! A client of HTTP/2 that sends exactly the frames it is told to.

use crate::support::gateway::CALLER_KEY;
use crate::support::{Gateway, Raw};

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const ACK: u8 = 1;

pub(super) const PROTOCOL_ERROR: u32 = 1;
pub(super) const ENHANCE_YOUR_CALM: u32 = 11;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One frame as it came.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    /// The error code of a GOAWAY or RST_STREAM.
    pub(super) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// The bytes of one frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, high, middle, low] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![high, middle, low, kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block without compression.
pub(super) fn block(lines: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in lines {
        bytes.push(0);
        for text in [name, value] {
            // Lengths from 127 on take more bytes, 7 bits each.
            let mut length = text.len();
            if length < 127 {
                bytes.push(u8::try_from(length).unwrap());
            } else {
                bytes.push(127);
                length -= 127;
                while length >= 128 {
                    bytes.push(u8::try_from(length % 128).unwrap() | 128);
                    length /= 128;
                }
                bytes.push(u8::try_from(length).unwrap());
            }
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

/// The lines of a request with the caller's key.
pub(super) fn lines<'l>(method: &'l str, path: &'l str, key: &'l str) -> Vec<(&'l str, &'l str)> {
    vec![
        (":method", method),
        (":scheme", "http"),
        (":path", path),
        (":authority", "gateway"),
        ("authorization", key),
    ]
}

/// The value of the caller's `authorization` line.
pub(super) fn bearer() -> String {
    format!("Bearer {CALLER_KEY}")
}

/// One connection.
pub(super) struct Frames {
    pub(super) raw: Raw,
}

impl Frames {
    /// Connects and says hello with `settings`.
    pub(super) fn connect(gateway: &Gateway, settings: &[u8]) -> Self {
        let mut raw = gateway.connect();
        raw.send(&[PREFACE, &frame(SETTINGS, 0, 0, settings)].concat());
        Self { raw }
    }

    pub(super) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.raw.send(&frame(kind, flags, stream, payload));
    }

    /// The next frame; `None` at the end of the connection.
    pub(super) fn next(&mut self) -> Option<Frame> {
        let head = self.raw.take(9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes(head[5..9].try_into().unwrap()),
            payload: self.raw.take(length)?,
        })
    }

    /// The next frame of this kind; others are passed over.
    pub(super) fn until(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self
                .next()
                .unwrap_or_else(|| panic!("closed before a frame {kind}"));
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// The code that the connection is closed with.
    pub(super) fn closed_with(&mut self) -> u32 {
        let code = self.until(GOAWAY).code();
        while self.next().is_some() {}
        code
    }
}
