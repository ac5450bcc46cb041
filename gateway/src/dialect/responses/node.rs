//! One value of a request body, read where it stands. [pure]

use std::borrow::Cow;
use std::fmt::Display;

use serde_json::value::RawValue;

use crate::json::{Cursor, JsonError, Kind, Span, Value, text};
use crate::rejection::Rejection;

/// A JSON value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'b> {
    /// Its text, nothing around it.
    pub(super) bytes: &'b [u8],
    pub(super) kind: Kind,
    /// Whether a string holds a backslash.
    escaped: bool,
}

impl<'b> Node<'b> {
    /// The whole of `document`, without what stands around it.
    pub(super) fn document(document: &'b [u8]) -> Result<Self, Problem> {
        let value = Cursor::strict(document).value()?;
        Ok(Self::of(document, &value))
    }

    pub(super) fn of(document: &'b [u8], value: &Value) -> Self {
        Self {
            bytes: value.span.of(document),
            kind: value.kind,
            escaped: value.escaped,
        }
    }

    /// The members called `names`, in their order. `null` counts as absent; the last of several wins.
    pub(super) fn members<const N: usize>(
        self,
        names: [&str; N],
    ) -> Result<[Option<Self>; N], Problem> {
        let mut found = [None; N];
        self.each_member(|name, _, value| {
            if let Some(at) = names.iter().position(|wanted| wanted.as_bytes() == name) {
                found[at] = (value.kind != Kind::Null).then_some(value);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Calls `member` with each member's name, unescaped, its key and its value.
    pub(super) fn each_member(
        self,
        mut member: impl FnMut(&[u8], Self, Self) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        if self.kind != Kind::Object {
            return Err(Problem::new("must be an object"));
        }
        Cursor::strict(self.bytes).object(|cursor, key| {
            let value = cursor.value()?;
            let key_text = Self {
                bytes: key.span.of(self.bytes),
                kind: Kind::String,
                escaped: memchr::memchr(b'\\', key.span.of(self.bytes)).is_some(),
            };
            member(key.name, key_text, Self::of(self.bytes, &value))
        })?;
        Ok(())
    }

    /// Calls `item` with each item of a list; a problem is placed under its index.
    pub(super) fn items(
        self,
        mut item: impl FnMut(Self) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        if self.kind != Kind::Array {
            return Err(Problem::new("must be a list"));
        }
        Cursor::strict(self.bytes).array(|cursor, index| {
            let value = cursor.value()?;
            item(Self::of(self.bytes, &value))
                .map_err(|problem| problem.under(format_args!("[{index}]")))
        })?;
        Ok(())
    }

    /// The text of a string.
    pub(super) fn text(self) -> Result<Cow<'b, str>, Problem> {
        if self.kind != Kind::String {
            return Err(Problem::new("must be a string"));
        }
        let span = Span {
            start: 0,
            end: self.bytes.len(),
        };
        let value = Value {
            kind: self.kind,
            span,
            escaped: self.escaped,
        };
        text::of(self.bytes, &value).ok_or(Problem::new("holds half of a surrogate pair"))
    }

    pub(super) fn flag(self) -> Result<bool, Problem> {
        match self.kind {
            Kind::Bool(flag) => Ok(flag),
            _ => Err(Problem::new("must be true or false")),
        }
    }

    /// A number, as it is spelt.
    pub(super) fn number(self) -> Result<&'b RawValue, Problem> {
        match self.kind {
            Kind::Number => self.raw(),
            _ => Err(Problem::new("must be a number")),
        }
    }

    pub(super) fn object(self) -> Result<&'b RawValue, Problem> {
        match self.kind {
            Kind::Object => self.raw(),
            _ => Err(Problem::new("must be an object")),
        }
    }

    /// The value as JSON text.
    pub(super) fn raw(self) -> Result<&'b RawValue, Problem> {
        serde_json::from_slice(self.bytes).map_err(|_| Problem::new("is not valid JSON"))
    }
}

/// What is wrong with a body, and where.
#[derive(Debug)]
pub(super) struct Problem {
    place: String,
    what: Cow<'static, str>,
}

impl Problem {
    pub(super) fn new(what: impl Into<Cow<'static, str>>) -> Self {
        Self {
            place: String::new(),
            what: what.into(),
        }
    }

    /// The same, further out: `outer` is a member's name or an index in brackets.
    pub(super) fn under(mut self, outer: impl Display) -> Self {
        let dot = if self.place.is_empty() || self.place.starts_with('[') {
            ""
        } else {
            "."
        };
        self.place = format!("{outer}{dot}{}", self.place);
        self
    }

    /// As the caller is told it; `param` is the top-level member.
    pub(super) fn rejection(self, param: &'static str) -> Rejection {
        let Self { place, what } = self.under(param);
        Rejection::InvalidRequest {
            problem: format!("{place}: {what}").into(),
            param: Some(param),
        }
    }
}

impl From<JsonError> for Problem {
    fn from(error: JsonError) -> Self {
        Self::new(format!("not valid JSON: {error}"))
    }
}

/// A member read by `read`, if it is there.
pub(super) fn optional<'b, T>(
    name: &'static str,
    node: Option<Node<'b>>,
    read: impl FnOnce(Node<'b>) -> Result<T, Problem>,
) -> Result<Option<T>, Problem> {
    node.map(read)
        .transpose()
        .map_err(|problem| problem.under(name))
}

/// A member read by `read`, which must be there.
pub(super) fn required<'b, T>(
    name: &'static str,
    node: Option<Node<'b>>,
    read: impl FnOnce(Node<'b>) -> Result<T, Problem>,
) -> Result<T, Problem> {
    optional(name, node, read)?.ok_or_else(|| Problem::new("missing field").under(name))
}
