//! The startup configuration: file and `SLUICE_` variables to checked settings. [boot]

mod keys;
mod problem;
mod raw;
mod secret;
