//! The response on its way to the client: whole, or event by event. [ring]

mod begin;
mod clock;
mod comment;
mod head;
pub(crate) mod passage;
mod replay;
mod source;
pub(crate) mod stream;
pub(crate) mod unary;

pub(crate) use begin::Begun;
pub(crate) use comment::{another_comment, comment};
pub(crate) use head::{Header, Marks, ResponseWriter};
pub(crate) use replay::Replay;
pub(crate) use source::Source;

use crate::rejection::Rejection;
use crate::upstream::failure::Failure;

/// Why a response did not reach the client whole.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Nothing was sent yet: the client gets this.
    Rejected(Rejection),
    /// The head was sent: the client was told in band, and the connection closes.
    Cut(Rejection),
    /// The client left.
    HungUp,
}

impl From<Rejection> for Stop {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Rejected(failure.into())
    }
}

impl From<crate::listener::client::HungUp> for Stop {
    fn from(_: crate::listener::client::HungUp) -> Self {
        Self::HungUp
    }
}
