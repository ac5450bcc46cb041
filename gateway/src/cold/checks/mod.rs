//! Background checks: whether models that are to be checked answer a chat call. [cold]
//!
//! In one place per process, however many workers there are. A model that fails is left alone by the
//! groups it is a target of; tokens of checks are nobody's usage. Bounded by [`CHECKS_AT_ONCE`] and the
//! deadline of each check.

mod ask;
mod schedule;
mod talk;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use config_sync::model::KeyTls;
use config_sync::publish::SnapshotCell;
use metrics::{counter, histogram};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use self::ask::Met;
use self::schedule::{Probe, Schedule};
use super::watchdog::unix_ms;
use crate::bridge::health::{CheckOutcome, HealthState, HealthTable};

/// Checks under way at most, in the whole process; those that are due wait for a place.
pub const CHECKS_AT_ONCE: usize = 4;
/// How soon a new configuration is noticed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Gives the TLS settings of a connection to a host, as those of requests are made.
pub type ClientTls = dyn Fn(&str, &KeyTls) -> Result<(Arc<ClientConfig>, ServerName<'static>), Box<str>>
    + Send
    + Sync;

/// What checking takes.
#[derive(Clone)]
pub struct ChecksOptions {
    /// Which models there are.
    pub snapshots: SnapshotCell,
    /// Whom to trust.
    pub tls: Arc<ClientTls>,
}

impl fmt::Debug for ChecksOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChecksOptions").finish_non_exhaustive()
    }
}

/// A check that has ended.
struct Ended {
    probe: Arc<Probe>,
    outcome: CheckOutcome,
    status: Option<u16>,
    /// What went wrong, for the log.
    cause: String,
}

/// Checks models until the runtime ends.
pub(super) async fn serve(options: ChecksOptions, health: Arc<HealthTable>) {
    let start = Instant::now();
    let now_ms = || u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let lookups = Arc::new(Semaphore::new(CHECKS_AT_ONCE));
    let mut schedule = Schedule::default();
    let mut under_way = JoinSet::new();
    loop {
        if schedule.is_older_than(options.snapshots.generation()) {
            let snapshot = options.snapshots.current();
            schedule.renew(&snapshot, &health, now_ms(), random);
        }
        while under_way.len() < CHECKS_AT_ONCE
            && let Some(probe) = schedule.take_due(now_ms(), random)
        {
            under_way.spawn(check(probe, Arc::clone(&options.tls), Arc::clone(&lookups)));
        }
        let wait_ms = schedule.due_in(now_ms()).unwrap_or(u64::MAX);
        // Of what is due now, nothing fits: the end of one that is under way is waited for.
        let wait = match Duration::from_millis(wait_ms).min(LOOK_EVERY) {
            Duration::ZERO => LOOK_EVERY,
            wait => wait,
        };
        tokio::select! {
            Some(ended) = under_way.join_next() => match ended {
                Ok(ended) if schedule.has(&ended.probe) => account(&ended),
                // The model has changed or gone since: what was found is about another one.
                Ok(_) => {}
                Err(error) => tracing::error!(%error, "a background check has ended by itself"),
            },
            () = sleep(wait) => {}
        }
    }
}

/// Any number, to spread checks over time.
fn random() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}

async fn check(probe: Arc<Probe>, tls: Arc<ClientTls>, lookups: Arc<Semaphore>) -> Ended {
    let start = Instant::now();
    let limit = Duration::from_secs(probe.check.timeout_seconds);
    let (met, cause) = match ask::request(&probe) {
        Err(why) => (Met::Nothing, why),
        Ok(request) => {
            let talk = talk::exchange(&probe.key, &request, &*tls, lookups);
            match timeout(limit, talk).await {
                Ok(Ok(answer)) => (Met::Answer(answer), String::new()),
                Ok(Err(why)) => (Met::Nothing, why),
                Err(_) => (
                    Met::Timeout,
                    format!("no answer within {} s", limit.as_secs()),
                ),
            }
        }
    };
    histogram!("sluice_model_check_duration_seconds").record(start.elapsed().as_secs_f64());
    let verdict = ask::verdict(&probe, met);
    Ended {
        outcome: verdict.outcome,
        status: verdict.status,
        cause: if cause.is_empty() {
            verdict.cause
        } else {
            cause
        },
        probe,
    }
}

fn account(ended: &Ended) {
    let Ended {
        probe,
        outcome,
        status,
        cause,
    } = ended;
    let model = &probe.model.display_name;
    let result = match outcome {
        CheckOutcome::Passed => "passed",
        CheckOutcome::Failed => "failed",
        CheckOutcome::Ignored => "ignored",
    };
    let labels = [("model", model.to_string()), ("result", result.to_owned())];
    counter!("sluice_model_checks_total", &labels).increment(1);
    let now_ms = unix_ms();
    let before = probe.health.state(now_ms);
    let stale_after = probe.check.stale_after_seconds;
    probe.health.checked(*outcome, *status, stale_after, now_ms);
    let was_unhealthy = before == HealthState::Unhealthy;
    let (model, cause) = (&**model, cause.as_str());
    match outcome {
        CheckOutcome::Failed if !was_unhealthy => {
            tracing::warn!(model, status, cause, "a model failed its background check");
        }
        CheckOutcome::Passed if was_unhealthy => {
            tracing::info!(model, "a model passes its background check again");
        }
        _ => tracing::debug!(model, result, status, cause, "a background check has ended"),
    }
}
