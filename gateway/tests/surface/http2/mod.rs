//! HTTP/2 from outside: the same request path, whatever carries it, and what it refuses.

mod admission;
mod client;
mod drain;
mod floods;
mod frames;
mod requests;
mod smuggling;
mod streams;

pub(crate) use streams::waiting;
