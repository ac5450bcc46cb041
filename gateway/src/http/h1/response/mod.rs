//! Response heads, from the bytes of an upstream to a value that can be trusted. [pure]

mod error;
mod head;
mod parse;
#[cfg(test)]
mod tests;

pub use error::ResponseError;
pub use head::ResponseHead;
pub use parse::parse_response;
