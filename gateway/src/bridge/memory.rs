//! How much memory is left, and what may be taken of it. [bridge]
//!
//! The cold side measures every [`SAMPLE_EVERY`] and grants each worker so many requests and
//! connections until the next measurement; above the mark it grants none. A worker counts its grants
//! in a cell of its own, so a request costs one load of a line that is written 50 times per second.
//! What is larger than a grant, a body held whole, is taken from one [`Share`] of the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::time::Duration;

use super::counter::Counter;

/// Time between two measurements.
pub const SAMPLE_EVERY: Duration = Duration::from_millis(20);
/// What a connection, or a request without its large body, holds at most while nobody has measured
/// it: four buffers of a worker's; on TLS the session of its handshake.
pub const GRANT_BYTES: u64 = 64 * 1024;
/// Bodies up to this size lie in buffers of the worker's, and are covered by a grant.
pub const UNCOUNTED_BYTES: u64 = 16 * 1024;
/// The part of the mark that bodies may hold where nothing else is set: a body is there three times
/// for a moment, as it came, as it is sent on and as it is kept for another attempt.
pub const BODIES_PART: u64 = 4;
/// Bodies are counted in steps of this.
const STEP_BYTES: u64 = 64 * 1024;
/// Memory is low again at so many sixteenths of the mark: the answer at the mark does not flutter.
const RELIEF_SIXTEENTHS: u64 = 15;

// A step is worth its atomic operation.
const _: () = assert!(STEP_BYTES >= UNCOUNTED_BYTES);

/// The bounds of memory, bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// Beyond it the kernel ends the process.
    pub limit: u64,
    /// Beyond it nothing more is taken in.
    pub mark: u64,
}

/// What may be taken until the next measurement.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pace {
    /// As much as comes: memory is not watched.
    Free,
    /// So many requests and connections per worker. The number tells measurements apart.
    Granted {
        /// Number of the measurement.
        sample: u32,
        /// Requests and connections; 0 above the mark.
        grants: u32,
    },
}

impl Pace {
    /// Whether memory is above its mark.
    pub fn is_high(self) -> bool {
        matches!(self, Self::Granted { grants: 0, .. })
    }

    /// The bits in which [`Memory`] keeps it: no grant ever counts up to those of `Free`.
    fn bits(self) -> u64 {
        match self {
            Self::Free => u64::MAX,
            Self::Granted { sample, grants } => {
                u64::from(sample) << 32 | u64::from(grants.min(u32::MAX - 1))
            }
        }
    }

    fn of(bits: u64) -> Self {
        match bits {
            u64::MAX => Self::Free,
            #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
            _ => Self::Granted {
                sample: (bits >> 32) as u32,
                grants: bits as u32,
            },
        }
    }
}

/// A line that nothing else is written to.
#[derive(Debug)]
#[repr(align(128))]
struct Line(AtomicU64);

/// The memory of the process, as everybody sees it.
#[derive(Debug)]
pub struct Memory {
    pace: Line,
    bodies: Line,
    bodies_max: u64,
    bounds: Option<Bounds>,
    workers: u64,
    used: AtomicU64,
    crossings: Counter,
}

impl Memory {
    /// Memory that `workers` share. `bounds`: none, nothing is watched. `bodies_max`: bytes of bodies
    /// that are held whole, rounded up to a step; none, as many as come.
    pub fn new(bounds: Option<Bounds>, bodies_max: Option<u64>, workers: u64) -> Self {
        Self {
            pace: Line(AtomicU64::new(Pace::Free.bits())),
            bodies: Line(AtomicU64::new(0)),
            bodies_max: bodies_max
                .and_then(|max| max.max(1).checked_next_multiple_of(STEP_BYTES))
                .unwrap_or(u64::MAX),
            bounds,
            workers: workers.max(1),
            used: AtomicU64::new(0),
            crossings: Counter::default(),
        }
    }

    /// What a worker may take until the next measurement.
    #[inline]
    pub fn pace(&self) -> Pace {
        Pace::of(self.pace.0.load(Relaxed))
    }

    /// The bounds; none where memory is not watched.
    pub fn bounds(&self) -> Option<Bounds> {
        self.bounds
    }

    /// Bytes used at the last measurement.
    pub fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// Times that the mark was crossed upwards.
    pub fn crossings(&self) -> u64 {
        self.crossings.value()
    }

    /// Bytes of bodies held, and the most that may be; none where there is no bound.
    pub fn bodies(&self) -> (u64, Option<u64>) {
        let max = Some(self.bodies_max).filter(|max| *max != u64::MAX);
        (self.bodies.0.load(Relaxed), max)
    }

    /// Notes that `used` bytes are in use. To be called by one thread, every [`SAMPLE_EVERY`]; tells
    /// how that stands to the mark, or nothing where memory is not watched.
    pub fn measured(&self, used: u64) -> Option<Standing> {
        let bounds = self.bounds?;
        self.used.store(used, Relaxed);
        let before = self.pace();
        let relief = bounds.mark / 16 * RELIEF_SIXTEENTHS;
        let is_high = used >= bounds.mark || (before.is_high() && used > relief);
        let sample = match before {
            Pace::Free => 0,
            Pace::Granted { sample, .. } => sample.wrapping_add(1),
        };
        let grants = match is_high {
            true => 0,
            // Half: bodies that are on their way take the rest.
            false => (bounds.limit - used) / 2 / GRANT_BYTES / self.workers,
        };
        let grants = u32::try_from(grants).unwrap_or(u32::MAX - 1);
        let grants = grants.max(u32::from(!is_high));
        self.pace
            .0
            .store(Pace::Granted { sample, grants }.bits(), Relaxed);
        if is_high && !before.is_high() {
            self.crossings.add(1);
        }
        Some(match (before.is_high(), is_high) {
            (false, false) => Standing::Low,
            (false, true) => Standing::Rose,
            (true, true) => Standing::High,
            (true, false) => Standing::Fell,
        })
    }
}

