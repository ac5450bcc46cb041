//! A response head that passed every check. [pure]

use std::fmt;

use crate::http::h1::fields::Fields;
use crate::http::h1::framing::{BodyLength, Version};

/// One parsed response head, interim or final. Owns a single copy of its bytes.
#[derive(Clone, Eq, PartialEq)]
pub struct ResponseHead {
    pub(super) fields: Fields,
    pub(super) status: u16,
    pub(super) version: Version,
    pub(super) body: BodyLength,
    pub(super) keep_alive: bool,
}

impl ResponseHead {
    /// The status, 100 to 999.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The version of this message.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether another head follows for the same request: any 1xx but 101. Skip at most 8 of these.
    /// A 101 is final; whoever did not ask for it takes it for a failure.
    pub fn is_interim(&self) -> bool {
        matches!(self.status, 100..=199) && self.status != 101
    }

    /// Header lines in the order and case sent; values without surrounding white space.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter()
    }

    /// The first value of `name`, given in any case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.fields.first(name)
    }

    /// The first value of the first of `names` that has one; given in any case.
    pub fn header_of(&self, names: &[&str]) -> Option<&[u8]> {
        self.fields.first_of(names)
    }

    /// Every value of `name`, given in any case, in order.
    pub fn header_all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.fields.all(name)
    }

    /// How the body is delimited, the request's method taken into account.
    pub fn body(&self) -> BodyLength {
        self.body
    }

    /// Whether the connection may carry another request once this response's body is done: final,
    /// fully framed, HTTP/1.1 and without `Connection: close`. The caller adds what it alone knows:
    /// the request was sent whole and no byte came after the body.
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }
}

/// Names only: values may hold cookies.
impl fmt::Debug for ResponseHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers().map(|(name, _)| name).collect();
        f.debug_struct("ResponseHead")
            .field("status", &self.status)
            .field("version", &self.version)
            .field("headers", &names)
            .field("body", &self.body)
            .field("keep_alive", &self.keep_alive)
            .finish()
    }
}
