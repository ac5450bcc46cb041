//! CPU time and memory of processes, from `/proc`. [cold]

use std::fs;

/// The processes of one target, their children included.
#[derive(Debug, Clone)]
pub(super) struct Processes {
    roots: Vec<u32>,
}

/// Memory of all processes together, in KiB. Pages that they share count once in `pss_kib` only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) rss_kib: u64,
    pub(super) pss_kib: u64,
}

impl Processes {
    pub(super) fn new(roots: &[u32]) -> Self {
        Self {
            roots: roots.to_vec(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// CPU time of all threads that live now, in nanoseconds.
    ///
    /// From `schedstat`, which counts in nanoseconds, or in clock ticks where the kernel has none.
    pub(super) fn cpu_ns(&self) -> u64 {
        self.tree().into_iter().map(cpu_ns).sum()
    }

    /// Memory, exact. Walks the page tables: for use before and after a measurement.
    pub(super) fn memory(&self) -> Memory {
        let mut total = Memory::default();
        for pid in self.tree() {
            let text = read(pid, "smaps_rollup").unwrap_or_default();
            total.pss_kib += kib(&text, "Pss:").unwrap_or(0);
            total.rss_kib += kib(&text, "Rss:").unwrap_or_else(|| status_rss_kib(pid));
        }
        total
    }

    /// Resident memory in KiB; cheap, for use while measuring.
    pub(super) fn rss_kib(&self) -> u64 {
        self.tree().into_iter().map(status_rss_kib).sum()
    }

    fn tree(&self) -> Vec<u32> {
        let mut found = self.roots.clone();
        let mut next = 0;
        while let Some(pid) = found.get(next).copied() {
            for child in children(pid) {
                if !found.contains(&child) {
                    found.push(child);
                }
            }
            next += 1;
        }
        found
    }
}

/// CPU time of this process, in nanoseconds.
pub(super) fn own_cpu_ns() -> u64 {
    cpu_ns(std::process::id())
}

fn read(pid: u32, file: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/{file}")).ok()
}

fn tasks(pid: u32) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten();
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
}

fn children(pid: u32) -> Vec<u32> {
    let lists = tasks(pid).filter_map(|task| read(pid, &format!("task/{task}/children")));
    let pids = lists.flat_map(|list| {
        list.split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect::<Vec<_>>()
    });
    pids.collect()
}

fn cpu_ns(pid: u32) -> u64 {
    let threads = tasks(pid).filter_map(|task| read(pid, &format!("task/{task}/schedstat")));
    let fine: u64 = threads
        .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
        .sum();
    match fine {
        0 => read(pid, "stat")
            .and_then(|text| ticks_ns(&text))
            .unwrap_or(0),
        fine => fine,
    }
}

/// utime and stime of `/proc/PID/stat`, in nanoseconds.
fn ticks_ns(stat: &str) -> Option<u64> {
    // The name in parentheses may hold spaces; field 3 follows it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) * (1_000_000_000 / rustix::param::clock_ticks_per_second()))
}

fn status_rss_kib(pid: u32) -> u64 {
    let text = read(pid, "status").unwrap_or_default();
    kib(&text, "VmRSS:").unwrap_or(0)
}

/// Value of the line that begins with `name`, in KiB.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_time_and_memory() {
        let processes = Processes::new(&[std::process::id()]);
        assert!(processes.cpu_ns() > 0);
        let memory = processes.memory();
        assert!(memory.rss_kib >= memory.pss_kib && memory.pss_kib > 100);
        assert!(processes.rss_kib() > 100);
    }

    #[test]
    fn children_are_found() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        // On a thread that may have a name of its own: children belong to the thread that made them.
        let found = Processes::new(&[std::process::id()]).tree();
        let _ = child.kill();
        let _ = child.wait();
        assert!(found.contains(&child.id()), "{found:?}");
    }

    #[test]
    fn ticks_are_read_past_a_name_with_spaces() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4 100 0 0 0 250 50 0 0 20 0 1 0 5 6 7";
        let tick = 1_000_000_000 / rustix::param::clock_ticks_per_second();
        assert_eq!(ticks_ns(stat), Some(300 * tick));
        assert_eq!(ticks_ns("7 (x"), None);
    }
}
