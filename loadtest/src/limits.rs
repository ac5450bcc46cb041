//! What the process asks of its kernel before it starts. [boot]

use std::io;

use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Raises the limit of open descriptors to its hard limit: each connection takes one.
///
/// # Errors
///
/// The kernel's.
pub fn raise_descriptors() -> io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}

/// Keeps this thread, and those it starts later, on some processors, such as `1` or `0,2-3`.
///
/// # Errors
///
/// A list that is not understood, or processors that are not there.
pub fn pin(list: &str) -> io::Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus(list).ok_or_else(|| io::Error::other(format!("cpus: `{list}`")))? {
        set.set(cpu);
    }
    Ok(sched_setaffinity(None, &set)?)
}

fn cpus(list: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last >= CpuSet::MAX_CPU {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_read() {
        let cases = [
            ("1", Some(vec![1])),
            ("0,2-4", Some(vec![0, 2, 3, 4])),
            ("", None),
            ("x", None),
            ("0-99999999", None),
        ];
        for (list, want) in cases {
            assert_eq!(cpus(list), want, "{list}");
        }
    }

    #[test]
    fn the_limit_of_descriptors_is_raised() {
        raise_descriptors().unwrap();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
