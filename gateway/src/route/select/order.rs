//! The targets of one request, in the order they are tried. [pure]

use std::fmt;

use config_sync::model::routing::WhenAllUnavailable;

use super::list::{List, Order};
use super::plan::Plan;
use super::strategy;
use super::turns::Turns;
use crate::bridge::health::{HealthState, Latency};

/// Seconds a caller is asked to stay away when no target is healthy.
pub const ALL_UNAVAILABLE_RETRY_SECS: u32 = 30;

/// Stands in for the tags that no target has.
const DEFAULT_TAG: &[u8] = b"default";

/// What of a request decides. Positions count the group's targets as configured, from 0.
pub struct Facts<'r> {
    /// Value of `x-sluice-routing-tags`, comma separated; empty where there is none.
    pub tags: &'r [u8],
    /// What [`hash_key`](super::hash_key) found; of no effect where nothing is hashed.
    pub hash_key: &'r [u8],
    /// Whether the address list of this target's model admits the caller. Asked about targets that
    /// resolve only.
    pub is_admitted: &'r dyn Fn(usize) -> bool,
}

impl fmt::Debug for Facts<'_> {
    /// Without the hash key, which may be a credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tags = String::from_utf8_lossy(self.tags);
        f.debug_struct("Facts")
            .field("tags", &tags)
            .finish_non_exhaustive()
    }
}

/// How targets are doing, by position. Each answer is read once per request, so it may change at any
/// time.
pub trait Samples {
    /// Whether the target may be tried.
    fn state(&self, target: usize) -> HealthState;

    /// How fast it answers; `None` before its first success. Asked by `least_latency` only.
    fn latency(&self, target: usize) -> Option<Latency>;

    /// Attempts under way. Asked by `least_busy` only.
    fn in_flight(&self, target: usize) -> u32;
}

/// Why a group has no target for a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NoTarget {
    /// 400: the group has none at all.
    Empty,
    /// 400, "no routing target matches request tags".
    TagsUnmatched,
    /// 400 naming the target: no direct model has this name.
    Unknown { model: Box<str> },
    /// 403 `ip_restricted`: no target admits the caller's address.
    IpRestricted,
    /// 503 `all_candidates_unavailable` with `Retry-After` [`ALL_UNAVAILABLE_RETRY_SECS`].
    AllUnavailable,
}

/// Chooses the targets of one request.
///
/// The health filter runs before the tiers are ordered: a target that is left alone takes no turn,
/// and its share goes to the others by weight. Up to 16 targets cost no allocation.
///
/// # Errors
///
/// In the order that decides what a caller learns: [`NoTarget::Empty`], [`NoTarget::TagsUnmatched`],
/// [`NoTarget::Unknown`], [`NoTarget::IpRestricted`], [`NoTarget::AllUnavailable`].
pub fn order(
    plan: &Plan,
    facts: &Facts<'_>,
    turns: &mut Turns,
    samples: &impl Samples,
) -> Result<Order, NoTarget> {
    let mut candidates = tagged(plan, facts.tags)?;
    resolved(plan, candidates.as_slice())?;
    candidates.retain(|at| (facts.is_admitted)(at.into()));
    if candidates.as_slice().is_empty() {
        return Err(NoTarget::IpRestricted);
    }
    let (state, mut kept) = healthiest(candidates.as_slice(), samples);
    if state == HealthState::Unhealthy && plan.when_all_unavailable == WhenAllUnavailable::Fail {
        return Err(NoTarget::AllUnavailable);
    }
    strategy::arrange(plan, facts.hash_key, turns, samples, kept.as_mut_slice());
    kept.truncate(plan.tried_max);
    debug_assert!(!kept.as_slice().is_empty());
    Ok(Order(kept))
}

/// The targets that serve requests with `tags`, by tier.
fn tagged(plan: &Plan, tags: &[u8]) -> Result<List<u16>, NoTarget> {
    if plan.sequence.is_empty() {
        return Err(NoTarget::Empty);
    }
    let all = || plan.sequence.iter().copied();
    if !plan.has_tags {
        return Ok(all().collect());
    }
    let has = |at: u16, tag: &[u8]| {
        let mut tags = plan.target(at).tags.iter();
        tags.any(|own| own.as_bytes() == tag)
    };
    let asked = || {
        let tags = tags.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        tags.filter(|tag| !tag.is_empty())
    };
    let is_asked = |at: &u16| asked().any(|tag| has(*at, tag));
    let mut found: List<u16> = all().filter(is_asked).collect();
    if found.as_slice().is_empty() {
        found = all().filter(|at| has(*at, DEFAULT_TAG)).collect();
    }
    match (found.as_slice().is_empty(), asked().next()) {
        (false, _) => Ok(found),
        (true, None) => Ok(all().collect()),
        (true, Some(_)) => Err(NoTarget::TagsUnmatched),
    }
}

/// Whether there is a model behind every candidate.
fn resolved(plan: &Plan, candidates: &[u16]) -> Result<(), NoTarget> {
    let candidates = candidates.iter().copied();
    let unknown = candidates.filter(|at| !plan.target(*at).resolves);
    match unknown.min() {
        Some(at) => Err(NoTarget::Unknown {
            model: (&*plan.target(at).model).into(),
        }),
        None => Ok(()),
    }
}

/// The candidates in the best state that any of them is in, and that state.
fn healthiest(candidates: &[u16], samples: &impl Samples) -> (HealthState, List<u16>) {
    let mut best = HealthState::Unhealthy;
    let mut kept = List::new();
    for at in candidates {
        let state = samples.state((*at).into());
        if state < best {
            best = state;
            kept.clear();
        }
        if state == best {
            kept.push(*at);
        }
    }
    (best, kept)
}
