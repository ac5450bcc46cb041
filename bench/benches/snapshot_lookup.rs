//! What a request looks up in the snapshot: its time must not grow with the configuration. [pure]
//!
//! `same` asks for one entry over and over, all in the processor's caches; `scattered` asks for every
//! entry in turn, so that the difference between the two is that of the caches.

use std::hint::black_box;
use std::time::Duration;

use bench::rows::{covered_name, key_hash, model_name, scattered};
use bench::{Rows, Size};
use config_sync::snapshot::Snapshot;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

/// Caller keys, and as many models.
const COUNTS: [usize; 3] = [1, 1_000, 100_000];
/// Wildcard rows beside the models of [`COUNTS`].
const FEW_WILDCARDS: usize = 10;
/// Wildcard rows beside no other model.
const WILDCARDS: [usize; 4] = [1, 10, 100, 1_000];

fn snapshot(models: usize, wildcards: usize, api_keys: usize) -> Snapshot {
    let size = Size {
        provider_keys: 10,
        models,
        wildcards,
        api_keys,
    };
    Rows(size).state().snapshot(1)
}

/// Measures `look` on one of `asked`, then on all of them in turn.
fn both<K>(criterion: &mut Criterion, what: &str, asked: &[K], mut look: impl FnMut(&K) -> bool) {
    let mut group = criterion.benchmark_group(format!("snapshot_lookup/{what}"));
    group.bench_function(BenchmarkId::new("same", asked.len()), |bencher| {
        bencher.iter(|| look(black_box(&asked[0])));
    });
    let mut next = asked.iter().cycle();
    group.bench_function(BenchmarkId::new("scattered", asked.len()), |bencher| {
        bencher.iter(|| next.next().is_some_and(&mut look));
    });
    group.finish();
}

fn by_count(criterion: &mut Criterion) {
    for count in COUNTS {
        let snapshot = snapshot(count, FEW_WILDCARDS, count);
        let hashes: Vec<[u8; 32]> = scattered(count).map(key_hash).collect();
        both(criterion, "caller_key", &hashes, |hash| {
            snapshot.api_key(hash).is_some()
        });
        let names: Vec<String> = scattered(count).map(model_name).collect();
        both(criterion, "exact_model", &names, |name| {
            snapshot.resolve(name).is_some()
        });
        let mut group = criterion.benchmark_group("snapshot_lookup/of_10_wildcards");
        for (which, name) in [
            ("first", covered_name(0)),
            ("last", covered_name(FEW_WILDCARDS - 1)),
            ("none", "unknown-model".to_owned()),
        ] {
            group.bench_function(BenchmarkId::new(which, count), |bencher| {
                bencher.iter(|| snapshot.resolve(black_box(&name)).is_some());
            });
        }
        group.finish();
    }
}

/// Wildcard rows are walked, most specific first: this one does grow.
fn by_wildcards(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("snapshot_lookup/last_wildcard");
    for count in WILDCARDS {
        let snapshot = snapshot(0, count, 0);
        let name = covered_name(count - 1);
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| snapshot.resolve(black_box(&name)).is_some());
        });
    }
    group.finish();
}

fn settings() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
}

criterion_group!(name = benches; config = settings(); targets = by_count, by_wildcards);
criterion_main!(benches);
