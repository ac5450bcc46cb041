//! What one core owns: its runtime, its clock, its buffers, its view of the configuration. [ring]
//!
//! The one place that names the runtime library, beside the listener and upstream sockets it hands
//! out.

pub(crate) mod admission;
pub(crate) mod alarm;
pub(crate) mod buffers;
mod clock;
pub(crate) mod connections;
pub(crate) mod core;
mod date;
pub(crate) mod doors;
pub(crate) mod engine;
pub(crate) mod inbox;
pub(crate) mod inflow;
pub(crate) mod placement;
pub(crate) mod race;
pub(crate) mod run;
pub(crate) mod task;
mod timers;
pub(crate) mod tls;
mod turnstile;

pub(crate) use core::Worker;
