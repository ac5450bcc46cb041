//! The system calls of one thread, listed by strace.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;

/// Calls by their name.
pub type Calls = BTreeMap<String, u64>;

/// A thread that is watched. Left alone again when dropped.
#[derive(Debug)]
pub struct Trace {
    strace: Child,
    list: NamedTempFile,
}

impl Trace {
    /// Begins to watch the thread `tid`; `None`, said loudly, where this process may not.
    pub fn attach(tid: u32) -> Option<Self> {
        match Self::begin(tid) {
            Ok(trace) => Some(trace),
            Err(why) => {
                eprintln!("SKIPPED: no system calls can be counted here: {why}");
                None
            }
        }
    }

    fn begin(tid: u32) -> Result<Self, String> {
        let list = NamedTempFile::new().expect("a file");
        let mut strace = Command::new("strace")
            .args(["--string-limit=0", "--output"])
            .arg(list.path())
            .args(["--attach", &tid.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("strace: {error}"))?;
        let mut says = BufReader::new(strace.stderr.take().expect("stderr is piped"));
        let mut line = String::new();
        says.read_line(&mut line).expect("strace says something");
        if line.contains("attached") {
            return Ok(Self { strace, list });
        }
        let _ = says.read_to_string(&mut line);
        let _ = strace.wait();
        Err(line.trim().to_owned())
    }

    /// Ends it. Waits that only go on after a timer are left out: how many there are is a matter of
    /// time, not of what was done meanwhile.
    pub fn calls(mut self) -> Calls {
        self.end();
        let mut calls = Calls::new();
        let list = std::fs::read_to_string(self.list.path()).expect("a list");
        let mut before = "";
        for line in list.lines() {
            let name = line.split_once('(').map_or("", |(name, _)| name);
            // Other lines are of signals, and of the end.
            if !name.is_empty() && !name.contains(' ') && !goes_on(line, name, before) {
                *calls.entry(name.to_owned()).or_default() += 1;
            }
            before = name;
        }
        calls
    }

    fn end(&mut self) {
        let _ = kill_process(Pid::from_child(&self.strace), Signal::INT);
        let _ = self.strace.wait();
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whether a line of the list, a call of `name`, is a wait on epoll that a timer ended, or one on io_uring
/// that takes up the wait `before`: it asks for nothing new.
fn goes_on(line: &str, name: &str, before: &str) -> bool {
    match name {
        "epoll_wait" | "epoll_pwait" | "epoll_pwait2" => line.ends_with(" = 0"),
        "io_uring_enter" => before == name && line.split(", ").nth(1) == Some("0"),
        _ => false,
    }
}
