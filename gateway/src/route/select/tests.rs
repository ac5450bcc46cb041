//! Which targets are tried, and in which order. [pure]

mod shares;

use config_sync::model::ModelDocument;
use config_sync::model::model::ModelKind;
use config_sync::model::routing::Routing;
use config_sync::tree::{Problems, Unknown};
use serde_json::{Value, json};

use super::*;
use crate::bridge::health::{HealthState, Latency};

/// A routing block as an operator writes it.
pub(super) fn routing(block: &Value) -> Routing {
    let document = json!({"display_name": "g", "routing": block});
    let problems = Problems::default();
    let read = ModelDocument::read(&document, &problems, Unknown::Refused);
    assert!(problems.is_empty(), "{:?}", problems.into_vec());
    match read.unwrap().kind {
        ModelKind::Routing(routing) => *routing,
        other => panic!("{other:?}"),
    }
}

/// The group `g`; models called `x...` do not exist, and the price is the digit in a name.
pub(super) fn plan(block: &Value) -> Plan {
    let offer = |name: &str| {
        let digit = name.chars().find_map(|c| c.to_digit(10));
        let price = digit.map(f64::from);
        (!name.starts_with('x')).then_some(Offer { price })
    };
    Plan::new(&"g".into(), &routing(block), offer)
}

/// How the targets of a test are doing; what is not said is healthy, unknown and idle.
#[derive(Default)]
struct Fake {
    states: Vec<HealthState>,
    latencies: Vec<Option<(f64, u64)>>,
    in_flight: Vec<u32>,
}

impl Samples for Fake {
    fn state(&self, target: usize) -> HealthState {
        let state = self.states.get(target);
        state.copied().unwrap_or(HealthState::Healthy)
    }

    fn latency(&self, target: usize) -> Option<Latency> {
        let (ewma_ms, age_ms) = self.latencies.get(target).copied().flatten()?;
        Some(Latency { ewma_ms, age_ms })
    }

    fn in_flight(&self, target: usize) -> u32 {
        self.in_flight.get(target).copied().unwrap_or(0)
    }
}

/// Requests of one worker.
#[derive(Default)]
struct Caller<'r> {
    tags: &'r str,
    key: &'r str,
    /// Targets whose address list excludes the caller.
    excluded: &'r [usize],
    turns: Turns,
    samples: Fake,
}

impl Caller<'_> {
    fn positions(&mut self, plan: &Plan) -> Result<Vec<usize>, NoTarget> {
        let facts = Facts {
            tags: self.tags.as_bytes(),
            hash_key: self.key.as_bytes(),
            is_admitted: &|at| !self.excluded.contains(&at),
        };
        let found = order(plan, &facts, &mut self.turns, &self.samples)?;
        assert_eq!(found.nth(0), found.iter().next());
        assert_eq!(found.nth(found.iter().len()), None);
        Ok(found.iter().collect())
    }

    /// The names in the order they are tried, or the error.
    fn names(&mut self, plan: &Plan) -> Result<String, NoTarget> {
        let positions = self.positions(plan)?;
        let names = positions.iter().map(|at| &*plan.target(*at as u16).model);
        Ok(names.collect::<Vec<_>>().join(" "))
    }

    /// The first choices of as many requests.
    fn firsts(&mut self, plan: &Plan, requests: usize) -> String {
        let first = |_| {
            plan.target(self.positions(plan).unwrap()[0] as u16)
                .model
                .to_string()
        };
        (0..requests).map(first).collect::<Vec<_>>().join(" ")
    }
}

fn group(strategy: &str, targets: &Value) -> Plan {
    plan(&json!({"strategy": strategy, "targets": targets}))
}

#[test]
fn tags_choose_the_candidates() {
    let untagged = json!([{"model": "a"}, {"model": "b"}]);
    let tagged = json!([{"model": "a", "tags": ["eu", "fast"]}, {"model": "b", "tags": ["us"]},
                        {"model": "c"}]);
    let fallback = json!([{"model": "a", "tags": ["eu"]}, {"model": "b", "tags": ["default"]},
                          {"model": "c", "tags": ["us", "default"]}, {"model": "d"}]);
    let unmatched = || Err(NoTarget::TagsUnmatched);
    for (targets, tags, want) in [
        (&untagged, "", Ok("a b")),
        (&untagged, "eu", Ok("a b")),
        (&tagged, "eu", Ok("a")),
        (&tagged, " us ,eu", Ok("a b")),
        (&tagged, "nowhere, fast,", Ok("a")),
        (&tagged, "nowhere", unmatched()),
        (&tagged, "EU", unmatched()),
        (&tagged, "e", unmatched()),
        (&tagged, "", Ok("a b c")),
        (&tagged, " , ,", Ok("a b c")),
        (&fallback, "eu", Ok("a")),
        (&fallback, "us", Ok("c")),
        (&fallback, "nowhere", Ok("b c")),
        (&fallback, "default", Ok("b c")),
        (&fallback, "", Ok("b c")),
    ] {
        let plan = group("failover", targets);
        let mut caller = Caller {
            tags,
            ..Caller::default()
        };
        assert_eq!(
            caller.names(&plan),
            want.map(str::to_owned),
            "{tags:?} of {targets}"
        );
    }
}

