//! Owns what the nodes of related configurations share: the calls in flight, the options, the tasks.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use dashmap::DashMap;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::call::CallOptions;
use crate::channel::Channel;
use crate::channel::callbacks::Callbacks;
use crate::channel::link::Backoff;
use crate::channel::queue::QueueLimits;
use crate::id::{Initiator, NodeId};
use crate::node::Handle;
use crate::observe::trace::Propagator;
use crate::router::pending::PendingTable;
use crate::sync::{Mutex, MutexGuard};
use crate::transport::{ClientSecurity, Connector, TcpConnector, TransportOptions};

/// What holds for all the nodes of a pool unless a call says otherwise.
#[derive(Clone)]
pub(crate) struct PoolOptions {
    /// The deadline of calls that do not give one.
    pub(crate) timeout: Duration,
    pub(crate) limits: QueueLimits,
    pub(crate) backoff: Backoff,
    pub(crate) connect_timeout: Duration,
    /// How long closing waits for what is queued to be written.
    pub(crate) drain_timeout: Duration,
    pub(crate) transport: TransportOptions,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) security: ClientSecurity,
    /// What the nodes may call.
    pub(crate) callbacks: Option<Callbacks>,
    /// Sent with the headers of each stream.
    pub(crate) headers: http::HeaderMap,
    /// What the jitter of the back-off is drawn from; from the operating system if absent.
    pub(crate) jitter_seed: Option<u64>,
    /// What holds for calls that do not say otherwise.
    pub(crate) call_options: Option<Arc<CallOptions>>,
    pub(crate) propagator: Option<Arc<dyn Propagator>>,
    /// The name under which metrics are published, and how often.
    #[cfg(feature = "metrics")]
    pub(crate) metrics: Option<(String, Duration)>,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            limits: QueueLimits::default(),
            backoff: Backoff::default(),
            connect_timeout: Duration::from_secs(2),
            drain_timeout: Duration::from_secs(1),
            transport: TransportOptions::default(),
            connector: Arc::new(TcpConnector),
            security: ClientSecurity::default(),
            callbacks: None,
            headers: http::HeaderMap::new(),
            jitter_seed: None,
            call_options: None,
            propagator: None,
            #[cfg(feature = "metrics")]
            metrics: None,
        }
    }
}

pub(crate) struct Pool {
    pending: PendingTable,
    options: PoolOptions,
    ordinals: AtomicU32,
    /// Held while nodes are added, so that no two get the same id.
    adding: Mutex<()>,
    nodes: DashMap<NodeId, Weak<Handle>>,
    tasks: TaskTracker,
    closing: CancellationToken,
    /// What is not done yet is given up.
    aborting: CancellationToken,
    #[cfg(feature = "metrics")]
    metrics: Option<crate::observe::metrics::Metrics>,
}

impl Pool {
    pub(crate) fn new(initiator: Initiator, options: PoolOptions) -> Arc<Self> {
        Arc::new(Self {
            pending: PendingTable::new(initiator),
            #[cfg(feature = "metrics")]
            metrics: options
                .metrics
                .as_ref()
                .map(|(name, _)| crate::observe::metrics::Metrics::new(name.clone())),
            options,
            ordinals: AtomicU32::new(0),
            adding: Mutex::default(),
            nodes: DashMap::new(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            aborting: CancellationToken::new(),
        })
    }

    /// A pool for tests without connections.
    #[cfg(any(test, feature = "bench"))]
    pub(crate) fn detached() -> Arc<Self> {
        Self::new(Initiator::Client, PoolOptions::default())
    }

    /// Whether this is the pool of a server, whose nodes have connected by themselves.
    pub(crate) fn is_inbound(&self) -> bool {
        self.pending.initiator() == Initiator::Server
    }

    pub(crate) fn pending(&self) -> &PendingTable {
        &self.pending
    }

    pub(crate) fn options(&self) -> &PoolOptions {
        &self.options
    }

    /// What is measured, if anything is.
    #[cfg(feature = "metrics")]
    pub(crate) fn metrics(&self) -> Option<&crate::observe::metrics::Metrics> {
        self.metrics.as_ref()
    }

    pub(crate) fn next_ordinal(&self) -> u32 {
        self.ordinals.fetch_add(1, Relaxed)
    }

    /// To be held from looking at the nodes there are until new ones were added.
    pub(crate) fn adding(&self) -> MutexGuard<'_, ()> {
        self.adding.lock()
    }

    /// The nodes that are still in use somewhere.
    pub(crate) fn nodes(&self) -> &DashMap<NodeId, Weak<Handle>> {
        &self.nodes
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// How many tasks there are.
    #[cfg(feature = "testing")]
    pub(crate) fn tasks(&self) -> usize {
        self.tasks.len()
    }

    /// Resolves when the pool is being closed.
    pub(crate) fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    /// Closes every node: what is queued is written if that is possible within the drain timeout, calls in
    /// flight end as `Closed`, connections are closed, and every task has ended when this returns.
    pub(crate) async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        #[cfg(feature = "metrics")]
        if let Some(metrics) = &self.metrics {
            metrics.publish(self);
        }
        if let Some(callbacks) = &self.options.callbacks {
            callbacks.end();
        }
    }

    /// Resolves when nothing is to be waited for any more.
    pub(crate) fn aborting(&self) -> &CancellationToken {
        &self.aborting
    }

    /// Closes every node at once: what is queued is not written, and calls in flight end as `Closed`.
    pub(crate) async fn abort(&self) {
        self.aborting.cancel();
        self.close().await;
    }

    /// Forgets a node whose last handle is gone, unless its id was given to a newer one.
    pub(crate) fn forget(&self, channel: &Channel) {
        self.nodes.remove_if(&channel.id(), |_, handle| handle.strong_count() == 0);
    }
}

impl Drop for Pool {
    /// Nobody is left to close it, and whoever waits for that, as the task that publishes metrics, would wait on.
    fn drop(&mut self) {
        self.closing.cancel();
    }
}
