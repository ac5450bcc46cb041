//! The gateway from outside: the real binary, raw sockets, a scripted upstream.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail it")]

#[path = "../support/mod.rs"]
mod support;

mod access_log;
mod canary;
mod callers;
mod chat;
mod cli;
mod engine;
mod endpoints;
mod headers;
mod http;
mod malformed;
mod metrics;
mod names;
mod rechunk;
mod startup;
mod upstream_tls;
mod upstream_faults;
