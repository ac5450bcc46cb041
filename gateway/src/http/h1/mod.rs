//! HTTP/1.1, both sides: heads, body framing, and the bytes written back. [pure]
//!
//! `httparse` tokenises; every policy is ours and errs towards refusal, because a message that two
//! parties can read in two ways is how requests are smuggled past the one that checks them.

mod body;
mod fields;
mod framing;
mod grammar;
mod head_end;
mod limits;
mod request;
mod response;
pub mod write;

pub use body::{BodyError, BodyReader, Piece};
pub use body::{CHUNK_EXTENSION_BYTES_MAX, CHUNK_EXTENSION_BYTES_TOTAL_MAX};
pub use body::{TRAILER_BYTES_MAX, TRAILERS_MAX};
pub use framing::{BodyLength, Version};
pub use head_end::HeadScanner;
pub use limits::Limits;
pub use request::{HeadError, Method, RequestHead, parse_request};
pub use response::{ResponseError, ResponseHead, parse_response};
