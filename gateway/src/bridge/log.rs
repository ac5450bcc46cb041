//! Log events of workers, written by the cold side. [bridge]
//!
//! A worker never writes a log line itself: it queues an event, and counts it when the queue is
//! full. Only what is rare may come this way; requests have their record.

/// Events waiting per worker; 256 times at most [`TEXT_BYTES_MAX`].
pub const EVENTS_MAX: usize = 256;
/// Longest text of an event. Longer ones are cut.
pub const TEXT_BYTES_MAX: usize = 2_048;

/// Something an operator should read.
#[derive(Clone, Debug)]
pub struct Event {
    /// How urgent it is.
    pub level: Level,
    /// What happened, in a fixed sentence: also the key of the rate limit.
    pub message: &'static str,
    /// The particulars: panic text, TLS error, address. Never a secret.
    pub detail: Box<str>,
    /// The request it happened in, if any.
    pub request_id: Option<Box<str>>,
}

/// How urgent an event is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// An operator must act.
    Error,
    /// Unexpected, but healed.
    Warn,
    /// Lifecycle.
    Info,
}

impl Event {
    /// An event outside of any request.
    pub fn new(level: Level, message: &'static str, detail: &str) -> Self {
        let detail = cut(detail, TEXT_BYTES_MAX).into();
        Self {
            level,
            message,
            detail,
            request_id: None,
        }
    }
}

/// The longest prefix of at most `bytes_max` bytes that ends between characters.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters() {
        let cases = [
            ("", 3, ""),
            ("abc", 3, "abc"),
            ("abcd", 3, "abc"),
            ("aéé", 2, "a"),
            ("é", 0, ""),
        ];
        for (text, max, want) in cases {
            assert_eq!(cut(text, max), want, "{text} at {max}");
        }
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        assert_eq!(
            Event::new(Level::Warn, "m", &long).detail.len(),
            TEXT_BYTES_MAX
        );
    }
}
