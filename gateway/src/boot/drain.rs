//! From the signal to the end: not ready at once, streams finish, a second signal ends at once. [boot]

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use crate::bridge::WorkerView;
use crate::bridge::domain::Side;
use crate::bridge::mailbox::ToWorker;
use crate::cold::signals::Signal;
use crate::settings::ShutdownSettings;

/// How often it is looked whether requests are in flight.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(25);
/// How often progress is logged.
pub(super) const SAY_EVERY: Duration = Duration::from_secs(5);
/// How long closed and cut connections get to leave.
pub(super) const LEAVE: Duration = Duration::from_secs(2);

/// How a drain ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// Every request was finished.
    Complete,
    /// `shutdown.max_drain_secs` passed; what was left was cut.
    Cut,
    /// A second signal came.
    Hurried,
    /// Another process serves in its place; every request here was finished.
    HandedOver,
}

impl Outcome {
    /// The word for the log.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Complete => "drain complete",
            Self::Cut => "drain cut at its bound",
            Self::Hurried => "stopped by a second signal",
            Self::HandedOver => "handed over",
        }
    }

    /// Whether every request was finished.
    pub(super) fn is_clean(self) -> bool {
        matches!(self, Self::Complete | Self::HandedOver)
    }
}

/// What a drain looks at and listens to.
pub(super) struct Drain<'a> {
    pub settings: &'a ShutdownSettings,
    pub views: &'a [WorkerView],
    pub signals: &'a Receiver<Signal>,
}

impl Drain<'_> {
    /// Drains to the end.
    #[expect(
        clippy::disallowed_methods,
        reason = "the main thread has no worker's clock"
    )]
    pub(super) fn run(&self) -> Outcome {
        let started = Instant::now();
        let mut said = started;
        tell(self.views, &ToWorker::Drain);
        let outcome = loop {
            if self.hurried() {
                return Outcome::Hurried;
            }
            let spent = started.elapsed();
            let in_flight = in_flight(self.views);
            if spent >= self.settings.min_drain && in_flight == 0 {
                break Outcome::Complete;
            }
            if self.settings.max_drain.is_some_and(|max| spent >= max) {
                break Outcome::Cut;
            }
            if said.elapsed() >= SAY_EVERY {
                said = Instant::now();
                tracing::info!(in_flight, seconds = spent.as_secs(), "still draining");
            }
        };
        tell(
            self.views,
            &match outcome {
                Outcome::Cut => ToWorker::Cut,
                Outcome::Complete | Outcome::Hurried | Outcome::HandedOver => {
                    ToWorker::StopAccepting
                }
            },
        );
        let leaving = Instant::now();
        while in_flight(self.views) > 0
            || (connections(self.views) > 0 && leaving.elapsed() < LEAVE)
        {
            let bound = self.settings.max_drain;
            let too_late = match outcome {
                // A request that slipped in at the end is served like the others.
                Outcome::Complete | Outcome::HandedOver => {
                    bound.is_some_and(|max| started.elapsed() >= max)
                }
                Outcome::Cut | Outcome::Hurried => true,
            };
            if self.hurried() || (too_late && leaving.elapsed() >= LEAVE) {
                break;
            }
        }
        outcome
    }

    /// Waits a little; `true` where somebody is out of patience.
    fn hurried(&self) -> bool {
        matches!(self.signals.recv_timeout(LOOK_EVERY), Ok(Signal::Stop(_)))
    }
}

/// Tells every worker.
pub(super) fn tell(views: &[WorkerView], message: &ToWorker) {
    for view in views {
        view.mailbox.send(message.clone());
    }
}

/// Requests being served.
pub(super) fn in_flight(views: &[WorkerView]) -> i64 {
    let gauges = views.iter().flat_map(|view| &view.counters.in_flight);
    gauges.map(|gauge| gauge.value()).sum()
}

/// Open connections of callers.
pub(super) fn connections(views: &[WorkerView]) -> i64 {
    let gauges = views.iter().map(|view| &view.counters.connections);
    gauges
        .map(|sides| sides[Side::Downstream as usize].value())
        .sum()
}
