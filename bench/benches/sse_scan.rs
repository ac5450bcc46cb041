//! Where the events of a stream end, however it is cut into reads. [pure]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gateway::http::sse::{EVENT_BYTES_MAX, EventScanner};

/// Events of one read.
const EVENTS: usize = 64;

/// So many content events of a chat stream, about 200 bytes each.
fn stream(eol: &str) -> Vec<u8> {
    let event = |number| {
        let delta = format!(
            r#"{{"index":0,"delta":{{"content":"word {number:04} "}},"finish_reason":null}}"#
        );
        format!(
            r#"data: {{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o-2024-08-06","choices":[{delta}]}}{eol}{eol}"#
        )
    };
    (0..EVENTS).map(event).collect::<String>().into_bytes()
}

/// Finds all events of `stream`, of which each read appends `read` bytes; gives their number.
fn scan(stream: &[u8], read: usize) -> usize {
    let mut scanner = EventScanner::new(EVENT_BYTES_MAX);
    let (mut start, mut end, mut events) = (0, 0, 0);
    while end < stream.len() {
        end = stream.len().min(end + read);
        while let Ok(Some(length)) = scanner.next_event(&stream[start..end]) {
            start += length;
            events += 1;
        }
    }
    events
}

fn sse_scan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sse_scan");
    for (name, eol, read) in [
        ("64_events_in_one_read", "\n", usize::MAX / 2),
        ("64_events_crlf", "\r\n", usize::MAX / 2),
        ("64_events_in_reads_of_100", "\n", 100),
        ("64_events_in_reads_of_8", "\n", 8),
    ] {
        let stream = stream(eol);
        assert_eq!(scan(&stream, read), EVENTS, "{name}");
        group.throughput(Throughput::Bytes(stream.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| scan(black_box(&stream), read));
        });
    }
    // One event of a whole image, in reads as a worker makes them.
    let mut large = stream("\n")[..100].to_vec();
    large.resize(256 * 1024, b'x');
    large.extend_from_slice(b"\n\n");
    assert_eq!(scan(&large, 16 * 1024), 1);
    group.throughput(Throughput::Bytes(large.len() as u64));
    group.bench_function("one_event_of_256_kib_in_reads_of_16_kib", |bencher| {
        bencher.iter(|| scan(black_box(&large), 16 * 1024));
    });
    group.finish();
}

fn settings() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
}

criterion_group!(name = benches; config = settings(); targets = sse_scan);
criterion_main!(benches);
