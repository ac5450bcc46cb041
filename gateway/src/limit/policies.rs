//! The policies of one generation, prepared for matching. [pure]

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use config_sync::collection::Collection;
use config_sync::model::rate_limit::RateLimit;
use config_sync::model::rate_limit_policy::{
    ClassicRule, Condition, ConditionalRule, GroupBy, PolicyRule, PolicyScope, RateLimitPolicy,
    Window,
};
use config_sync::resource::Resource;
use config_sync::snapshot::Snapshot;

use super::claim::Subject;
use super::condition;
use super::key::BucketKey;
use super::plan::Serial;
use super::schedule::Suspension;

const SCOPES: [PolicyScope; 5] = [
    PolicyScope::ApiKey,
    PolicyScope::Model,
    PolicyScope::Team,
    PolicyScope::Member,
    PolicyScope::TeamMember,
];

/// What callers are told of the policy that refused them.
#[derive(Debug, Eq, PartialEq)]
pub struct PolicyName {
    /// Resource id.
    pub id: Box<str>,
    /// Its name.
    pub name: Box<str>,
}

/// One policy.
#[derive(Debug)]
pub struct Policy {
    pub(super) name: Arc<PolicyName>,
    pub(super) limits: RateLimit,
    pub(super) key: BucketKey,
    conditions: Vec<Condition>,
    suspension: Suspension,
}

/// Which policies are asked for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Part {
    /// All, for a request with one target.
    Whole,
    /// Those that are the same whatever the target.
    Caller,
    /// Those that depend on the model or its vendor.
    Target,
}

impl Part {
    pub(super) fn has_caller(self) -> bool {
        match self {
            Self::Whole | Self::Caller => true,
            Self::Target => false,
        }
    }

    pub(super) fn has_target(self) -> bool {
        match self {
            Self::Whole | Self::Target => true,
            Self::Caller => false,
        }
    }
}

/// The policies of a snapshot, for one worker: patterns and counts of references are its own. Built
/// once per generation.
///
/// Their order, in which the first exceeded one answers: classic ones by scope, as in
/// [`PolicyScope`]; then those with conditions, those about callers before those about models; and
/// by id among these.
#[derive(Debug, Default)]
pub struct Policies {
    classic: [HashMap<Box<str>, Vec<Rc<Policy>>>; SCOPES.len()],
    of_callers: Vec<Rc<Policy>>,
    of_models: Vec<Rc<Policy>>,
    /// Tells these from those of other generations.
    pub(super) serial: Serial,
}

impl Policies {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.of_callers.is_empty()
            && self.of_models.is_empty()
            && self.classic.iter().all(HashMap::is_empty)
    }

    /// Those of `snapshot`. Copies every text and pattern: once per generation, not per request.
    pub fn of(snapshot: &Snapshot) -> Self {
        let rows = snapshot.others(Collection::RateLimitPolicies);
        let mut rows: Vec<(&str, &RateLimitPolicy)> = rows
            .filter_map(|row| match &*row.resource {
                Resource::RateLimitPolicy(policy) => Some((&*row.id, &**policy)),
                _ => None,
            })
            .collect();
        rows.sort_unstable_by_key(|(id, _)| *id);
        let mut policies = Self::default();
        for (id, policy) in rows {
            policies.add(id, policy);
        }
        policies
    }

    fn add(&mut self, id: &str, policy: &RateLimitPolicy) {
        match &policy.rule {
            PolicyRule::Classic(rule) => {
                if let Some(by_reference) = self.classic.get_mut(rule.scope as usize) {
                    let same = by_reference.entry((*rule.scope_ref).into());
                    same.or_default()
                        .push(Rc::new(Policy::classic(id, policy, rule)));
                }
            }
            PolicyRule::Conditional(rule) => {
                let list = if depends_on_model(rule) {
                    &mut self.of_models
                } else {
                    &mut self.of_callers
                };
                list.push(Rc::new(Policy::conditional(id, policy, rule)));
            }
        }
    }

    /// Visits those that `subject` is subject to while they are active, in their order. Left out is,
    /// later, one whose buckets are told apart by what the subject lacks. Allocates nothing.
    pub fn for_each<'p>(
        &'p self,
        subject: &Subject<'_>,
        part: Part,
        mut visit: impl FnMut(&'p Rc<Policy>),
    ) {
        let mut visit_matching = |policies: &'p [Rc<Policy>]| {
            let matching = policies
                .iter()
                .filter(|policy| condition::all_hold(&policy.conditions, subject));
            matching.for_each(&mut visit);
        };
        for (scope, by_reference) in SCOPES.into_iter().zip(&self.classic) {
            if by_reference.is_empty() || !is_of(scope, part) {
                continue;
            }
            for reference in references(scope, subject).into_iter().flatten() {
                visit_matching(by_reference.get(reference).map_or(&[], Vec::as_slice));
            }
        }
        if part.has_caller() {
            visit_matching(&self.of_callers);
        }
        if part.has_target() {
            visit_matching(&self.of_models);
        }
    }
}

