//! The gateway from outside: the real binary, raw sockets, a scripted upstream.

#[path = "../support/mod.rs"]
mod support;

mod chat;
mod engine;
