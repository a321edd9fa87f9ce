//! The oracle in a Raft node.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use gorums::{ConfigurationBuilder, ServerBuilder};
use raft::Storage;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::allocator::{Allocator, Grant, Phase};
use crate::clock::{Clock, SystemClock};
use crate::error::Error;
use crate::faults::{FaultsService, FaultyStore};
use crate::mark::MarkMachine;
use crate::metrics::Meters;
use crate::oracle::{Options, Oracle};
use crate::proto::{FaultsServer, TsoServer};
use crate::service::TsoService;
use crate::store::RaftStore;
use crate::timestamp::Timestamp;

/// How long one access to the mark may take, before it is tried again.
const ACCESS: Duration = Duration::from_secs(1);

/// A defect to order: what the stress test has to catch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// A new leader grants what an earlier one may have granted.
    BelowTheFloor,
}

/// A node of the cluster that serves timestamps while it leads. Handles are cheap to clone.
#[derive(Clone, Debug)]
pub struct TsoNode {
    raft: raft::Node,
    allocator: Arc<Allocator>,
    clock: Arc<SystemClock>,
    failures: Arc<AtomicU32>,
    meters: Meters,
    oracle: AbortHandle,
}

impl TsoNode {
    /// Starts a node on what is in its storage: see [`raft::Node::start`].
    ///
    /// # Errors
    ///
    /// Those of the Raft node.
    pub async fn start(
        raft: raft::Options,
        storage: Storage,
        connect: impl Fn(ConfigurationBuilder) -> ConfigurationBuilder + Send + Sync + 'static,
        options: Options,
        defect: Option<Defect>,
    ) -> Result<Self, raft::Error> {
        let raft = raft::Node::start(raft, storage, connect, MarkMachine).await?;
        let (clock, failures) = (Arc::new(SystemClock::default()), Arc::<AtomicU32>::default());
        let allocator = Arc::new(Allocator::new(options.max_ahead));
        let meters = Meters::default();
        let store = FaultyStore { store: RaftStore::new(raft.clone(), ACCESS), failures: failures.clone() };
        let oracle = Oracle::new(store, clock.clone(), allocator.clone(), options);
        let oracle = oracle.with(meters.clone(), defect).run(raft.leadership());
        let oracle = tokio::spawn(oracle).abort_handle();
        Ok(Self { raft, allocator, clock, failures, meters, oracle })
    }

    /// Offers the services of this node, those of the Raft node among them; and with `faults`, a service that orders faults,
    /// which is for tests.
    #[must_use]
    pub fn add_services(&self, server: ServerBuilder, certified: bool, faults: bool) -> ServerBuilder {
        let server = self.raft.add_services(server, certified);
        let server = server.add_service(TsoServer::new(TsoService(self.clone())));
        if !faults {
            return server;
        }
        let (failures, clock) = (self.failures.clone(), self.clock.clone());
        server.add_service(FaultsServer::new(FaultsService { failures, clock }))
    }

    /// The Raft node.
    pub fn raft(&self) -> &raft::Node {
        &self.raft
    }

    /// Whether it serves, now and from now on.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.allocator.phase()
    }

    /// Grants so many timestamps.
    ///
    /// # Errors
    ///
    /// Those of [`Allocator::grant`]; and [`Error::NotServing`] also on a node that serves and is not confirmed at this very
    /// moment, as a process that was stopped and does not know yet that another one leads.
    pub fn grant(&self, count: u32) -> Result<Grant, Error> {
        let granted = if self.raft.is_confirmed() {
            self.allocator.grant(count, self.clock.now_ms())
        } else {
            let leader =
                self.raft.leadership().borrow().other().map(|(_, leader)| crate::store::hint(leader));
            Err(Error::NotServing { leader })
        };
        match &granted {
            Ok(_) => {
                self.meters.calls.inc();
                self.meters.granted.inc_by(count.into());
            }
            Err(_) => drop(self.meters.refused.inc()),
        }
        granted
    }

    pub(crate) fn bounds(&self) -> Option<(Timestamp, Timestamp)> {
        self.allocator.bounds()
    }

    /// The metrics of the oracle, in the text format of `OpenMetrics`, without the end mark: those of the node follow.
    pub fn metrics(&self) -> String {
        self.meters.text(&self.allocator.phase().borrow())
    }

    /// Stops serving, and then the Raft node.
    pub async fn shutdown(&self) {
        self.oracle.abort();
        self.raft.shutdown().await;
    }
}
