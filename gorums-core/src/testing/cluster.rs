//! A cluster of servers for a test, which fails the test that leaves something behind.

use std::fmt::Write;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::configuration::{Configuration, ConfigurationBuilder};
use crate::error::{ConfigError, ServerError};
use crate::id::{AsNodeId, NodeId};
use crate::pool::Pool;
use crate::server::{ServerBuilder, ServerHandle};
use crate::testing::{Faults, Network, Proxy};

/// How long what has been closed may take to be gone.
const LIMIT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Some servers with a faulty link in front of each, in memory or over TCP on the loopback address.
///
/// [`finish`](Self::finish) closes everything and panics if the test has left calls in flight, handlers, connections
/// or tasks behind.
///
/// ```
/// # use gorums_core::{Methods, Service};
/// # struct Storage;
/// # impl Service for Storage { const NAME: &'static str = "Storage"; fn register(self, _: &mut Methods) {} }
/// use gorums_core::testing::{Cluster, Traffic};
/// use gorums_core::Server;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let mut cluster = Cluster::in_memory(3, |_id| Server::builder().add_service(Storage)).await;
/// let configuration = cluster.configuration();
/// cluster.faults(3).set_both(Traffic::Hold);
/// // .. calls
/// cluster.restart(2).await;
/// // .. more calls
/// # configuration.wait_connected().await.ok();
/// drop(configuration);
/// cluster.finish().await;
/// # }
/// ```
#[must_use = "call `finish` at the end of the test"]
pub struct Cluster {
    server: Box<dyn Fn(NodeId) -> ServerBuilder + Send + Sync>,
    members: Vec<Member>,
    network: Option<Network>,
    pools: Vec<Weak<Pool>>,
    /// Tasks of the runtime before the cluster was started.
    tasks_before: usize,
}

struct Member {
    id: NodeId,
    way: Way,
    running: Option<Running>,
}

/// How a node is reached.
enum Way {
    Memory { address: String, faults: Faults },
    Tcp(Proxy),
}

struct Running {
    handle: ServerHandle,
    task: JoinHandle<Result<(), ServerError>>,
}

impl Way {
    fn address(&self) -> String {
        match self {
            Self::Memory { address, .. } => address.clone(),
            Self::Tcp(proxy) => proxy.address().to_string(),
        }
    }

    fn faults(&self) -> &Faults {
        match self {
            Self::Memory { faults, .. } => faults,
            Self::Tcp(proxy) => proxy,
        }
    }
}

impl Cluster {
    /// Starts servers with ids from 1 to `size` on a network in memory: with a paused clock, timeouts and back-off
    /// take no time. `server` is called for each start of a node.
    pub async fn in_memory(
        size: u32,
        server: impl Fn(NodeId) -> ServerBuilder + Send + Sync + 'static,
    ) -> Self {
        let network = Network::new();
        let mut cluster = Self::empty(Some(network.clone()), server);
        for id in (1..=size).filter_map(NodeId::new) {
            let address = format!("node{id}:1");
            let faults = network.listen(address.as_str()).faults();
            cluster.members.push(Member { id, way: Way::Memory { address, faults }, running: None });
            cluster.start(id).await;
        }
        cluster
    }

    /// Starts servers with ids from 1 to `size`, each on a free port behind a [`Proxy`]. `server` is called for each
    /// start of a node.
    ///
    /// # Panics
    ///
    /// If no port can be had.
    pub async fn over_tcp(
        size: u32,
        server: impl Fn(NodeId) -> ServerBuilder + Send + Sync + 'static,
    ) -> Self {
        let mut cluster = Self::empty(None, server);
        for id in (1..=size).filter_map(NodeId::new) {
            let proxy =
                Proxy::to_nowhere().await.unwrap_or_else(|error| panic!("no port for a proxy: {error}"));
            cluster.members.push(Member { id, way: Way::Tcp(proxy), running: None });
            cluster.start(id).await;
        }
        cluster
    }

    fn empty(
        network: Option<Network>,
        server: impl Fn(NodeId) -> ServerBuilder + Send + Sync + 'static,
    ) -> Self {
        let tasks_before = alive_tasks();
        Self { server: Box::new(server), members: Vec::new(), network, pools: Vec::new(), tasks_before }
    }

    /// A configuration of all nodes, connected lazily, with the defaults.
    ///
    /// # Panics
    ///
    /// If the cluster has no nodes.
    pub fn configuration(&mut self) -> Configuration {
        self.configure(|builder| builder).unwrap_or_else(|error| panic!("no configuration: {error}"))
    }

    /// A configuration of all nodes, connected lazily, with other options.
    pub fn configure(
        &mut self,
        options: impl FnOnce(ConfigurationBuilder) -> ConfigurationBuilder,
    ) -> Result<Configuration, ConfigError> {
        let nodes = self.members.iter().map(|member| (member.id, member.way.address()));
        let mut builder = Configuration::builder().node_map(nodes);
        if let Some(network) = &self.network {
            builder = builder.connector(network.clone());
        }
        let configuration = options(builder).connect_lazy()?;
        self.pools.push(Arc::downgrade(configuration.pool()));
        Ok(configuration)
    }

