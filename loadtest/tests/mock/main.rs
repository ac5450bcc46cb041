//! The mock, driven over raw sockets: each key of a script does what the table says.

mod faults;
mod records;
mod shapes;
mod support;
mod wire;
