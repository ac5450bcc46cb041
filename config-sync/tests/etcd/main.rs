//! The etcd source against real etcd members, in health and in trouble.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]
#![allow(unreachable_pub, reason = "nothing is outside a test binary")]

#[path = "../support/mod.rs"]
mod support;

mod access;
mod cluster;
mod commands;
mod direct;
mod faults;
mod heard;
mod history;
mod operators;
mod rows;
