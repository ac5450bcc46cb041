//! A chunked body: read off the wire, written, and both, as it is relayed. [pure]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gateway::http::h1::{BodyLength, BodyReader, write};

/// Body bytes of one pass.
const BODY: usize = 64 * 1024;
/// What a worker reads at a time.
const READ: usize = 16 * 1024;
/// Bytes of a chunk: an event, a page, a read.
const CHUNKS: [(&str, usize); 3] = [("200_bytes", 200), ("4_kib", 4096), ("16_kib", READ)];

/// [`BODY`] bytes in chunks of `size`.
fn chunked(size: usize) -> Vec<u8> {
    let body = vec![b'x'; BODY];
    let mut out = Vec::new();
    body.chunks(size)
        .for_each(|data| write::chunk(&mut out, data));
    write::last_chunk(&mut out);
    out
}

/// Reads a body off `wire`; `take` gets what was in it. Gives the number of its bytes.
fn read(wire: &[u8], mut take: impl FnMut(&[u8])) -> usize {
    let mut reader = BodyReader::new(BodyLength::Chunked);
    let mut bytes = 0;
    for mut input in wire.chunks(READ) {
        while !input.is_empty() {
            let piece = reader.next(input).expect("well-formed chunks");
            bytes += piece.data.len();
            take(&input[piece.data]);
            input = &input[piece.consumed..];
        }
    }
    assert!(reader.is_done());
    bytes
}

fn chunk_relay(criterion: &mut Criterion) {
    for (name, size) in CHUNKS {
        let wire = chunked(size);
        assert_eq!(read(&wire, |_| ()), BODY);
        let mut group = criterion.benchmark_group(format!("chunk_relay/{name}"));
        group.throughput(Throughput::Bytes(BODY as u64));
        group.bench_function("decode", |bencher| {
            bencher.iter(|| read(black_box(&wire), |data| _ = black_box(data)));
        });
        let (body, mut out) = (vec![b'x'; BODY], Vec::with_capacity(2 * BODY));
        group.bench_function("encode", |bencher| {
            bencher.iter(|| {
                out.clear();
                let chunks = black_box(&body).chunks(size);
                chunks.for_each(|data| write::chunk(&mut out, data));
                write::last_chunk(&mut out);
            });
        });
        group.bench_function("decode_and_encode", |bencher| {
            bencher.iter(|| {
                out.clear();
                read(black_box(&wire), |data| write::chunk(&mut out, data));
                write::last_chunk(&mut out);
            });
        });
        assert_eq!(read(&out, |_| ()), BODY);
        group.finish();
    }
}

fn settings() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
}

criterion_group!(name = benches; config = settings(); targets = chunk_relay);
criterion_main!(benches);
