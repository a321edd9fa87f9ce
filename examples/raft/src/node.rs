//! A node of the cluster: the engine, and what surrounds it.

mod breaker;
mod budget;
mod calls;
mod forward;
mod leadership;
mod membership;
mod meters;
mod proposals;
mod reads;
mod routines;
mod status;

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gorums::ServerBuilder;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{Config, SnapshotPolicy};
use openraft_rt::deterministic_rng::DeterministicRng;
use openraft_rt_tokio::TokioRuntime;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::breaker::{CircuitBreaker, Leader, Pass, Refused, Verdict};
pub use self::budget::RetryBudget;
pub use self::calls::Write;
use self::forward::Forwarder;
pub(crate) use self::forward::MARGIN;
pub use self::leadership::Leadership;
use self::meters::Meters;
use self::proposals::Proposals;
use self::reads::ReadRounds;
pub use self::routines::LeaderContext;
use crate::error::Error;
use crate::network::{Connect, Network, PeerService, Peers};
use crate::options::{Defect, Options};
use crate::proto::{AdminServer, KvServer, PeerServer};
use crate::service::{AdminService, KvService};
use crate::sessions::Sessions;
use crate::storage::{Application, Stage, StateReader, Storage};
use crate::types::Raft;

/// A node of the cluster. Handles are cheap to clone; the node runs until it is [shut down](Self::shutdown), or its engine
/// stops because the disk failed.
///
/// It does not listen itself: its [services](Self::add_services) are served by a gorums server, beside others if need be.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    options: Options,
    raft: Raft,
    reader: StateReader,
    stage: Stage,
    /// Leadership is to be handed over, and until when that may happen.
    handing_over: Mutex<Option<Instant>>,
    peers: Arc<Peers>,
    leadership: watch::Receiver<Leadership>,
    proposals: Proposals,
    reads: ReadRounds,
    forwarder: Forwarder,
    /// Of writes that came without one.
    sessions: Sessions,
    /// A permit for each call of a client.
    calls: Semaphore,
    meters: Meters,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

impl Node {
    /// Starts a node on what is in its storage. One with an empty storage waits to be [initialized](Self::initialize), or to
    /// be added by a cluster. `connect` has the options with which it connects to the others, such as TLS; `application` is
    /// the state machine beside the store.
    ///
    /// # Errors
    ///
    /// The storage cannot be used, or belongs to another node, or the options make no sense.
    pub async fn start(
        options: Options,
        storage: Storage,
        connect: impl Fn(gorums::ConfigurationBuilder) -> gorums::ConfigurationBuilder + Send + Sync + 'static,
        application: impl Application,
    ) -> Result<Self, Error> {
        let config = config(&options).validate().map_err(|error| Error::Invalid(error.to_string()))?;
        let storage = if options.has(Defect::UnsyncedLog) { storage.unsynced() } else { storage };
        let (log, machine) = storage.open(options.id, Arc::new(application))?;
        let (reader, stage) = (machine.reader(), machine.stage());
        let connect: Connect = Arc::new(connect);
        let peers = Arc::new(Peers::new(connect, options.heartbeat_interval));
        let network = Network::new(peers.clone(), &options);
        let starting = Raft::new(options.id, Arc::new(config), network, log, machine);
        let raft = DeterministicRng::<TokioRuntime>::scope(options.seed, starting).await;
        let raft = raft.map_err(|fatal| Error::Stopped(fatal.to_string()))?;

        let (observed, leadership) = watch::channel(Leadership::Following { leader: None, term: 0 });
        let inner = Arc::new(Inner {
            calls: Semaphore::new(options.max_calls.max(1)),
            forwarder: Forwarder::new(peers.clone(), leadership.clone()),
            proposals: Proposals::default(),
            reads: ReadRounds::default(),
            sessions: Sessions::new(options.seed ^ 1),
            meters: Meters::default(),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            options,
            raft,
            reader,
            stage,
            handing_over: Mutex::default(),
            peers,
            leadership,
        });
        let node = Self { inner };
        node.spawn_parts(observed);
        Ok(node)
    }

