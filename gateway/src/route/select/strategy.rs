//! The order within a tier. [pure]

use config_sync::model::routing::Strategy;

use super::list::List;
use super::order::Samples;
use super::plan::Plan;
use super::ring::Ring;
use super::turns::{TierTurns, Turns};

/// Of how many requests to a tier ordered by latency one goes to a target whose latency is unknown or
/// out of date, if there is any.
pub const EXPLORE_EVERY: u64 = 20;
/// Age in milliseconds at which a latency is out of date.
pub const STALE_AFTER_MS: u64 = 60_000;

/// Orders the targets in `kept`, which come by tier, as far as they can be tried.
pub(super) fn arrange(
    plan: &Plan,
    hash_key: &[u8],
    turns: &mut Turns,
    samples: &impl Samples,
    kept: &mut [u16],
) {
    let mut rest = kept;
    let mut left = plan.tried_max;
    while left > 0
        && let Some(first) = rest.first()
    {
        let tier = plan.target(*first).tier;
        let len = rest.partition_point(|at| plan.target(*at).tier == tier);
        let (run, behind) = rest.split_at_mut(len);
        if len > 1 {
            match plan.strategy {
                // The plan has them in order.
                Strategy::Failover | Strategy::LeastCost => {}
                Strategy::RoundRobin => in_turn(plan, &mut turns.of(plan)[tier], run),
                Strategy::ConsistentHash => around(&plan.rings[tier], hash_key, run, left),
                Strategy::LeastLatency => fastest(&mut turns.of(plan)[tier], samples, run),
                Strategy::LeastBusy => least_busy(plan, samples, run),
            }
        }
        rest = behind;
        left = left.saturating_sub(len);
    }
}

/// Smooth weighted round robin: the one that is owed most begins, the others follow as configured.
///
/// Only those in `run` are paid and only they pay, so what all are owed stays 0.
fn in_turn(plan: &Plan, turns: &mut TierTurns, run: &mut [u16]) {
    let mut turn = 0;
    let mut first = (0, i64::MIN);
    for (position, at) in run.iter().enumerate() {
        let target = plan.target(*at);
        let owed = &mut turns.owed[target.slot];
        *owed += i64::from(target.weight);
        turn += i64::from(target.weight);
        if *owed > first.1 {
            first = (position, *owed);
        }
    }
    turns.owed[plan.target(run[first.0]).slot] -= turn;
    debug_assert_eq!(turns.owed.iter().sum::<i64>(), 0);
    run.rotate_left(first.0);
}

/// In the order they are met on the ring from the key's place on. Stops after `wanted`.
fn around(ring: &Ring, key: &[u8], run: &mut [u16], wanted: usize) {
    let mut done = 0;
    for owner in ring.walk(key) {
        if done == wanted.min(run.len()) {
            break;
        }
        let met = run[done..].iter().position(|at| *at == owner);
        if let Some(position) = met {
            run[done..=done + position].rotate_right(1);
            done += 1;
        }
    }
}

/// The fastest first, unknown ones last, but for every [`EXPLORE_EVERY`]th request: there, one that is
/// unknown or out of date comes first, each in its turn, so that one that never succeeds keeps no
/// other from being tried.
fn fastest(turns: &mut TierTurns, samples: &impl Samples, run: &mut [u16]) {
    turns.requests = turns.requests.wrapping_add(1);
    let mut unexplored: List<u16> = List::new();
    let mut keyed: List<(f64, u16)> = List::new();
    for at in run.iter().copied() {
        let latency = samples.latency(at.into());
        if latency.is_none_or(|latency| latency.age_ms >= STALE_AFTER_MS) {
            unexplored.push(at);
        }
        keyed.push((latency.map_or(f64::INFINITY, |latency| latency.ewma_ms), at));
    }
    keyed.as_mut_slice().sort_by(|a, b| a.0.total_cmp(&b.0));
    fill(run, &keyed);
    let unexplored = unexplored.as_slice();
    if turns.requests.is_multiple_of(EXPLORE_EVERY) && !unexplored.is_empty() {
        let round = turns.requests / EXPLORE_EVERY - 1;
        let explored = unexplored[(round % unexplored.len() as u64) as usize];
        let position = run.iter().position(|at| *at == explored);
        run[..=position.unwrap_or(0)].rotate_right(1);
    }
}

/// Ascending by `(in_flight + 1) / weight`.
fn least_busy(plan: &Plan, samples: &impl Samples, run: &mut [u16]) {
    let load = |at: &u16| {
        let in_flight = samples.in_flight((*at).into());
        ((u64::from(in_flight) + 1, plan.target(*at).weight), *at)
    };
    let mut keyed: List<((u64, u32), u16)> = run.iter().map(load).collect();
    // Cross-multiplied: at most 2^32 times a number of 32 bits.
    let by_load =
        |a: (u64, u32), b: (u64, u32)| (a.0 * u64::from(b.1)).cmp(&(b.0 * u64::from(a.1)));
    keyed.as_mut_slice().sort_by(|a, b| by_load(a.0, b.0));
    fill(run, &keyed);
}

fn fill<K: Copy>(run: &mut [u16], keyed: &List<(K, u16)>) {
    for (place, (_, at)) in run.iter_mut().zip(keyed.as_slice()) {
        *place = *at;
    }
}
