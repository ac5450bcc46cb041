//! What a failed attempt leads to: another try, another target, or the end. [pure]

use std::cell::Cell;
use std::time::Duration;

use config_sync::model::model::Model;
use config_sync::model::routing::Routing;

use crate::rejection::Rejection;

/// First pause before the same target is tried again; each further one is twice as long.
const BACKOFF_MIN: Duration = Duration::from_millis(250);
/// Longest pause.
const BACKOFF_MAX: Duration = Duration::from_millis(2_000);
/// Most that is added to a pause at random, so that callers who failed together do not come back so.
pub const JITTER_MAX: Duration = Duration::from_millis(250);
/// Longest `Retry-After` that is waited for.
const RETRY_AFTER_SECS_MAX: u32 = 5;

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// The same target, after this pause and up to [`JITTER_MAX`] more.
    SameTarget(Duration),
    /// The next target, at once.
    NextTarget,
    /// Nothing: the caller gets the failure.
    Stop,
}

/// What a group and one of its targets say about trying again.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'r> {
    group: Option<&'r Routing>,
    /// Tries after the first, where the target or its group sets them.
    explicit: Option<u32>,
    /// The deployment's number.
    default: u32,
}

impl<'r> Rules<'r> {
    /// For `target` of `group`; `default` is `upstream.retries`.
    pub fn of(target: &Model, group: Option<&'r Routing>, default: u32) -> Self {
        let explicit = target.retries.or(group.and_then(|group| group.retries));
        Self {
            group,
            explicit,
            default,
        }
    }

    /// What follows `failure`, the last of `tries` tries of a target; `has_next`: there is another
    /// target.
    ///
    /// The deployment's number of retries is for targets that nobody else can stand in for, and not for
    /// timeouts, which cost the caller most.
    ///
    /// # Source
    ///
    /// proxy.md §6.1 and §6.2.
    pub fn after(&self, failure: &Rejection, tries: u32, has_next: bool) -> Next {
        if !self.is_retryable(failure) {
            return Next::Stop;
        }
        let is_timeout = matches!(failure, Rejection::UpstreamTimeout { .. });
        let retries = match self.explicit {
            Some(retries) => retries,
            None if has_next || is_timeout => 0,
            None => self.default,
        };
        if tries <= retries {
            return Next::SameTarget(pause(failure.retry_after_secs(), tries));
        }
        if has_next {
            Next::NextTarget
        } else {
            Next::Stop
        }
    }

    /// Whether another attempt may do better.
    pub fn is_retryable(&self, failure: &Rejection) -> bool {
        match failure {
            Rejection::UpstreamTimeout { .. }
            | Rejection::Transport { .. }
            | Rejection::Decode { .. }
            | Rejection::StreamAborted
            | Rejection::Config { .. } => true,
            Rejection::Upstream(error) => {
                let status = error.upstream_status;
                !(400..=499).contains(&status) || self.lists(status)
            }
            _ => false,
        }
    }

    /// Whether the group has a client error tried again.
    fn lists(&self, status: u16) -> bool {
        self.group.is_some_and(|group| {
            (status == 429 && group.retry_on_429) || group.fallback_on_statuses.contains(&status)
        })
    }
}

/// Keeps retries to a share of the requests of a worker, so that an upstream that is down for
/// everybody is not asked several times as often as before. Other targets are not retries.
#[derive(Debug)]
pub struct RetryBudget {
    /// In hundredths of a retry.
    left: Cell<u32>,
}

/// What a request adds: one retry for five requests.
const EARNED: u32 = 20;
const RETRY: u32 = 100;
/// What a heartbeat of 20 ms adds: two retries a second where hardly anybody asks.
const RECOVERED: u32 = 4;
/// Most that is saved up: a hundred retries.
const SAVED_MAX: u32 = 100 * RETRY;

impl Default for RetryBudget {
    fn default() -> Self {
        Self {
            left: Cell::new(SAVED_MAX),
        }
    }
}

impl RetryBudget {
    /// A request began.
    pub fn earn(&self) {
        self.add(EARNED);
    }

    /// A heartbeat has passed.
    pub fn recover(&self) {
        self.add(RECOVERED);
    }

    /// Takes one retry; `false` where there is none left.
    pub fn spend(&self) -> bool {
        let left = self.left.get().checked_sub(RETRY);
        left.inspect(|left| self.left.set(*left)).is_some()
    }

    fn add(&self, more: u32) {
        self.left
            .set(self.left.get().saturating_add(more).min(SAVED_MAX));
    }
}

