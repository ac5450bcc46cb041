//! The processes of one gateway, one upgrade after another. Killed when dropped.

use std::ops::{Deref, DerefMut};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Gateway, Setup, wait_for};

/// A gateway and those that took over from it.
pub(crate) struct Generations(pub(crate) Gateway);

impl Deref for Generations {
    type Target = Gateway;

    fn deref(&self) -> &Gateway {
        &self.0
    }
}

impl DerefMut for Generations {
    fn deref_mut(&mut self) -> &mut Gateway {
        &mut self.0
    }
}

impl Generations {
    pub(crate) fn start(setup: Setup) -> Self {
        Self(setup.start_ready())
    }

    /// Every line of the process logs with this message; they go to one place.
    pub(crate) fn said(&self, message: &str) -> Vec<Value> {
        let text = self.stderr();
        let lines = text.lines().map(serde_json::from_str);
        let lines = lines.filter_map(Result::ok);
        lines
            .filter(|line: &Value| line["message"] == message)
            .collect()
    }

    /// Waits for the line number `count` with this message.
    pub(crate) fn until_said(&self, message: &str, count: usize) -> Value {
        wait_for(message, || self.said(message).get(count - 1).cloned())
    }

    /// The processes that have served, oldest first.
    pub(crate) fn pids(&self) -> Vec<i32> {
        let lines = self.said("serving");
        let pids = lines.iter().map(|line| line["pid"].as_i64().unwrap());
        pids.map(|pid| i32::try_from(pid).unwrap()).collect()
    }

    /// The one that serves.
    pub(crate) fn newest(&self) -> i32 {
        *self.pids().last().unwrap()
    }

    /// Signals the one that serves.
    pub(crate) fn signal_newest(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.newest()).unwrap(), signal).unwrap();
    }

    /// Upgrades, and waits until the new process serves alone; its number.
    pub(crate) fn upgrade(&self) -> i32 {
        let served = self.pids().len();
        let handed = self.said(HANDED_OVER).len();
        self.signal_newest(Signal::USR2);
        self.until_said("serving", served + 1);
        self.until_said(HANDED_OVER, handed + 1);
        self.newest()
    }
}

/// What the old process says once the new one serves.
pub(crate) const HANDED_OVER: &str = "handed over to the new process; finishing what is open";

/// Whether a process has ended, waited for or not.
pub(crate) fn has_ended(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| {
        stat.rsplit(") ")
            .next()
            .is_some_and(|rest| rest.starts_with('Z'))
    })
}

pub(crate) fn until_ended(pid: i32) {
    wait_for("the process to end", || has_ended(pid).then_some(()));
}

impl Drop for Generations {
    fn drop(&mut self) {
        let starting = self.said("upgrade: a new process starts");
        let starting = starting.iter().filter_map(|line| line["new_pid"].as_i64());
        let starting = starting.filter_map(|pid| i32::try_from(pid).ok());
        let first = i32::try_from(self.child.id()).ok();
        for pid in starting.filter(|pid| Some(*pid) != first) {
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}
