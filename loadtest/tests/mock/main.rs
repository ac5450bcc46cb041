//! The mock, driven over raw sockets: each key of a script does what the table says.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it")]

mod faults;
mod messages;
mod records;
mod responses;
mod shapes;
mod support;
mod wire;
