//! What it costs to encode messages, to cut them out of a stream, and to read them.

use std::hint::black_box;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gorums::bench::{encode, parse};
use gorums::wire::Messages;

const METHOD: &str = "bench.Echo.Echo";
const TIMEOUT: Option<Duration> = Some(Duration::from_secs(5));
const PREFIX: usize = 5;
const LENGTHS: [usize; 3] = [16, 1 << 10, 16 << 10];

fn message(len: usize) -> Bytes {
    let mut buf = BytesMut::new();
    encode(&mut buf, 1 << 30, METHOD, TIMEOUT, &vec![7; len]);
    buf.freeze()
}

fn encoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for len in LENGTHS {
        let payload = vec![7; len];
        for (name, timeout) in [("request", TIMEOUT), ("reply", None)] {
            group.throughput(Throughput::Bytes(len as u64));
            group.bench_function(BenchmarkId::new(name, len), |bencher| {
                let mut buf = BytesMut::new();
                bencher.iter(|| {
                    buf.clear();
                    encode(&mut buf, black_box(1 << 30), METHOD, timeout, black_box(&payload));
                    buf.len()
                });
            });
        }
    }
    group.finish();
}

fn decoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    for len in LENGTHS {
        let message = message(len).slice(PREFIX..);
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::from_parameter(len), |bencher| {
            bencher.iter(|| parse(black_box(message.clone())));
        });
    }
    group.finish();
}

fn cutting(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cut 64 messages out of a stream");
    let data: Bytes = (0..64).flat_map(|_| message(16)).collect();
    group.throughput(Throughput::Elements(64));
    for pieces in [1, 5] {
        group.bench_function(BenchmarkId::new("pieces", pieces), |bencher| {
            bencher.iter(|| {
                let mut messages = Messages::new(4 << 20);
                let mut found = 0;
                for piece in data.chunks(data.len().div_ceil(pieces)) {
                    messages.add(data.slice_ref(piece));
                    while let Ok(Some(message)) = messages.next_message() {
                        found += black_box(message).len();
                    }
                }
                found
            });
        });
    }
    group.finish();
}

criterion_group!(benches, encoding, decoding, cutting);
criterion_main!(benches);
