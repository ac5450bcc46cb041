//! A request as it is asked of counters that gateways share, and what their answer means. [pure]

use std::rc::Rc;
use std::sync::Arc;

use config_sync::model::rate_limit::RateLimit;

use super::admit::Limited;
use super::claim::Claim;
use super::headroom::Headroom;
use super::key;
use super::policies::{Part, Policy, PolicyName};
use crate::bridge::limits::Field;
use crate::bridge::record::LimitLayer;
use crate::bridge::shared_limits::{Ask, LayerAsk, LayerRoom, Refused};

/// The limits that apply to a request, with what is needed to name the one that refuses.
#[derive(Debug, Default)]
pub struct SharedAsk {
    ask: Ask,
    /// Whose limit each layer is, and the policy's name where it is one.
    whose: Vec<(LimitLayer, Option<Arc<PolicyName>>)>,
}

impl SharedAsk {
    /// Whether nothing limits the request: it is admitted without being asked for.
    pub fn is_empty(&self) -> bool {
        self.ask.layers.is_empty()
    }

    /// What to send, once.
    pub fn take(&mut self) -> Ask {
        std::mem::take(&mut self.ask)
    }

    /// The refusal in the words of [`Buckets::admit`](super::Buckets::admit).
    pub fn limited(&self, refused: &Refused) -> Limited {
        let whose = self.whose.get(refused.layer).cloned();
        let (layer, policy) = whose.unwrap_or((LimitLayer::Policy, None));
        Limited {
            dimension: refused.full.dimension,
            retry_after_secs: refused.full.retry_after_secs,
            layer,
            policy,
            headroom: Headroom::of_layers(&refused.rooms),
        }
    }
}

impl<'a> Claim<'a> {
    /// The layers of `part` that are active at `now_ms`, in the order in which they answer.
    pub fn shared(&self, part: Part, now_ms: u64) -> SharedAsk {
        let mut shared = SharedAsk::default();
        shared.ask.tokens = self.tokens;
        self.for_each_layer(part, &mut String::new(), |whose, key, limits, policy| {
            if policy.is_some_and(|policy| !policy.is_active(now_ms)) {
                return;
            }
            let key = key.into();
            let limits = *limits;
            shared.ask.layers.push(LayerAsk { key, limits });
            let name = policy.map(|policy| Arc::clone(policy.name()));
            shared.whose.push((whose, name));
        });
        shared
    }

    /// Visits the limits that apply, those of suspended policies too, in the order in which they answer, with the keys of their
    /// buckets; keys are written into `buffer`.
    pub(super) fn for_each_layer(
        &self,
        part: Part,
        buffer: &mut String,
        mut visit: impl FnMut(LimitLayer, &str, &'a RateLimit, Option<&'a Rc<Policy>>),
    ) {
        if part.has_caller()
            && let Some((limits, key)) = self.key.zip(self.subject.api_key)
        {
            visit(LimitLayer::ApiKey, key, limits, None);
        }
        let group = self.group.filter(|_| part.has_caller());
        let target = self.target.filter(|_| part.has_target());
        for model in [group, target].into_iter().flatten() {
            let key = key::of_model(model.display_name, buffer);
            visit(LimitLayer::Model, key, model.limits, None);
        }
        let subject = &self.subject;
        self.policies.for_each(subject, part, |policy| {
            if let Some(key) = policy.key.of(subject, buffer) {
                visit(LimitLayer::Policy, key, &policy.limits, Some(policy));
            }
        });
    }
}

impl Headroom {
    /// The tightest of what layers have left.
    pub fn of_layers(rooms: &[LayerRoom]) -> Self {
        let all = rooms.iter().map(|room| {
            let windows = |fields: &[Field]| {
                let rooms = fields.iter().map(|field| {
                    let window = room.windows.get(*field as usize);
                    window.copied().flatten()
                });
                rooms.fold(None, super::headroom::tighter)
            };
            Self {
                requests: windows(&Field::REQUESTS),
                tokens: windows(&Field::TOKENS),
                concurrent: room.slots,
            }
        });
        all.fold(Self::default(), Self::and)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::fixture;
    use super::*;
    use crate::bridge::limits::{Dimension, Full, Room};

    #[test]
    fn layers_are_those_of_the_local_counters_in_their_order() {
        let key = fixture::api_key(json!({"rate_limit": {"rpm": 9}, "team_id": "t"}));
        let target = fixture::model("a", &json!({"rpm": 1}));
        let group = fixture::model("pool", &json!({"rph": 9}));
        let policies = fixture::policies(&[
            (
                "team",
                json!({"name": "n", "scope": "team", "scope_ref": "t", "window": "day", "max_requests": 9}),
            ),
            (
                "each",
                json!({"name": "each", "limits": {"rpm": 8}, "group_by": ["model"]}),
            ),
        ]);
        let claim = super::super::Claim::new(&policies, &key)
            .to(&target)
            .through(&group)
            .reserving(5);
        let keys = |part| -> Vec<String> {
            let mut shared = claim.shared(part, 0);
            assert_eq!(shared.is_empty(), shared.whose.is_empty());
            let ask = shared.take();
            assert_eq!(ask.tokens, 5);
            ask.layers
                .iter()
                .map(|layer| layer.key.to_string())
                .collect()
        };
        let caller = ["k0", "model:pool", "policy:team:t:team"];
        let own = ["model:a", "policy:v2:each:model=m-a"];
        assert_eq!(keys(Part::Caller), caller);
        assert_eq!(keys(Part::Target), own);
        let whole = keys(Part::Whole);
        assert_eq!(whole.len(), 5);
        assert!(
            caller
                .iter()
                .chain(&own)
                .all(|key| whole.iter().any(|of| of == key))
        );
    }

    #[test]
    fn a_refusal_names_its_policy_and_the_tightest_room() {
        let key = fixture::api_key(json!({"rate_limit": {"rpm": 9}}));
        let policies = fixture::policies(&[("p1", json!({"name": "one", "limits": {"rpd": 2}}))]);
        let claim = super::super::Claim::new(&policies, &key);
        let shared = claim.shared(Part::Whole, 0);
        let room = |limit, remaining| {
            let mut room = LayerRoom::default();
            room.windows[Field::Rpm as usize] = Some(Room {
                limit,
                remaining,
                reset_secs: 5,
            });
            room
        };
        let refused = Refused {
            layer: 1,
            full: Full {
                dimension: Dimension::Requests,
                retry_after_secs: 7,
            },
            rooms: vec![room(9, 8), room(2, 0)],
        };
        let limited = shared.limited(&refused);
        assert_eq!(&*limited.policy.unwrap().name, "one");
        assert_eq!(limited.retry_after_secs, 7);
        assert_eq!(limited.headroom.requests.unwrap().limit, 2);
        let first = Refused {
            layer: 0,
            ..refused
        };
        assert!(shared.limited(&first).policy.is_none());
    }
}
