//! The life of one request, as a list of phases. [ring]

mod answer;
mod attempts;
mod context;
mod follow;
mod hedge;
mod held;
mod job;
mod passthrough;
mod probe;
mod serve;
mod tried;

pub(crate) use serve::{refuse, serve};
