//! The oracle in Raft nodes, in one process on a paused clock.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use gorums::testing::Traffic;
use gorums::{Configuration, ConfigurationBuilder, Server};
use raft::Storage;
use raft::testing::{Disk, Links};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tso::{Client, Options, Phase, TsoNode};

const SECOND: Duration = Duration::from_secs(1);

struct Running {
    node: TsoNode,
    serving: JoinHandle<()>,
}

/// Nodes, and the disks that outlive them.
struct Cluster {
    links: Links,
    disks: Vec<(Disk, Disk)>,
    running: Vec<Option<Running>>,
    seed: u64,
}

impl Cluster {
    async fn start(seed: u64) -> Self {
        let disks = (0..3).map(|_| <(Disk, Disk)>::default()).collect();
        let running = (0..3).map(|_| None).collect();
        let mut cluster = Self { links: Links::new(3), disks, running, seed };
        for id in 1..=3 {
            cluster.spawn(id).await;
        }
        cluster
    }

    async fn spawn(&mut self, id: u32) {
        let index = id as usize - 1;
        let (log, state) = &self.disks[index];
        let storage = Storage::on(log.backend(), state.backend()).unwrap();
        let mut raft = raft::Options::new(id, Links::address(id));
        raft.seed = self.seed * 10 + u64::from(id);
        let (links, seed) = (self.links.clone(), raft.seed);
        let connect =
            move |builder: ConfigurationBuilder| builder.connector(links.from(id)).jitter_seed(seed);
        let node = TsoNode::start(raft, storage, connect, Options::default(), None).await.unwrap();
        let bound = node.add_services(Server::builder(), false, false).on(self.links.listen(id));
        let serving = tokio::spawn(async move { drop(bound.serve().await) });
        let members = (1..=3).map(|id| (id, Links::address(id))).collect();
        node.raft().initialize(members).await.unwrap();
        self.running[index] = Some(Running { node, serving });
    }

    /// As if its power was cut.
    async fn kill(&mut self, id: u32) {
        let index = id as usize - 1;
        let Running { node, serving } = self.running[index].take().unwrap();
        self.disks[index].0.lose_power();
        self.disks[index].1.lose_power();
        serving.abort();
        node.shutdown().await;
    }

    fn client(&self) -> Client {
        let connections = Configuration::builder().connector(self.links.from(0)).jitter_seed(self.seed);
        let nodes = (1..=3).map(|id| (id, Links::address(id)));
        Client::builder().nodes(nodes).timeout(20 * SECOND).connections(connections).build().unwrap()
    }

    async fn leader(&self) -> u32 {
        self.leader_other_than(0).await
    }

    async fn leader_other_than(&self, other: u32) -> u32 {
        let others = self.running.iter().flatten().filter(|running| running.node.raft().id() != other);
        let waiting = others.map(|running| {
            let (id, mut phase) = (running.node.raft().id(), running.node.phase());
            Box::pin(async move {
                phase.wait_for(|phase| matches!(phase, Phase::Serving { .. })).await.map(|_| id)
            })
        });
        let serving = timeout(30 * SECOND, futures_util::future::select_ok(waiting)).await;
        serving.unwrap().unwrap().0
    }
}

/// The smoke test: a failover by a crash and one by a partition, and timestamps that grow through both.
async fn failover(seed: u64) {
    let mut cluster = Cluster::start(seed).await;
    let client = cluster.client();
    let mut last = client.get().await.unwrap();
    let mut next = async |cluster: &Cluster| {
        let stamps = cluster.client().get_batch(4).await.unwrap();
        assert!(stamps.first() > last, "seed {seed}: {} after {last}", stamps.first());
        last = stamps.last();
        let stamp = client.get().await.unwrap();
        assert!(stamp > last, "seed {seed}: {stamp} after {last}");
        last = stamp;
    };
    let leader = cluster.leader().await;
    cluster.kill(leader).await;
    next(&cluster).await;
    cluster.spawn(leader).await;
    next(&cluster).await;
    let leader = cluster.leader().await;
    cluster.links.set_around(leader, Traffic::Drop);
    cluster.leader_other_than(leader).await;
    let old = &cluster.running[leader as usize - 1].as_ref().unwrap().node;
    assert!(old.grant(1).is_err(), "seed {seed}: it is not confirmed any more");
    next(&cluster).await;
    cluster.links.set_around(leader, Traffic::Forward);
    next(&cluster).await;
    for running in cluster.running.into_iter().flatten() {
        running.serving.abort();
        running.node.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_failovers_in_a_row() {
    for seed in 1..=100 {
        timeout(600 * SECOND, failover(seed)).await.unwrap_or_else(|_| panic!("seed {seed} hangs"));
    }
}

#[tokio::test(start_paused = true)]
async fn metrics_and_status_tell_who_serves() {
    let cluster = Cluster::start(7).await;
    let client = cluster.client();
    client.get_batch(100).await.unwrap();
    let leader = cluster.leader().await;
    let node = &cluster.running[leader as usize - 1].as_ref().unwrap().node;
    let metrics = node.metrics();
    for line in
        ["tso_serving 1", "tso_timestamps_granted_total 100", "tso_calls_total 1", "tso_fences_total 1"]
    {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
    for id in 1..=3 {
        let status = client.status(id).await.unwrap();
        assert_eq!(status.phase, if id == leader { "serving" } else { "idle" });
        assert_eq!(status.leader.map(|hint| hint.node), (id != leader).then_some(leader));
    }
}