/// How a measurement stands to the mark, and to the one before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// Below, as before.
    Low,
    /// Above for the first time.
    Rose,
    /// Still above, or not far enough below.
    High,
    /// Below again.
    Fell,
}

/// There is no room for more of a body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NoRoom;

/// The part that one body has of what all bodies may hold; given back when dropped.
#[derive(Debug, Default)]
pub struct Share {
    memory: Option<Arc<Memory>>,
    bytes: u64,
}

impl Share {
    /// Makes the share large enough for `bytes`. Costs one comparison for small bodies, one atomic
    /// operation per 64 KiB for others, and one more comparison where there is no bound.
    ///
    /// # Errors
    ///
    /// [`NoRoom`]: the share is what it was.
    #[inline]
    pub fn cover(&mut self, memory: &Arc<Memory>, bytes: u64) -> Result<(), NoRoom> {
        if bytes <= UNCOUNTED_BYTES.max(self.bytes) || memory.bodies_max == u64::MAX {
            return Ok(());
        }
        self.grow(memory, bytes.next_multiple_of(STEP_BYTES) - self.bytes)
    }

    fn grow(&mut self, memory: &Arc<Memory>, more: u64) -> Result<(), NoRoom> {
        let held = memory.bodies.0.fetch_add(more, Acquire);
        if held.saturating_add(more) > memory.bodies_max {
            memory.bodies.0.fetch_sub(more, Release);
            return Err(NoRoom);
        }
        self.memory.get_or_insert_with(|| Arc::clone(memory));
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(memory) = &self.memory {
            memory.bodies.0.fetch_sub(self.bytes, Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn watched() -> Memory {
        let bounds = Bounds {
            limit: 128 * MIB,
            mark: 96 * MIB,
        };
        Memory::new(Some(bounds), Some(MIB), 2)
    }

    #[test]
    fn the_mark_is_left_further_down_than_it_is_crossed() {
        let memory = watched();
        let cases = [
            (10, Standing::Low),
            (95, Standing::Low),
            (96, Standing::Rose),
            (200, Standing::High),
            (91, Standing::High),
            (90, Standing::Fell),
            (95, Standing::Low),
            (96, Standing::Rose),
        ];
        for (used, want) in cases {
            assert_eq!(memory.measured(used * MIB), Some(want), "{used}");
            let high = matches!(want, Standing::Rose | Standing::High);
            assert_eq!(memory.pace().is_high(), high, "{used}");
        }
        assert_eq!((memory.crossings(), memory.used()), (2, 96 * MIB));
    }

    #[test]
    fn grants_of_all_workers_fit_into_half_of_what_is_left() {
        let memory = watched();
        assert_eq!(memory.pace(), Pace::Free);
        for (used, want) in [(0, 512), (64, 256), (95, 132), (96, 0)] {
            memory.measured(used * MIB);
            let Pace::Granted { grants, .. } = memory.pace() else {
                panic!("measured");
            };
            assert_eq!(grants, want, "{used}");
        }
        // A mark close to the limit still lets one in, so that there is something to answer.
        let tight = Bounds {
            limit: MIB,
            mark: MIB,
        };
        let tight = Memory::new(Some(tight), None, 64);
        tight.measured(MIB - 1);
        assert!(!tight.pace().is_high());
    }

    #[test]
    fn each_measurement_is_told_from_the_one_before() {
        let memory = watched();
        memory.measured(0);
        let first = memory.pace();
        memory.measured(0);
        assert_ne!(memory.pace(), first);
    }

    #[test]
    fn unwatched_memory_grants_all() {
        let memory = Arc::new(Memory::new(None, None, 1));
        assert_eq!(memory.measured(u64::MAX), None);
        assert_eq!(memory.pace(), Pace::Free);
        let mut share = Share::default();
        assert_eq!(share.cover(&memory, u64::MAX), Ok(()));
        assert_eq!(memory.bodies(), (0, None));
    }

    #[test]
    fn bodies_share_one_room_and_give_it_back() {
        let memory = Arc::new(watched());
        let (mut first, mut second) = (Share::default(), Share::default());
        first.cover(&memory, UNCOUNTED_BYTES).unwrap();
        assert_eq!(memory.bodies(), (0, Some(MIB)));
        first.cover(&memory, UNCOUNTED_BYTES + 1).unwrap();
        first.cover(&memory, STEP_BYTES).unwrap();
        assert_eq!(memory.bodies().0, STEP_BYTES);
        assert_eq!(second.cover(&memory, MIB), Err(NoRoom));
        second.cover(&memory, MIB - STEP_BYTES).unwrap();
        assert_eq!(first.cover(&memory, 2 * STEP_BYTES), Err(NoRoom));
        drop(second);
        first.cover(&memory, MIB).unwrap();
        assert_eq!(memory.bodies().0, MIB);
        drop(first);
        assert_eq!(memory.bodies().0, 0);
    }
}
