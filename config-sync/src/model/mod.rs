//! The kinds of resources: their fields, defaults and checks. [pure]

pub mod glob;
pub mod labels;
pub mod template;
