//! Envelopes: one credential, and all rows as the cache on disk holds them. [cold]

use std::hint::black_box;
use std::time::Duration;

use bench::{Rows, Size};
use config_sync::disk::{self, CachedView, SnapshotKey};
use config_sync::seal::{Keyring, Place, Scope, envelope};
use config_sync::source::store::StoredRow;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// As long as the keys of large providers.
const SECRET: [u8; 50] = [b'k'; 50];
const PLACE: Place<'static> = Place {
    kind: "provider_keys",
    object: "00000000-0000-4000-8000-000000000001",
    pointer: "/api_key",
};
const ROWS: Rows = Rows(Size {
    provider_keys: 10,
    models: 990,
    wildcards: 0,
    api_keys: 9_000,
});

fn one_secret(criterion: &mut Criterion) {
    let ring = Keyring::generate("", None).expect("the system gives random bytes");
    let (scope, (id, key)) = (Scope::System, ring.sealing_key());
    let seal = |secret: &[u8]| envelope::seal(id, key, &scope, &PLACE, secret);
    let sealed = seal(&SECRET).expect("a short secret is sealed");
    let mut group = criterion.benchmark_group("seal_open/50_bytes");
    group.bench_function("seal", |bencher| {
        bencher.iter(|| seal(black_box(&SECRET)));
    });
    group.bench_function("open", |bencher| {
        bencher.iter(|| envelope::open(&ring, &scope, &PLACE, black_box(&sealed)));
    });
    group.finish();
}

fn all_rows(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let path = directory.path().join("snapshot");
    let key = SnapshotKey::beside(&path).expect("a key can be made there");
    let state = ROWS.state();
    let view = CachedView {
        revision: state.revision(),
        rows: state.rows().collect(),
        stale: Vec::new(),
    };
    let bytes = |row: &&StoredRow| (row.key.len() + row.value.len()) as u64;
    let total: u64 = view.rows.iter().map(bytes).sum();
    disk::store(&path, &view, &key).expect("the directory can be written");

    let mut group = criterion.benchmark_group("seal_open/10000_rows");
    group.throughput(Throughput::Bytes(total));
    group.bench_function("seal", |bencher| {
        bencher.iter(|| disk::seal(black_box(&view), &key));
    });
    group.bench_function("load", |bencher| {
        bencher.iter_with_large_drop(|| disk::load(&path, bench::rows::PREFIX));
    });
    group.finish();
}

fn settings() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5))
        .sample_size(30)
}

criterion_group!(name = benches; config = settings(); targets = one_secret, all_rows);
criterion_main!(benches);
