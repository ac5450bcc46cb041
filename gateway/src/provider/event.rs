//! One event on its way from an upstream to the caller: as it came, or with its payload edited. [pure]

use crate::http::sse::EventData;
use crate::json::Edits;

/// Appends an event as it is.
pub(super) fn relay(event: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(event);
    terminate(event, out);
}

/// Where `payload`, a slice of `event`, begins.
pub(super) fn place_of(payload: &[u8], event: &[u8]) -> usize {
    let start = payload.as_ptr().addr();
    start.saturating_sub(event.as_ptr().addr())
}

/// Appends an event with its payload edited.
pub(super) fn rewrite(
    event: &[u8],
    data: &EventData<'_>,
    payload: &[u8],
    edits: &Edits<'_>,
    out: &mut Vec<u8>,
) {
    match data {
        EventData::Many(_) => rewrite_lines(event, payload, edits, out),
        EventData::None | EventData::One(_) => {
            let start = place_of(payload, event);
            let (before, rest) = event.split_at_checked(start).unwrap_or((event, b""));
            out.extend_from_slice(before);
            edits.apply(payload, out);
            out.extend_from_slice(rest.get(payload.len()..).unwrap_or_default());
            terminate(event, out);
        }
    }
}

/// The rare event with several `data` lines: its other lines as they came, then the edited payload
/// in lines of its own.
fn rewrite_lines(event: &[u8], payload: &[u8], edits: &Edits<'_>, out: &mut Vec<u8>) {
    let mut edited = Vec::with_capacity(event.len());
    edits.apply(payload, &mut edited);
    let line_end: &[u8] = match memchr::memchr2(b'\r', b'\n', event) {
        Some(at) if event.get(at..at + 2) == Some(b"\r\n") => b"\r\n",
        Some(at) => event.get(at..=at).unwrap_or(b"\n"),
        None => b"\n",
    };
    for line in event.split(|&byte| byte == b'\n' || byte == b'\r') {
        if !line.is_empty() && !is_data(line) {
            out.extend_from_slice(line);
            out.extend_from_slice(line_end);
        }
    }
    for line in edited.split(|&byte| byte == b'\n') {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.extend_from_slice(line_end);
    }
    out.extend_from_slice(line_end);
}

/// Whether `line` is a `data` line; the first one may follow a byte order mark.
fn is_data(line: &[u8]) -> bool {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let name = line.strip_prefix(b"data");
    name.is_some_and(|rest| matches!(rest.first(), None | Some(b':')))
}

/// Adds the blank line that `event` lacks.
pub(super) fn terminate(event: &[u8], out: &mut Vec<u8>) {
    let line = match event {
        [line @ .., b'\r', b'\n'] | [line @ .., b'\r' | b'\n'] => line,
        _ => return out.extend_from_slice(b"\n\n"),
    };
    if !matches!(line.last(), None | Some(b'\r' | b'\n')) {
        out.extend_from_slice(b"\n\n");
    }
}
