//! Limits that span keys, models, teams or users. [pure]

use std::sync::Arc;

use super::rate_limit::RateLimit;
use super::{field, refuse_nulls};
use crate::tree::{Fields, Problems, Unknown, Value, kind};

mod condition;
mod schedule;

pub use condition::{Condition, ConditionDimension, Group, Leaf, Logic, Pattern, Test};
pub use schedule::{Days, Schedule};

/// One policy.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimitPolicy {
    /// Name, told to the callers it rejects.
    pub name: Arc<str>,
    /// Windows of time in which the policy is suspended.
    pub schedules: Vec<Schedule>,
    /// What is limited.
    pub rule: PolicyRule,
}

/// The two forms of a policy.
#[derive(Clone, Debug, PartialEq)]
pub enum PolicyRule {
    /// One subject, one window.
    Classic(ClassicRule),
    /// The requests that meet conditions. What is over the limit is rejected.
    Conditional(ConditionalRule),
}

/// A limit on one subject. At least one of the two numbers is set.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClassicRule {
    /// What kind of subject.
    pub scope: PolicyScope,
    /// Id of the API key, model, team, user or team, in the order of [`PolicyScope`].
    pub scope_ref: Arc<str>,
    /// Length of the window.
    pub window: Window,
    /// Requests per window, 1 or more.
    pub max_requests: Option<u64>,
    /// Tokens per window, 1 or more. Only with [`Window::Minute`] and [`Window::Day`].
    pub max_tokens: Option<u64>,
}

/// The subject of a classic rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PolicyScope {
    /// One API key.
    ApiKey,
    /// One model.
    Model,
    /// One team as a whole.
    Team,
    /// One user.
    Member,
    /// Each user of one team on their own.
    TeamMember,
}

const SCOPES: [(&str, PolicyScope); 5] = [
    ("api_key", PolicyScope::ApiKey),
    ("model", PolicyScope::Model),
    ("team", PolicyScope::Team),
    ("member", PolicyScope::Member),
    ("team_member", PolicyScope::TeamMember),
];

/// A window of the wall clock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Window {
    /// 1 s.
    Second,
    /// 60 s.
    Minute,
    /// 3600 s.
    Hour,
    /// 86400 s.
    Day,
}

impl Window {
    /// Whether tokens are counted in windows of this length.
    pub fn counts_tokens(self) -> bool {
        match self {
            Self::Minute | Self::Day => true,
            Self::Second | Self::Hour => false,
        }
    }
}

const WINDOWS: [(&str, Window); 4] = [
    ("second", Window::Second),
    ("minute", Window::Minute),
    ("hour", Window::Hour),
    ("day", Window::Day),
];

/// A limit on the requests that meet all conditions.
#[derive(Clone, Debug, PartialEq)]
pub struct ConditionalRule {
    /// All must hold; none is every request.
    pub conditions: Vec<Condition>,
    /// What has a bucket of its own, distinct and in the order of [`GroupBy`]; none is one bucket.
    pub group_by: Vec<GroupBy>,
    /// At least one limit.
    pub limits: RateLimit,
}

/// What requests are told apart by.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum GroupBy {
    /// Team of the caller's key.
    Team,
    /// User of the caller's key.
    Member,
    /// The caller's key.
    ApiKey,
    /// The model.
    Model,
    /// The model's vendor.
    Provider,
}

const GROUPS: [(&str, GroupBy); 5] = [
    ("team", GroupBy::Team),
    ("member", GroupBy::Member),
    ("api_key", GroupBy::ApiKey),
    ("model", GroupBy::Model),
    ("provider", GroupBy::Provider),
];

const CLASSIC: [&str; 5] = ["scope", "scope_ref", "window", "max_requests", "max_tokens"];
const CONDITIONAL: [&str; 4] = ["limits", "conditions", "group_by", "action"];