    /// The nodes' ids and the addresses to reach them at.
    pub fn addresses(&self) -> impl Iterator<Item = (NodeId, String)> + '_ {
        self.members.iter().map(|member| (member.id, member.way.address()))
    }

    /// The faults of the link to a node.
    ///
    /// # Panics
    ///
    /// If there is no such node.
    pub fn faults(&self, id: impl AsNodeId) -> &Faults {
        self.members[self.index(id)].way.faults()
    }

    /// The server of a node; `None` while it is stopped.
    ///
    /// # Panics
    ///
    /// If there is no such node.
    pub fn server(&self, id: impl AsNodeId) -> Option<&ServerHandle> {
        self.members[self.index(id)].running.as_ref().map(|running| &running.handle)
    }

    fn index(&self, id: impl AsNodeId) -> usize {
        let number = id.number();
        let found = self.members.iter().position(|member| member.id.get() == number);
        found.unwrap_or_else(|| panic!("the cluster has no node {number}"))
    }

    /// Starts a node that was stopped; nothing happens if it runs. It has the address that it had.
    ///
    /// # Panics
    ///
    /// If there is no such node, or no port can be had.
    pub async fn start(&mut self, id: impl AsNodeId) {
        let index = self.index(id);
        let member = &mut self.members[index];
        if member.running.is_some() {
            return;
        }
        let builder = (self.server)(member.id);
        let running = match (&member.way, &self.network) {
            (Way::Memory { address, .. }, Some(network)) => {
                let server = builder.on(network.listen(address.as_str()));
                Running { handle: server.handle(), task: tokio::spawn(server.serve()) }
            }
            (Way::Tcp(proxy), _) => {
                let server = builder.bind("127.0.0.1:0").await;
                let server = server.unwrap_or_else(|error| panic!("node {}: {error}", member.id));
                proxy.lead_to(Some(server.local_addr()));
                Running { handle: server.handle(), task: tokio::spawn(server.serve()) }
            }
            (Way::Memory { .. }, None) => unreachable!("a cluster in memory has a network"),
        };
        member.running = Some(running);
    }

    /// Stops a node gracefully.
    ///
    /// # Panics
    ///
    /// If there is no such node.
    pub async fn stop(&mut self, id: impl AsNodeId) {
        if let Some(running) = self.take(id) {
            running.handle.shutdown().await;
            running.ended().await;
        }
    }

    /// Stops a node at once, as if its process was killed: its connections break, its handlers are dropped.
    ///
    /// # Panics
    ///
    /// If there is no such node.
    pub async fn kill(&mut self, id: impl AsNodeId) {
        let id = id.number();
        if let Some(running) = self.take(id) {
            self.faults(id).reset();
            running.handle.abort().await;
            running.ended().await;
        }
    }

    /// Kills a node and starts it again.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub async fn restart(&mut self, id: impl AsNodeId) {
        let id = id.number();
        self.kill(id).await;
        self.start(id).await;
    }

    fn take(&mut self, id: impl AsNodeId) -> Option<Running> {
        let index = self.index(id);
        let member = &mut self.members[index];
        if let Way::Tcp(proxy) = &member.way {
            proxy.lead_to(None);
        }
        member.running.take()
    }

    /// Closes all configurations that were made, and all servers.
    ///
    /// # Panics
    ///
    /// If calls are still in flight; or if handlers, connections or tasks have not ended within 10 s after everything
    /// was closed. The tasks are those of the runtime: the test has to end its own before.
    pub async fn finish(mut self) {
        let mut left = String::new();
        let pools: Vec<_> = self.pools.drain(..).filter_map(|pool| pool.upgrade()).collect();
        let calls: usize = pools.iter().map(|pool| pool.pending().open()).sum();
        left_over(&mut left, calls, "calls in flight");
        for pool in &pools {
            if tokio::time::timeout(LIMIT, pool.close()).await.is_err() {
                left_over(&mut left, pool.tasks(), "tasks of a configuration");
            }
        }
        drop(pools);
        let members = std::mem::take(&mut self.members);
        for Member { id, way, running } in &members {
            let Some(Running { handle, .. }) = running else { continue };
            way.faults().reset();
            let idle = || handle.stats().handlers == 0;
            if !eventually(idle).await {
                left_over(&mut left, handle.stats().handlers, &format!("handlers of node {id}"));
            }
        }
        let mut links = Vec::new();
        for Member { id, way, running } in members {
            if let Some(running) = running {
                running.handle.abort().await;
                running.ended().await;
            }
            links.push((id, way.faults().clone()));
        }
        for (id, faults) in links {
            eventually(|| faults.connections() == 0).await;
            left_over(&mut left, faults.connections(), &format!("connections to node {id}"));
        }
        self.network = None;
        eventually(|| alive_tasks() <= self.tasks_before).await;
        left_over(&mut left, alive_tasks().saturating_sub(self.tasks_before), "tasks of the runtime");
        assert!(left.is_empty(), "the test has left behind:{left}");
    }
}

impl Running {
    /// Waits until serving has come to its end.
    async fn ended(self) {
        match self.task.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => panic!("a server failed: {error}"),
            Err(error) => panic!("a server panicked: {error}"),
        }
    }
}

fn left_over(report: &mut String, count: usize, what: &str) {
    if count > 0 {
        // Writing to a string cannot fail.
        let _ = write!(report, "\n- {count} {what}");
    }
}

async fn eventually(condition: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > LIMIT {
            return false;
        }
        sleep(LOOK_EVERY).await;
    }
    true
}

fn alive_tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.addresses()).finish()
    }
}
