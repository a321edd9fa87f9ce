//! Nodes that answer when they are told to.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gorums_core::testing::Cluster;
use gorums_core::{
    CallType, Configuration, Method, Methods, QuorumCall, QuorumTarget, Server, ServerContext, Service,
    Status,
};
use tokio::time::Instant;

pub const MS: Duration = Duration::from_millis(1);
pub const READ: Method<String, u64> = Method::prost("test.Staged.Read", CallType::QuorumCall);

/// What a node does with a request.
#[derive(Clone, Copy, Debug)]
pub enum Does {
    Reply(Duration),
    Fail(Duration),
    /// Until it is told that nobody waits any more.
    Hang,
}

/// What came to a node.
#[derive(Clone, Debug)]
pub struct Asked {
    pub at: Instant,
    pub remaining: Duration,
    pub request: String,
    pub trace: Option<String>,
}

/// A node, as its tests see it.
#[derive(Clone)]
pub struct Peer {
    id: u64,
    pub does: Arc<Mutex<Does>>,
    pub asked: Arc<Mutex<Vec<Asked>>>,
    pub told: Arc<AtomicU64>,
}

impl Peer {
    fn new(id: u64) -> Self {
        let does = Arc::new(Mutex::new(Does::Reply(id as u32 * MS)));
        Self { id, does, asked: Arc::default(), told: Arc::default() }
    }

    async fn read(&self, ctx: ServerContext, request: String) -> Result<u64, Status> {
        ctx.release();
        let trace = ctx.metadata().get("x-trace").map(|value| value.to_str().unwrap().to_owned());
        let asked = Asked { at: Instant::now(), remaining: ctx.remaining().unwrap(), request, trace };
        self.asked.lock().unwrap().push(asked);
        let does = *self.does.lock().unwrap();
        match does {
            Does::Reply(after) => {
                tokio::time::sleep(after).await;
                Ok(self.id)
            }
            Does::Fail(after) => {
                tokio::time::sleep(after).await;
                Err(Status::failed_precondition("told to fail"))
            }
            Does::Hang => {
                ctx.cancelled().await;
                self.told.fetch_add(1, SeqCst);
                Err(Status::cancelled("gone"))
            }
        }
    }
}

impl Service for Peer {
    const NAME: &'static str = "test.Staged";

    fn register(self, methods: &mut Methods) {
        methods.two_way(
            &READ,
            &Arc::new(self),
            |peer, ctx, request| async move { peer.read(ctx, request).await },
        );
    }
}

pub struct Nodes {
    pub cluster: Cluster,
    pub configuration: Configuration,
    pub peers: Vec<Peer>,
}

impl Nodes {
    /// Connected nodes that nobody has called yet. Node `n` answers after `n` milliseconds.
    pub async fn unmeasured(size: u32) -> Self {
        let peers: Vec<_> = (1..=u64::from(size)).map(Peer::new).collect();
        let services = peers.clone();
        let server = move |id: gorums_core::NodeId| {
            Server::builder().add_service(services[id.get() as usize - 1].clone())
        };
        let mut cluster = Cluster::in_memory(size, server).await;
        let configuration = cluster.configuration();
        configuration.wait_connected().await.unwrap();
        Self { cluster, configuration, peers }
    }

    /// The same, each measured with what it takes.
    pub async fn measured(size: u32) -> Self {
        let nodes = Self::unmeasured(size).await;
        nodes.call().all().await.unwrap();
        nodes.forget();
        nodes
    }

    pub fn call(&self) -> QuorumCall<String, u64> {
        QuorumTarget::quorum_call(&self.configuration, &READ, "read".to_owned()).timeout(1_000 * MS)
    }

    pub fn set(&self, id: usize, does: Does) {
        *self.peers[id - 1].does.lock().unwrap() = does;
    }

    pub fn forget(&self) {
        self.peers.iter().for_each(|peer| peer.asked.lock().unwrap().clear());
    }

    /// When each node was asked since, in milliseconds; of one that was asked twice, the last time.
    pub fn asked_after(&self, start: Instant) -> Vec<Option<u128>> {
        let when =
            |peer: &Peer| peer.asked.lock().unwrap().last().map(|asked| (asked.at - start).as_millis());
        self.peers.iter().map(when).collect()
    }

    /// How many requests the nodes have got.
    pub fn requests(&self) -> usize {
        self.peers.iter().map(|peer| peer.asked.lock().unwrap().len()).sum()
    }

    pub fn told(&self) -> Vec<u64> {
        self.peers.iter().map(|peer| peer.told.load(SeqCst)).collect()
    }

    /// Nothing is in flight, and every request is accounted for.
    pub fn assert_idle(&self) {
        assert_eq!(self.configuration.pending(), 0, "calls in flight");
        for node in &self.configuration {
            let queue = node.stats().queue;
            assert_eq!(node.pending(), 0, "{node} owes a reply");
            assert_eq!((queue.queued, queue.queued_bytes), (0, 0), "{node}");
            assert_eq!(queue.offered, queue.sent + queue.dropped + queue.failed, "{node}: {queue:?}");
        }
    }

    pub async fn finish(self) {
        self.assert_idle();
        drop(self.configuration);
        self.cluster.finish().await;
    }
}
