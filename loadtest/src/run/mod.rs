//! A load client, closed- and open-loop, that compares targets in interleaved rounds. [cold]

mod client;
mod figures;
mod load;
mod process;
mod stats;
mod target;
