//! Whose turn it is. [pure]

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::plan::{Plan, Tier};

/// Most groups remembered; at the limit all begin anew. The snapshot bounds them too, for a worker
/// that calls [`Turns::retain`].
const GROUPS_MAX: usize = 10_000;

/// What a worker remembers of its own requests to groups. Every worker has its own sequence: shares
/// hold for each of them, and so for all.
#[derive(Debug, Default)]
pub struct Turns {
    groups: HashMap<Arc<str>, Group, RandomState>,
}

#[derive(Debug)]
struct Group {
    /// What the states belong to.
    tiers: Arc<[Tier]>,
    states: Vec<TierTurns>,
}

/// The state of one tier.
#[derive(Debug, Default)]
pub(super) struct TierTurns {
    /// What each member is owed, in shares of one turn; the sum is 0.
    pub(super) owed: Vec<i64>,
    /// Requests so far.
    pub(super) requests: u64,
}

impl TierTurns {
    fn new(tier: &Tier) -> Self {
        Self {
            owed: vec![0; tier.members.len()],
            requests: 0,
        }
    }
}

impl Turns {
    /// Forgets the groups whose name `keep` denies. To be called once per generation.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.groups.retain(|group, _| keep(group));
    }

    /// The state of each tier of the plan.
    pub(super) fn of(&mut self, plan: &Plan) -> &mut [TierTurns] {
        let known = self.groups.get(&plan.group);
        if !known.is_some_and(|group| Arc::ptr_eq(&group.tiers, &plan.tiers)) {
            self.learn(plan);
        }
        let group = self.groups.get_mut(&plan.group);
        &mut group.expect("it was learnt above").states
    }

    /// Takes on a plan of a new generation. A tier goes on where neither its targets nor their
    /// weights have changed.
    fn learn(&mut self, plan: &Plan) {
        let mut old = self.groups.remove(&plan.group);
        let state = |tier: &Tier| {
            let known = old.as_mut().and_then(|old| {
                let at = old.tiers.iter().position(|known| known == tier)?;
                Some(std::mem::take(&mut old.states[at]))
            });
            known.unwrap_or_else(|| TierTurns::new(tier))
        };
        let states = plan.tiers.iter().map(state).collect();
        if self.groups.len() >= GROUPS_MAX {
            self.groups.clear();
        }
        let tiers = Arc::clone(&plan.tiers);
        let group = Group { tiers, states };
        self.groups.insert(Arc::clone(&plan.group), group);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::plan;
    use super::*;
    use serde_json::json;

    fn targets(weights: &[(&str, u32, i32)]) -> serde_json::Value {
        let targets = weights.iter().map(
            |(model, weight, tier)| json!({"model": model, "weight": weight, "priority": tier}),
        );
        json!({"strategy": "round_robin", "targets": targets.collect::<Vec<_>>()})
    }

    #[test]
    fn a_tier_goes_on_while_its_targets_and_weights_stay() {
        let mut turns = Turns::default();
        let first = plan(&targets(&[("a", 1, 1), ("b", 2, 1), ("c", 1, 0)]));
        for tier in turns.of(&first) {
            tier.requests = 7;
        }
        let requests = |turns: &mut Turns, list: &[(&str, u32, i32)]| -> Vec<u64> {
            let states = turns.of(&plan(&targets(list))).iter();
            states.map(|tier| tier.requests).collect()
        };
        let same = [("a", 1, 1), ("c", 1, 0), ("b", 2, 1)];
        assert_eq!(requests(&mut turns, &same), [7, 7]);
        let between = [("a", 1, 1), ("d", 1, 1), ("b", 2, 1), ("c", 1, 0)];
        assert_eq!(requests(&mut turns, &between), [0, 7]);
        let moved = [("a", 1, 1), ("d", 1, 1), ("b", 2, 1), ("c", 1, -1)];
        assert_eq!(requests(&mut turns, &moved), [0, 0]);
        turns.of(&first)[0].requests = 7;
        let weighted = [("a", 1, 1), ("b", 3, 1), ("c", 1, 0)];
        assert_eq!(requests(&mut turns, &weighted)[0], 0);
    }

    #[test]
    fn groups_that_left_the_snapshot_are_forgotten() {
        let mut turns = Turns::default();
        let group = plan(&targets(&[("a", 1, 0), ("b", 1, 0)]));
        turns.of(&group)[0].requests = 7;
        turns.retain(|name| name == "g");
        assert_eq!(turns.of(&group)[0].requests, 7);
        turns.retain(|name| name != "g");
        assert!(turns.groups.is_empty());
        assert_eq!(turns.of(&group)[0].requests, 0);
    }

    #[test]
    fn more_groups_than_the_limit_begin_anew() {
        let mut turns = Turns::default();
        let offer = |_: &str| None;
        let named = |name: usize| {
            let routing = super::super::tests::routing(&targets(&[("a", 1, 0)]));
            Plan::new(&name.to_string().into(), &routing, offer)
        };
        for name in 0..=GROUPS_MAX {
            turns.of(&named(name));
        }
        assert_eq!(turns.groups.len(), 1);
    }
}
