//! What a call holds of its limits, wherever they are counted. [ring]

use crate::bridge::limit_link::{Answer, SharedPermit};
use crate::bridge::shared_limits::RedisDown;
use crate::limit::{Claim, Headroom, Limited, Part, Permit};
use crate::rejection::Rejection;
use crate::settings::OnRedisFailure;
use crate::worker::Worker;

const UNCHECKED: &str = "limits cannot be checked at the moment; try again later";

/// A permit. Dropping it frees its slots.
pub(super) enum Held {
    /// Nothing limits the call.
    Nothing,
    /// Counted in this process.
    Here(Box<Permit>),
    /// Counted in redis.
    Shared(SharedPermit, Box<Headroom>),
}

/// Why a call is not admitted.
pub(super) enum Refused {
    Limited(Box<Limited>),
    /// Nobody knows: redis does not answer, and `on_redis_failure` is `closed`.
    Unchecked,
}

impl Held {
    /// Counts `part` of `claim`: in redis where that is configured and answers, else in this process.
    ///
    /// Waits for redis at most `ratelimit.redis_timeout_ms`, and not at all while it is known to be
    /// gone.
    ///
    /// # Errors
    ///
    /// The limit that is reached; nothing is counted then.
    pub(super) async fn take(
        worker: &Worker,
        claim: &Claim<'_>,
        part: Part,
    ) -> Result<Self, Refused> {
        let now_ms = worker.unix_ms().unsigned_abs();
        if worker.settings.shared_limits.is_some()
            && let Some(counted) = Box::pin(Self::take_shared(worker, claim, part)).await
        {
            return counted;
        }
        if claim.is_unlimited() {
            return Ok(Self::Nothing);
        }
        let buckets = &worker.buckets;
        let permit = match part {
            Part::Whole => buckets.admit(claim, now_ms),
            Part::Caller => buckets.admit_caller(claim, now_ms),
            Part::Target => buckets.admit_target(claim, now_ms),
        };
        permit
            .map(|permit| Self::Here(Box::new(permit)))
            .map_err(|limited| Refused::Limited(Box::new(limited)))
    }

    /// Counts `part` of `claim` in redis; `None` where this process has to.
    async fn take_shared(
        worker: &Worker,
        claim: &Claim<'_>,
        part: Part,
    ) -> Option<Result<Self, Refused>> {
        let on_failure = worker.settings.shared_limits?;
        let mut shared = claim.shared(part, worker.unix_ms().unsigned_abs());
        if shared.is_empty() {
            return Some(Ok(Self::Nothing));
        }
        match worker.bridge.limits.ask(shared.take()).await {
            Ok(Answer::Admitted(permit, rooms)) => {
                let headroom = Box::new(Headroom::of_layers(&rooms));
                Some(Ok(Self::Shared(permit, headroom)))
            }
            Ok(Answer::Refused(refused)) => {
                let limited = Box::new(shared.limited(&refused));
                Some(Err(Refused::Limited(limited)))
            }
            Err(RedisDown) => match on_failure {
                OnRedisFailure::Local => None,
                OnRedisFailure::Open => Some(Ok(Self::Nothing)),
                OnRedisFailure::Closed => Some(Err(Refused::Unchecked)),
            },
        }
    }

    /// Charges `tokens` in the place of those reserved.
    pub(super) fn settle(&mut self, tokens: u64, now_ms: u64) {
        match self {
            Self::Nothing => {}
            Self::Here(permit) => permit.settle(tokens, now_ms),
            Self::Shared(permit, _) => permit.settle(tokens),
        }
    }

    /// What was left once the call was counted.
    pub(super) fn headroom(&self) -> Headroom {
        match self {
            Self::Nothing => Headroom::default(),
            Self::Here(permit) => permit.headroom(),
            Self::Shared(_, headroom) => **headroom,
        }
    }
}

impl From<Refused> for Rejection {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Limited(limited) => Self::RateLimited(limited),
            Refused::Unchecked => Self::ProviderUnavailable(UNCHECKED),
        }
    }
}
