//! The Sluice AI gateway: the `sluice` binary's library, its modules in the order of a request.
//!
//! ```text
//! client -> listener -> http -> request -> auth -> route -> provider -> upstream -> LLM
//! client <- listener <- relay <- provider <- upstream <- LLM
//!                       relay -> usage -> bridge -> cold: access log, metrics, status
//! resources file | etcd -> config-sync -> snapshot -> every worker
//! ```
//!
//! Each module's first line ends in a mark that tells which thread runs it: `[ring]` a worker,
//! `[pure]` whoever calls it, `[bridge]` both sides of the boundary, `[cold]` the threads beside
//! the workers, `[boot]` the main thread.
// The marks look like links.
#![allow(rustdoc::broken_intra_doc_links)]

mod listener;

pub mod http;

mod request;

pub mod auth;
pub mod canonical;
pub mod client_ip;
pub mod client_type;
pub mod dialect;
pub mod endpoint;
pub mod json;
pub mod limit;
pub mod passthrough;
pub mod reach;
pub mod rejection;
pub mod request_id;
pub mod rewrite;
pub mod route;
pub mod short_text;

pub mod provider;
mod relay;
mod upstream;
pub mod usage;

pub mod bridge;
pub mod cold;

mod sys;
pub mod tls;
mod worker;

pub mod boot;
pub mod cli;
pub mod operator;
pub mod settings;
