//! One scrape: what the workers have counted, summed and written as text. [cold]

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use config_sync::model::labels::{CallerLabels, TargetLabels};
use config_sync::publish::Publisher;
use config_sync::snapshot::Snapshot;
use config_sync::status::ConfigStatus;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gateway::bridge::histogram::BucketSettings;
use gateway::bridge::memory::Memory;
use gateway::bridge::record::RequestRecord;
use gateway::bridge::shard::SERIES_MAX;
use gateway::bridge::{self, WorkerBridge};
use gateway::cold::metrics::{BusyRatios, DetailedLabels, MetricsOptions, Scrape};
use gateway::tls::upstream::UpstreamTrust;

/// Label sets that were met, of all workers together.
const COUNTS: [usize; 3] = [1, 1_000, 100_000];

/// A request of the caller `n`.
fn record(n: usize) -> RequestRecord {
    let target = TargetLabels {
        provider: "openai".into(),
        model: "fast".into(),
        upstream_model: "gpt-4o-mini".into(),
        provider_key_id: "00000000-0000-4000-8000-000000000001".into(),
        provider_key_name: "upstream-000001".into(),
        model_id: "00000000-0000-4000-8000-000000000002".into(),
    };
    let caller = CallerLabels {
        api_key_id: format!("00000000-0000-4000-8000-{n:012x}").into(),
        team_id: format!("team-{}", n % 100).into(),
        user_id: format!("user-{n:06}").into(),
        user_name: "Ann".into(),
    };
    RequestRecord {
        endpoint: "/v1/chat/completions",
        inbound_protocol: "openai",
        status: 200,
        requested_model: "fast".into(),
        caller: Some(Arc::new(caller)),
        target: Some(Arc::new(target)),
        total_us: 900,
        head_us: Some(800),
        ..RequestRecord::default()
    }
}

/// A renderer over workers that have met `count` label sets, each in one of them: a worker keeps
/// [`SERIES_MAX`].
fn scrape(count: usize) -> (Vec<WorkerBridge>, Scrape) {
    let workers = u16::try_from(count.div_ceil(SERIES_MAX)).expect("a few workers");
    let buckets = BucketSettings::default();
    let (ours, cold) = bridge::build(workers, &buckets).expect("enough descriptors");
    for n in 0..count {
        ours[n % ours.len()].shard.request(&record(n));
    }
    let kept: usize = cold.workers.iter().map(|w| w.counters.series().len()).sum();
    assert_eq!(kept, count);
    let trust = UpstreamTrust::new(true, Publisher::new(Snapshot::empty()).1);
    let options = MetricsOptions {
        buckets,
        detailed: DetailedLabels::ALL,
        version: "0.0.0",
        commit: "",
        io_engine: "io_uring",
        start_unix_ms: 1_000,
        tls: Vec::new(),
        memory: Arc::new(Memory::new(None, None, 1)),
        upstream_trust: Arc::new(trust),
    };
    let busy: BusyRatios = (0..workers).map(|_| AtomicU64::new(0)).collect();
    let config = ConfigStatus::new("file");
    let scrape = Scrape::new(options, cold.workers, config, busy, cold.health);
    (ours, scrape)
}

fn metrics_render(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("metrics_render/label_sets");
    for count in COUNTS {
        let (_workers, mut scrape) = scrape(count);
        // The first one learns the lines.
        let bytes = scrape.render().len();
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter_with_large_drop(|| scrape.render());
        });
    }
    group.finish();
}

fn settings() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5))
        .sample_size(10)
}

criterion_group!(name = benches; config = settings(); targets = metrics_render);
criterion_main!(benches);
