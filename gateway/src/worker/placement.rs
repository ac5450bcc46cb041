//! How many workers, and on which CPUs. [boot]

use std::io;
use std::num::NonZero;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The CPUs of each worker, decided once at boot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Placement {
    /// One entry per worker: the CPU it is pinned to, or `None` where it floats.
    pub cpus: Vec<Option<usize>>,
    /// Why workers float, where they do.
    pub unpinned_because: Option<&'static str>,
}

impl Placement {
    /// Places `count` workers.
    ///
    /// With `pin`, worker *n* gets the *n*-th CPU of the affinity mask. Workers float where a CPU
    /// quota is smaller than the mask: every container of a host would otherwise pile up on its
    /// first CPUs. They float too where there are more workers than CPUs.
    ///
    /// # Errors
    ///
    /// Those of `sched_getaffinity(2)`.
    pub(crate) fn decide(count: usize, pin: bool) -> io::Result<Self> {
        let allowed = allowed_cpus()?;
        // The standard library takes the affinity mask and the cgroup quota, v1 or v2, into account.
        let usable = std::thread::available_parallelism().map_or(1, NonZero::get);
        Ok(Self::of(&allowed, usable, count, pin))
    }

    fn of(allowed: &[usize], usable: usize, count: usize, pin: bool) -> Self {
        let unpinned_because = if !pin {
            Some("proxy.pin_cpus is false")
        } else if usable < allowed.len() {
            Some("a CPU quota is smaller than the affinity mask")
        } else if count > allowed.len() {
            Some("there are more workers than CPUs")
        } else {
            None
        };
        let cpus = (0..count)
            .map(|index| match unpinned_because {
                None => allowed.get(index).copied(),
                Some(_) => None,
            })
            .collect();
        Self {
            cpus,
            unpinned_because,
        }
    }
}

/// Pins the calling thread to one CPU.
///
/// # Errors
///
/// Those of `sched_setaffinity(2)`.
pub(crate) fn pin_to(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    Ok(sched_setaffinity(None, &set)?)
}

/// The CPUs of the affinity mask, ascending.
///
/// # Errors
///
/// Those of `sched_getaffinity(2)`.
pub(crate) fn allowed_cpus() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU)
        .filter(|&cpu| set.is_set(cpu))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_pinned_in_the_order_of_the_mask_unless_that_would_crowd_cpus() {
        let quota = Some("a CPU quota is smaller than the affinity mask");
        let crowded = Some("there are more workers than CPUs");
        let off = Some("proxy.pin_cpus is false");
        // (allowed CPUs, usable, configured workers, pin) -> (CPUs, why not)
        let cases = [
            (vec![2, 5], 2, 2, true, vec![Some(2), Some(5)], None),
            (vec![2, 5], 2, 1, true, vec![Some(2)], None),
            (vec![0, 1, 2, 3], 2, 2, true, vec![None, None], quota),
            (vec![0], 1, 2, true, vec![None, None], crowded),
            (vec![0, 1], 2, 2, false, vec![None, None], off),
        ];
        for (allowed, usable, workers, pin, cpus, unpinned_because) in cases {
            let want = Placement {
                cpus,
                unpinned_because,
            };
            assert_eq!(Placement::of(&allowed, usable, workers, pin), want);
        }
    }

    #[test]
    fn this_machine_has_a_cpu_to_run_on() {
        assert!(!Placement::decide(1, true).unwrap().cpus.is_empty());
    }
}
