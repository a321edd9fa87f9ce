//! What it costs to be watched: 64 majority calls of 3 nodes in this process, over loopback TCP, with nobody who looks, with
//! spans that a level turns off, with spans that a subscriber keeps, and with metrics.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gorums::Configuration;
use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use tokio::runtime::Runtime;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;

use common::{EchoClient, Payload, remote_with, runtime};

const CALLS: u64 = 64;

/// Adds up what it gets: what a recorder costs at least.
#[derive(Default)]
struct Sums;

#[derive(Default)]
struct Sum(AtomicU64);

impl HistogramFn for Sum {
    fn record(&self, value: f64) {
        self.0.fetch_add(value.to_bits() & 1, Relaxed);
    }
}

impl Recorder for Sums {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::new(AtomicU64::new(0)))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::new(AtomicU64::new(0)))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(Sum::default()))
    }
}

fn calls(criterion: &mut Criterion, name: &str, runtime: &Runtime, configuration: &Configuration) {
    let mut group = criterion.benchmark_group("64 quorum calls, watched");
    group.throughput(Throughput::Elements(CALLS));
    group.bench_function(name, |bencher| {
        bencher.to_async(runtime).iter(|| async {
            let sent: Vec<_> = (0..CALLS).map(|_| configuration.echo(Payload::of(16)).send()).collect();
            for replies in sent {
                replies.majority().await.expect("three live nodes");
            }
        });
    });
    group.finish();
}

fn watched(criterion: &mut Criterion) {
    let runtime = runtime();
    let configuration = runtime.block_on(remote_with(3, |builder| builder));
    calls(criterion, "nobody looks", &runtime, &configuration);
    let measured = metrics::with_local_recorder(&Sums, || {
        runtime.block_on(async {
            let configuration =
                remote_with(3, |builder| builder.metrics("bench", Duration::from_secs(1))).await;
            // The handles of a method are made for its first call.
            configuration.echo(Payload::of(16)).all().await.expect("three live nodes");
            configuration
        })
    });
    calls(criterion, "metrics", &runtime, &measured);
    let off = tracing_subscriber::registry().with(LevelFilter::INFO);
    tracing::subscriber::with_default(off, || {
        calls(criterion, "spans, off by level", &runtime, &configuration);
    });
    let on = tracing_subscriber::registry().with(LevelFilter::DEBUG);
    tracing::subscriber::with_default(on, || calls(criterion, "spans, kept", &runtime, &configuration));
}

criterion_group!(benches, watched);
criterion_main!(benches);