impl Policy {
    fn classic(id: &str, policy: &RateLimitPolicy, rule: &ClassicRule) -> Self {
        Self {
            name: PolicyName::of(id, policy),
            limits: limits_of(rule),
            key: BucketKey::classic(id, rule),
            conditions: Vec::new(),
            suspension: Suspension::new(&policy.schedules),
        }
    }

    fn conditional(id: &str, policy: &RateLimitPolicy, rule: &ConditionalRule) -> Self {
        Self {
            name: PolicyName::of(id, policy),
            limits: rule.limits,
            key: BucketKey::conditional(id, &rule.group_by),
            // A copied pattern has memory of its own: workers do not wait for each other's.
            conditions: rule.conditions.clone(),
            suspension: Suspension::new(&policy.schedules),
        }
    }

    /// What callers are told of it.
    pub fn name(&self) -> &Arc<PolicyName> {
        &self.name
    }

    /// Whether no schedule suspends it at `now_ms`.
    pub fn is_active(&self, now_ms: u64) -> bool {
        !self.suspension.applies(now_ms)
    }
}

impl PolicyName {
    fn of(id: &str, policy: &RateLimitPolicy) -> Arc<Self> {
        Arc::new(Self {
            id: id.into(),
            name: (*policy.name).into(),
        })
    }
}

fn is_of(scope: PolicyScope, part: Part) -> bool {
    match scope {
        PolicyScope::Model => part.has_target(),
        PolicyScope::ApiKey | PolicyScope::Team | PolicyScope::Member | PolicyScope::TeamMember => {
            part.has_caller()
        }
    }
}

/// What a classic policy of `scope` must refer to. A model's matches the target or the group.
fn references<'a>(scope: PolicyScope, subject: &Subject<'a>) -> [Option<&'a str>; 2] {
    match scope {
        PolicyScope::ApiKey => [subject.api_key, None],
        PolicyScope::Model => {
            let parent = subject.parent.map(|parent| parent.model);
            [subject.model, parent.filter(|id| subject.model != Some(id))]
        }
        PolicyScope::Team | PolicyScope::TeamMember => [subject.team, None],
        PolicyScope::Member => [subject.member, None],
    }
}

fn depends_on_model(rule: &ConditionalRule) -> bool {
    let groups_by_model = rule.group_by.iter().any(|dimension| match dimension {
        GroupBy::Model | GroupBy::Provider => true,
        GroupBy::Team | GroupBy::Member | GroupBy::ApiKey => false,
    });
    groups_by_model || condition::ask_for_model(&rule.conditions)
}

/// Tokens are counted in minutes and days only, which the rule's reader has seen to.
fn limits_of(rule: &ClassicRule) -> RateLimit {
    let mut limits = RateLimit::default();
    match rule.window {
        Window::Second => limits.rps = rule.max_requests,
        Window::Minute => (limits.rpm, limits.tpm) = (rule.max_requests, rule.max_tokens),
        Window::Hour => limits.rph = rule.max_requests,
        Window::Day => (limits.rpd, limits.tpd) = (rule.max_requests, rule.max_tokens),
    }
    limits
}

#[cfg(test)]
mod tests;