    /// Starts the tasks that a node consists of.
    fn spawn_parts(&self, observed: watch::Sender<Leadership>) {
        let Inner { raft, options, .. } = &*self.inner;
        let timeout = options.election_timeout;
        self.spawn(leadership::observe(raft.clone(), timeout, observed));
        let inner = self.inner.clone();
        self.spawn(async move { inner.reads.run(inner.raft.clone(), timeout).await });
        let inner = self.inner.clone();
        self.spawn(async move { inner.proposals.run(inner.raft.clone()).await });
        self.spawn(membership::forget_former(raft.clone(), self.inner.peers.clone()));
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.inner.tasks.spawn(self.inner.stopping.clone().run_until_cancelled_owned(task));
    }

    /// Offers the services of this node: to its peers, to clients, and to administrators. With `certified`, only whoever
    /// has the certificate of a node is served as a peer.
    #[must_use]
    pub fn add_services(&self, server: ServerBuilder, certified: bool) -> ServerBuilder {
        let peer = PeerService::new(self.inner.raft.clone(), self.inner.stage.clone(), certified);
        // Calls beyond the limit are to be refused by their name, and not to wait unseen.
        let requests = self.inner.options.max_calls.saturating_add(1024);
        server
            .max_concurrent_requests(requests)
            .add_service(PeerServer::new(peer))
            .add_service(KvServer::new(KvService::new(self.clone())))
            .add_service(AdminServer::new(AdminService::new(self.clone())))
    }

    /// The id of this node.
    pub fn id(&self) -> u32 {
        self.inner.options.id
    }

    /// The options it was started with.
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// Who leads, as this node sees it, now and from now on.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.clone()
    }

    /// Runs a routine whenever this node leads and a quorum has confirmed it within the election timeout, until the node is
    /// shut down. Its future is dropped at once when leadership is lost, or is not confirmed any more.
    ///
    /// A routine that returns runs again when the node leads the next time; one that panics is started again after a pause
    /// of 100 ms, doubling to 5 s. What the routine does outside of this process may still overlap with the routine of the
    /// next leader for a moment: clocks differ, and so do schedulers. What must not overlap goes through the log.
    ///
    /// ```no_run
    /// # async fn example(node: raft::Node) {
    /// node.on_leadership("sweeper", |leader| async move {
    ///     while leader.is_current() {
    ///         // ..
    ///         tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    ///     }
    /// });
    /// # }
    /// ```
    pub fn on_leadership<F, Fut>(&self, name: &'static str, routine: F)
    where
        F: Fn(LeaderContext) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.spawn(routines::run(self.clone(), name, self.leadership(), routine));
    }

    /// Stops the node: its routines and tasks first, then the engine, with its files closed in good order, and then the
    /// connections to the peers. Calls that are in progress fail.
    pub async fn shutdown(&self) {
        let Inner { stopping, tasks, raft, peers, .. } = &*self.inner;
        stopping.cancel();
        tasks.close();
        tasks.wait().await;
        self.inner.reads.close();
        self.inner.proposals.close();
        if let Err(error) = raft.shutdown().await {
            tracing::warn!("the engine did not stop in good order: {error}");
        }
        peers.close();
    }

    /// Waits until the engine stops by itself, because it could not read or write its disk, and says why.
    pub async fn failed(&self) -> String {
        let mut metrics = self.inner.raft.metrics();
        loop {
            if let Err(fatal) = &metrics.borrow_watched().running_state {
                return fatal.to_string();
            }
            if metrics.changed().await.is_err() {
                return "it was shut down".to_owned();
            }
        }
    }
}

fn config(options: &Options) -> Config {
    let ms = |duration: Duration| duration.as_millis() as u64;
    Config {
        cluster_name: "raft".to_owned(),
        heartbeat_interval: ms(options.heartbeat_interval),
        election_timeout_min: ms(options.election_timeout),
        election_timeout_max: ms(options.election_timeout) * 2,
        install_snapshot_timeout: ms(options.snapshot_timeout),
        snapshot_max_chunk_size: options.snapshot_chunk as u64,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(options.compact_every),
        max_in_snapshot_log_to_keep: options.keep_entries,
        purge_batch_size: 256,
        replication_lag_threshold: options.compact_every.saturating_add(options.keep_entries),
        // A node that was cut off does not disturb the others when it is back.
        enable_pre_vote: Some(true),
        // Leading on without an election, as the engine would let a leader that was restarted, loses writes: those that the
        // followers had on disk, and so were committed and acknowledged, before this node had.
        enable_leader_restore: Some(false),
        backoff: "50ms 100ms 200ms ..1s".to_owned(),
        ..Config::default()
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("id", &self.id()).finish_non_exhaustive()
    }
}
