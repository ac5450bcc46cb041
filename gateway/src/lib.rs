//! The Sluice AI gateway.

mod sys;
mod worker;
pub mod http;
pub mod request_id;
