//! A load client, closed- and open-loop, that compares targets in interleaved rounds. [cold]

mod client;
mod figures;
mod host;
mod load;
mod process;
mod report;
mod stats;
mod target;
