//! What a quorum call costs: three nodes in this process, over loopback TCP, by terminal and payload; a call to the
//! own node; and a one-way call.

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gorums::{Configuration, Server, ServerContext, Status};
use tokio::runtime::Runtime;

/// A payload.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Payload {
    /// Any bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
}

/// Gives back what it gets.
#[gorums::service(package = "bench")]
pub trait Echo {
    /// Gives the request back.
    #[quorumcall]
    async fn echo(&self, ctx: &ServerContext, request: Payload) -> Result<Payload, Status>;

    /// Takes the request.
    #[multicast]
    async fn note(&self, ctx: &ServerContext, request: Payload);
}

#[derive(Clone)]
struct Echoes;

impl Echo for Echoes {
    async fn echo(&self, _: &ServerContext, request: Payload) -> Result<Payload, Status> {
        Ok(request)
    }

    async fn note(&self, _: &ServerContext, _: Payload) {}
}

/// A configuration of `size` remote nodes.
async fn remote(size: usize) -> Configuration {
    let mut addresses = Vec::new();
    for _ in 0..size {
        let server = Server::builder().add_service(EchoServer::new(Echoes));
        let server = server.bind("127.0.0.1:0").await.expect("a free port");
        addresses.push(server.local_addr().to_string());
        tokio::spawn(server.serve());
    }
    Configuration::builder().nodes(addresses).connect().await.expect("live servers")
}

fn payload(len: usize) -> Payload {
    Payload { data: vec![7; len].into() }
}

fn calls(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let configuration = runtime.block_on(remote(3));
    let mut group = criterion.benchmark_group("quorum_call");
    for len in [16, 1 << 10, 16 << 10] {
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_with_input(BenchmarkId::new("majority", len), &len, |bencher, &len| {
            bencher.to_async(&runtime).iter(|| configuration.echo(payload(len)).majority());
        });
    }
    group.throughput(Throughput::Elements(1));
    group.bench_function("all", |bencher| {
        bencher.to_async(&runtime).iter(|| configuration.echo(payload(16)).all());
    });
    group.bench_function("64 in flight", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            let sent: Vec<_> = (0..64).map(|_| configuration.echo(payload(16)).send()).collect();
            for replies in sent {
                replies.majority().await.expect("three live nodes");
            }
        });
    });
    group.finish();
}

fn others(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let local = runtime.block_on(async {
        let services = Server::builder().add_service(EchoServer::new(Echoes));
        Configuration::builder().local_node(1, services).connect_lazy().expect("one local node")
    });
    criterion.bench_function("local call", |bencher| {
        bencher.to_async(&runtime).iter(|| local.echo(payload(16)).all());
    });
    let configuration = runtime.block_on(remote(3));
    criterion.bench_function("multicast", |bencher| {
        bencher.to_async(&runtime).iter(|| async { configuration.note(payload(16)).await });
    });
}

criterion_group!(benches, calls, others);
criterion_main!(benches);
