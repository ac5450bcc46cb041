//! What many requests see: shares, and what holds for any group. [pure]

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Caller, group, plan};
use crate::bridge::health::HealthState;
use crate::route::select::{NoTarget, Plan};

const STRATEGIES: [&str; 6] = [
    "failover",
    "round_robin",
    "consistent_hash",
    "least_cost",
    "least_latency",
    "least_busy",
];

/// Keys of the tests of the ring.
fn keys() -> impl Iterator<Item = String> {
    (0..20_000).map(|n| format!("tenant-{n}"))
}

/// Targets `a1`, `a2` and so on, of these weights.
fn weighted(strategy: &str, weights: &[u32]) -> Plan {
    let targets = weights.iter().enumerate();
    let targets =
        targets.map(|(at, weight)| json!({"model": format!("a{}", at + 1), "weight": weight}));
    group(strategy, &targets.collect::<Vec<Value>>().into())
}

fn first_by_key(plan: &Plan) -> HashMap<String, usize> {
    let mut caller = Caller::default();
    keys()
        .map(|key| {
            let mut caller = Caller {
                key: &key,
                turns: std::mem::take(&mut caller.turns),
                ..Caller::default()
            };
            let first = caller.positions(plan).unwrap()[0];
            (key.clone(), first)
        })
        .collect()
}

#[test]
fn keys_spread_over_targets_by_weight() {
    for weights in [&[1, 1, 1][..], &[1, 2, 5], &[63, 1], &[1; 10]] {
        let plan = weighted("consistent_hash", weights);
        let mut counts = vec![0_u32; weights.len()];
        for first in first_by_key(&plan).into_values() {
            counts[first] += 1;
        }
        let sum: u32 = weights.iter().sum();
        for (weight, count) in weights.iter().zip(&counts) {
            let want = f64::from(*weight) / f64::from(sum);
            let got = f64::from(*count) / 20_000.0;
            // A share of n points varies by 1/sqrt(n): 8 % for one unit. Three times that.
            let units = f64::from((*weight).min(64));
            let tolerance = 3.0 * want / (160.0 * units).sqrt();
            assert!((got - want).abs() < tolerance, "{weights:?}: {counts:?}");
        }
    }
}

#[test]
fn a_target_that_comes_or_goes_moves_its_own_keys_only() {
    let all = ["a", "b", "c", "d", "e"];
    let of = |names: &[&str]| {
        let targets: Vec<Value> = names.iter().map(|name| json!({ "model": name })).collect();
        let plan = group("consistent_hash", &targets.into());
        let firsts = first_by_key(&plan).into_iter();
        firsts
            .map(|(key, at)| (key, names[at].to_owned()))
            .collect::<HashMap<_, _>>()
    };
    let before = of(&all);
    let after = of(&["e", "a", "b", "d"]);
    let mut moved = 0;
    for (key, target) in &before {
        if target == "c" {
            moved += 1;
            assert_ne!(after[key], "c");
        } else {
            assert_eq!(&after[key], target, "{key}");
        }
    }
    assert!((3_000..5_000).contains(&moved), "{moved}");
}

#[test]
fn a_target_that_cools_down_leaves_its_keys_to_those_behind_it() {
    let plan = weighted("consistent_hash", &[1, 3, 2, 2]);
    for key in keys().take(500) {
        let mut caller = Caller {
            key: &key,
            ..Caller::default()
        };
        let mut whole = caller.positions(&plan).unwrap();
        caller.samples.states = vec![HealthState::Healthy, HealthState::Cooling];
        whole.retain(|at| *at != 1);
        assert_eq!(caller.positions(&plan).unwrap(), whole);
    }
}

#[test]
fn a_list_that_is_cut_begins_as_the_whole_one() {
    let weighted = |max_fallbacks: Option<u32>| {
        let weights = [1, 2, 1, 3, 1].into_iter().enumerate();
        let targets =
            weights.map(|(at, weight)| json!({"model": format!("a{at}"), "weight": weight}));
        let targets: Vec<Value> = targets.collect();
        let mut block = json!({"strategy": "consistent_hash", "targets": targets});
        if let Some(max) = max_fallbacks {
            block["max_fallbacks"] = json!(max);
        }
        plan(&block)
    };
    let (whole, cut) = (weighted(None), weighted(Some(2)));
    for key in keys().take(500) {
        let mut caller = Caller {
            key: &key,
            ..Caller::default()
        };
        let want = caller.positions(&whole).unwrap();
        assert_eq!(caller.positions(&cut).unwrap(), want[..3]);
    }
}

