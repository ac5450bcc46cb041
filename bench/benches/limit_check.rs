//! The admission of a request by its limits, and the settlement of what it used. [pure]
//!
//! `same` is one caller over and over; `scattered` takes all callers in turn, so that the difference between the two
//! is what a worker remembers of them, and the processor's caches.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bench::Rows;
use bench::rows::{NOW, PREFIX, Size, row, scattered};
use config_sync::collection::Collection;
use config_sync::model::api_key::ApiKey;
use config_sync::snapshot::Snapshot;
use config_sync::source::store::{Listing, StoredRow};
use config_sync::state::State;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use gateway::limit::{Buckets, Claim, Policies};
use serde_json::{Value, json};

/// Caller keys.
const COUNTS: [usize; 3] = [1, 1_000, 100_000];
/// Requests and tokens that nobody reaches here.
const MANY: u64 = 1_000_000_000;
/// Time between two requests: windows begin and end on the way.
const STEP_MS: u64 = 1;

/// How many layers a request meets.
const LAYERS: [(&str, Layers); 3] = [
    (
        "no_layer",
        Layers {
            key: false,
            others: false,
        },
    ),
    (
        "one_layer",
        Layers {
            key: true,
            others: false,
        },
    ),
    (
        "four_layers",
        Layers {
            key: true,
            others: true,
        },
    ),
];

#[derive(Clone, Copy)]
struct Layers {
    /// The key's own limits.
    key: bool,
    /// The model's, a policy of the team and one of each member and model.
    others: bool,
}

impl Layers {
    /// One model, and `count` callers of one team.
    fn snapshot(self, count: usize) -> Snapshot {
        let rows = Rows(Size {
            provider_keys: 1,
            ..Size::default()
        });
        let mut all = vec![rows.provider_key(0, 0), self.model()];
        all.extend((0..count).map(|n| self.caller(n)));
        if self.others {
            all.extend(policies());
        }
        let listing = Listing {
            revision: 1,
            rows: all,
        };
        let mut state = State::new(PREFIX, None);
        let changed = state.replace(listing, NOW);
        assert!(changed.rejected.is_empty(), "{:?}", changed.rejected);
        state.snapshot(1)
    }

    fn model(self) -> StoredRow {
        let rows = Rows(Size::default());
        let mut document: Value =
            serde_json::from_slice(&rows.model(0, 0).value).expect("a document");
        if self.others {
            document["rate_limit"] = json!({"rpm": MANY, "concurrency": 9});
        }
        row(Collection::Models, 0, &document)
    }

    fn caller(self, n: usize) -> StoredRow {
        let rows = Rows(Size::default());
        let mut document: Value =
            serde_json::from_slice(&rows.api_key(n, 0).value).expect("a document");
        document["team_id"] = "team".into();
        document["user_id"] = format!("user-{n:06}").into();
        document["rate_limit"] = match self.key {
            true => json!({"rpm": MANY, "tpm": MANY}),
            false => json!({}),
        };
        row(Collection::ApiKeys, n, &document)
    }

    fn count(self) -> usize {
        usize::from(self.key) + 3 * usize::from(self.others)
    }
}

fn policies() -> [StoredRow; 2] {
    let team = json!({"name": "team", "scope": "team", "scope_ref": "team", "window": "day",
        "max_requests": MANY});
    let members = json!({"name": "members", "limits": {"rpd": MANY, "concurrency": 9},
        "group_by": ["member", "model"],
        "conditions": [{"dimension": "model_name", "operator": "~~", "value": "^model-"}]});
    [(0, team), (1, members)].map(|(n, document)| row(Collection::RateLimitPolicies, n, &document))
}

fn limit_check(criterion: &mut Criterion) {
    for (name, layers) in LAYERS {
        let mut group = criterion.benchmark_group(format!("limit_check/{name}"));
        for count in COUNTS {
            let snapshot = layers.snapshot(count);
            let model = snapshot.model_names().next().expect("a model");
            let policies = Policies::of(&snapshot);
            let callers: Vec<&Arc<ApiKey>> = snapshot.api_keys().collect();
            let callers: Vec<_> = scattered(count).map(|n| callers[n]).collect();
            let table = Arc::default();
            let buckets = Buckets::new(Arc::clone(&table));
            let mut now_ms = 1_000_000;
            let mut request = |key: &Arc<ApiKey>| {
                now_ms += STEP_MS;
                let claim = Claim::new(&policies, key).to(model).reserving(100);
                // As a request does: most have none.
                if claim.is_unlimited() {
                    return;
                }
                let mut permit = buckets.admit(&claim, now_ms).expect("room");
                permit.settle(70, now_ms);
            };
            request(callers[0]);
            assert_eq!(table.len(), layers.count(), "each layer has a bucket");
            group.bench_function(BenchmarkId::new("same", count), |bencher| {
                bencher.iter(|| request(black_box(callers[0])));
            });
            if count > 1 {
                callers.iter().for_each(|key| request(key));
                let mut next = callers.iter().cycle();
                group.bench_function(BenchmarkId::new("scattered", count), |bencher| {
                    bencher.iter(|| next.next().map(|key| request(key)));
                });
            }
        }
        group.finish();
    }
}

fn settings() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
}

criterion_group!(name = benches; config = settings(); targets = limit_check);
criterion_main!(benches);
