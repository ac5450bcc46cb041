//! The gateway from outside: the real binary, raw sockets, a scripted upstream.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail it")]

#[path = "../support/mod.rs"]
mod support;

mod access_log;
mod callers;
mod canary;
mod accounting;
mod backpressure;
mod chat;
mod cli;
mod endpoints;
mod engine;
mod headers;
mod http;
mod malformed;
mod metrics;
mod names;
mod rechunk;
mod startup;
mod upstream_faults;
mod upstream_tls;
mod clocks;
mod drain;
mod hangup;
mod reload;
mod soak;
mod streams;
