//! What the other call types cost, and calls to the own node.

mod common;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gorums::Overflow;

use common::{EchoClient, EchoNodeClient, Payload, local, remote, runtime};

fn one_node(criterion: &mut Criterion) {
    let runtime = runtime();
    let configuration = runtime.block_on(remote(1));
    let node = configuration.nodes()[0].clone();
    criterion.bench_function("rpc", |bencher| {
        bencher.to_async(&runtime).iter(|| async { node.repeat(Payload::of(16)).await });
    });
    let local = runtime.block_on(async { local() });
    let mut group = criterion.benchmark_group("local call");
    for len in [16, 16 << 10] {
        let payload = Payload::of(len);
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::from_parameter(len), |bencher| {
            bencher.to_async(&runtime).iter(|| local.echo(payload.clone()).all());
        });
    }
    group.finish();
}

fn one_way(criterion: &mut Criterion) {
    let runtime = runtime();
    let configuration = runtime.block_on(remote(3));
    let mut group = criterion.benchmark_group("multicast");
    group.bench_function("handed over", |bencher| {
        bencher.to_async(&runtime).iter(|| async { configuration.note(Payload::of(16)).await });
    });
    group.bench_function("queued", |bencher| {
        let note = || configuration.note(Payload::of(16)).overflow(Overflow::Wait);
        bencher.to_async(&runtime).iter(|| note().queued());
    });
    group.finish();
}

fn many_replies(criterion: &mut Criterion) {
    let runtime = runtime();
    let configuration = runtime.block_on(remote(3));
    criterion.bench_function("correctable, level 3", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            let mut correctable = configuration.echo(Payload::of(16)).correctable(3);
            correctable.done().await.expect("three live nodes").clone()
        });
    });
    criterion.bench_function("streaming, ten replies of each of three nodes", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            let mut replies = configuration.echoes(Payload::of(16)).send();
            let mut got = 0;
            while replies.next().await.is_some() {
                got += 1;
            }
            assert_eq!(got, 30);
        });
    });
}

criterion_group!(benches, one_node, one_way, many_replies);
criterion_main!(benches);
