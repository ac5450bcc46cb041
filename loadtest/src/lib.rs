//! A scripted LLM upstream and a load client, to test and measure gateways.

pub mod chunked;
pub mod clock;
pub mod mock;
