//! The bounds of memory, from what the host grants and the settings say. [boot]

use std::sync::Arc;

use super::{BootError, because};
use crate::bridge::memory::{BODIES_PART, Bounds, Memory};
use crate::cold::memory::measure::Measure;
use crate::settings::{MemoryMark, Settings};

/// What all threads see of memory, measured once, and how it is measured from there.
///
/// # Errors
///
/// A mark is set, and how much memory there is cannot be found out.
pub(super) fn memory(
    settings: &Settings,
    workers: usize,
) -> Result<(Arc<Memory>, Measure), BootError> {
    let wanted = &settings.proxy.memory;
    let workers = u64::try_from(workers).unwrap_or(u64::MAX);
    let mark = match wanted.mark {
        MemoryMark::Off => {
            let memory = Memory::new(None, wanted.bodies_max(None), workers);
            return Ok((Arc::new(memory), Measure::Process));
        }
        mark => mark,
    };
    let found = Measure::find().map_err(|error| because("proxy.memory", error))?;
    let (measure, limit) = found;
    let bounds = Bounds {
        limit,
        mark: mark.of(limit),
    };
    let bodies = wanted.bodies_max(Some(bounds.mark / BODIES_PART));
    let memory = Memory::new(Some(bounds), bodies, workers);
    let (_, bodies) = memory.bodies();
    let used = measure.used(bounds.mark);
    let used = used.map_err(|error| because("proxy.memory", error))?;
    // Nobody watches it yet: what it is now is what workers begin with.
    memory.measured(used);
    tracing::info!(
        source = measure.source(),
        limit,
        mark = bounds.mark,
        bodies = bodies.unwrap_or(0),
        used,
        "memory is watched"
    );
    say_body_limit(settings, bodies);
    Ok((Arc::new(memory), measure))
}

/// A body that is larger than all may be together would be refused for ever: its limit is less.
fn say_body_limit(settings: &Settings, bodies: Option<u64>) {
    let limit = settings.proxy.json_body_bytes_max.unwrap_or(u64::MAX);
    if let Some(bodies) = bodies.filter(|bodies| *bodies < limit) {
        tracing::warn!(
            bytes = bodies,
            "proxy.memory.bodies_bytes is below proxy.request_body_limit_bytes: \
             larger request bodies are answered 413"
        );
    }
}
