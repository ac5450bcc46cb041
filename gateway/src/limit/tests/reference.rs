//! Random requests against a count kept in the plainest way. [pure]

use std::collections::BTreeMap;
use std::sync::Arc;

use config_sync::model::api_key::ApiKey;
use config_sync::model::model::Model;
use config_sync::model::rate_limit::RateLimit;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::bridge::limits::Field;

/// What is counted, by bucket, field and number of the window, and slots by bucket.
#[derive(Default)]
struct Reference {
    counts: BTreeMap<(String, usize, u64), u64>,
    in_flight: BTreeMap<String, u32>,
}

/// A limit that applies, and the policy it is of.
type Layer = (String, RateLimit, Option<&'static str>);

struct Admitted {
    layers: Vec<Layer>,
    at_ms: u64,
    tokens: u64,
}

impl Reference {
    fn count(&mut self, bucket: &str, field: Field, at_ms: u64) -> &mut u64 {
        let window = at_ms / 1_000 / field.window_secs();
        self.counts
            .entry((bucket.to_owned(), field as usize, window))
            .or_default()
    }

    fn slots(&mut self, bucket: &str) -> &mut u32 {
        self.in_flight.entry(bucket.to_owned()).or_default()
    }

    fn admit(
        &mut self,
        layers: Vec<Layer>,
        at_ms: u64,
        tokens: u64,
    ) -> Result<Admitted, (Dimension, u64, Option<&'static str>)> {
        for (bucket, limits, policy) in &layers {
            if limits
                .concurrency
                .is_some_and(|max| *self.slots(bucket) >= max)
            {
                return Err((Dimension::Concurrency, 1, *policy));
            }
            for (dimension, fields) in [
                (Dimension::Tokens, &Field::TOKENS[..]),
                (Dimension::Requests, &Field::REQUESTS[..]),
            ] {
                for field in fields {
                    let count = *self.count(bucket, *field, at_ms);
                    if field.of(limits).is_some_and(|limit| count >= limit) {
                        let length_ms = field.window_secs() * 1_000;
                        let left_ms = length_ms - at_ms % length_ms;
                        return Err((dimension, left_ms.div_ceil(1_000), *policy));
                    }
                }
            }
        }
        for (bucket, limits, _) in &layers {
            *self.slots(bucket) += u32::from(limits.concurrency.is_some());
            for field in Field::ALL {
                let Some(limit) = field.of(limits) else {
                    continue;
                };
                let count = self.count(bucket, field, at_ms);
                if Field::REQUESTS.contains(&field) {
                    *count += 1;
                    assert!(*count <= limit, "{bucket} {field:?}");
                } else {
                    *count += tokens;
                }
            }
        }
        Ok(Admitted {
            layers,
            at_ms,
            tokens,
        })
    }

    fn end(&mut self, admitted: &Admitted, ending: Ending, now_ms: u64) {
        for (bucket, limits, _) in &admitted.layers {
            *self.slots(bucket) -= u32::from(limits.concurrency.is_some());
            for field in Field::TOKENS {
                if field.of(limits).is_none() {
                    continue;
                }
                let of_then = self.count(bucket, field, admitted.at_ms);
                match ending {
                    Ending::Keep => {}
                    Ending::Drop | Ending::GiveBack => *of_then -= admitted.tokens,
                    Ending::Settle(tokens) => {
                        let length_ms = field.window_secs() * 1_000;
                        if admitted.at_ms / length_ms == now_ms / length_ms {
                            *of_then = *of_then - admitted.tokens + tokens;
                        } else {
                            let more = tokens.saturating_sub(admitted.tokens);
                            *self.count(bucket, field, now_ms) += more;
                        }
                    }
                }
            }
            for field in Field::REQUESTS {
                if ending == Ending::GiveBack && field.of(limits).is_some() {
                    *self.count(bucket, field, admitted.at_ms) -= 1;
                }
            }
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ending {
    Settle(u64),
    Drop,
    Keep,
    GiveBack,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Pass(u64),
    Arrive {
        key: usize,
        model: usize,
        tokens: u64,
    },
    End {
        which: usize,
        ending: Ending,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let ending = prop_oneof![
        3 => (0..60_u64).prop_map(Ending::Settle),
        1 => Just(Ending::Drop),
        1 => Just(Ending::Keep),
        1 => Just(Ending::GiveBack),
    ];
    let spans = prop_oneof![
        6 => 0..700_u64,
        3 => 0..40_000_u64,
        1 => 0..3_000_000_u64,
        1 => 0..50_000_000_u64,
    ];
    prop_oneof![
        2 => spans.prop_map(Step::Pass),
        5 => (0..2_usize, 0..2_usize, 0..40_u64)
            .prop_map(|(key, model, tokens)| Step::Arrive { key, model, tokens }),
        3 => (any::<usize>(), ending).prop_map(|(which, ending)| Step::End { which, ending }),
    ]
}

fn limits() -> impl Strategy<Value = RateLimit> {
    let some = |max: u64| prop::option::weighted(0.35, 0..max);
    let requests = (some(4), some(6), some(9), some(20));
    (
        requests,
        some(90),
        some(300),
        prop::option::weighted(0.4, 0..4_u32),
    )
        .prop_map(|((rps, rpm, rph, rpd), tpm, tpd, concurrency)| RateLimit {
            rps,
            rpm,
            rph,
            rpd,
            tpm,
            tpd,
            concurrency,
        })
}

struct World {
    keys: [ApiKey; 2],
    models: [Model; 2],
    by_team: u64,
    per_member: u64,
    policies: Policies,
}

impl World {
    fn new(keys: [RateLimit; 2], models: [RateLimit; 2], by_team: u64, per_member: u64) -> Self {
        let key = |number: usize, limits: RateLimit| {
            let mut key = ApiKey::clone(&fixture::api_key(json!({"team_id": "t"})));
            key.id = format!("k{number}").into();
            // The second key is of no user.
            key.user_id = (number == 0).then(|| "a:b".into());
            key.rate_limit = Some(limits);
            key
        };
        let model = |name: &str, limits: RateLimit| {
            let mut model = Model::clone(&fixture::model(name, &json!({})));
            model.rate_limit = Some(limits);
            model
        };
        let policies = fixture::policies(&[
            (
                "team",
                json!({"name": "n", "scope": "team", "scope_ref": "t", "window": "minute",
                "max_requests": by_team, "max_tokens": 10 * by_team}),
            ),
            (
                "user",
                json!({"name": "n", "limits": {"rph": per_member, "concurrency": 2}, "group_by": ["member", "model"],
                "conditions": [{"dimension": "model_name", "operator": "~~", "value": "^fast"}]}),
            ),
        ]);
        let [one, two] = keys;
        let [fast, slow] = models;
        Self {
            keys: [key(0, one), key(1, two)],
            models: [model("fast", fast), model("slow", slow)],
            by_team,
            per_member,
            policies,
        }
    }

    /// The layers, written down by hand.
    fn layers(&self, key: usize, model: usize) -> Vec<Layer> {
        let none = RateLimit::default();
        let name = ["fast", "slow"][model];
        let mut layers = vec![
            (format!("k{key}"), self.keys[key].rate_limit.unwrap(), None),
            (
                format!("model:{name}"),
                self.models[model].rate_limit.unwrap(),
                None,
            ),
        ];
        let team = RateLimit {
            rpm: Some(self.by_team),
            tpm: Some(10 * self.by_team),
            ..none
        };
        layers.push(("policy:team:t:team".to_owned(), team, Some("team")));
        if (key, model) == (0, 0) {
            let user = RateLimit {
                rph: Some(self.per_member),
                concurrency: Some(2),
                ..none
            };
            let bucket = "policy:v2:user:member=a%3Ab:model=m-fast".to_owned();
            layers.push((bucket, user, Some("user")));
        }
        layers
    }
}

/// Every count of every bucket is as the reference has it.
fn assert_same(buckets: &Buckets, reference: &mut Reference, now_ms: u64) {
    let names: Vec<String> = reference.in_flight.keys().cloned().collect();
    let most = u64::MAX;
    let unbounded = Terms::from(&RateLimit {
        concurrency: Some(u32::MAX),
        ..RateLimit::default()
    });
    for name in names {
        let bucket = buckets.hold(&name, now_ms).unwrap();
        for field in Field::ALL {
            let room = bucket.room(field, most, now_ms);
            let want = *reference.count(&name, field, now_ms);
            assert_eq!(most - room.remaining, want, "{name} {field:?}");
        }
        let slots = bucket.slots(&unbounded).unwrap();
        let want = u64::from(u32::MAX - *reference.slots(&name));
        assert_eq!(slots.remaining, want, "slots of {name}");
    }
}

fn run(world: &World, steps: &[Step]) {
    let table = Arc::new(LimitTable::default());
    let buckets = Buckets::new(Arc::clone(&table));
    let mut reference = Reference::default();
    let mut open: Vec<(Permit, Admitted)> = Vec::new();
    // 2023-11-15, 00:00 UTC.
    let mut now_ms = 1_700_006_400_000;
    for step in steps {
        match *step {
            Step::Pass(ms) => {
                now_ms += ms;
                buckets.sweep(now_ms);
                table.sweep(now_ms);
            }
            Step::Arrive { key, model, tokens } => {
                let claim = Claim::new(&world.policies, &world.keys[key]);
                let claim = claim.to(&world.models[model]).reserving(tokens);
                let got = buckets.admit(&claim, now_ms);
                let want = reference.admit(world.layers(key, model), now_ms, tokens);
                match (got, want) {
                    (Ok(permit), Ok(admitted)) => open.push((permit, admitted)),
                    (Err(got), Err(want)) => {
                        let policy = got.policy.as_ref().map(|policy| &*policy.id);
                        let got = (got.dimension, u64::from(got.retry_after_secs), policy);
                        assert_eq!(got, want);
                    }
                    (got, want) => panic!("{got:?}, and not {:?}", want.map(|_| ())),
                }
            }
            Step::End { which, ending } if !open.is_empty() => {
                let (mut permit, admitted) = open.swap_remove(which % open.len());
                reference.end(&admitted, ending, now_ms);
                match ending {
                    Ending::Settle(tokens) => permit.settle(tokens, now_ms),
                    Ending::Drop => drop(permit),
                    Ending::Keep => permit.keep_reservation(),
                    Ending::GiveBack => permit.give_back(),
                }
            }
            Step::End { .. } => {}
        }
        assert_same(&buckets, &mut reference, now_ms);
    }
    drop(open);
    let later_ms = now_ms + 2 * 86_400_000;
    buckets.sweep(later_ms);
    table.sweep(later_ms);
    assert!(table.is_empty(), "a slot is still taken");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn admission_is_as_a_plain_count_has_it(
        keys in prop::array::uniform2(limits()),
        models in prop::array::uniform2(limits()),
        by_team in 1..12_u64,
        per_member in 0..6_u64,
        steps in prop::collection::vec(step(), 0..80),
    ) {
        run(&World::new(keys, models, by_team, per_member), &steps);
    }
}
