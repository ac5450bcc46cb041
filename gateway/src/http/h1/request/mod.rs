//! Request heads, from the bytes of a caller to a value that can be trusted. [pure]

mod diagnosis;
mod error;
mod head;
mod parse;
mod target;
#[cfg(test)]
mod tests;

pub use error::HeadError;
pub use head::{Method, RequestHead};
pub use parse::parse_request;
