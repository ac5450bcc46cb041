//! Admission of a request by all its layers, or by none. [pure]

use std::rc::Rc;
use std::sync::Arc;

use super::buckets::Buckets;
use super::claim::Claim;
use super::headroom::Headroom;
use super::permit::Permit;
use super::plan::{Layer, Plan};
use super::policies::{Part, PolicyName};
use crate::bridge::limits::{Charge, Dimension, Full, Terms};
use crate::bridge::record::LimitLayer;

/// Why a request is not admitted. Nothing was counted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limited {
    /// What there is too much of.
    pub dimension: Dimension,
    /// Seconds to the end of the violated window, at least 1. Of [`Dimension::Concurrency`]: 1.
    pub retry_after_secs: u32,
    /// Whose limit it is.
    pub layer: LimitLayer,
    /// The policy that refused, if it was one.
    pub policy: Option<Arc<PolicyName>>,
    /// What is left of all limits that apply.
    pub headroom: Headroom,
}

impl Buckets {
    /// Admits a request with one target: by the key's limits, the model's, then by policies. A
    /// request without any limit is always admitted, and nothing shared is read for it.
    ///
    /// # Errors
    ///
    /// The first limit reached; then nothing is counted anywhere.
    pub fn admit(&self, claim: &Claim<'_>, now_ms: u64) -> Result<Permit, Limited> {
        self.admit_part(claim, Part::Whole, now_ms)
    }

    /// Admits a request for a group, once: by the key's limits, the group's own, then by the
    /// policies that do not depend on the model.
    ///
    /// # Errors
    ///
    /// As [`Buckets::admit`].
    pub fn admit_caller(&self, claim: &Claim<'_>, now_ms: u64) -> Result<Permit, Limited> {
        self.admit_part(claim, Part::Caller, now_ms)
    }

    /// Admits one of a group's targets: by the model's limits, then by the policies that depend on
    /// the model.
    ///
    /// # Errors
    ///
    /// As [`Buckets::admit`]; the next target may be admitted.
    pub fn admit_target(&self, claim: &Claim<'_>, now_ms: u64) -> Result<Permit, Limited> {
        self.admit_part(claim, Part::Target, now_ms)
    }

    fn admit_part(&self, claim: &Claim<'_>, part: Part, now_ms: u64) -> Result<Permit, Limited> {
        let plan = self.plan(claim, part, now_ms);
        let mut permit = Permit::new(Charge {
            at_ms: now_ms,
            tokens: claim.tokens,
        });
        // First all are read: a caller over its limit writes to no line that others count on.
        for layer in plan.active(now_ms) {
            if let Err(full) = layer.bucket.check(&layer.terms, now_ms) {
                return Err(limited(full, layer, &plan, now_ms));
            }
        }
        for layer in plan.active(now_ms) {
            if let Err(full) = permit.take(&layer.bucket, &layer.terms) {
                permit.give_back();
                return Err(limited(full, layer, &plan, now_ms));
            }
        }
        Ok(permit)
    }

    /// The limits that apply, as they were found for an earlier request like this one, or now.
    fn plan(&self, claim: &Claim<'_>, part: Part, now_ms: u64) -> Rc<Plan> {
        if let Some(known) = self.plans.find(claim, part, now_ms) {
            return known;
        }
        let mut layers = Vec::new();
        let mut has_all = true;
        let mut buffer = self.key.borrow_mut();
        claim.for_each_layer(part, &mut buffer, |whose, key, limits, policy| {
            // Where the table has no room the request goes uncounted, which the table counts.
            let Some(bucket) = self.hold(key, now_ms) else {
                has_all = false;
                return;
            };
            layers.push(Layer {
                bucket,
                terms: Terms::from(limits),
                whose,
                policy: policy.map(Rc::clone),
            });
        });
        let plan = Plan::new(claim, layers, now_ms);
        if has_all {
            self.plans.keep(claim, part, &plan, now_ms);
        }
        plan
    }
}

fn limited(full: Full, layer: &Layer, plan: &Plan, now_ms: u64) -> Limited {
    let rooms = plan
        .active(now_ms)
        .map(|layer| Headroom::of(&layer.bucket, &layer.terms, now_ms));
    Limited {
        dimension: full.dimension,
        retry_after_secs: full.retry_after_secs,
        layer: layer.whose,
        policy: layer
            .policy
            .as_ref()
            .map(|policy| Arc::clone(policy.name())),
        headroom: rooms.fold(Headroom::default(), Headroom::and),
    }
}
