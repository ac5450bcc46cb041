//! The header lines of a head: one copy of its bytes, and where each line lies in it. [pure]

use httparse::Header;

/// A range of a head, whose length fits 32 bits (`HEAD_BYTES_CEILING`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Where `part` lies in `whole`; the empty span when it does not.
    pub(super) fn of(part: &[u8], whole: &[u8]) -> Self {
        let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        match start.checked_add(part.len()) {
            Some(end) if end <= whole.len() => Self::new(start, end),
            _ => Self::default(),
        }
    }

    fn new(start: usize, end: usize) -> Self {
        match (u32::try_from(start), u32::try_from(end)) {
            (Ok(start), Ok(end)) => Self { start, end },
            _ => Self::default(),
        }
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
            let candidate = line.name;
            (candidate.end - candidate.start) as usize == name.len()
                && candidate.slice(&self.head).eq_ignore_ascii_case(name)
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
