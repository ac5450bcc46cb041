//! A few replacements in a document that is otherwise copied byte for byte. [pure]

use super::text;
use super::value::Span;

/// Edits held without an allocation; a request or an event rarely needs more.
const INLINE: usize = 6;

/// What takes the place of a span.
#[derive(Clone, Copy, Debug)]
pub enum Text<'t> {
    /// These bytes.
    Raw(&'t [u8]),
    /// This text, escaped as the inside of a JSON string.
    Escaped(&'t str),
    /// Bytes of the document itself.
    Copy(Span),
}

#[derive(Clone, Copy, Debug)]
struct Edit<'t> {
    span: Span,
    text: Text<'t>,
}

/// Replacements, sorted by place. Those at one place apply in the order they were added.
#[derive(Debug)]
pub struct Edits<'t> {
    inline: [Edit<'t>; INLINE],
    inline_len: usize,
    /// Takes over all edits once there are more than [`INLINE`].
    spilled: Vec<Edit<'t>>,
}

impl Default for Edits<'_> {
    fn default() -> Self {
        let none = Edit {
            span: Span::at(0),
            text: Text::Raw(b""),
        };
        Self {
            inline: [none; INLINE],
            inline_len: 0,
            spilled: Vec::new(),
        }
    }
}

impl<'t> Edits<'t> {
    /// Whether the document stays as it is.
    pub fn is_empty(&self) -> bool {
        self.list().is_empty()
    }

    /// Replaces `span` by `text`. Spans must not overlap; empty ones insert.
    pub fn replace(&mut self, span: Span, text: Text<'t>) {
        let edit = Edit { span, text };
        if self.spilled.is_empty() && self.inline_len < INLINE {
            self.inline[self.inline_len] = edit;
            self.inline_len += 1;
        } else {
            if self.spilled.is_empty() {
                self.spilled.extend_from_slice(&self.inline);
            }
            self.spilled.push(edit);
        }
        let list = self.list_mut();
        let mut at = list.len() - 1;
        while at > 0 && list[at - 1].span.start > list[at].span.start {
            list.swap(at - 1, at);
            at -= 1;
        }
    }

    /// Inserts `text` before the byte at `at`.
    pub fn insert(&mut self, at: usize, text: Text<'t>) {
        self.replace(Span::at(at), text);
    }

    /// Removes `span`.
    pub fn remove(&mut self, span: Span) {
        self.replace(span, Text::Raw(b""));
    }

    /// Length of the edited document, in bytes.
    pub fn edited_len(&self, document: &[u8]) -> usize {
        let grown = self.list().iter().map(|edit| match edit.text {
            Text::Raw(bytes) => bytes.len(),
            Text::Escaped(text) => text::escaped_len(text),
            Text::Copy(span) => span.of(document).len(),
        });
        let removed = |edit: &Edit<'_>| edit.span.of(document).len();
        let removed: usize = self.list().iter().map(removed).sum();
        (document.len() + grown.sum::<usize>()).saturating_sub(removed)
    }

    /// Appends the edited document to `out`.
    pub fn apply(&self, document: &[u8], out: &mut Vec<u8>) {
        let mut at = 0;
        for edit in self.list() {
            debug_assert!(at <= edit.span.start, "edits overlap");
            out.extend_from_slice(document.get(at..edit.span.start).unwrap_or_default());
            match edit.text {
                Text::Raw(bytes) => out.extend_from_slice(bytes),
                Text::Escaped(text) => text::write_escaped(text, out),
                Text::Copy(span) => out.extend_from_slice(span.of(document)),
            }
            at = at.max(edit.span.end);
        }
        out.extend_from_slice(document.get(at..).unwrap_or_default());
    }

    fn list(&self) -> &[Edit<'t>] {
        if self.spilled.is_empty() {
            self.inline.get(..self.inline_len).unwrap_or_default()
        } else {
            &self.spilled
        }
    }

    fn list_mut(&mut self) -> &mut [Edit<'t>] {
        if self.spilled.is_empty() {
            self.inline.get_mut(..self.inline_len).unwrap_or_default()
        } else {
            &mut self.spilled
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: usize, end: usize) -> Span {
        Span { start, end }
    }

    #[test]
    fn edits_apply_in_document_order_whatever_order_they_came_in() {
        let document = b"0123456789";
        let mut edits = Edits::default();
        edits.replace(span(8, 9), Text::Escaped("\"x\""));
        edits.insert(0, Text::Raw(b"<"));
        edits.remove(span(3, 5));
        edits.insert(6, Text::Raw(b"a"));
        edits.insert(6, Text::Raw(b"b"));
        edits.insert(10, Text::Copy(span(0, 2)));
        let mut out = Vec::new();
        edits.apply(document, &mut out);
        assert_eq!(out, br#"<0125ab67\"x\"901"#);
        assert_eq!(edits.edited_len(document), out.len());
    }

    #[test]
    fn more_edits_than_fit_inline_lose_nothing() {
        let document = [b'.'; 40];
        for count in 0..20 {
            let mut edits = Edits::default();
            for at in (0..count).rev() {
                edits.replace(span(at * 2, at * 2 + 1), Text::Raw(b"ab"));
            }
            let mut out = Vec::new();
            edits.apply(&document, &mut out);
            let want = "ab.".repeat(count) + &".".repeat(40 - 2 * count);
            assert_eq!(out, want.as_bytes());
            assert_eq!(edits.edited_len(&document), out.len());
            assert_eq!(edits.is_empty(), count == 0);
        }
    }
}
