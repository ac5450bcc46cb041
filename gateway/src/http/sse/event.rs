//! What one server-sent event says. [pure]

use memchr::{memchr, memchr2};

/// Ignored at the start of a stream.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The payload of an event: the values of its `data` lines.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EventData<'e> {
    /// No `data` line: comments, other fields, or nothing.
    None,
    /// One `data` line, the usual case; a slice of the event.
    One(&'e [u8]),
    /// Several, joined by LF.
    Many(Vec<u8>),
}

impl EventData<'_> {
    /// The payload; `None` when there is no `data` line.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::None => None,
            Self::One(data) => Some(data),
            Self::Many(data) => Some(data),
        }
    }
}

/// The payload of `event`, which is one event as [`super::EventScanner`] found it.
///
/// Takes any bytes: an unfinished last line counts as a line, as it does at the end of a stream
/// (`providers.md` 1.7). Allocates only when there is more than one `data` line. A byte order mark
/// is skipped in any event, though only the first of a stream may have one.
pub fn data_of(event: &[u8]) -> EventData<'_> {
    let mut values = fields(event).filter_map(|(name, value)| (name == b"data").then_some(value));
    let Some(first) = values.next() else {
        return EventData::None;
    };
    let Some(second) = values.next() else {
        return EventData::One(first);
    };
    let mut joined = Vec::with_capacity(event.len());
    joined.extend_from_slice(first);
    for value in std::iter::once(second).chain(values) {
        joined.push(b'\n');
        joined.extend_from_slice(value);
    }
    EventData::Many(joined)
}

/// The type of `event`: its last `event` field, `None` without one or when it is empty.
pub fn name_of(event: &[u8]) -> Option<&[u8]> {
    fields(event)
        .filter_map(|(name, value)| (name == b"event").then_some(value))
        .last()
        .filter(|name| !name.is_empty())
}

/// Names and values of the lines of `event`. A comment is a line with an empty name.
fn fields(event: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let event = event.strip_prefix(BYTE_ORDER_MARK).unwrap_or(event);
    lines(event).map(|line| {
        let colon = memchr(b':', line).unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or(value);
        (name, value.strip_prefix(b" ").unwrap_or(value))
    })
}

/// Lines without their ends. CRLF counts as two ends here: the empty line between them says
/// nothing, as blank lines do.
fn lines(event: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(event);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = memchr2(b'\r', b'\n', text).unwrap_or(text.len());
        let (line, after) = text.split_at(end);
        rest = after.get(1..);
        Some(line)
    })
}
