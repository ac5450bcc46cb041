//! HTTP/2 heads to and from those of the HTTP/1.1 codec, and the measure of what a client sends. [pure]
//!
//! Frames and HPACK are the `h2` crate's. What is here turns its requests into the heads that our
//! own parser judges, and the responses of the request path into its heads; so every check of a
//! request has one place, whatever carried it.

mod meter;
mod request;
mod response;

pub use meter::{Flood, Meter};
pub use request::{Refused, write_head};
pub use response::response_head;

/// The protocol's name in the handshake of TLS (RFC 9113 3.2).
pub const ALPN: &[u8] = b"h2";
/// What a client that speaks HTTP/2 sends first (RFC 9113 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether `bytes` begin with [`PREFACE`]; `None` while they may yet.
pub fn has_preface(bytes: &[u8]) -> Option<bool> {
    let known = bytes.len().min(PREFACE.len());
    if bytes[..known] != PREFACE[..known] {
        return Some(false);
    }
    (known == PREFACE.len()).then_some(true)
}
