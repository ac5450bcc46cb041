//! Upgrades in place: a new process takes the listening sockets over, the old one finishes.

mod activation;
mod command;
mod generations;
mod limits;
mod rollback;
mod traffic;

pub(crate) use generations::Generations;
