//! Admission across layers. [pure]

pub(super) mod fixture;
mod reference;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Barrier};

use serde_json::json;

use super::*;
use crate::bridge::limits::Terms;

const MINUTE_MS: u64 = 60_000;

fn buckets() -> Buckets {
    Buckets::new(Arc::default())
}

fn room(limit: u64, remaining: u64, reset_secs: u32) -> Option<Room> {
    Some(Room {
        limit,
        remaining,
        reset_secs,
    })
}

#[test]
fn a_request_without_limits_touches_no_bucket() {
    let table = Arc::new(LimitTable::default());
    let buckets = Buckets::new(Arc::clone(&table));
    let key = fixture::api_key(json!({"rate_limit": {}, "team_id": "t"}));
    let model = fixture::model("fast", &json!({}));
    let elsewhere = json!({"name": "n", "scope": "team", "scope_ref": "other", "window": "day", "max_requests": 1});
    let policies = fixture::policies(&[("p", elsewhere)]);
    let claim = Claim::new(&policies, &key).to(&model).reserving(7);
    let mut permit = buckets.admit(&claim, 0).unwrap();
    permit.settle(9, 0);
    assert_eq!(permit.headroom(), Headroom::default());
    assert!(table.is_empty());
}

#[test]
fn the_first_exceeded_layer_answers_and_none_is_charged() {
    let buckets = buckets();
    let key = fixture::api_key(json!({"rate_limit": {"rpm": 5}, "user_id": "u"}));
    let model = fixture::model("fast", &json!({"rpm": 4, "concurrency": 2}));
    let policies = fixture::policies(&[(
        "p1",
        json!({"name": "two each", "limits": {"rpd": 2, "tpm": 100}, "group_by": ["member"]}),
    )]);
    let claim = Claim::new(&policies, &key).to(&model).reserving(40);
    let now_ms = 15_000;
    let first = buckets.admit(&claim, now_ms).unwrap();
    let second = buckets.admit(&claim, now_ms).unwrap();
    let want = Headroom {
        requests: room(2, 0, 86_385),
        tokens: room(100, 20, 45),
        concurrent: room(2, 0, 0),
    };
    assert_eq!(second.headroom(), want);

    // Concurrency of the model comes before the policy's requests.
    let refused = buckets.admit(&claim, now_ms).unwrap_err();
    assert_eq!(refused.dimension, Dimension::Concurrency);
    assert_eq!((refused.retry_after_secs, &refused.policy), (1, &None));
    assert_eq!(refused.headroom, want);

    drop(first);
    for _ in 0..10 {
        let refused = buckets.admit(&claim, now_ms).unwrap_err();
        assert_eq!(refused.dimension, Dimension::Requests);
        assert_eq!(refused.retry_after_secs, 86_385);
        let policy = refused.policy.unwrap();
        assert_eq!((&*policy.id, &*policy.name), ("p1", "two each"));
        // The key and the model were charged for the two that were admitted only.
        let keys = Claim::new(&policies, &key);
        let key_only = Claim {
            policies: &Policies::default(),
            ..keys
        };
        let left = buckets.admit(&key_only, now_ms).unwrap();
        assert_eq!(left.headroom().requests, room(5, 2, 45));
        left.give_back();
    }
}

#[test]
fn a_refused_request_writes_to_no_bucket() {
    let buckets = buckets();
    let key = fixture::api_key(json!({"rate_limit": {"rps": 5, "concurrency": 5}}));
    let model = fixture::model("fast", &json!({"rps": 5, "rpd": 1}));
    let policies = Policies::default();
    let claim = Claim::new(&policies, &key).to(&model);
    let admitted = buckets.admit(&claim, 0).unwrap();
    // Words of seconds that are over: whoever counts there and takes it back leaves another word.
    let words =
        || ["k0", "model:fast"].map(|key| format!("{:?}", buckets.hold(key, 5_000).unwrap()));
    let before = words();
    buckets.admit(&claim, 5_000).unwrap_err();
    assert_eq!(words(), before);
    drop(admitted);
}

