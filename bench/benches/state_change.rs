//! One changed row among many, to the next snapshot, against reading all rows anew. [pure]
//!
//! The snapshot before the change is held, as readers hold it, and freed with the change.

use std::time::Duration;

use bench::rows::{NOW, PREFIX};
use bench::{Rows, Size, Store};
use config_sync::source::store::StoredRow;
use config_sync::state::State;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

const ROWS: Rows = Rows(Size::STORE);

/// Puts the two versions of one row in turn.
fn change(criterion: &mut Criterion, what: &str, versions: &[StoredRow; 2]) {
    let mut store = Store::new(ROWS);
    let mut served = store.state.snapshot(1);
    let mut versions = versions.iter().cycle();
    criterion.bench_function(&format!("state_change/{what}"), |bencher| {
        bencher.iter(|| {
            let changed = versions.next().map(|row| store.put(row));
            assert!(changed.is_some_and(|changed| changed.snapshot));
            served = store.state.snapshot(served.generation() + 1);
        });
    });
}

fn one_row(criterion: &mut Criterion) {
    let caller = [1, 2].map(|version| ROWS.api_key(5_000, version));
    change(criterion, "caller_key", &caller);
    let model = [1, 2].map(|version| ROWS.model(500, version));
    change(criterion, "model", &model);
    let upstream = [1, 2].map(|version| ROWS.provider_key(5, version));
    change(criterion, "provider_key_of_100_models", &upstream);
}

fn all_rows(criterion: &mut Criterion) {
    let listing = ROWS.listing();
    criterion.bench_function("state_change/all_rows_anew", |bencher| {
        bencher.iter_batched(
            || listing.clone(),
            |listing| {
                let mut state = State::new(PREFIX, None);
                state.replace(listing, NOW);
                let snapshot = state.snapshot(1);
                (state, snapshot)
            },
            BatchSize::PerIteration,
        );
    });
}

/// A listing that says what is known, as after a lost watch.
fn same_rows(criterion: &mut Criterion) {
    let listing = ROWS.listing();
    let mut state = ROWS.state();
    criterion.bench_function("state_change/all_rows_again", |bencher| {
        bencher.iter_batched(
            || listing.clone(),
            |listing| assert!(!state.replace(listing, NOW).snapshot),
            BatchSize::PerIteration,
        );
    });
}

fn settings() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5))
        .sample_size(30)
}

criterion_group!(name = benches; config = settings(); targets = one_row, all_rows, same_rows);
criterion_main!(benches);
