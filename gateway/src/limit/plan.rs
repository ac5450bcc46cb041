//! The limits that one caller's requests to one target meet, looked up once per generation. [pure]

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use foldhash::fast::RandomState;

use super::buckets::Hold;
use super::claim::Claim;
use super::policies::{Part, Policy};
use crate::bridge::limits::Terms;
use crate::bridge::record::LimitLayer;

/// Most plans of a generation. Worst case about 1 KiB each, 4 MiB per worker.
const PLANS_MAX: usize = 4_096;
/// A plan unused for this long is let go of, with its buckets.
const KEPT_MS: u64 = 60_000;

/// A limit that applies to a request.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) bucket: Hold,
    pub(super) terms: Terms,
    pub(super) whose: LimitLayer,
    pub(super) policy: Option<Rc<Policy>>,
}

/// The limits that apply, in the order in which they answer.
#[derive(Debug)]
pub(super) struct Plan {
    layers: Box<[Layer]>,
    used_ms: Cell<u64>,
    /// The ids that it is found by: held, so that no other text can lie at their addresses.
    _ids: [Option<Arc<str>>; 3],
}

impl Plan {
    pub(super) fn new(claim: &Claim<'_>, layers: Vec<Layer>, now_ms: u64) -> Rc<Self> {
        Rc::new(Self {
            layers: layers.into(),
            used_ms: Cell::new(now_ms),
            _ids: claim.ids.map(|id| id.map(Arc::clone)),
        })
    }

    /// The limits that apply at `now_ms`: those of policies that are suspended do not.
    pub(super) fn active(&self, now_ms: u64) -> impl Iterator<Item = &Layer> {
        let is_active = move |layer: &&Layer| {
            let policy = layer.policy.as_ref();
            policy.is_none_or(|policy| policy.is_active(now_ms))
        };
        self.layers.iter().filter(is_active)
    }
}

/// Which requests a plan is for, by the addresses of ids.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Place {
    ids: [usize; 3],
    part: Part,
}

impl Place {
    fn of(claim: &Claim<'_>, part: Part) -> Self {
        let address = |id: Option<&Arc<str>>| id.map_or(0, |id| Arc::as_ptr(id).addr());
        Self {
            ids: claim.ids.map(address),
            part,
        }
    }
}

/// The number of a set of policies; later ones are higher.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Serial(u64);

impl Default for Serial {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Relaxed))
    }
}

/// The plans of one worker, for the latest policies it has seen. At the bound those unused for a
/// minute are let go of, and if there is none, all.
#[derive(Debug, Default)]
pub(super) struct Plans {
    of: Cell<Option<Serial>>,
    known: RefCell<HashMap<Place, Rc<Plan>, RandomState>>,
}

impl Plans {
    /// The plan for requests like `claim`.
    pub(super) fn find(&self, claim: &Claim<'_>, part: Part, now_ms: u64) -> Option<Rc<Plan>> {
        if self.of.get() != Some(claim.policies.serial) {
            return None;
        }
        let known = self.known.borrow();
        let plan = known.get(&Place::of(claim, part))?;
        plan.used_ms.set(now_ms);
        Some(Rc::clone(plan))
    }

    /// Keeps `plan` for later requests like `claim`, unless it is of policies that are replaced.
    pub(super) fn keep(&self, claim: &Claim<'_>, part: Part, plan: &Rc<Plan>, now_ms: u64) {
        let serial = Some(claim.policies.serial);
        if serial < self.of.get() {
            return;
        }
        if self.known.borrow().len() >= PLANS_MAX {
            self.sweep(now_ms);
        }
        let mut known = self.known.borrow_mut();
        if self.of.replace(serial) != serial || known.len() >= PLANS_MAX {
            known.clear();
        }
        known.insert(Place::of(claim, part), Rc::clone(plan));
    }

    /// Lets go of plans that no request has used for a minute.
    pub(super) fn sweep(&self, now_ms: u64) {
        let mut known = self.known.borrow_mut();
        known.retain(|_, plan| plan.used_ms.get().saturating_add(KEPT_MS) > now_ms);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::fixture;
    use super::*;

    #[test]
    fn a_plan_is_for_one_key_one_target_and_one_part() {
        let [one, other] = [(); 2].map(|()| fixture::api_key(json!({"rate_limit": {"rpm": 9}})));
        let [near, far] = ["near", "far"].map(|name| fixture::model(name, &json!({"rpm": 1})));
        let policies = fixture::policies(&[]);
        let claim = Claim::new(&policies, &one).to(&near);
        let plans = Plans::default();
        assert!(plans.find(&claim, Part::Whole, 0).is_none());
        let plan = Plan::new(&claim, Vec::new(), 0);
        plans.keep(&claim, Part::Whole, &plan, 0);

        let same = Claim::new(&policies, &one).to(&near).reserving(7);
        let found = plans.find(&same, Part::Whole, KEPT_MS).unwrap();
        assert!(Rc::ptr_eq(&plan, &found));
        for different in [
            Claim::new(&policies, &other).to(&near),
            Claim::new(&policies, &one).to(&far),
            Claim::new(&policies, &one).to(&near).through(&far),
            Claim::new(&policies, &one),
        ] {
            assert!(plans.find(&different, Part::Whole, 0).is_none());
        }
        assert!(plans.find(&same, Part::Caller, 0).is_none());

        plans.sweep(2 * KEPT_MS - 1);
        assert_eq!(plans.known.borrow().len(), 1);
        plans.sweep(2 * KEPT_MS);
        assert!(plans.known.borrow().is_empty());
    }

    #[test]
    fn at_the_bound_plans_begin_anew() {
        let policies = fixture::policies(&[]);
        let key = fixture::api_key(json!({}));
        let plans = Plans::default();
        for _ in 0..=PLANS_MAX {
            let model = fixture::model("m", &json!({}));
            let claim = Claim::new(&policies, &key).to(&model);
            plans.keep(&claim, Part::Whole, &Plan::new(&claim, Vec::new(), 0), 0);
        }
        assert_eq!(plans.known.borrow().len(), 1);
    }

    #[test]
    fn plans_of_replaced_policies_are_neither_found_nor_kept() {
        let [old, new] = [(); 2].map(|()| fixture::policies(&[]));
        let key = fixture::api_key(json!({}));
        let [before, after] = [&old, &new].map(|policies| Claim::new(policies, &key));
        let plans = Plans::default();
        let keep = |claim| plans.keep(claim, Part::Whole, &Plan::new(claim, Vec::new(), 0), 0);
        let is_known = |claim| plans.find(claim, Part::Whole, 0).is_some();
        keep(&before);
        assert!(is_known(&before) && !is_known(&after));
        keep(&after);
        assert!(is_known(&after) && !is_known(&before));
        keep(&before);
        assert!(is_known(&after) && !is_known(&before));
    }
}
