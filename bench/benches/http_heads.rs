//! A head, from its bytes to what is known of it: of a request, and of a response. [pure]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gateway::http::h1::{HeadScanner, Limits, Method, parse_request, parse_response};

/// What the official package of Python sends.
const PYTHON: &[u8] = b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway.example.net\r\n\
    Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nAccept: application/json\r\n\
    Content-Type: application/json\r\nUser-Agent: OpenAI/Python 1.99.1\r\nX-Stainless-Lang: python\r\n\
    X-Stainless-Package-Version: 1.99.1\r\nX-Stainless-OS: Linux\r\nX-Stainless-Arch: x64\r\n\
    X-Stainless-Runtime: CPython\r\nX-Stainless-Runtime-Version: 3.12.3\r\n\
    Authorization: Bearer sk-0123456789abcdef0123456789abcdef\r\nX-Stainless-Async: false\r\n\
    x-stainless-retry-count: 0\r\nx-stainless-read-timeout: 600\r\nContent-Length: 1024\r\n\r\n";
/// What a load generator sends.
const SHORT: &[u8] = b"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\n\
    authorization: Bearer sk-0123456789abcdef\r\ncontent-length: 1024\r\n\r\n";
/// What OpenAI answers.
const OPENAI: &[u8] = b"HTTP/1.1 200 OK\r\nDate: Sat, 28 Nov 2026 14:20:00 GMT\r\n\
    Content-Type: application/json\r\nContent-Length: 1024\r\nConnection: keep-alive\r\n\
    access-control-expose-headers: X-Request-ID\r\nopenai-organization: org-0123456789\r\n\
    openai-processing-ms: 412\r\nopenai-version: 2020-10-01\r\nx-ratelimit-limit-requests: 10000\r\n\
    x-ratelimit-limit-tokens: 2000000\r\nx-ratelimit-remaining-requests: 9999\r\n\
    x-ratelimit-remaining-tokens: 1999980\r\nx-ratelimit-reset-requests: 6ms\r\n\
    x-ratelimit-reset-tokens: 0s\r\nx-request-id: req_0123456789abcdef0123456789abcdef\r\n\
    strict-transport-security: max-age=31536000; includeSubDomains; preload\r\n\
    X-Content-Type-Options: nosniff\r\nServer: cloudflare\r\nCF-RAY: 0123456789abcdef-FRA\r\n\r\n";
/// What begins a stream of a plain server.
const STREAM: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
    transfer-encoding: chunked\r\n\r\n";

fn requests(criterion: &mut Criterion) {
    let limits = Limits::default();
    let mut group = criterion.benchmark_group("http_heads/request");
    for (name, head) in [("python_sdk", PYTHON), ("short", SHORT)] {
        let (_, used) = parse_request(head, &limits)
            .expect("a head")
            .expect("whole");
        assert_eq!(used, head.len());
        group.throughput(Throughput::Bytes(head.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| parse_request(black_box(head), &limits));
        });
    }
    // A head that comes in reads of 64 bytes: none of it is looked at twice before it is whole.
    let cuts: Vec<usize> = (64..PYTHON.len())
        .step_by(64)
        .chain([PYTHON.len()])
        .collect();
    group.throughput(Throughput::Bytes(PYTHON.len() as u64));
    group.bench_function("python_sdk_in_reads_of_64", |bencher| {
        bencher.iter(|| {
            let mut scanner = HeadScanner::new();
            cuts.iter()
                .filter_map(|&cut| {
                    scanner
                        .parse_request(black_box(&PYTHON[..cut]), &limits)
                        .ok()?
                })
                .count()
        });
    });
    group.finish();
}

fn responses(criterion: &mut Criterion) {
    let limits = Limits::default();
    let mut group = criterion.benchmark_group("http_heads/response");
    for (name, head) in [("openai", OPENAI), ("stream", STREAM)] {
        let parsed = parse_response(head, &Method::Post, &limits);
        let (_, used) = parsed.expect("a head").expect("whole");
        assert_eq!(used, head.len());
        group.throughput(Throughput::Bytes(head.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| parse_response(black_box(head), &Method::Post, &limits));
        });
    }
    group.finish();
}

fn settings() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
}

criterion_group!(name = benches; config = settings(); targets = requests, responses);
criterion_main!(benches);
