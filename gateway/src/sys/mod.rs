//! System calls that the standard library and the runtime do not offer. [ring]
//!
//! The one module that may hold `unsafe`; every use is wrapped in a safe function.
#![allow(unsafe_code)]

mod clock;
mod code;
mod descriptors;
mod inherited;
mod listening;
mod memory;
mod pooled;
mod slice;
mod socket;
mod wait;

pub(crate) use clock::is_clock_in_step;
pub(crate) use code::forget_code;
pub(crate) use descriptors::{LeftBehind, own_descriptors};
pub(crate) use inherited::inherited;
pub(crate) use listening::Listening;
pub(crate) use memory::return_freed;
pub(crate) use pooled::Pooled;
pub(crate) use slice::shorten_slice;
pub(crate) use socket::Socket;
pub(crate) use wait::Watch;
