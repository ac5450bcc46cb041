//! The first listing of a store to a published snapshot. [pure]

use std::time::Duration;

use bench::rows::{NOW, PREFIX};
use bench::{Rows, Size};
use config_sync::publish::Publisher;
use config_sync::snapshot::Snapshot;
use config_sync::state::State;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn boot(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("state_boot");
    let sizes = [
        ("1000_keys_100_models", (1_000, 100)),
        ("10000_keys_1000_models", (10_000, 1_000)),
        ("100000_keys_1000_models", (100_000, 1_000)),
    ];
    for (name, (api_keys, models)) in sizes {
        let rows = Rows(Size {
            api_keys,
            models,
            ..Size::STORE
        });
        let listing = rows.listing();
        group.throughput(Throughput::Elements(rows.0.rows() as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_batched(
                || (listing.clone(), Publisher::new(Snapshot::empty())),
                |(listing, (mut publisher, cell))| {
                    let mut state = State::new(PREFIX, None);
                    state.replace(listing, NOW);
                    publisher.publish(state.snapshot(1));
                    (state, publisher, cell)
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn settings() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(10))
        .sample_size(10)
}

criterion_group!(name = benches; config = settings(); targets = boot);
criterion_main!(benches);
