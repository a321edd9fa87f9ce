//! A register whose writer fails half-way, step by step.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gorums::testing::Cluster;
use gorums::{NodeId, Server, ServerContext, Status};
use protocols::abd::{Client, Register, RegisterServer, Replica, Tagged};

/// A replica that can be told to take nothing.
#[derive(Clone, Default)]
struct Moody {
    replica: Replica,
    refuses: Arc<AtomicBool>,
}

impl Register for Moody {
    async fn query(&self, ctx: &ServerContext, request: ()) -> Result<Tagged, Status> {
        self.replica.query(ctx, request).await
    }

    async fn store(&self, ctx: &ServerContext, new: Tagged) -> Result<(), Status> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(Status::resource_exhausted("the disk is full"));
        }
        self.replica.store(ctx, new).await
    }
}

/// A write that failed may still be read. If its timestamp were taken again for another value, two readers could see
/// different values of one write, and neither would be written back over the other.
#[tokio::test(start_paused = true)]
async fn a_timestamp_is_never_used_for_two_values() {
    let replicas = [Moody::default(), Moody::default(), Moody::default()];
    let nodes = replicas.clone();
    let server = move |id: NodeId| {
        Server::builder().add_service(RegisterServer::new(nodes[id.get() as usize - 1].clone()))
    };
    let mut cluster = Cluster::in_memory(3, server).await;
    let configuration = cluster.configuration();
    let mut client = Client::new(1, configuration.clone());
    // Only node 1 takes the first value.
    replicas[1..].iter().for_each(|replica| replica.refuses.store(true, Ordering::SeqCst));
    assert!(client.write(7).await.is_err());
    replicas[1..].iter().for_each(|replica| replica.refuses.store(false, Ordering::SeqCst));
    cluster.stop(1).await;
    let written = client.write(8).await.unwrap();
    // Whichever majority a reader asks, it sees the value that was written.
    cluster.start(1).await;
    configuration.wait_connected().await.unwrap();
    cluster.stop(2).await;
    let read = client.read().await.unwrap();
    assert_eq!((read.value, read.timestamp), (8, written));
    let first = configuration.only([1]);
    let held = Client::new(2, first).read().await.unwrap();
    assert_eq!((held.value, held.timestamp), (8, written), "it was written back");
    drop((client, configuration));
    cluster.finish().await;
}