/// How long to wait before try `tries + 1`.
fn pause(retry_after_secs: Option<u32>, tries: u32) -> Duration {
    match retry_after_secs {
        Some(secs @ 1..=RETRY_AFTER_SECS_MAX) => Duration::from_secs(secs.into()),
        _ => BACKOFF_MIN
            .saturating_mul(1 << tries.saturating_sub(1).min(8))
            .min(BACKOFF_MAX),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rejection::UpstreamError;
    use crate::route::fixture;

    fn upstream(status: u16, retry_after_secs: Option<u32>) -> Rejection {
        Rejection::Upstream(Box::new(UpstreamError {
            upstream_status: status,
            retry_after_secs,
            ..UpstreamError::default()
        }))
    }

    const TIMEOUT: Rejection = Rejection::UpstreamTimeout { after_ms: 1 };

    fn group(extra: serde_json::Value) -> Routing {
        fixture::group("g", json!([{"model": "a"}, {"model": "b"}]), extra)
    }

    #[test]
    fn retries_are_a_fifth_of_the_requests_once_what_was_saved_is_spent() {
        let budget = RetryBudget::default();
        assert_eq!((0..1_000).filter(|_| budget.spend()).count(), 100);
        let retried = (0..1_000).filter(|_| {
            budget.earn();
            budget.spend()
        });
        assert_eq!(retried.count(), 200);
        (0..25).for_each(|_| budget.recover());
        assert!(budget.spend() && !budget.spend());
        (0..10_000).for_each(|_| budget.earn());
        assert_eq!((0..1_000).filter(|_| budget.spend()).count(), 100);
    }

    #[test]
    fn what_is_tried_again_and_where() {
        let again = |ms| Next::SameTarget(Duration::from_millis(ms));
        let transport = || Rejection::Transport {
            detail: String::new(),
        };
        let plain = group(json!({}));
        let own = group(json!({"retries": 1}));
        let lists = group(json!({"retry_on_429": true, "fallback_on_statuses": [404]}));
        let (none, next) = (None, Next::NextTarget);
        // (group, the target's own number, failure, tries, another target) -> what follows
        let cases = [
            (none, None, transport(), 1, false, again(250)),
            (none, None, transport(), 2, false, again(500)),
            (none, None, transport(), 3, false, Next::Stop),
            (none, None, TIMEOUT, 1, false, Next::Stop),
            (none, Some(1), TIMEOUT, 1, false, again(250)),
            (none, Some(0), transport(), 1, false, Next::Stop),
            (none, None, upstream(503, Some(3)), 1, false, again(3_000)),
            (none, None, upstream(503, Some(6)), 1, false, again(250)),
            (none, None, upstream(503, Some(0)), 1, false, again(250)),
            (none, Some(9), upstream(500, None), 9, false, again(2_000)),
            (none, None, upstream(429, Some(1)), 1, false, Next::Stop),
            (none, None, Rejection::StreamAborted, 1, false, again(250)),
            (
                none,
                None,
                Rejection::CredentialUnusable,
                1,
                false,
                Next::Stop,
            ),
            (Some(&plain), None, transport(), 1, true, next),
            (Some(&plain), None, transport(), 1, false, again(250)),
            (Some(&plain), None, TIMEOUT, 1, true, next),
            (Some(&plain), None, TIMEOUT, 1, false, Next::Stop),
            (Some(&plain), Some(2), transport(), 2, true, again(500)),
            (Some(&plain), Some(2), transport(), 3, true, next),
            (Some(&plain), None, upstream(400, None), 1, true, Next::Stop),
            (Some(&plain), None, upstream(429, None), 1, true, Next::Stop),
            (Some(&own), None, TIMEOUT, 1, true, again(250)),
            (Some(&own), None, TIMEOUT, 2, true, next),
            (Some(&own), Some(0), TIMEOUT, 1, true, next),
            (Some(&lists), None, upstream(429, None), 1, true, next),
            (
                Some(&lists),
                None,
                upstream(429, Some(2)),
                1,
                false,
                again(2_000),
            ),
            (Some(&lists), None, upstream(404, None), 1, true, next),
            (Some(&lists), None, upstream(403, None), 1, true, Next::Stop),
        ];
        for (group, retries, failure, tries, has_next, want) in cases {
            let own = retries.map_or(json!({}), |retries: u32| json!({"retries": retries}));
            let target = fixture::model("m", own);
            let rules = Rules::of(&target, group, 2);
            let got = rules.after(&failure, tries, has_next);
            assert_eq!(got, want, "{failure:?} after {tries} of {retries:?}");
        }
    }
}
