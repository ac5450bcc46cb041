//! Text that lies in place while it is short. [pure]
//!
//! Ids, paths and model names are a few dozen bytes: kept inside their owner they cost no allocation
//! on the thread that makes them and no release on the thread that drops them.

use std::fmt;
use std::ops::Deref;

/// Longest text kept in place, in bytes: an id of `chatcmpl-` and a UUID fits.
pub const INLINE_BYTES_MAX: usize = 46;

/// Text of any length; up to [`INLINE_BYTES_MAX`] bytes of it without an allocation.
#[derive(Clone)]
pub struct ShortText(Repr);

#[derive(Clone)]
enum Repr {
    /// The first `len` bytes are the text, the others 0.
    Inline {
        len: u8,
        bytes: [u8; INLINE_BYTES_MAX],
    },
    Heap(Box<str>),
}

// What does not fit in place costs no more room than what does.
const _: () = assert!(size_of::<Option<ShortText>>() == 48);

impl ShortText {
    /// `parts` as one text.
    pub fn joined(parts: [&str; 3]) -> Self {
        let len = parts.iter().map(|part| part.len()).sum();
        let mut bytes = [0; INLINE_BYTES_MAX];
        let Some(mut room) = bytes.get_mut(..len) else {
            return Self(Repr::Heap(parts.concat().into()));
        };
        for part in parts {
            let (place, rest) = room.split_at_mut(part.len());
            place.copy_from_slice(part.as_bytes());
            room = rest;
        }
        // At most INLINE_BYTES_MAX.
        let len = len as u8;
        Self(Repr::Inline { len, bytes })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            // Copied whole from a `str`.
            Repr::Inline { len, bytes } => {
                let text = bytes.get(..usize::from(*len)).unwrap_or_default();
                std::str::from_utf8(text).unwrap_or_default()
            }
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
        let mut bytes = [0; INLINE_BYTES_MAX];
        match bytes.get_mut(..text.len()) {
            Some(place) => {
                place.copy_from_slice(text.as_bytes());
                // At most INLINE_BYTES_MAX.
                let len = text.len() as u8;
                Self(Repr::Inline { len, bytes })
            }
            None => Self(Repr::Heap(text.into())),
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
                let inline = matches!(short.0, Repr::Inline { .. });
                assert_eq!(inline, text.len() <= INLINE_BYTES_MAX);
            }
        }
        assert_eq!(ShortText::default(), "");
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
