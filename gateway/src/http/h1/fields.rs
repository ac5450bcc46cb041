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

/// Where one line lies.
#[derive(Clone, Copy)]
struct Line {
    name: Span,
    value: Span,
}

/// A line as it is kept: four numbers of 32 bits.
const LINE_BYTES: usize = 16;

impl Line {
    fn encode(self) -> [u8; LINE_BYTES] {
        let numbers = [
            self.name.start,
            self.name.end,
            self.value.start,
            self.value.end,
        ];
        let mut bytes = [0; LINE_BYTES];
        for (place, number) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(numbers) {
            *place = number.to_le_bytes();
        }
        bytes
    }

    #[inline]
    fn decode(bytes: &[u8; LINE_BYTES]) -> Self {
        let number = |at: usize| {
            let bytes = bytes.get(at..).and_then(<[u8]>::first_chunk);
            u32::from_le_bytes(bytes.copied().unwrap_or_default())
        };
        let span = |at| Span {
            start: number(at),
            end: number(at + 4),
        };
        Self {
            name: span(0),
            value: span(8),
        }
    }
}

/// Header lines in the order and case in which they were sent. One allocation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Fields {
    /// The head's bytes, then its lines, each of them encoded.
    store: Box<[u8]>,
    head_bytes: usize,
}

impl Fields {
    /// Copies `head`, of which `headers` are slices.
    pub(super) fn new(head: &[u8], headers: &[Header<'_>]) -> Self {
        let mut store = Vec::with_capacity(head.len() + headers.len() * LINE_BYTES);
        store.extend_from_slice(head);
        for header in headers {
            let line = Line {
                name: Span::of(header.name.as_bytes(), head),
                value: Span::of(header.value, head),
            };
            store.extend_from_slice(&line.encode());
        }
        Self {
            store: store.into(),
            head_bytes: head.len(),
        }
    }

    /// The bytes the spans refer to.
    pub(super) fn head(&self) -> &[u8] {
        self.store.get(..self.head_bytes).unwrap_or_default()
    }

    fn lines(&self) -> impl Iterator<Item = Line> {
        let lines = self.store.get(self.head_bytes..).unwrap_or_default();
        lines.as_chunks().0.iter().map(Line::decode)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let head = self.head();
        self.lines()
            .map(|line| (line.name.text(head), line.value.slice(head)))
    }

    /// Values of every line called `name`, whatever its case, in order.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let name = name.as_bytes();
        let head = self.head();
        let called = move |line: &Line| {
            line.name.len() == name.len() && line.name.slice(head).eq_ignore_ascii_case(name)
        };
        self.lines()
            .filter(called)
            .map(move |line| line.value.slice(head))
    }

    /// The first value of the first of `names` that has one, in one pass.
    pub(super) fn first_of(&self, names: &[&str]) -> Option<&[u8]> {
        let head = self.head();
        let rank = |line: &Line| {
            names.iter().position(|name| {
                line.name.len() == name.len()
                    && line.name.slice(head).eq_ignore_ascii_case(name.as_bytes())
            })
        };
        let ranked = self.lines().filter_map(|line| Some((rank(&line)?, line)));
        let (_, line) = ranked.min_by_key(|(rank, _)| *rank)?;
        Some(line.value.slice(head))
    }

    pub(super) fn first(&self, name: &str) -> Option<&[u8]> {
        self.all(name).next()
    }
}
