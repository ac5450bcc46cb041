//! Rings are had by setting them up, as the gateway does. [boot]

use std::io;

use rustix::io::Errno;

use super::super::facts::{Cause, Denied, EngineFacts, Wanted};
use crate::worker::engine::{Engine, EngineChoice, rehearse};

/// What `workers` workers would run on.
pub(super) fn rehearsed(wanted: Wanted, workers: usize) -> EngineFacts {
    let choice = match wanted {
        Wanted::Auto | Wanted::IoUring => EngineChoice::Auto,
        Wanted::Epoll => EngineChoice::Epoll,
    };
    let (entries, reason) = match rehearse(choice, workers) {
        Ok((Engine::IoUring { entries, .. }, reason)) => (Some(entries), reason),
        Ok((Engine::Epoll, reason)) => (None, reason),
        Err(error) => (None, Some(error)),
    };
    EngineFacts {
        wanted,
        workers,
        entries,
        reason: reason.map(|error| denied(&error)),
    }
}

fn denied(error: &io::Error) -> Denied {
    let cause = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::PERM | Errno::ACCESS) => Cause::Permission,
        Some(Errno::NOMEM) => Cause::Memory,
        Some(Errno::NOSYS) => Cause::Absent,
        _ => Cause::Other,
    };
    Denied {
        cause,
        text: error.to_string(),
    }
}
