//! What travels over a connection, as bytes in and values out. [pure]
//!
//! Nothing here performs I/O, reads a clock or spawns: the worker feeds the bytes it read and sends
//! the bytes it is given. Every answer is the same however the input was cut into reads.

pub mod h1;
pub mod h2;
pub mod sse;
