//! A control group with a memory limit, for one test.

use std::fs;
use std::path::{Path, PathBuf};

/// One group, removed when dropped; what runs in it must have ended by then.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    is_v2: bool,
}

impl Cgroup {
    /// A group that may have `bytes` of memory; `None`, said loudly, where this process may make none.
    pub fn limited(name: &str, bytes: u64) -> Option<Self> {
        match Self::make(name, bytes) {
            Ok(group) => Some(group),
            Err(why) => {
                eprintln!("SKIPPED: no control group with a memory limit can be made here: {why}");
                None
            }
        }
    }

    fn make(name: &str, bytes: u64) -> Result<Self, String> {
        let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers");
        let is_v2 = fs::read_to_string(v2).is_ok_and(|names| names.contains("memory"));
        let root = match is_v2 {
            true => {
                let control = "/sys/fs/cgroup/cgroup.subtree_control";
                fs::write(control, "+memory").map_err(|error| format!("{control}: {error}"))?;
                "/sys/fs/cgroup"
            }
            false => "/sys/fs/cgroup/memory",
        };
        let path = Path::new(root).join(format!("sluice-test-{name}-{}", std::process::id()));
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let group = Self { path, is_v2 };
        let (limit, swap) = match is_v2 {
            true => ("memory.max", ("memory.swap.max", 0)),
            false => (
                "memory.limit_in_bytes",
                ("memory.memsw.limit_in_bytes", bytes),
            ),
        };
        let limited = fs::write(group.path.join(limit), bytes.to_string());
        limited.map_err(|error| format!("{limit}: {error}"))?;
        // Hosts without swap have no such file.
        let _ = fs::write(group.path.join(swap.0), swap.1.to_string());
        Ok(group)
    }

    /// A command line that runs what follows it in the group.
    pub fn wrapper(&self) -> Vec<String> {
        let enter = format!(
            "echo $$ > {}/cgroup.procs && exec \"$@\"",
            self.path.display()
        );
        ["sh", "-c", &enter, "sh"].map(str::to_owned).to_vec()
    }

    /// Processes that the kernel ended for want of memory.
    pub fn kills(&self) -> u64 {
        let file = match self.is_v2 {
            true => "memory.events",
            false => "memory.oom_control",
        };
        let text = fs::read_to_string(self.path.join(file)).expect("the group is there");
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.and_then(|count| count.parse().ok()).expect("a number")
    }

    /// The most that was charged so far, pages of files included.
    pub fn peak_bytes(&self) -> u64 {
        let file = match self.is_v2 {
            true => "memory.peak",
            false => "memory.max_usage_in_bytes",
        };
        let text = fs::read_to_string(self.path.join(file)).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process that has just ended is still in it for a moment.
        for _ in 0..200 {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::yield_now();
        }
    }
}
