//! The hashes of the store and of what is served: computed after a change, kept until the next. [pure]

use std::time::Duration;

use bench::{Rows, Size, Store};
use config_sync::source::store::StoredRow;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const ROWS: Rows = Rows(Size::STORE);

/// After a change, which costs next to nothing of it (`state_change`).
fn changed(criterion: &mut Criterion) {
    // A rejected row makes two passes of one: what the store holds is not what is served.
    let broken = StoredRow {
        value: b"{}".to_vec().into(),
        ..ROWS.api_key(1, 0)
    };
    let mut group = criterion.benchmark_group("hashes");
    for (name, rejected) in [("nothing_rejected", None), ("one_rejected", Some(broken))] {
        let mut store = Store::new(ROWS);
        if let Some(row) = &rejected {
            store.put(row);
        }
        let rows = store.state.rows();
        let total: usize = rows.map(|row| row.key.len() + row.value.len()).sum();
        let mut versions = [ROWS.api_key(0, 1), ROWS.api_key(0, 2)].into_iter().cycle();
        group.throughput(Throughput::Bytes(total as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let changed = versions.next().map(|row| store.put(&row));
                assert!(changed.is_some_and(|changed| changed.config));
                store.state.hashes()
            });
        });
    }
    group.finish();
}

fn unchanged(criterion: &mut Criterion) {
    let mut state = ROWS.state();
    criterion.bench_function("hashes/unchanged", |bencher| {
        bencher.iter(|| state.hashes());
    });
}

fn settings() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5))
        .sample_size(30)
}

criterion_group!(name = benches; config = settings(); targets = changed, unchanged);
criterion_main!(benches);