#[test]
fn addresses_drop_targets_and_unknown_models_are_named() {
    let known = json!([{"model": "a"}, {"model": "b"}]);
    let unknown = json!([{"model": "a"}, {"model": "x2", "priority": -1, "tags": ["eu"]},
                         {"model": "x1", "tags": ["default"]}]);
    let named = |model: &str| {
        Err(NoTarget::Unknown {
            model: model.into(),
        })
    };
    let cases: [(_, _, &[usize], _); 6] = [
        (&known, "", &[], Ok("a b")),
        (&known, "", &[0], Ok("b")),
        (&known, "", &[0, 1], Err(NoTarget::IpRestricted)),
        (&unknown, "eu,default", &[0, 1, 2], named("x2")),
        (&unknown, "", &[], named("x1")),
        (&unknown, "nowhere", &[], named("x1")),
    ];
    for (targets, tags, excluded, want) in cases {
        let plan = group("failover", targets);
        let mut caller = Caller {
            tags,
            excluded,
            ..Caller::default()
        };
        assert_eq!(caller.names(&plan), want.map(str::to_owned), "{targets}");
    }
}

#[test]
fn a_group_without_targets_has_none() {
    let mut empty = routing(&json!({"targets": [{"model": "a"}]}));
    empty.targets.clear();
    let plan = Plan::new(&"g".into(), &empty, |_| None);
    assert_eq!(Caller::default().names(&plan), Err(NoTarget::Empty));
}

#[test]
fn higher_tiers_come_first_and_each_is_ordered_for_itself() {
    let targets = json!([
        {"model": "low3", "priority": -5}, {"model": "mid2"}, {"model": "top2", "priority": 9},
        {"model": "low1", "priority": -5}, {"model": "mid1"}, {"model": "top1", "priority": 9},
        {"model": "low", "priority": -5},
    ]);
    for (strategy, want) in [
        ("failover", "top2 top1 mid2 mid1 low3 low1 low"),
        ("least_cost", "top1 top2 mid1 mid2 low1 low3 low"),
        ("least_busy", "top2 top1 mid2 mid1 low1 low low3"),
        ("least_latency", "top1 top2 mid2 mid1 low low3 low1"),
    ] {
        let mut caller = Caller::default();
        caller.samples.in_flight = vec![1];
        caller.samples.latencies = vec![None; 7];
        caller.samples.latencies[5] = Some((9.0, 0));
        caller.samples.latencies[6] = Some((8.0, 0));
        let got = caller.names(&group(strategy, &targets)).unwrap();
        assert_eq!(got, want, "{strategy}");
    }
}

#[test]
fn the_healthiest_are_kept_before_the_list_is_cut() {
    const H: HealthState = HealthState::Healthy;
    const C: HealthState = HealthState::Cooling;
    const U: HealthState = HealthState::Unhealthy;
    let none = || Err(NoTarget::AllUnavailable);
    for (states, max_fallbacks, availability, want) in [
        ([H, H, H], None, "fail", Ok("a b c")),
        ([H, H, H], Some(1), "fail", Ok("a b")),
        ([H, H, H], Some(0), "fail", Ok("a")),
        ([H, H, H], Some(u32::MAX), "fail", Ok("a b c")),
        ([C, H, H], None, "fail", Ok("b c")),
        ([C, H, H], Some(0), "fail", Ok("b")),
        ([U, C, H], Some(0), "fail", Ok("c")),
        ([U, C, H], None, "try_anyway", Ok("c")),
        ([U, C, C], None, "fail", Ok("b c")),
        ([C, U, C], Some(0), "fail", Ok("a")),
        ([C, C, C], None, "fail", Ok("a b c")),
        ([U, U, U], None, "fail", none()),
        ([U, U, U], Some(0), "fail", none()),
        ([U, U, U], None, "try_anyway", Ok("a b c")),
        ([U, U, U], Some(1), "try_anyway", Ok("a b")),
    ] {
        let targets = json!([{"model": "a"}, {"model": "b"}, {"model": "c", "priority": -1}]);
        let mut block = json!({"targets": targets, "when_all_unavailable": availability});
        if let Some(max) = max_fallbacks {
            block["max_fallbacks"] = json!(max);
        }
        let mut caller = Caller::default();
        caller.samples.states = states.to_vec();
        let got = caller.names(&plan(&block));
        let case = format!("{states:?}, {max_fallbacks:?}, {availability}");
        assert_eq!(got, want.map(str::to_owned), "{case}");
    }
}

