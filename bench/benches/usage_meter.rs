//! What a call used: counted from the events of a stream, and read from an answer. [pure]

#![allow(clippy::unwrap_used, reason = "a bench that cannot begin fails")]

#[path = "../../gateway/tests/hot_path/mod.rs"]
#[allow(dead_code, reason = "a part of what the tests need")]
mod hot_path;

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gateway::provider::Seen;
use gateway::route::Rows;
use gateway::usage::{Counts, Meter};

use hot_path::{ANSWER, CHAT, admit, body, event, head, snapshot};

const REPORT: Counts = Counts {
    prompt: 300,
    completion: 40,
    total: 340,
    cached_prompt: 256,
    reasoning: 0,
    cache_creation: 0,
    cache_read: 0,
};

/// The meter alone.
fn meter(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("usage_meter/meter");
    let mut running = Meter::new(1_000);
    group.bench_function("event", |bencher| {
        bencher.iter(|| running.wrote(black_box(6)));
    });
    assert_ne!(running.usage().completion, 0);
    group.bench_function("answer", |bencher| {
        bencher.iter(|| {
            let mut meter = Meter::new(black_box(1_000));
            meter.wrote(200);
            meter.report(black_box(REPORT));
            meter.usage()
        });
    });
    group.finish();
}

/// The meter with what finds its numbers: the reader of a stream, and of an answer.
fn read(criterion: &mut Criterion) {
    let (snapshot, rows) = (snapshot(), Rows::default());
    let mut out = Vec::with_capacity(16 * 1024);
    let mut group = criterion.benchmark_group("usage_meter/read");

    let call_body = body(true);
    let call_head = head(CHAT, &call_body);
    let (_head, call, route, mut exchange) =
        admit((&snapshot, &rows), &call_head, &call_body, &mut out);
    let mut reader = exchange.stream(&call, &route);
    // What is alike the event before it is compared, not walked: escapes prevent that.
    let alike: Vec<String> = (0..10).map(|n| event(n).replace(r#"\n\""#, "")).collect();
    let walked: Vec<String> = (0..10).map(event).collect();
    let report = event(0).replace(
        r#""usage":null"#,
        r#""usage":{"prompt_tokens":300,"completion_tokens":40,"total_tokens":340,"prompt_tokens_details":{"cached_tokens":256}}"#,
    );
    for (name, events) in [
        ("event_alike", alike),
        ("event", walked),
        ("event_with_usage", vec![report]),
    ] {
        group.throughput(Throughput::Bytes(events[0].len() as u64));
        let mut next = events.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                let event = next.next().expect("endless").as_bytes();
                assert_eq!(reader.event(event, &mut out).unwrap(), Seen::Content);
            });
        });
        let text = String::from_utf8_lossy(&out);
        assert!(
            text.contains(r#""model":"fast""#),
            "read and edited: {text}"
        );
    }

    let call_body = body(false);
    let call_head = head(CHAT, &call_body);
    out.clear();
    let (_head, call, route, mut exchange) =
        admit((&snapshot, &rows), &call_head, &call_body, &mut out);
    group.throughput(Throughput::Bytes(ANSWER.len() as u64));
    group.bench_function("answer", |bencher| {
        bencher.iter(|| {
            out.clear();
            let reply = exchange.answer(&call, &route, black_box(ANSWER)).unwrap();
            reply.write_body(ANSWER, &mut out);
        });
    });
    group.finish();
}

fn settings() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
}

criterion_group!(name = benches; config = settings(); targets = meter, read);
criterion_main!(benches);
