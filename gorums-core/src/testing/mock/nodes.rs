//! Fake nodes on a network in memory.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Weak};

use tokio_util::sync::{CancellationToken, DropGuard};

use crate::channel::{Channel, Connectivity};
use crate::configuration::{Configuration, ConfigurationBuilder};
use crate::error::ConfigError;
use crate::id::{AsNodeId, NodeId};
use crate::node::Node;
use crate::pool::Pool;
use crate::server::handler::Service;
use crate::server::{Server, ServerHandle};
use crate::sync::Mutex;
use crate::testing::{Faults, Network};

/// Fake nodes of one service, with ids from 1 up, on a network in memory: a configuration calls them as it calls real ones,
/// and they answer as a test tells them.
///
/// It is the slice of its mocks, in the order of their ids: `nodes[0]` is the node with id 1. Made by the generated mock,
/// as `StorageMock::nodes(3)`. There is no socket and no thread, and nothing takes time: with a current-thread runtime
/// whose clock is paused, a test has one outcome.
///
/// The nodes run until this is dropped.
///
/// ```
/// # // What is generated, by hand.
/// # use gorums_core::{CallType, Configuration, Method, Methods, QuorumCall, QuorumTarget, Service};
/// # use gorums_core::testing::{MockMethod, MockNodes};
/// # static READ: Method<String, u64> = Method::prost("Storage.Read", CallType::QuorumCall);
/// # #[derive(Clone)] struct StorageMock { read: MockMethod<String, u64> }
/// # impl Default for StorageMock { fn default() -> Self { Self { read: MockMethod::new(&READ) } } }
/// # impl StorageMock { fn nodes(size: u32) -> MockNodes<Self> { MockNodes::new(size) } }
/// # impl Service for StorageMock {
/// #     const NAME: &'static str = "Storage";
/// #     fn register(self, methods: &mut Methods) { self.read.register(methods) }
/// # }
/// # trait StorageClient: QuorumTarget {
/// #     fn read(&self, request: String) -> QuorumCall<String, u64, Self::Quorum> {
/// #         QuorumTarget::quorum_call(self, &READ, request)
/// #     }
/// # }
/// # impl StorageClient for Configuration {}
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), gorums_core::QuorumError> {
/// let nodes = StorageMock::nodes(3);
/// nodes[0].read.replies(1);
/// nodes[1].read.answers(|request| Ok(request.len() as u64));
/// let slow = nodes[2].read.hold();
/// assert!([1, 3].contains(&nodes.configuration().read("key".to_owned()).majority().await?));
/// slow.release(Ok(5));
///
/// nodes.stop(2).await;
/// assert!(nodes.configuration().read("key".to_owned()).all().await.is_err());
/// assert_eq!(nodes[1].read.requests(), ["key"]);
/// # Ok(()) }
/// ```
pub struct MockNodes<M> {
    mocks: Vec<M>,
    members: Vec<Member>,
    network: Network,
    configuration: Configuration,
    /// Those of the other configurations.
    pools: Mutex<Vec<Weak<Pool>>>,
}

struct Member {
    id: NodeId,
    address: String,
    faults: Faults,
    running: Mutex<Option<Running>>,
}

struct Running {
    handle: ServerHandle,
    /// Ends the server at once.
    _serving: DropGuard,
}

impl<M: Service + Clone + Default> MockNodes<M> {
    /// Starts nodes with ids from 1 to `size`.
    ///
    /// # Panics
    ///
    /// If there is no Tokio runtime, or `size` is 0.
    pub fn new(size: u32) -> Self {
        let network = Network::new();
        let mocks: Vec<M> = (0..size).map(|_| M::default()).collect();
        let member = |id: NodeId| {
            let address = format!("mock{id}:1");
            let faults = network.listen(address.as_str()).faults();
            Member { id, address, faults, running: Mutex::new(None) }
        };
        let members: Vec<_> = (1..=size).filter_map(NodeId::new).map(member).collect();
        for (member, mock) in members.iter().zip(&mocks) {
            member.start(mock, &network);
        }
        let configuration = builder(&members, &network).connect_lazy();
        let configuration = configuration.unwrap_or_else(|error| panic!("no fake nodes: {error}"));
        Self { mocks, members, network, configuration, pools: Mutex::default() }
    }

    /// The configuration of all nodes: the same one each time.
    pub fn configuration(&self) -> Configuration {
        self.configuration.clone()
    }

    /// Another configuration of all nodes, connected lazily, with other options: another client.
    ///
    /// # Errors
    ///
    /// Those of [`connect_lazy`](ConfigurationBuilder::connect_lazy).
    pub fn configure(
        &self,
        options: impl FnOnce(ConfigurationBuilder) -> ConfigurationBuilder,
    ) -> Result<Configuration, ConfigError> {
        let configuration = options(builder(&self.members, &self.network)).connect_lazy()?;
        self.pools.lock().push(Arc::downgrade(configuration.pool()));
        Ok(configuration)
    }

    /// The mock of a node, by its id.
    ///
    /// # Panics
    ///
    /// If there is no such node.
    pub fn node(&self, id: impl AsNodeId) -> &M {
        &self.mocks[self.index(id)]
    }

    /// The faults of the link to a node: hold, drop or delay what is sent.
    ///
    /// # Panics
    ///
    /// If there is no such node.
    pub fn faults(&self, id: impl AsNodeId) -> &Faults {
        &self.members[self.index(id)].faults
    }

    /// Stops a node as if its process was killed: connections break, handlers are dropped, and calls on it fail as
    /// [`Unavailable`](crate::NodeErrorKind::Unavailable). Its mock keeps what it was told, and what it was asked. Nothing
    /// happens to one that is stopped.
    ///
    /// # Panics
    ///
    /// If there is no such node.
    pub async fn stop(&self, id: impl AsNodeId) {
        let member = &self.members[self.index(id)];
        let Some(running) = member.running.lock().take() else { return };
        member.faults.reset();
        running.handle.abort().await;
        drop(running);
        for channel in self.channels(member.id) {
            wait_until(&channel, |state| !matches!(state, Connectivity::Up)).await;
        }
    }

    /// Starts a node that was stopped; configurations that were connected to it are so again. Nothing happens to one that
    /// runs.
    ///
    /// # Panics
    ///
    /// If there is no such node.
    pub async fn start(&self, id: impl AsNodeId) {
        let index = self.index(id);
        let member = &self.members[index];
        if !member.start(&self.mocks[index], &self.network) {
            return;
        }
        for channel in self.channels(member.id) {
            if channel.down_because().is_some() {
                channel.sighted();
                channel.want();
                let there = |state: &Connectivity| matches!(state, Connectivity::Up | Connectivity::Closed);
                wait_until(&channel, there).await;
            }
        }
    }

    /// The channels of all configurations to a node.
    fn channels(&self, id: NodeId) -> Vec<Arc<Channel>> {
        let others = self.pools.lock().iter().filter_map(Weak::upgrade).collect::<Vec<_>>();
        let pools = [self.configuration.pool().clone()].into_iter().chain(others);
        let handles = pools.filter_map(|pool| pool.nodes().get(&id).and_then(|handle| handle.upgrade()));
        handles.map(|handle| Node::from_handle(handle).channel().clone()).collect()
    }
}

impl<M> MockNodes<M> {
    fn index(&self, id: impl AsNodeId) -> usize {
        let number = id.number();
        let found = self.members.iter().position(|member| member.id.get() == number);
        found.unwrap_or_else(|| panic!("there is no fake node {number}"))
    }
}

impl Member {
    /// Whether it did not run before.
    fn start<M: Service + Clone>(&self, mock: &M, network: &Network) -> bool {
        let mut running = self.running.lock();
        if running.is_some() {
            return false;
        }
        let server = Server::builder().add_service(mock.clone()).on(network.listen(self.address.as_str()));
        let handle = server.handle();
        let serving = CancellationToken::new();
        tokio::spawn(serving.clone().run_until_cancelled_owned(server.serve()));
        *running = Some(Running { handle, _serving: serving.drop_guard() });
        true
    }
}

fn builder(members: &[Member], network: &Network) -> ConfigurationBuilder {
    let nodes = members.iter().map(|member| (member.id, member.address.clone()));
    Configuration::builder().node_map(nodes).connector(network.clone())
}

async fn wait_until(channel: &Channel, holds: impl Fn(&Connectivity) -> bool) {
    // An error means that there is no sender, which the channel has.
    let _ = channel.connectivity().wait_for(holds).await;
}

impl<M> Deref for MockNodes<M> {
    type Target = [M];

    fn deref(&self) -> &[M] {
        &self.mocks
    }
}

impl<'a, M> IntoIterator for &'a MockNodes<M> {
    type Item = &'a M;
    type IntoIter = std::slice::Iter<'a, M>;

    fn into_iter(self) -> Self::IntoIter {
        self.mocks.iter()
    }
}

impl<M> fmt::Debug for MockNodes<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.members.iter().map(|member| (member.id, member.running.lock().is_some()));
        f.debug_struct("MockNodes").field("running", &nodes.collect::<Vec<_>>()).finish_non_exhaustive()
    }
}
