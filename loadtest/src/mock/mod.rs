//! A scripted OpenAI-shaped upstream over raw sockets, so that faults can be exact. [cold]

pub mod script;
