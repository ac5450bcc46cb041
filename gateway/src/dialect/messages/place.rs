//! Places in a request body: reading what stands there, and naming it where it is wrong. [pure]

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::rejection::Rejection;

/// Longest problem told, in bytes: a parser may repeat the caller's text.
const PROBLEM_BYTES_MAX: usize = 256;

/// A value's place in the body, as `messages[3].content[0].type`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'p> {
    within: Option<&'p Place<'p>>,
    step: Step,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Field(&'static str),
    Item(usize),
}

/// A string, borrowed unless it holds escapes.
#[derive(Deserialize)]
struct Text<'b>(#[serde(borrow)] Cow<'b, str>);

impl<'p> Place<'p> {
    /// A member of the body.
    pub(super) fn member(name: &'static str) -> Self {
        Self {
            within: None,
            step: Step::Field(name),
        }
    }

    /// A member of the object that stands here.
    pub(super) fn field(&'p self, name: &'static str) -> Self {
        Self {
            within: Some(self),
            step: Step::Field(name),
        }
    }

    /// An item of the list that stands here.
    pub(super) fn item(&'p self, index: usize) -> Self {
        Self {
            within: Some(self),
            step: Step::Item(index),
        }
    }

    /// The rejection for what stands here.
    pub(super) fn fault(&self, problem: &str) -> Rejection {
        let shown = problem.get(..problem.floor_char_boundary(PROBLEM_BYTES_MAX));
        Rejection::InvalidRequest {
            problem: format!("{self}: {}", shown.unwrap_or_default()).into(),
            param: self.root(),
        }
    }

    pub(super) fn missing(&self) -> Rejection {
        self.fault("missing field")
    }

    /// The text of a string.
    pub(super) fn text<'b>(&self, raw: &'b RawValue) -> Result<Cow<'b, str>, Rejection> {
        if !raw.get().starts_with('"') {
            return Err(self.fault("must be a string"));
        }
        let Text(text) = self.read(raw)?;
        Ok(text)
    }

    /// The text of a string that must be there.
    pub(super) fn required<'b>(
        &self,
        raw: Option<&'b RawValue>,
    ) -> Result<Cow<'b, str>, Rejection> {
        self.text(raw.ok_or_else(|| self.missing())?)
    }

    /// The text of a string that may be absent.
    pub(super) fn optional<'b>(
        &self,
        raw: Option<&'b RawValue>,
    ) -> Result<Option<Cow<'b, str>>, Rejection> {
        raw.map(|raw| self.text(raw)).transpose()
    }

    pub(super) fn boolean(&self, raw: &RawValue) -> Result<bool, Rejection> {
        match raw.get() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.fault("must be true or false")),
        }
    }

    /// A number, as it is spelled.
    pub(super) fn number<'b>(&self, raw: &'b RawValue) -> Result<&'b RawValue, Rejection> {
        match raw.get().as_bytes().first() {
            Some(b'-' | b'0'..=b'9') => Ok(raw),
            _ => Err(self.fault("must be a number")),
        }
    }

    /// The items of a list.
    pub(super) fn items<'b>(&self, raw: &'b RawValue) -> Result<Vec<&'b RawValue>, Rejection> {
        if !raw.get().starts_with('[') {
            return Err(self.fault("must be a list"));
        }
        self.read(raw)
    }

    /// The members of an object, as far as `T` names them.
    pub(super) fn object<'b, T: Deserialize<'b>>(&self, raw: &'b RawValue) -> Result<T, Rejection> {
        if !raw.get().starts_with('{') {
            return Err(self.fault("must be an object"));
        }
        self.read(raw)
    }

    fn read<'b, T: Deserialize<'b>>(&self, raw: &'b RawValue) -> Result<T, Rejection> {
        serde_json::from_str(raw.get()).map_err(|error| {
            let said = error.to_string();
            // The line and column are those of a part, not of the body.
            let problem = said.split(" at line ").next().unwrap_or_default();
            self.fault(problem)
        })
    }

    /// The member of the body that it stands in.
    fn root(&self) -> Option<&'static str> {
        match (self.within, self.step) {
            (Some(within), _) => within.root(),
            (None, Step::Field(name)) => Some(name),
            (None, Step::Item(_)) => None,
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(within) = self.within {
            within.fmt(f)?;
        }
        match self.step {
            Step::Field(name) if self.within.is_some() => write!(f, ".{name}"),
            Step::Field(name) => f.write_str(name),
            Step::Item(index) => write!(f, "[{index}]"),
        }
    }
}
