//! Microbenches of pure modules. This library holds what they measure on: stores of a chosen size.
//!
//! Run all with `cargo bench -p bench`, one with `cargo bench -p bench --bench snapshot_lookup`.
#![forbid(unsafe_code)]

pub mod rows;

pub use rows::{Rows, Size, Store};
