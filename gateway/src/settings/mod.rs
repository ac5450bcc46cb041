//! The startup configuration: file and `SLUICE_` variables to checked settings. [boot]

mod checked;
mod env;
mod field;
mod interpolate;
mod keys;
mod problem;
mod raw;
mod secret;
