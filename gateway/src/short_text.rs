//! Text that lies in place while it is short. [pure]
//!
//! Ids, paths and model names are a few dozen bytes: kept inside their owner they cost no allocation
//! on the thread that makes them and no release on the thread that drops them.

use std::fmt;
use std::ops::Deref;

use arrayvec::ArrayString;

/// Longest text kept in place, in bytes: an id of `chatcmpl-` and a UUID fits.
pub const INLINE_BYTES_MAX: usize = 48;

/// Text of any length; up to [`INLINE_BYTES_MAX`] bytes of it without an allocation.
#[derive(Clone)]
pub struct ShortText(Repr);

#[derive(Clone)]
enum Repr {
    Inline(ArrayString<INLINE_BYTES_MAX>),
    Heap(Box<str>),
}

// A record holds nine of them.
const _: () = assert!(size_of::<Option<ShortText>>() == 56);

impl ShortText {
    /// `bytes` as text, with a replacement character for what is no UTF-8.
    pub fn lossy(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => Self::from(&*String::from_utf8_lossy(bytes)),
        }
    }

    /// `parts` as one text.
    pub fn joined(parts: [&str; 3]) -> Self {
        let mut text = ArrayString::new();
        match parts.iter().try_for_each(|part| text.try_push_str(part)) {
            Ok(()) => Self(Repr::Inline(text)),
            Err(_) => Self(Repr::Heap(parts.concat().into())),
        }
    }

    /// The text.
    #[inline]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Inline(text) => text,
            Repr::Heap(text) => text,
        }
    }

    /// Lets go of text that does not lie in place.
    pub fn release(&mut self) {
        if matches!(self.0, Repr::Heap(_)) {
            *self = Self::default();
        }
    }
}

impl From<&str> for ShortText {
    #[inline]
    fn from(text: &str) -> Self {
        match ArrayString::from(text) {
            Ok(text) => Self(Repr::Inline(text)),
            Err(_) => Self(Repr::Heap(text.into())),
        }
    }
}

impl Default for ShortText {
    fn default() -> Self {
        Self::from("")
    }
}

impl Deref for ShortText {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for ShortText {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for ShortText {}

impl PartialEq<str> for ShortText {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for ShortText {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Debug for ShortText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for ShortText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_every_length_reads_back_and_only_long_text_is_allocated() {
        for length in 0..3 * INLINE_BYTES_MAX {
            for unit in ["a", "é", "😀"] {
                let text = unit.repeat(length / unit.len());
                let short = ShortText::from(&*text);
                assert_eq!(short, *text);
                assert_eq!(short.clone(), short);
                let inline = matches!(short.0, Repr::Inline(_));
                assert_eq!(inline, text.len() <= INLINE_BYTES_MAX);
            }
        }
        assert_eq!(ShortText::default(), "");
    }

    #[test]
    fn bytes_become_text_whatever_they_are() {
        let long = [b'x'; INLINE_BYTES_MAX + 1];
        for bytes in [&b""[..], b"curl/8", &long, "é".as_bytes(), b"a\xffb"] {
            assert_eq!(ShortText::lossy(bytes), *String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn parts_are_joined_in_place_and_beyond() {
        let long = "x".repeat(INLINE_BYTES_MAX);
        for parts in [
            ["", "", ""],
            ["openai/", "gpt-é", "-latest"],
            ["", &long, ""],
            ["a", &long, "b"],
        ] {
            assert_eq!(ShortText::joined(parts), *parts.concat());
        }
    }

    #[test]
    fn it_prints_as_text_does() {
        assert_eq!(
            format!("{:?} {:>3}", ShortText::from("a\""), ShortText::from("b")),
            "\"a\\\"\"   b"
        );
    }
}
