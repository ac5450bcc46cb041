//! The startup configuration: file and `SLUICE_` variables to checked settings. [boot]

mod env;
mod interpolate;
mod keys;
mod problem;
mod raw;
mod secret;
