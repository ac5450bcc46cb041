//! Strict readers of what callers get: each follows one protocol's stream as its SDKs would.

pub mod chat;
pub mod messages;
pub mod responses;
