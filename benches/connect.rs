//! What it costs to make connections and to close them.

mod common;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gorums::Configuration;

use common::{EchoClient, Payload, runtime, serve};

fn connect(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("connect, call and close");
    // Each connection leaves a port behind that cannot be used for a while.
    group.sample_size(10);
    for size in [1, 3, 9] {
        let addresses = runtime.block_on(serve(size));
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.to_async(&runtime).iter(|| async {
                let configuration = Configuration::builder().nodes(&addresses).connect().await;
                let configuration = configuration.expect("live servers");
                configuration.echo(Payload::of(16)).all().await.expect("live servers");
                configuration.close().await;
            });
        });
    }
    group.finish();
}

criterion_group!(benches, connect);
criterion_main!(benches);
