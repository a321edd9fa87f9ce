//! What the parts cost that every call goes through: the queue to a node, the table of calls, and the tally.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gorums::bench::{Calls, RequestQueue, tally};

fn queue(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("queue, push and take");
    for (batch, len) in [(1, 50), (64, 50), (64, 1_100), (16, 16 << 10)] {
        let (mut queue, message) = (RequestQueue::default(), vec![7; len]);
        group.throughput(Throughput::Elements(batch));
        group.bench_function(BenchmarkId::new(format!("{batch} of bytes"), len), |bencher| {
            bencher.iter(|| {
                for sequence in 0..batch {
                    assert!(queue.push(sequence, black_box(&message)));
                }
                queue.take()
            });
        });
    }
    group.finish();
}

fn router(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("register, send, deliver and remove a call");
    for nodes in [1, 3, 9, 100] {
        let calls = Calls::new(nodes);
        group.throughput(Throughput::Elements(u64::from(nodes)));
        group.bench_function(BenchmarkId::new("nodes", nodes), |bencher| bencher.iter(|| calls.run()));
    }
    group.finish();
}

fn tallies(criterion: &mut Criterion) {
    criterion.bench_function("tally of 9", |bencher| bencher.iter(|| tally(black_box(9))));
}

criterion_group!(benches, queue, router, tallies);
criterion_main!(benches);
