//! The kinds of resources: their fields, defaults and checks. [pure]

pub mod glob;
