//! The Sluice AI gateway.

mod sys;
mod worker;
pub mod auth;
pub mod bridge;
pub mod endpoint;
pub mod http;
pub mod cli;
pub mod client_ip;
pub mod client_type;
pub mod request_id;
pub mod rewrite;
pub mod settings;
pub mod bridge;
pub mod cold;
pub mod json;
pub mod provider;
pub mod rejection;
pub mod route;
pub mod usage;