#[test]
fn a_later_layer_that_fills_in_between_leaves_the_earlier_ones_as_they_were() {
    // What another worker may do between the look and the count.
    let buckets = buckets();
    let key = fixture::api_key(json!({"rate_limit": {"rpm": 5, "tpm": 100, "concurrency": 3}}));
    let [wide, full] =
        [("wide", 9), ("full", 0)].map(|(id, rpm)| (buckets.hold(id, 0).unwrap(), rpm));
    let limits = |rpm| {
        Terms::from(&config_sync::model::rate_limit::RateLimit {
            rpm: Some(rpm),
            ..key.rate_limit.unwrap()
        })
    };
    let charge = crate::bridge::limits::Charge {
        at_ms: 0,
        tokens: 10,
    };
    let mut permit = permit::Permit::new(charge);
    permit.take(&wide.0, &limits(wide.1)).unwrap();
    permit.take(&full.0, &limits(full.1)).unwrap_err();
    permit.give_back();
    for (bucket, _) in [wide, full] {
        assert!(bucket.is_idle(0));
    }
}

#[test]
fn a_group_counts_its_caller_once_and_each_target_for_itself() {
    let buckets = buckets();
    let key = fixture::api_key(json!({"rate_limit": {"rpm": 9}, "team_id": "t"}));
    let [a, b] = [("a", 1), ("b", 9)].map(|(name, rpm)| fixture::model(name, &json!({"rpm": rpm})));
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
        (
            "pool",
            json!({"name": "n", "scope": "model", "scope_ref": "m-pool", "window": "second", "max_requests": 9}),
        ),
    ]);
    let claim = Claim::new(&policies, &key).through(&group);
    let left = |bucket: &str, field: &str| {
        let limits = match field {
            "rps" => json!({"rps": 9}),
            "rpm" => json!({"rpm": 9}),
            "rph" => json!({"rph": 9}),
            _ => json!({"rpd": 9}),
        };
        let limits = fixture::model("x", &limits).rate_limit.unwrap();
        let bucket = buckets.hold(bucket, 0).unwrap();
        Headroom::of(&bucket, &Terms::from(&limits), 0)
            .requests
            .unwrap()
            .remaining
    };

    let _caller = buckets.admit_caller(&claim, 0).unwrap();
    let _attempt = buckets.admit_target(&claim.to(&a), 0).unwrap();
    let refused = buckets.admit_target(&claim.to(&a), 0).unwrap_err();
    assert_eq!(
        (refused.dimension, refused.policy),
        (Dimension::Requests, None)
    );
    let _next = buckets.admit_target(&claim.to(&b), 0).unwrap();
    for (bucket, field, want) in [
        ("k0", "rpm", 8),
        ("model:pool", "rph", 8),
        ("policy:team:t:team", "rpd", 8),
        ("model:a", "rpm", 8),
        ("model:b", "rpm", 8),
        ("policy:v2:each:model=m-a", "rpm", 8),
        ("policy:v2:each:model=m-b", "rpm", 8),
        ("policy:model:m-pool:pool", "rps", 7),
    ] {
        assert_eq!(left(bucket, field), want, "{bucket}");
    }
}

#[test]
fn reserved_tokens_are_settled_refunded_kept_or_given_back() {
    let policies = Policies::default();
    let key = fixture::api_key(json!({"rate_limit": {"tpm": 100, "rpm": 9, "concurrency": 9}}));
    let claim = Claim::new(&policies, &key).reserving(60);
    type Ending = fn(Permit);
    let cases: [(Ending, u64, u64); 6] = [
        (|mut permit| permit.settle(25, 0), 75, 8),
        (
            |mut permit| {
                permit.settle(25, 0);
                permit.settle(99, 0);
            },
            75,
            8,
        ),
        (drop, 100, 8),
        (|mut permit| permit.keep_reservation(), 40, 8),
        (
            |mut permit| {
                permit.keep_reservation();
                permit.settle(25, 0);
            },
            75,
            8,
        ),
        (Permit::give_back, 100, 9),
    ];
    for (end, tokens, requests) in cases {
        let buckets = buckets();
        end(buckets.admit(&claim, 0).unwrap());
        let bucket = buckets.hold("k0", 0).unwrap();
        let left = Headroom::of(&bucket, &Terms::from(key.rate_limit.as_ref().unwrap()), 0);
        assert_eq!(left.tokens, room(100, tokens, 60));
        assert_eq!(left.requests, room(9, requests, 60));
        assert_eq!(left.concurrent, room(9, 9, 0));
    }
}

