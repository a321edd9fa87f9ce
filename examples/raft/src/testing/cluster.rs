//! A cluster in one process.

use std::collections::BTreeMap;
use std::time::Duration;

use gorums::{Configuration, Server, ServerBuilder, ServerHandle};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::client::Client;
use crate::node::{Leadership, Node};
use crate::options::Options;
use crate::storage::{NoApplication, Storage};
use crate::testing::disk::Disk;
use crate::testing::links::Links;
use crate::types::Id;

/// How long a cluster may take to do what a test waits for.
const PATIENCE: Duration = Duration::from_secs(30);

type Adjust = Box<dyn Fn(Options) -> Options + Send + Sync>;
type AdjustServer = Box<dyn Fn(Id, ServerBuilder) -> ServerBuilder + Send + Sync>;

/// Describes a [`Cluster`].
#[must_use]
pub struct ClusterBuilder {
    size: Id,
    spare: Id,
    adjust: Adjust,
    server: AdjustServer,
    seed: u64,
    threads: bool,
}

/// Nodes in this process, on disks in memory and with links between them that can be faulty. With Tokio's paused clock,
/// nothing takes any time.
///
/// Tests of applications on top of a node may use it: whatever goes wrong is a panic.
pub struct Cluster {
    links: Links,
    disks: BTreeMap<Id, (Disk, Disk)>,
    running: BTreeMap<Id, Running>,
    first: BTreeMap<Id, String>,
    adjust: Adjust,
    server: AdjustServer,
    seed: u64,
    threads: bool,
}

struct Running {
    node: Node,
    server: ServerHandle,
    serving: JoinHandle<()>,
}

impl ClusterBuilder {
    /// Room for so many nodes more, which are not started.
    pub fn spare(mut self, nodes: Id) -> Self {
        self.spare = nodes;
        self
    }

    /// Adjusts the options of each node.
    pub fn options(mut self, adjust: impl Fn(Options) -> Options + Send + Sync + 'static) -> Self {
        self.adjust = Box::new(adjust);
        self
    }

    /// Adjusts the server of each node, as with an interceptor.
    pub fn server(
        mut self,
        adjust: impl Fn(Id, ServerBuilder) -> ServerBuilder + Send + Sync + 'static,
    ) -> Self {
        self.server = Box::new(adjust);
        self
    }

    /// Lets disks be used by threads, as those of processes are, so that they may take time. Not with a paused clock.
    pub fn threads(mut self) -> Self {
        self.threads = true;
        self
    }

    /// What chance is drawn from.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Starts all nodes and waits until one of them leads.
    pub async fn start(self) -> Cluster {
        let Self { size, spare, adjust, server, seed, threads } = self;
        let links = Links::new(size + spare);
        let disks = (1..=size + spare).map(|id| (id, <(Disk, Disk)>::default())).collect();
        let first = (1..=size).map(|id| (id, Links::address(id))).collect();
        let running = BTreeMap::new();
        let mut cluster = Cluster { links, disks, running, first, adjust, server, seed, threads };
        for id in 1..=size {
            cluster.start(id).await;
        }
        for running in cluster.running.values() {
            running.node.initialize(cluster.first.clone()).await.expect("the members are good");
        }
        cluster.leader().await;
        cluster
    }
}

impl Cluster {
    /// A cluster of so many nodes, with the ids 1, 2, ..
    pub fn builder(size: Id) -> ClusterBuilder {
        ClusterBuilder {
            size,
            spare: 0,
            adjust: Box::new(|options| options),
            server: Box::new(|_, server| server),
            seed: 1,
            threads: false,
        }
    }

    /// Starts a node on what is on its disks.
    pub async fn start(&mut self, id: Id) -> Node {
        let (log, state) = &self.disks[&id];
        let storage = Storage::on(log.backend(), state.backend()).expect("the disks are good");
        let storage = if self.threads { storage.with_threads() } else { storage };
        let mut options = Options::new(id, Links::address(id));
        options.seed = self.seed.wrapping_mul(1_000).wrapping_add(id.into());
        let (links, seed) = (self.links.clone(), options.seed);
        let connect =
            move |builder: gorums::ConfigurationBuilder| builder.connector(links.from(id)).jitter_seed(seed);
        let node = Node::start((self.adjust)(options), storage, connect, NoApplication).await;
        let node = node.expect("the node starts");
        let bound = node.add_services((self.server)(id, Server::builder()), false).on(self.links.listen(id));
        let server = bound.handle();
        let serving = tokio::spawn(async move {
            // It ends without an error when it is shut down.
            let _ = bound.serve().await;
        });
        self.running.insert(id, Running { node: node.clone(), server, serving });
        node
    }

    /// Stops a node in good order.
    pub async fn stop(&mut self, id: Id) {
        let Some(Running { node, server, serving }) = self.running.remove(&id) else { return };
        server.shutdown().await;
        let _ = serving.await;
        node.shutdown().await;
    }

    /// Ends a node at once, as if its power was cut: what it has not synced is gone.
    pub async fn kill(&mut self, id: Id) {
        let Some(Running { node, serving, .. }) = self.running.remove(&id) else { return };
        let (log, state) = &self.disks[&id];
        log.lose_power();
        state.lose_power();
        serving.abort();
        let _ = serving.await;
        node.shutdown().await;
    }

    /// The disk with the log of a node.
    pub fn log_disk(&self, id: Id) -> &Disk {
        &self.disks[&id].0
    }

    /// A node that runs.
    pub fn node(&self, id: Id) -> &Node {
        &self.running[&id].node
    }

    /// The nodes that run.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.running.values().map(|running| &running.node)
    }

    /// The links between the nodes.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// Waits until one of the nodes that run leads, confirmed, and gives its id.
    pub async fn leader(&self) -> Id {
        let waiting = self.running.values().map(|running| {
            let (id, mut leadership) = (running.node.id(), running.node.leadership());
            Box::pin(async move { leadership.wait_for(Leadership::is_leading).await.map(|_| id) })
        });
        let elected = timeout(PATIENCE, futures_util::future::select_ok(waiting)).await;
        elected.expect("a leader is elected in time").expect("the nodes run").0
    }

    /// A node that runs and does not lead.
    pub async fn follower(&self) -> Id {
        let leader = self.leader().await;
        *self.running.keys().find(|id| **id != leader).expect("there are several nodes")
    }

    /// A client of all nodes of the first cluster.
    pub fn client(&self) -> Client {
        self.client_of(self.first.keys().copied())
    }

    /// A client that knows these nodes.
    pub fn client_of(&self, nodes: impl IntoIterator<Item = Id>) -> Client {
        let connections = Configuration::builder().connector(self.links.from(0)).jitter_seed(self.seed);
        let nodes = nodes.into_iter().map(|id| (id, Links::address(id)));
        Client::builder().nodes(nodes).connections(connections).build().expect("the nodes are good")
    }

    /// Waits until a node has applied all that the leader has committed by now.
    pub async fn caught_up(&self, id: Id) {
        let committed = self.node(self.leader().await).status().committed;
        let applied = timeout(PATIENCE, self.node(id).wait_applied(committed)).await;
        assert!(applied.expect("a node catches up in time"), "node {id} has stopped");
    }

    /// Stops all nodes in good order.
    pub async fn finish(mut self) {
        let ids: Vec<_> = self.running.keys().copied().collect();
        for id in ids {
            self.stop(id).await;
        }
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("running", &self.running.keys()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ClusterBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterBuilder").field("size", &self.size).finish_non_exhaustive()
    }
}
