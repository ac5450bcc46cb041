//! What this process may do: limits, capabilities, CPUs. [boot]

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, geteuid, getrlimit};

use super::super::facts::{MemoryFound, Process};
use crate::cold::memory::measure::Measure;
use crate::worker::placement::allowed_cpus;

/// Levels of control groups that are looked at, from the process's own upwards.
const LEVELS_MAX: usize = 32;

pub(super) fn process() -> Process {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let usable = std::thread::available_parallelism().map_or(1, NonZero::get);
    Process {
        uid: geteuid().as_raw(),
        seccomp: field(&status, "Seccomp:").and_then(|text| text.parse().ok()),
        capabilities: field(&status, "CapEff:")
            .and_then(|text| u64::from_str_radix(text, 16).ok())
            .unwrap_or(0),
        memlock: getrlimit(Resource::Memlock).current,
        open_files: getrlimit(Resource::Nofile).maximum,
        cpus: allowed_cpus().map_or(usable, |cpus| cpus.len()),
        cpu_quota: cpu_quota(),
        memory: Measure::find().ok().map(|(measure, limit)| MemoryFound {
            limit,
            is_group: measure != Measure::Process,
        }),
        usable_cpus: usable,
    }
}

fn field<'s>(status: &'s str, name: &str) -> Option<&'s str> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim())
}

/// The smallest quota of the control groups that this process is in, CPUs.
fn cpu_quota() -> Option<f64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mut smallest: Option<f64> = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let root = match controllers {
            "" => Path::new("/sys/fs/cgroup"),
            names if names.split(',').any(|name| name == "cpu") => Path::new("/sys/fs/cgroup/cpu"),
            _ => continue,
        };
        let mut at: Option<PathBuf> = Some(root.join(path.trim_start_matches('/')));
        for _ in 0..LEVELS_MAX {
            let Some(group) = at.filter(|group| group.starts_with(root)) else {
                break;
            };
            let quota = quota_of(&group);
            smallest = match (smallest, quota) {
                (Some(known), Some(new)) => Some(known.min(new)),
                (known, new) => known.or(new),
            };
            at = group.parent().map(Path::to_owned);
        }
    }
    smallest
}

fn quota_of(group: &Path) -> Option<f64> {
    let read = |name: &str| fs::read_to_string(group.join(name)).ok();
    if let Some(text) = read("cpu.max") {
        return quota(&text);
    }
    let (quota_us, period) = (read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?);
    quota(&format!("{} {}", quota_us.trim(), period.trim()))
}

/// `QUOTA PERIOD`, microseconds; `max` and -1 are none.
fn quota(text: &str) -> Option<f64> {
    let mut words = text.split_whitespace().map(str::parse::<f64>);
    let (quota, period) = (words.next()?.ok()?, words.next()?.ok()?);
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_read_in_both_spellings() {
        let cases = [
            ("150000 100000\n", Some(1.5)),
            ("max 100000\n", None),
            ("-1 100000", None),
            ("100000", None),
            ("1 0", None),
        ];
        for (text, want) in cases {
            assert_eq!(quota(text), want, "{text}");
        }
    }

    #[test]
    fn this_process_is_read() {
        let process = process();
        assert!(process.cpus > 0 && process.usable_cpus > 0);
        assert!(process.seccomp.is_some());
        let status = "Name:\tx\nSeccomp:\t2\n";
        assert_eq!(field(status, "Seccomp:"), Some("2"));
        assert_eq!(field(status, "CapEff:"), None);
    }
}