#[test]
fn a_stream_that_outlives_its_window_is_charged_for_the_rest_to_the_new_one() {
    let policies = Policies::default();
    let key = fixture::api_key(json!({"rate_limit": {"tpm": 100, "tpd": 1_000}}));
    for (reserved, tokens, minute_left, day_left) in [
        (60, 90, 70, 910),
        (60, 20, 100, 980),
        (0, 90, 10, 910),
        (0, 130, 0, 870),
    ] {
        let buckets = buckets();
        let claim = Claim::new(&policies, &key).reserving(reserved);
        let mut permit = buckets.admit(&claim, 0).unwrap();
        permit.settle(tokens, MINUTE_MS);
        let bucket = buckets.hold("k0", 0).unwrap();
        let left = |field: crate::bridge::limits::Field| {
            let limits = key.rate_limit.as_ref().unwrap();
            let limit = field.of(limits).unwrap();
            bucket.room(field, limit, MINUTE_MS).remaining
        };
        let case = format!("{reserved} {tokens}");
        assert_eq!(
            left(crate::bridge::limits::Field::Tpm),
            minute_left,
            "{case}"
        );
        assert_eq!(left(crate::bridge::limits::Field::Tpd), day_left, "{case}");
    }
}

#[test]
fn a_changed_limit_applies_to_what_was_counted_before() {
    let buckets = buckets();
    let policies = Policies::default();
    let admit = |rpm: u64| {
        let key = fixture::api_key(json!({"rate_limit": {"rpm": rpm}}));
        let claim = Claim::new(&policies, &key);
        buckets.admit(&claim, 0).is_ok()
    };
    assert!(admit(2) && admit(2) && !admit(2));
    assert!(admit(3) && !admit(3) && !admit(1));
}

#[test]
fn more_layers_than_usual_are_all_counted() {
    let rows: Vec<_> = (0..20)
        .map(|number| {
            (
                format!("p{number:02}"),
                json!({"name": "n", "limits": {"rpm": 20 + number}}),
            )
        })
        .collect();
    let rows: Vec<_> = rows
        .iter()
        .map(|(id, doc)| (id.as_str(), doc.clone()))
        .collect();
    let policies = fixture::policies(&rows);
    let key = fixture::api_key(json!({}));
    let claim = Claim::new(&policies, &key);
    let buckets = buckets();
    for left in (0..20).rev() {
        let permit = buckets.admit(&claim, 0).unwrap();
        assert_eq!(permit.headroom().requests, room(20, left, 60));
    }
    let refused = buckets.admit(&claim, 0).unwrap_err();
    assert_eq!(&*refused.policy.unwrap().id, "p00");
    let last = buckets.hold("policy:v2:p19", 0).unwrap();
    let limits = fixture::model("x", &json!({"rpm": 39})).rate_limit.unwrap();
    assert_eq!(
        Headroom::of(&last, &Terms::from(&limits), 0).requests,
        room(39, 19, 60)
    );
}

#[test]
fn workers_admit_together_exactly_what_the_tightest_layer_holds() {
    const LIMIT: u64 = 700;
    let table = Arc::new(LimitTable::default());
    let key = fixture::api_key(json!({"rate_limit": {"rpm": 2 * LIMIT}, "team_id": "t"}));
    let model = fixture::model("fast", &json!({"rpm": LIMIT, "concurrency": 64}));
    let admitted = AtomicU64::new(0);
    // A minute turns once no worker is in the one before it any more.
    let barrier = Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let buckets = Buckets::new(Arc::clone(&table));
                let policy = json!({"name": "n", "limits": {"rpd": 2 * LIMIT}});
                let policies = fixture::policies(&[("p", policy)]);
                let claim = Claim::new(&policies, &key).to(&model);
                for minute in 0..2 {
                    barrier.wait();
                    for at_ms in 0..LIMIT {
                        let permit = buckets.admit(&claim, minute * MINUTE_MS + at_ms);
                        admitted.fetch_add(u64::from(permit.is_ok()), Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(admitted.into_inner(), 2 * LIMIT);
    let day = table.bucket("policy:v2:p", 0).unwrap();
    let limits = fixture::model("x", &json!({"rpd": 2 * LIMIT, "concurrency": 64}))
        .rate_limit
        .unwrap();
    let left = Headroom::of(&day, &Terms::from(&limits), 0)
        .requests
        .unwrap();
    assert_eq!(left.remaining, 0);
    let model = table.bucket("model:fast", 0).unwrap();
    assert_eq!(
        Headroom::of(&model, &Terms::from(&limits), 0).concurrent,
        room(64, 64, 0)
    );
}
