//! JSON read in place, without ever becoming a tree. [pure]
//!
//! [`cursor`] walks a document once and hands out spans of it; [`text`] turns string spans into text
//! and back.

pub mod cursor;
mod plain;
pub mod text;

#[cfg(test)]
mod tests;

pub use cursor::{Cursor, JsonError, Key, Kind, Span, Value};
