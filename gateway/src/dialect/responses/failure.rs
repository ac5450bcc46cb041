//! How a caller of Responses is told that its stream failed. [pure]

use crate::json::text::write_escaped;
use crate::rejection::Rejection;

/// Appends the event `error`, with number `sequence`.
pub fn error_event(rejection: &Rejection, request_id: &str, sequence: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: error\ndata: {\"type\":\"error\",\"sequence_number\":");
    out.extend_from_slice(itoa::Buffer::new().format(sequence).as_bytes());
    out.extend_from_slice(b",\"code\":\"");
    write_escaped(rejection.code(), out);
    out.extend_from_slice(b"\",\"message\":\"");
    rejection.write_message(request_id, out);
    out.extend_from_slice(b"\",\"param\":");
    match rejection.param() {
        Some(param) => {
            out.push(b'"');
            write_escaped(param, out);
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b"}\n\n");
}
