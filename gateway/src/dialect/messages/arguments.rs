//! Where the JSON of a tool call's arguments ends, while it still comes in pieces. [pure]

/// Follows the arguments of one call. They come inside JSON strings, escaped once more.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    /// Brackets that are open.
    depth: u32,
    in_string: bool,
    /// Whether the character before was a backslash within a string.
    after_backslash: bool,
    complete: bool,
}

impl Arguments {
    /// Whether the outermost bracket was closed.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Takes the next piece, `raw` being the inside of a JSON string. Returns how much of it belongs to
    /// the arguments: what follows their end does not.
    pub(super) fn take(&mut self, raw: &[u8]) -> usize {
        let mut at = 0;
        while !self.complete {
            let Some((character, length)) = raw.get(at..).and_then(first) else {
                break;
            };
            self.step(character);
            at += length;
        }
        at.min(raw.len())
    }

    fn step(&mut self, character: u8) {
        if std::mem::take(&mut self.after_backslash) {
            return;
        }
        match character {
            b'\\' if self.in_string => self.after_backslash = true,
            b'"' => self.in_string = !self.in_string,
            _ if self.in_string => {}
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.complete = self.depth == 0;
            }
            _ => {}
        }
    }
}

/// The character that `raw` begins with, and the bytes it takes there. What is not ASCII means
/// nothing here and counts byte by byte.
fn first(raw: &[u8]) -> Option<(u8, usize)> {
    match *raw {
        [] => None,
        [b'\\', b'u', a, b, c, d, ..] => {
            let digits = [a, b, c, d];
            let text = std::str::from_utf8(&digits).unwrap_or_default();
            let code = u32::from_str_radix(text, 16)
                .ok()
                .and_then(|code| code.try_into().ok());
            Some((code.unwrap_or(b'?'), 6))
        }
        [b'\\', b'n' | b'r' | b't' | b'b' | b'f', ..] => Some((b' ', 2)),
        [b'\\', character, ..] => Some((character, 2)),
        [character, ..] => Some((character, 1)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(json: &str) -> Vec<u8> {
        let mut out = Vec::new();
        crate::json::text::write_escaped(json, &mut out);
        out
    }

    #[test]
    fn the_end_of_the_outermost_bracket_completes_and_nothing_after_it_is_taken() {
        for (json, rest) in [
            ("{}", ""),
            (r#"{"a":{"b":[1,2,{}]}}"#, "  {\"late\":1}"),
            (r#"{"a":"}","b":"\"}","c":"\\"}"#, "}"),
            (r#" {"é😀":"{[\n"}"#, "x"),
            ("[[],{}]", "]"),
        ] {
            let raw = escaped(json);
            for cut in 0..=raw.len() {
                // A piece is the inside of a string: its escapes are whole.
                if raw[..cut]
                    .iter()
                    .rev()
                    .take_while(|byte| **byte == b'\\')
                    .count()
                    % 2
                    == 1
                {
                    continue;
                }
                let mut arguments = Arguments::default();
                let first = arguments.take(&raw[..cut]);
                assert_eq!(first, cut, "{json}");
                assert_eq!(arguments.is_complete(), cut == raw.len(), "{json} at {cut}");
                let more = [&raw[cut..], rest.as_bytes()].concat();
                assert_eq!(arguments.take(&more), raw.len() - cut);
                assert!(arguments.is_complete());
            }
        }
    }

    #[test]
    fn unusual_escapes_mean_the_same() {
        let mut arguments = Arguments::default();
        let raw = br#"\u007b\u0022a\u0022:\u0022\u005c\u0022}\u0022\u007d"#;
        assert_eq!(arguments.take(raw), raw.len());
        assert!(arguments.is_complete());
    }

    #[test]
    fn what_is_no_object_or_list_is_never_complete() {
        for raw in ["", "null", "12", r#"\"text\""#, "{", r"\"] {
            let mut arguments = Arguments::default();
            assert_eq!(arguments.take(raw.as_bytes()), raw.len(), "{raw}");
            assert!(!arguments.is_complete());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_within_bounds(pieces in prop::collection::vec(any::<Vec<u8>>(), 0..8)) {
            let mut arguments = Arguments::default();
            for piece in &pieces {
                prop_assert!(arguments.take(piece) <= piece.len());
            }
        }
    }
}
