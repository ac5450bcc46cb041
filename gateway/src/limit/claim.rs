//! Who asks for what, as far as limits tell requests apart. [pure]

use std::sync::Arc;

use config_sync::model::api_key::ApiKey;
use config_sync::model::model::Model;
use config_sync::model::rate_limit::RateLimit;
use config_sync::model::rate_limit_policy::GroupBy;

use super::policies::Policies;

/// The dimensions of a request. `None`: it does not have this one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Subject<'a> {
    /// Team id of the key.
    pub team: Option<&'a str>,
    /// User id of the key.
    pub member: Option<&'a str>,
    /// Id of the key.
    pub api_key: Option<&'a str>,
    /// Id of the target's row.
    pub model: Option<&'a str>,
    /// Display name of the target's row, of a wildcard row the pattern.
    pub model_name: Option<&'a str>,
    /// Vendor of the target.
    pub provider: Option<&'a str>,
    /// The group that the target was reached through.
    pub parent: Option<Parent<'a>>,
}

/// The model that a caller named, where another one serves the request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Parent<'a> {
    /// Id of its row.
    pub model: &'a str,
    /// Its display name.
    pub model_name: &'a str,
}

impl<'a> Subject<'a> {
    /// The value that requests are told apart by. Of a model that is the target, never its group.
    pub fn value(&self, dimension: GroupBy) -> Option<&'a str> {
        match dimension {
            GroupBy::Team => self.team,
            GroupBy::Member => self.member,
            GroupBy::ApiKey => self.api_key,
            GroupBy::Model => self.model,
            GroupBy::Provider => self.provider,
        }
    }
}

/// A model's own limits, and the name its bucket has.
#[derive(Clone, Copy, Debug)]
pub(super) struct ModelLimits<'a> {
    pub(super) display_name: &'a str,
    pub(super) limits: &'a RateLimit,
}

impl<'a> ModelLimits<'a> {
    fn of(model: &'a Model) -> Option<Self> {
        Some(Self {
            display_name: &model.display_name,
            limits: set(model.rate_limit.as_ref())?,
        })
    }
}

fn set(limits: Option<&RateLimit>) -> Option<&RateLimit> {
    limits.filter(|limits| !limits.is_unlimited())
}

/// A request before its admission: who asks, for which model, and which limits there are.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    pub(super) subject: Subject<'a>,
    pub(super) key: Option<&'a RateLimit>,
    pub(super) group: Option<ModelLimits<'a>>,
    pub(super) target: Option<ModelLimits<'a>>,
    pub(super) policies: &'a Policies,
    pub(super) tokens: u64,
    /// Ids of the key, the target and the group: of a generation's requests those with the same three
    /// meet the same limits.
    pub(super) ids: [Option<&'a Arc<str>>; 3],
}

impl<'a> Claim<'a> {
    /// A request with `key`. Reserves no tokens.
    pub fn new(policies: &'a Policies, key: &'a ApiKey) -> Self {
        Self {
            subject: Subject {
                team: key.team_id.as_deref(),
                member: key.user_id.as_deref(),
                api_key: Some(&key.id),
                ..Subject::default()
            },
            key: set(key.rate_limit.as_ref()),
            group: None,
            target: None,
            policies,
            tokens: 0,
            ids: [Some(&key.id), None, None],
        }
    }

    /// Whether there is no limit at all that could apply.
    pub fn is_unlimited(&self) -> bool {
        self.key.is_none()
            && self.group.is_none()
            && self.target.is_none()
            && self.policies.is_empty()
    }

    /// Served by `model`.
    #[must_use]
    pub fn to(mut self, model: &'a Model) -> Self {
        self.subject.model = Some(&model.id);
        self.subject.model_name = Some(&model.display_name);
        self.subject.provider = Some(&*model.provider).filter(|provider| !provider.is_empty());
        self.target = ModelLimits::of(model);
        let [key, _, group] = self.ids;
        self.ids = [key, Some(&model.id), group];
        self
    }

    /// The caller named `group`, of whose targets one serves the request.
    #[must_use]
    pub fn through(mut self, group: &'a Model) -> Self {
        self.subject.parent = Some(Parent {
            model: &group.id,
            model_name: &group.display_name,
        });
        self.group = ModelLimits::of(group);
        let [key, target, _] = self.ids;
        self.ids = [key, target, Some(&group.id)];
        self
    }

    /// Counts `tokens` until the true number is known.
    #[must_use]
    pub fn reserving(mut self, tokens: u64) -> Self {
        self.tokens = tokens;
        self
    }
}
