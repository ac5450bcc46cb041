//! Parts of a JSON document, by their place in it. [pure]

use std::fmt;

/// A byte range of the document.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset behind the last byte.
    pub end: usize,
}

impl Span {
    /// The bytes of `document` in this span; empty where the span does not fit.
    pub fn of(self, document: &[u8]) -> &[u8] {
        document.get(self.start..self.end).unwrap_or_default()
    }

    /// An empty span at `at`: a place to insert.
    pub fn at(at: usize) -> Self {
        Self { start: at, end: at }
    }
}

/// What a value is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Object,
    Array,
    String,
    Number,
    Bool(bool),
    Null,
    /// Something a lenient cursor let pass, like `NaN`.
    Unknown,
}

/// One value that was stepped over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Value {
    /// What it is.
    pub kind: Kind,
    /// The whole value, quotes and brackets included.
    pub span: Span,
    /// Whether a string holds a backslash.
    pub escaped: bool,
}

impl Value {
    /// The raw text of a string, between its quotes.
    pub fn inner(&self) -> Span {
        Span {
            start: self.span.start + 1,
            end: self.span.end.saturating_sub(1).max(self.span.start + 1),
        }
    }
}

/// The key of one member.
#[derive(Clone, Copy, Debug)]
pub struct Key<'k> {
    /// Its text, unescaped: `"\u006dodel"` is `model`.
    pub name: &'k [u8],
    /// Its place in the document, quotes included.
    pub span: Span,
    /// Where the member before it ended; the opening bracket's end for the first member.
    pub after: usize,
    /// Whether this is the first member.
    pub first: bool,
}

/// Where and why a document is not what it should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct JsonError {
    /// Offset of the offending byte.
    pub at: usize,
    /// What was expected, or is wrong.
    pub reason: &'static str,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.reason, self.at)
    }
}
