//! Members of a caller's body, read by name, and what is wrong with them. [pure]
//!
//! The body was checked when the call was read: it is UTF-8 and well-formed, and no deeper than a
//! cursor goes. So only shapes can be wrong, and the fault says where.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::json::{Cursor, JsonError, Kind, Value, text};
use crate::rejection::Rejection;

/// Something in the body is not what the protocol has there.
#[derive(Debug)]
pub(super) struct Fault {
    /// Steps to the place, such as `messages[3].role`; put together from its end.
    path: String,
    problem: Cow<'static, str>,
}

impl Fault {
    pub(super) fn new(problem: impl Into<Cow<'static, str>>) -> Self {
        Self {
            path: String::new(),
            problem: problem.into(),
        }
    }

    /// The same fault, seen from around the member `name`.
    pub(super) fn in_member(mut self, name: &str) -> Self {
        let dot = if matches!(self.path.as_bytes().first(), None | Some(b'[')) {
            ""
        } else {
            "."
        };
        self.path = format!("{name}{dot}{}", self.path);
        self
    }

    /// The same fault, seen from around item `index` of a list.
    pub(super) fn in_item(self, index: usize) -> Self {
        self.in_member(&format!("[{index}]"))
    }

    /// The rejection; `param` is the top-level member at fault, where it is one that is known.
    pub(super) fn rejection(self, param: Option<&'static str>) -> Rejection {
        let Self { path, problem } = match param {
            Some(name) => self.in_member(name),
            None => self,
        };
        let problem = if path.is_empty() {
            problem
        } else {
            format!("{path}: {problem}").into()
        };
        Rejection::InvalidRequest { problem, param }
    }
}

impl From<JsonError> for Fault {
    fn from(error: JsonError) -> Self {
        Self::new(error.to_string())
    }
}

/// A value of the body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'b> {
    /// Its JSON text.
    json: &'b [u8],
    value: Value,
}

impl<'b> Field<'b> {
    /// The whole of `json`.
    pub(super) fn of(json: &'b [u8]) -> Result<Self, Fault> {
        let value = Cursor::lenient(json).value()?;
        Ok(Self::cut(json, value))
    }

    fn cut(document: &'b [u8], value: Value) -> Self {
        let json = value.span.of(document);
        let span = crate::json::Span {
            start: 0,
            end: json.len(),
        };
        Self {
            json,
            value: Value { span, ..value },
        }
    }

    pub(super) fn kind(&self) -> Kind {
        self.value.kind
    }

    /// `None` for `null`, which counts as absent.
    pub(super) fn some(self) -> Option<Self> {
        (self.kind() != Kind::Null).then_some(self)
    }

    /// The JSON text, as it came.
    pub(super) fn raw(&self) -> Result<&'b RawValue, Fault> {
        serde_json::from_slice(self.json).map_err(|_| Fault::new("not valid JSON"))
    }

    pub(super) fn text(&self) -> Result<Cow<'b, str>, Fault> {
        if self.kind() != Kind::String {
            return Err(Fault::new("must be a string"));
        }
        text::of(self.json, &self.value).ok_or_else(|| Fault::new("holds half of a surrogate pair"))
    }

    pub(super) fn flag(&self) -> Result<bool, Fault> {
        match self.kind() {
            Kind::Bool(flag) => Ok(flag),
            _ => Err(Fault::new("must be true or false")),
        }
    }

    /// A number, as it came.
    pub(super) fn number(&self) -> Result<&'b RawValue, Fault> {
        match self.kind() {
            Kind::Number => self.raw(),
            _ => Err(Fault::new("must be a number")),
        }
    }

    /// A number that counts something.
    pub(super) fn count(&self) -> Result<u64, Fault> {
        let number = self.number()?.get();
        let whole =
            |number: &f64| number.fract() == 0.0 && (0.0..=u64::MAX as f64).contains(number);
        let parsed = number.parse().ok().or_else(|| {
            let number = number.parse::<f64>().ok().filter(whole)?;
            Some(number as u64)
        });
        parsed.ok_or_else(|| Fault::new("must be a whole number"))
    }

    /// The values of the members `names`, `null` counting as absent; of several of one name the last.
    pub(super) fn members<const N: usize>(
        &self,
        names: [&str; N],
    ) -> Result<[Option<Self>; N], Fault> {
        let mut found = [None; N];
        self.each_member(|name, field| {
            if let Some(at) = names.iter().position(|wanted| *wanted == name)
                && let Some(slot) = found.get_mut(at)
            {
                *slot = field.some();
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Hands on every member, in order.
    pub(super) fn each_member(
        &self,
        mut take: impl FnMut(Cow<'b, str>, Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        if self.kind() != Kind::Object {
            return Err(Fault::new("must be an object"));
        }
        let json = self.json;
        Cursor::lenient(json).object(|cursor, key| {
            let name = Value {
                kind: Kind::String,
                span: key.span,
                escaped: key.span.of(json).contains(&b'\\'),
            };
            let value = cursor.value()?;
            // A key that is no text is none that is known.
            match text::of(json, &name) {
                Some(name) => take(name, Self::cut(json, value)),
                None => Err(Fault::new("a name holds half of a surrogate pair")),
            }
        })?;
        Ok(())
    }

    /// Hands on every item of a list, in order.
    pub(super) fn each_item(
        &self,
        mut take: impl FnMut(Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        if self.kind() != Kind::Array {
            return Err(Fault::new("must be a list"));
        }
        let json = self.json;
        Cursor::lenient(json).array(|cursor, index| {
            let value = cursor.value()?;
            take(Self::cut(json, value)).map_err(|fault| fault.in_item(index))
        })?;
        Ok(())
    }
}

/// The text of member `name`, which may be absent.
pub(super) fn text_of<'b>(
    name: &str,
    field: Option<Field<'b>>,
) -> Result<Option<Cow<'b, str>>, Fault> {
    let text = field.map(|field| field.text()).transpose();
    text.map_err(|fault| fault.in_member(name))
}

/// The text of member `name`, which must be there.
pub(super) fn needed_text<'b>(name: &str, field: Option<Field<'b>>) -> Result<Cow<'b, str>, Fault> {
    needed(name, field)?
        .text()
        .map_err(|fault| fault.in_member(name))
}

/// Member `name`, which must be there.
pub(super) fn needed<'b>(name: &str, field: Option<Field<'b>>) -> Result<Field<'b>, Fault> {
    field.ok_or_else(|| Fault::new("missing field").in_member(name))
}

/// The flag in member `name`, which may be absent.
pub(super) fn flag_of(name: &str, field: Option<Field<'_>>) -> Result<Option<bool>, Fault> {
    let flag = field.map(|field| field.flag()).transpose();
    flag.map_err(|fault| fault.in_member(name))
}
