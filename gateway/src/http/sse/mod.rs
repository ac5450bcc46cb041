//! Server-sent events: where one ends, and what it says. [pure]

mod event;
mod scan;
#[cfg(test)]
mod tests;

pub use event::{EventData, data_of, name_of};
pub use scan::{EVENT_BYTES_MAX, EventScanner, SseError};
