//! What a quorum call costs: nodes in this process, over loopback TCP, by terminal, payload, number of nodes and calls in
//! flight.

mod common;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use common::{EchoClient, Payload, remote, runtime};

fn terminals(criterion: &mut Criterion) {
    let runtime = runtime();
    let configuration = runtime.block_on(remote(3));
    let mut group = criterion.benchmark_group("quorum call");
    group.bench_function("first", |bencher| {
        bencher.to_async(&runtime).iter(|| configuration.echo(Payload::of(16)).first());
    });
    group.bench_function("majority", |bencher| {
        bencher.to_async(&runtime).iter(|| configuration.echo(Payload::of(16)).majority());
    });
    group.bench_function("all", |bencher| {
        bencher.to_async(&runtime).iter(|| configuration.echo(Payload::of(16)).all());
    });
    group.bench_function("threshold", |bencher| {
        bencher.to_async(&runtime).iter(|| configuration.echo(Payload::of(16)).threshold(2));
    });
    group.finish();
}

fn payloads(criterion: &mut Criterion) {
    let runtime = runtime();
    let configuration = runtime.block_on(remote(3));
    let mut group = criterion.benchmark_group("quorum call by payload");
    for len in [16, 1 << 10, 16 << 10, 256 << 10] {
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_with_input(BenchmarkId::from_parameter(len), &len, |bencher, &len| {
            let payload = Payload::of(len);
            bencher.to_async(&runtime).iter(|| configuration.echo(payload.clone()).majority());
        });
    }
    group.finish();
}

fn nodes(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("quorum call by nodes");
    for size in [1, 3, 9, 25] {
        let configuration = runtime.block_on(remote(size));
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.to_async(&runtime).iter(|| configuration.echo(Payload::of(16)).majority());
        });
    }
    group.finish();
}

fn in_flight(criterion: &mut Criterion) {
    let runtime = runtime();
    let configuration = runtime.block_on(remote(3));
    let mut group = criterion.benchmark_group("quorum call by calls in flight");
    for calls in [1, 8, 64, 256] {
        group.throughput(Throughput::Elements(calls));
        group.bench_function(BenchmarkId::from_parameter(calls), |bencher| {
            bencher.to_async(&runtime).iter(|| async {
                let sent: Vec<_> = (0..calls).map(|_| configuration.echo(Payload::of(16)).send()).collect();
                for replies in sent {
                    replies.majority().await.expect("three live nodes");
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, terminals, payloads, nodes, in_flight);
criterion_main!(benches);
