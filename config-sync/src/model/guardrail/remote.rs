//! What guardrails that ask a service have in common. [pure]

use super::super::field;
use super::super::http_url::{self, HttpUrl};
use crate::tree::Fields;

/// Deadline of one call, in ms, where none is written.
const TIMEOUT_MS: u32 = 5_000;
/// Bytes of an answer held back, where no number is written.
const BUFFER_BYTES: u64 = 256 << 10;

/// How the service is called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Remote {
    /// Deadline of one call; never 0.
    pub timeout_ms: u32,
    /// An unreachable service lets an answer through.
    pub output_fail_open: bool,
}

impl Remote {
    pub(super) fn read(fields: &Fields<'_>) -> Self {
        Self {
            timeout_ms: fields
                .take_u32_in("timeout_ms", 1, u32::MAX)
                .unwrap_or(TIMEOUT_MS),
            output_fail_open: read_output_fail_open(fields),
        }
    }
}

pub(super) fn read_output_fail_open(fields: &Fields<'_>) -> bool {
    fields.take_bool("output_fail_open").unwrap_or(false)
}

/// `endpoint`, or the service's own.
pub(super) fn read_endpoint(fields: &Fields<'_>, default: &str) -> Option<HttpUrl> {
    if fields.take("endpoint").is_some() {
        return http_url::read(fields, "endpoint");
    }
    HttpUrl::parse(default).ok()
}

/// How much of an answer may be held back to check it as a whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BufferLimit {
    /// At least 1. Memory per checked stream.
    pub max_bytes: u64,
    /// What becomes of a longer answer.
    pub on_exceeded: Overflow,
}

/// What becomes of an answer that is too long to be checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Overflow {
    /// It goes through unchecked.
    FailOpen,
    /// It is refused.
    FailClosed,
}

const OVERFLOWS: [(&str, Overflow); 2] = [
    ("fail_open", Overflow::FailOpen),
    ("fail_closed", Overflow::FailClosed),
];

impl BufferLimit {
    pub(super) fn read(fields: &Fields<'_>) -> Self {
        let max_bytes = fields.take_u64_in("max_buffer_bytes", 1, u64::MAX);
        let fallback = Overflow::FailClosed;
        Self {
            max_bytes: max_bytes.unwrap_or(BUFFER_BYTES),
            on_exceeded: field::loose_choice(fields, "on_buffer_exceeded", &OVERFLOWS, fallback),
        }
    }
}

/// How a streamed answer is cut for a service that takes short texts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Streaming {
    /// Piece by piece, or whole.
    pub mode: StreamMode,
    /// Characters of one piece; at least 1.
    pub window_chars: u32,
    /// Characters of the end of a piece that the next one starts with; less than a piece.
    pub overlap_chars: u32,
    /// How much is held back.
    pub buffer: BufferLimit,
}

/// Whether a streamed answer is checked piece by piece.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StreamMode {
    /// Each piece is released once it is checked.
    Window,
    /// All is held back until the whole is checked.
    BufferFull,
}

const STREAM_MODES: [(&str, StreamMode); 2] = [
    ("window", StreamMode::Window),
    ("buffer_full", StreamMode::BufferFull),
];

impl Streaming {
    /// `window_max`: the longest piece that the service takes, and the default.
    pub(super) fn read(fields: &Fields<'_>, window_max: u32, overlap_default: u32) -> Self {
        let fallback = StreamMode::Window;
        let mode = field::loose_choice(fields, "stream_processing_mode", &STREAM_MODES, fallback);
        let window_chars = fields
            .take_u32_in("window_size", 1, window_max)
            .unwrap_or(window_max);
        let overlap = fields.take_u32_in("window_overlap_size", 0, u32::MAX);
        if overlap.is_some_and(|overlap| overlap >= window_chars) {
            fields.problem("window_overlap_size", "must be less than window_size");
        }
        Self {
            mode,
            window_chars,
            // The default may be longer than a short window.
            overlap_chars: overlap.unwrap_or(overlap_default).min(window_chars - 1),
            buffer: BufferLimit::read(fields),
        }
    }
}
