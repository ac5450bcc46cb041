//! How large a head may be. [pure]

/// Longest method name, in bytes: the registered ones have at most 17 (`UPDATEREDIRECTREF`).
pub(super) const METHOD_BYTES_MAX: usize = 32;
/// Slots for tokenised headers on the stack; [`Limits::headers_max`] cannot exceed it.
pub(super) const HEADER_SLOTS: usize = 128;
/// Ceiling of [`Limits::head_bytes_max`], so that offsets inside a head fit 32 bits.
pub(super) const HEAD_BYTES_CEILING: usize = 1024 * 1024;
/// What a request line holds beside method and target: two spaces, `HTTP/1.1` and CR.
const REQUEST_LINE_REST: usize = 11;

/// Bounds of one message head, request or response.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Longest head in bytes, the blank line included. Default 64 KiB, at most 1 MiB. The read
    /// buffer of a connection may grow this far before a request exists that could be accounted.
    pub head_bytes_max: usize,
    /// Longest request target in bytes. Default 16 KiB.
    pub uri_bytes_max: usize,
    /// Most header lines. Default 100, at most 128.
    pub headers_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: 64 * 1024,
            uri_bytes_max: 16 * 1024,
            headers_max: 100,
        }
    }
}

impl Limits {
    /// [`Self::head_bytes_max`] under its ceiling.
    pub(super) fn head_max(&self) -> usize {
        self.head_bytes_max.min(HEAD_BYTES_CEILING)
    }

    /// Longest request line worth waiting for, up to its LF.
    pub(super) fn request_line_max(&self) -> usize {
        self.uri_bytes_max
            .saturating_add(METHOD_BYTES_MAX + REQUEST_LINE_REST)
            .min(self.head_max().saturating_sub(1))
    }

    /// [`Self::headers_max`] under its ceiling.
    pub(super) fn header_slots(&self) -> usize {
        self.headers_max.min(HEADER_SLOTS)
    }
}

// The request line is judged before the head as a whole.
const _: () = assert!(16 * 1024 + METHOD_BYTES_MAX + REQUEST_LINE_REST < 64 * 1024);
const _: () = assert!(HEAD_BYTES_CEILING <= u32::MAX as usize);
