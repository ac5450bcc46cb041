//! A request's body: its fields found, the whole call judged, its model replaced. [pure]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gateway::endpoint::{self, Endpoint};
use gateway::json::{Cursor, Edits, JsonError, Span, Text};

/// Bodies of these sizes: a question, a long context, images.
const SIZES: [(&str, usize); 3] = [
    ("1_kb", 1_000),
    ("120_kib", 120 * 1024),
    ("5_mb", 5_000_000),
];

/// A chat call of `bytes` bytes; its model comes after its messages, as where keys are sorted.
fn body(bytes: usize) -> Vec<u8> {
    let message = |content: &str| {
        serde_json::json!({"max_tokens": 256, "messages": [
            {"role": "system", "content": "You are \"helpful\".\nAnswer briefly."},
            {"role": "user", "content": content}], "model": "fast", "stream": true, "temperature": 0.7})
        .to_string()
    };
    let text = "The quick brown fox jumps over the lazy dog.\n";
    let empty = message("").len();
    // A line's end is two bytes of JSON.
    let lines = (bytes - empty) / (text.len() + 1);
    let rest = bytes - empty - lines * (text.len() + 1);
    message(&(text.repeat(lines) + &"x".repeat(rest))).into_bytes()
}

/// Where the model's name is, and whether a stream is asked for: one walk over the whole body.
fn fields(body: &[u8]) -> Result<(Option<Span>, bool), JsonError> {
    let (mut model, mut stream) = (None, false);
    let mut cursor = Cursor::strict(body);
    cursor.object(|cursor, key| {
        match key.name {
            b"model" => model = Some(cursor.value()?.inner()),
            b"stream" => stream = cursor.value()?.span.of(body) == b"true",
            _ => cursor.skip()?,
        }
        Ok::<_, JsonError>(())
    })?;
    cursor.end()?;
    Ok((model, stream))
}

fn json_body(criterion: &mut Criterion) {
    for (name, size) in SIZES {
        let body = body(size);
        assert_eq!(body.len(), size);
        let (model, stream) = fields(&body).expect("JSON");
        let model = model.expect("a model");
        assert_eq!((model.of(&body), stream), (&b"fast"[..], true));
        let mut group = criterion.benchmark_group(format!("json_body/{name}"));
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function("fields", |bencher| {
            bencher.iter(|| fields(black_box(&body)));
        });
        assert!(endpoint::parse(Endpoint::ChatCompletions, &body).is_ok());
        group.bench_function("call", |bencher| {
            bencher.iter(|| endpoint::parse(Endpoint::ChatCompletions, black_box(&body)));
        });
        let mut out = Vec::with_capacity(2 * size);
        group.bench_function("splice", |bencher| {
            bencher.iter(|| {
                out.clear();
                let mut edits = Edits::default();
                edits.replace(model, Text::Escaped("gpt-4o-mini-2024-07-18"));
                edits.apply(black_box(&body), &mut out);
            });
        });
        assert_eq!(
            out.len(),
            size - "fast".len() + "gpt-4o-mini-2024-07-18".len()
        );
        group.finish();
    }
}

fn settings() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
}

criterion_group!(name = benches; config = settings(); targets = json_body);
criterion_main!(benches);
