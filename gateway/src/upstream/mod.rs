//! The way to an upstream: resolve, connect, secure, send, read. [ring]

pub(crate) mod attempt;
pub(crate) mod clocks;
mod connect;
pub(crate) mod failure;
pub(crate) mod names;
pub(crate) mod pool;
mod tls;
mod transport;
pub(crate) mod trust;
