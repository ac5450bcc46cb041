//! The gateway from outside: the real binary, raw sockets, a scripted upstream.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail it")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../redis_limits/server.rs"]
#[allow(dead_code, reason = "not every test needs every kind of server")]
mod redis_server;

mod access_log;
mod accounting;
mod acks;
mod admission;
mod backpressure;
mod balance;
mod callers;
mod canary;
mod chat;
mod checks;
mod cli;
mod clocks;
mod container;
mod count_tokens;
mod descriptors;
mod doctor;
mod doors;
mod drain;
mod endpoints;
mod engine;
mod faults;
mod footprint;
mod hangup;
mod headers;
mod healthcheck;
mod hedging;
mod hold_back;
mod http;
mod http2;
mod limits;
mod limits_shared;
mod malformed;
mod metrics;
mod names;
mod notify;
mod packaging;
mod passthrough;
mod protocols;
mod rechunk;
mod reload;
mod routing;
mod soak;
mod startup;
mod store_access;
mod store_cache;
mod store_changes;
mod store_commands;
mod store_file;
mod store_load;
mod store_outage;
mod store_rows;
mod store_scale;
mod store_secrets;
mod streams;
mod system_calls;
mod tls;
mod upgrade;
mod upstream_faults;
mod upstream_tls;
mod wave;