impl RateLimitPolicy {
    /// Reads a document. The result is usable only if no problem was noted.
    pub fn read(value: &Value, problems: &Problems, unknown: Unknown) -> Option<Self> {
        let fields = Fields::new(value, "", problems, unknown);
        let name = field::text(&fields, "name");
        let schedules = schedule::read(&fields, "schedules");
        let rule = read_rule(&fields);
        fields.finish();
        refuse_nulls(value, "", problems);
        Some(Self {
            name: name?,
            schedules,
            rule: rule?,
        })
    }
}

/// The form is told by which fields are there, so that a mistake in one is told as what it is.
fn read_rule(fields: &Fields<'_>) -> Option<PolicyRule> {
    let classic = CLASSIC.into_iter().find(|key| fields.has(key));
    let conditional = CONDITIONAL.into_iter().find(|key| fields.has(key));
    match (classic, conditional) {
        (Some(_), None) => read_classic(fields).map(PolicyRule::Classic),
        (None, Some(_)) => read_conditional(fields).map(PolicyRule::Conditional),
        (None, None) => {
            let message = "is required, or `limits` for a policy with conditions";
            fields.problem("scope", message);
            None
        }
        (Some(classic), Some(conditional)) => {
            let message = format!("must not stand beside `{classic}`: a policy is of one form");
            fields.problem(conditional, message);
            for key in CLASSIC.into_iter().chain(CONDITIONAL) {
                fields.take(key);
            }
            None
        }
    }
}

fn read_classic(fields: &Fields<'_>) -> Option<ClassicRule> {
    let scope = field::required_choice(fields, "scope", &SCOPES);
    let scope_ref = field::text(fields, "scope_ref");
    let window = field::required_choice(fields, "window", &WINDOWS);
    let max_requests = fields.take_u64_in("max_requests", 1, u64::MAX);
    let max_tokens = fields.take_u64_in("max_tokens", 1, u64::MAX);
    if fields.take("max_requests").is_none() && fields.take("max_tokens").is_none() {
        fields.problem("max_requests", "is required, or `max_tokens`");
    }
    let counts = window.is_none_or(Window::counts_tokens);
    if !counts && max_tokens.is_some() {
        if fields.unknown() == Unknown::Refused {
            let message = "has an effect only with a window of a minute or a day";
            fields.problem("max_tokens", message);
        } else {
            fields.problems().ignore("inapplicable:max_tokens");
        }
    }
    Some(ClassicRule {
        scope: scope?,
        scope_ref: scope_ref?,
        window: window?,
        max_requests,
        max_tokens: max_tokens.filter(|_| counts),
    })
}

fn read_conditional(fields: &Fields<'_>) -> Option<ConditionalRule> {
    field::required(fields, "limits");
    let problems_before = fields.problems().len();
    let limits = RateLimit::read(fields, "limits");
    let is_sound = fields.problems().len() == problems_before;
    if is_sound && limits.is_some_and(|limits| limits.is_unlimited()) {
        fields.problem("limits", "must hold at least one limit");
    }
    let conditions = condition::read(fields, "conditions");
    let group_by = read_group_by(fields);
    fields.take_choice("action", &[("reject", ())]);
    Some(ConditionalRule {
        conditions,
        group_by,
        limits: limits?,
    })
}

fn read_group_by(fields: &Fields<'_>) -> Vec<GroupBy> {
    let mut found: Vec<GroupBy> = Vec::new();
    for (path, item) in fields.take_list("group_by").unwrap_or_default() {
        let problem = |message: String| fields.problems().push(path.as_str(), message);
        let Some(word) = item.as_str() else {
            problem(format!("must be a string, not {}", kind(item)));
            continue;
        };
        match GROUPS.iter().find(|(known, _)| *known == word) {
            None => {
                let words = GROUPS.map(|(known, _)| known).join(", ");
                problem(format!("must be one of {words}"));
            }
            Some((_, group)) if found.contains(group) => problem("is there already".to_owned()),
            Some((_, group)) => found.push(*group),
        }
    }
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests;
