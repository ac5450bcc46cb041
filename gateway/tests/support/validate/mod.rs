//! Strict readers of what callers get, one per protocol.

pub mod responses;
