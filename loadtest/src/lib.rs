//! A scripted LLM upstream and a load client, to test and measure gateways.
//!
//! [`mock`] answers as OpenAI-compatible servers do, or as badly as its script says. [`run`] sends
//! requests, closed- or open-loop, and reports latency, events, CPU time and memory per target.

pub mod chunked;
pub mod clock;
pub mod histogram;
pub mod limits;
pub mod mock;
pub mod run;
pub mod sse;
pub mod timer;
