//! The header lines of a head: one copy of its bytes, and where each line lies in it. [pure]

use httparse::Header;

use super::limits::HEAD_BYTES_CEILING;

/// A range of a head, whose length fits 32 bits (`HEAD_BYTES_CEILING`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Where `part` lies in `whole`, which is at most 1 MiB; the empty span when it does not.
    pub(super) fn of(part: &[u8], whole: &[u8]) -> Self {
        debug_assert!(whole.len() <= HEAD_BYTES_CEILING);
        let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        let end = start.wrapping_add(part.len());
        if start > end || end > whole.len() {
            return Self::default();
        }
        // Both are at most HEAD_BYTES_CEILING, which fits 32 bits.
        Self {
            start: start as u32,
            end: end as u32,
        }
    }

    fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    pub(super) fn slice(self, whole: &[u8]) -> &[u8] {
        whole
            .get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }

    /// The text of a span that was checked to be ASCII when it was made.
    pub(super) fn text(self, whole: &[u8]) -> &str {
        str::from_utf8(self.slice(whole)).unwrap_or_default()
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Line {
    name: Span,
    value: Span,
}

/// Header lines in the order and case in which they were sent. Two allocations.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Fields {
    head: Box<[u8]>,
    lines: Box<[Line]>,
}

impl Fields {
    /// Copies `head`, of which `headers` are slices.
    pub(super) fn new(head: &[u8], headers: &[Header<'_>]) -> Self {
        let line = |header: &Header<'_>| Line {
            name: Span::of(header.name.as_bytes(), head),
            value: Span::of(header.value, head),
        };
        Self {
            head: head.into(),
            lines: headers.iter().map(line).collect(),
        }
    }

    /// The bytes the spans refer to.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.lines
            .iter()
            .map(|line| (line.name.text(&self.head), line.value.slice(&self.head)))
    }

    /// Values of every line called `name`, whatever its case, in order.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let name = name.as_bytes();
        let called = move |line: &&Line| {
            line.name.len() == name.len() && line.name.slice(&self.head).eq_ignore_ascii_case(name)
        };
        self.lines
            .iter()
            .filter(called)
            .map(|line| line.value.slice(&self.head))
    }

    pub(super) fn first(&self, name: &str) -> Option<&[u8]> {
        self.all(name).next()
    }
}
