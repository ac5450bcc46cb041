//! The life of one request, as a list of phases. [ring]

mod answer;
mod context;
mod probe;
mod serve;

pub(crate) use serve::{refuse, serve};
