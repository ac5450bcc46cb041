//! JSON read in place: walked, looked up and edited without ever becoming a tree. [pure]
//!
//! [`cursor`] walks a document once and hands out spans of it; [`text`] turns string spans into text
//! and back; [`edits`] writes the document again with a few spans replaced, every other byte as it
//! came.

pub mod cursor;
pub mod edits;
mod plain;
pub mod text;
mod value;

#[cfg(test)]
mod tests;

pub use cursor::Cursor;
pub use edits::{Edits, Text};
pub use plain::is_plain_ascii;
pub use value::{JsonError, Key, Kind, Span, Value};