#[test]
fn turns_follow_weights_smoothly_and_the_rest_follows_as_configured() {
    let weighted = json!([{"model": "a", "weight": 5}, {"model": "b"}, {"model": "c"}]);
    let plan = group("round_robin", &weighted);
    assert_eq!(
        Caller::default().firsts(&plan, 14),
        "a a b a c a a a a b a c a a"
    );
    let mut caller = Caller::default();
    let whole: Vec<_> = (0..5).map(|_| caller.names(&plan).unwrap()).collect();
    assert_eq!(whole, ["a b c", "a b c", "b c a", "a b c", "c a b"]);
    let even = group("round_robin", &json!([{"model": "a"}, {"model": "b"}]));
    assert_eq!(Caller::default().firsts(&even, 5), "a b a b a");
}

#[test]
fn a_target_that_is_left_alone_takes_no_turn_and_makes_up_for_none() {
    let targets = json!([{"model": "a", "weight": 4}, {"model": "b"}, {"model": "c"}]);
    let plan = group("round_robin", &targets);
    let mut caller = Caller::default();
    caller.samples.states = vec![HealthState::Cooling];
    assert_eq!(caller.firsts(&plan, 6), "b c b c b c");
    caller.samples.states.clear();
    assert_eq!(caller.firsts(&plan, 6), "a a b a c a");
}

#[test]
fn tiers_that_cannot_be_reached_take_no_turns() {
    let block = json!({"strategy": "round_robin", "max_fallbacks": 1, "targets": [
        {"model": "a", "priority": 1}, {"model": "b", "priority": 1}, {"model": "c"}, {"model": "d"},
    ]});
    let plan = plan(&block);
    let mut caller = Caller::default();
    assert_eq!(caller.firsts(&plan, 3), "a b a");
    caller.samples.states = vec![HealthState::Cooling; 2];
    assert_eq!(caller.firsts(&plan, 3), "c d c");
}

#[test]
fn keys_lead_to_the_targets_computed_by_other_means() {
    let even = group(
        "consistent_hash",
        &json!([{"model": "a"}, {"model": "b"}, {"model": "c"}]),
    );
    let weighted = json!([{"model": "a", "weight": 10}, {"model": "b", "weight": 2},
                          {"model": "c", "weight": 2}]);
    let weighted = group("consistent_hash", &weighted);
    // Walked on lists of sorted points, one by one.
    for (key, evenly, by_weight) in [
        ("", "a c b", "a c b"),
        ("alice", "c a b", "a c b"),
        ("bob", "c b a", "a c b"),
        ("carol", "c b a", "c b a"),
        ("tenant-7", "c a b", "a c b"),
    ] {
        let mut caller = Caller {
            key,
            ..Caller::default()
        };
        assert_eq!(caller.names(&even).unwrap(), evenly, "{key}");
        assert_eq!(caller.names(&weighted).unwrap(), by_weight, "{key}");
    }
}

#[test]
fn only_a_hashing_group_says_where_its_key_is() {
    let targets = json!([{"model": "a"}]);
    assert_eq!(group("round_robin", &targets).hash_on(), []);
    assert_eq!(group("consistent_hash", &targets).hash_on().len(), 2);
}

#[test]
fn the_least_busy_is_judged_by_its_weight() {
    let targets = json!([{"model": "a"}, {"model": "b", "weight": 2}, {"model": "c", "weight": 4_294_967_295_u32}]);
    let plan = group("least_busy", &targets);
    for (in_flight, want) in [
        ([0, 0, 0], "c b a"),
        ([0, 1, 4_294_967_294], "a b c"),
        ([0, 2, 4_294_967_293], "c a b"),
        ([2, 4, u32::MAX], "c b a"),
    ] {
        let mut caller = Caller::default();
        caller.samples.in_flight = in_flight.to_vec();
        assert_eq!(caller.names(&plan).unwrap(), want, "{in_flight:?}");
    }
}

#[test]
fn the_fastest_comes_first_and_every_twentieth_request_explores() {
    let targets = json!([{"model": "a"}, {"model": "b"}, {"model": "c"}, {"model": "d"}]);
    let plan = group("least_latency", &targets);
    let mut caller = Caller::default();
    caller.samples.latencies = vec![None, Some((30.0, 0)), Some((20.0, STALE_AFTER_MS)), None];
    let explored: Vec<String> = (0..100)
        .map(|_| caller.names(&plan).unwrap())
        .enumerate()
        .filter(|(_, names)| names != "c b a d")
        .map(|(nth, names)| format!("{}: {names}", nth + 1))
        .collect();
    let want = ["20: a c b d", "60: d c b a", "80: a c b d"];
    assert_eq!(
        explored, want,
        "the 40th and the 100th explore the fastest, which is stale"
    );
    caller.samples.latencies = vec![Some((1.0, STALE_AFTER_MS - 1)); 4];
    assert!((0..40).all(|_| caller.names(&plan).unwrap() == "a b c d"));
}

#[test]
fn a_plan_knows_direct_models_and_their_prices() {
    use crate::route::fixture;
    let priced = json!({"cost": {"input_per_1k": 0.25, "output_per_1k": 0.5}});
    let offer = |extra| Offer::of(&fixture::model("m", extra));
    assert_eq!(offer(priced), Some(Offer { price: Some(0.75) }));
    assert_eq!(offer(json!({})), Some(Offer { price: None }));
}
