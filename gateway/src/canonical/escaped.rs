//! Text that stays escaped on its way from one JSON string into another. [pure]

use crate::json::text;

/// The inside of a JSON string as an upstream sent it, escapes and all.
///
/// Text that goes from a string of one document into a string of another needs no decoding. What a
/// lenient reader let pass, such as a bare line feed, is escaped on the way out, so that it can break
/// neither the document nor the event it travels in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Escaped<'e>(&'e [u8]);

impl<'e> Escaped<'e> {
    /// `raw` is what stands between the quotes.
    pub fn new(raw: &'e [u8]) -> Self {
        Self(raw)
    }

    /// The bytes between the quotes.
    pub fn raw(self) -> &'e [u8] {
        self.0
    }

    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Appends it as the inside of a JSON string.
    pub fn write(self, out: &mut Vec<u8>) {
        let mut rest = self.0;
        while let Some(at) = rest.iter().position(|byte| *byte < 0x20) {
            let (plain, control) = rest.split_at(at);
            out.extend_from_slice(plain);
            let (control, after) = control.split_at(1);
            text::write_escaped(std::str::from_utf8(control).unwrap_or_default(), out);
            rest = after;
        }
        out.extend_from_slice(rest);
    }

    /// The text itself; `None` for malformed escapes and half of a surrogate pair.
    pub fn decode(self) -> Option<String> {
        String::from_utf8(text::unescape(self.0)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_pass_as_they_are_and_bare_controls_are_escaped() {
        let cases: [(&[u8], &[u8]); 4] = [
            (br#"a\"b\u00e9\n"#, br#"a\"b\u00e9\n"#),
            (b"a\nb\rc\x01", br"a\nb\rc\u0001"),
            ("é😀".as_bytes(), "é😀".as_bytes()),
            (b"", b""),
        ];
        for (raw, want) in cases {
            let mut out = Vec::new();
            Escaped::new(raw).write(&mut out);
            assert_eq!(out, want);
        }
        assert_eq!(Escaped::new(br"\u00e9\n").decode().unwrap(), "é\n");
        assert_eq!(Escaped::new(br"\ud83d").decode(), None);
    }
}