#[test]
fn load_settles_by_weight() {
    let plan = weighted("least_busy", &[1, 2, 5]);
    let mut caller = Caller::default();
    caller.samples.in_flight = vec![0; 3];
    for _ in 0..8 * 20 {
        let first = caller.positions(&plan).unwrap()[0];
        caller.samples.in_flight[first] += 1;
    }
    assert_eq!(caller.samples.in_flight, [20, 40, 100]);
}

#[test]
fn one_request_of_twenty_explores_and_the_rest_goes_to_the_fastest() {
    let plan = weighted("least_latency", &[1, 1, 1]);
    let mut caller = Caller::default();
    caller.samples.latencies = vec![None, Some((20.0, 0)), None];
    let mut counts = [0; 3];
    for _ in 0..4_000 {
        counts[caller.positions(&plan).unwrap()[0]] += 1;
    }
    assert_eq!(counts, [100, 3_800, 100]);
}

#[test]
fn requests_with_different_tags_share_turns_fairly() {
    let targets = json!([{"model": "a", "tags": ["x"]}, {"model": "b", "tags": ["x", "y"]},
                         {"model": "c", "tags": ["y"]}]);
    let plan = group("round_robin", &targets);
    let mut caller = Caller::default();
    let mut counts = [0; 3];
    for nth in 0..3_000 {
        caller.tags = if nth % 2 == 0 { "x" } else { "y" };
        counts[caller.positions(&plan).unwrap()[0]] += 1;
    }
    assert_eq!(counts.iter().sum::<i32>(), 3_000);
    assert!(
        counts[1].abs_diff(1_500) <= 1,
        "half of each tag: {counts:?}"
    );
    assert!(counts[0].abs_diff(counts[2]) <= 1, "{counts:?}");
}

proptest! {
    #[test]
    fn each_round_of_turns_gives_every_target_its_weight(
        weights in prop::collection::vec(1_u32..50, 1..20)
    ) {
        let plan = weighted("round_robin", &weights);
        let mut caller = Caller::default();
        for _ in 0..2 {
            let mut counts = vec![0; weights.len()];
            for _ in 0..weights.iter().sum() {
                counts[caller.positions(&plan).unwrap()[0]] += 1;
            }
            prop_assert_eq!(&counts, &weights);
        }
    }

    #[test]
    fn any_group_yields_each_kept_target_once_and_tiers_in_order(
        targets in prop::collection::vec((1_u32..9, -2_i32..2, 0_u8..3, any::<u32>(), 0_u8..3), 1..40),
        strategy in prop::sample::select(&STRATEGIES[..]),
        max_fallbacks in prop::option::of(0_u32..6),
        key in ".{0,8}",
    ) {
        let list = targets.iter().enumerate().map(|(at, (weight, priority, ..))| {
            json!({"model": format!("a{at}"), "weight": weight, "priority": priority})
        });
        let mut block = json!({"strategy": strategy, "targets": list.collect::<Vec<_>>()});
        if let Some(max) = max_fallbacks {
            block["max_fallbacks"] = json!(max);
        }
        let plan = plan(&block);
        let states = [HealthState::Healthy, HealthState::Cooling, HealthState::Unhealthy];
        let state = |at: usize| states[usize::from(targets[at].2)];
        let mut caller = Caller { key: &key, ..Caller::default() };
        caller.samples.states = (0..targets.len()).map(state).collect();
        caller.samples.in_flight = targets.iter().map(|target| target.3).collect();
        let latency = |(_, _, _, ms, age): &(u32, i32, u8, u32, u8)| {
            let age_ms = u64::from(age.checked_sub(1)?) * 100_000;
            Some((f64::from(*ms), age_ms))
        };
        caller.samples.latencies = targets.iter().map(latency).collect();
        let best = (0..targets.len()).map(state).min().unwrap();
        let mut kept: Vec<usize> = (0..targets.len()).filter(|at| state(*at) == best).collect();
        for _ in 0..25 {
            let got = caller.positions(&plan);
            if best == HealthState::Unhealthy {
                prop_assert_eq!(got, Err(NoTarget::AllUnavailable));
                continue;
            }
            let got = got.unwrap();
            let tried_max = max_fallbacks.map_or(usize::MAX, |max| max as usize + 1);
            prop_assert_eq!(got.len(), kept.len().min(tried_max));
            let priority = |at: &usize| std::cmp::Reverse(targets[*at].1);
            prop_assert!(got.is_sorted_by_key(priority));
            let mut once = got.clone();
            once.sort_unstable();
            once.dedup();
            prop_assert_eq!(once.len(), got.len());
            prop_assert!(got.iter().all(|at| state(*at) == best));
            kept.sort_by_key(priority);
            let lowest = got.last().map(priority);
            let above = kept.iter().filter(|at| Some(priority(at)) < lowest);
            prop_assert!(above.clone().all(|at| got.contains(at)), "whole tiers before the last");
        }
    }
}
