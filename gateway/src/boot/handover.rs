//! From the word of a new process that it serves, to the end of this one. [boot]

use std::process::Child;
use std::time::{Duration, Instant};

use super::drain::{LEAVE, SAY_EVERY, connections, in_flight, tell};
use super::notify;
use super::upgrade::{LEAVING, Upgrade, call_itself, now};
use crate::bridge::WorkerView;
use crate::bridge::mailbox::ToWorker;

/// How long idle connections stay after the last request. A caller that uses one in this time gets
/// its answer, and is told that the connection ends; one that is closed while the next request is on
/// its way would see it fail.
const IDLE_GRACE: Duration = Duration::from_secs(10);

/// A process that finishes what it has.
#[derive(Debug)]
pub(super) struct Handover {
    /// The new process; `None` once it is known to have ended.
    heir: Option<Child>,
    /// When a request was last seen.
    busy_at: Instant,
    /// When idle connections were closed.
    closed_at: Option<Instant>,
    said_at: Instant,
}

impl Handover {
    /// Has the workers leave the listening sockets to the new process.
    pub(super) fn begin(upgrade: Upgrade, views: &[WorkerView]) -> Self {
        let new_pid = upgrade.child.id();
        tracing::info!(
            new_pid,
            in_flight = in_flight(views),
            connections = connections(views),
            "handed over to the new process; finishing what is open"
        );
        call_itself(LEAVING);
        // That word is taken from the old process.
        notify::tell(&notify::main_process(new_pid));
        tell(views, &ToWorker::HandOver);
        let now = now();
        Self {
            heir: Some(upgrade.child),
            busy_at: now,
            closed_at: None,
            said_at: now,
        }
    }

    /// Looks once; `true` where nothing is left to be done.
    pub(super) fn is_done(&mut self, views: &[WorkerView]) -> bool {
        self.watch_heir();
        // Before the gauges: what a worker has accepted is counted by the time it says so.
        let deaf = views.iter().all(|view| view.mailbox.accepts_no_more());
        let (in_flight, connections) = (in_flight(views), connections(views));
        let now = now();
        if now.saturating_duration_since(self.said_at) >= SAY_EVERY {
            self.said_at = now;
            tracing::info!(in_flight, connections, "finishing what is open");
        }
        if !deaf || in_flight > 0 {
            self.busy_at = now;
            return false;
        }
        if connections == 0 {
            return true;
        }
        match self.closed_at {
            Some(since) => now.saturating_duration_since(since) >= LEAVE,
            None => {
                if now.saturating_duration_since(self.busy_at) >= IDLE_GRACE {
                    self.closed_at = Some(now);
                    tell(views, &ToWorker::StopAccepting);
                }
                false
            }
        }
    }

    /// Says so once where the new process ends first. It is the service manager's to start again.
    fn watch_heir(&mut self) {
        let ended = self.heir.as_mut().map(Child::try_wait);
        if let Some(Ok(Some(status))) = ended {
            self.heir = None;
            tracing::error!(%status, "the process that was handed over to has ended");
        }
    }
}
