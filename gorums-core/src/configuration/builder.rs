//! Configurations from addresses.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tonic::metadata::MetadataMap;

use crate::call::CallOptions;
use crate::channel::callbacks::Callbacks;
use crate::channel::link::Backoff;
use crate::channel::queue::QueueLimits;
use crate::channel::{Channel, Connectivity, local, outbound};
use crate::configuration::Configuration;
use crate::error::{ConfigError, Fault, NodeError, NodeErrorKind};
use crate::id::{AsNodeId, Initiator, NodeId};
use crate::node::Node;
use crate::observe::trace::Propagator;
use crate::pool::{Pool, PoolOptions};
use crate::server::ServerBuilder;
use crate::server::registry::Registry;
use crate::server::services::Services;
use crate::transport::Connector;

/// A node that is to be added.
pub(crate) struct NodeSpec {
    id: u32,
    place: Place,
}

/// Where a node is.
enum Place {
    At(String),
    /// In this process, which may have a server with this registry.
    Here(Services, Option<Arc<Registry>>),
}

/// What stands for the address of the node in this process.
const LOCAL: &str = "local";

impl fmt::Debug for NodeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.id, self.address())
    }
}

impl NodeSpec {
    pub(crate) fn new(id: u32, address: String) -> Self {
        Self { id, place: Place::At(address) }
    }

    fn address(&self) -> &str {
        match &self.place {
            Place::At(address) => address,
            Place::Here(..) => LOCAL,
        }
    }
}

/// Builds a [`Configuration`]: the nodes, and what holds for all calls on them.
///
/// ```no_run
/// # async fn run() -> Result<(), gorums_core::ConfigError> {
/// use gorums_core::Configuration;
///
/// let configuration = Configuration::builder()
///     .nodes(["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"])
///     .connect_lazy()?;
/// # Ok(()) }
/// ```
#[must_use]
pub struct ConfigurationBuilder {
    nodes: Vec<NodeSpec>,
    options: PoolOptions,
}

impl ConfigurationBuilder {
    pub(crate) fn new() -> Self {
        Self { nodes: Vec::new(), options: PoolOptions::default() }
    }

    /// Adds nodes by their addresses, of the form `host:port`. They get the ids after the highest so far,
    /// in order: 1, 2, 3, ..
    pub fn nodes<A: ToString>(mut self, addresses: impl IntoIterator<Item = A>) -> Self {
        let highest = self.nodes.iter().map(|node| node.id).max().unwrap_or(0);
        let ids = highest.saturating_add(1)..;
        self.nodes.extend(ids.zip(addresses).map(|(id, address)| NodeSpec::new(id, address.to_string())));
        self
    }

    /// Adds a node by its id, from 1 up, and its address.
    #[expect(clippy::needless_pass_by_value, reason = "strings and socket addresses are given as they are")]
    pub fn node(mut self, id: impl AsNodeId, address: impl ToString) -> Self {
        self.nodes.push(NodeSpec::new(id.number(), address.to_string()));
        self
    }

    /// Adds nodes by their ids, from 1 up, and their addresses.
    pub fn node_map<I: AsNodeId, A: ToString>(self, nodes: impl IntoIterator<Item = (I, A)>) -> Self {
        nodes.into_iter().fold(self, |builder, (id, address)| builder.node(id, address))
    }

    /// Adds this process as a node, with an id from 1 up: calls to it are handled by these services within
    /// the process, in order and with release as over a connection.
    pub fn local_node(mut self, id: impl AsNodeId, services: ServerBuilder) -> Self {
        let services = services.into_services();
        self.nodes.push(NodeSpec { id: id.number(), place: Place::Here(services, None) });
        self
    }

    /// Adds the node that this process is in its system, and offers its services to the other nodes.
    pub(crate) fn member(mut self, id: NodeId, services: &Services, registry: &Arc<Registry>) -> Self {
        let place = Place::Here(services.clone(), Some(registry.clone()));
        self.nodes.push(NodeSpec { id: id.get(), place });
        let (services, registry) = (services.clone(), Some(registry.clone()));
        self.options.callbacks = Some(Callbacks { services, registry });
        self
    }

    /// Whether nodes were given.
    pub(crate) fn has_nodes(&self) -> bool {
        !self.nodes.is_empty()
    }

    /// The deadline of calls that do not give one; 5 s by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = timeout;
        self
    }

    /// How much may wait to be written to one node; 256 requests and 1 MiB by default.
    pub fn queue_limits(mut self, limits: QueueLimits) -> Self {
        self.options.limits = limits;
        self
    }

    /// How a lost connection is dialled again; after up to 100 ms, doubling to 5 s, by default.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.options.backoff = backoff;
        self
    }

    /// How long one attempt to connect may take; 2 s by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = timeout;
        self
    }

    /// Pings each node at this interval, also when idle, and gives a connection up that shows no sign of life within
    /// `timeout`: no answer, nor other bytes, nor progress with what is being sent. 10 s and 3 s by default.
    pub fn keepalive(mut self, interval: Duration, timeout: Duration) -> Self {
        self.options.transport.keepalive_interval = interval;
        self.options.transport.keepalive_timeout = timeout;
        self
    }

    /// The longest message, in bytes; 4 MiB by default. A longer request fails as `OUT_OF_RANGE` without being sent, a longer
    /// reply as [`Decode`](NodeErrorKind::Decode).
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.options.transport.max_message_size = bytes;
        self
    }

    /// How long closing waits for what is queued to be written; 1 s by default.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.options.drain_timeout = timeout;
        self
    }

    /// Metadata for every node, given once when a connection is made.
    pub fn metadata(mut self, metadata: MetadataMap) -> Self {
        self.options.headers = metadata.into_headers();
        self
    }

    /// What holds for all calls that do not say otherwise, rpcs included: deadline, retries, priority, and what happens when a
    /// node is down or its queue full. Called again, the newer options are stronger.
    pub fn call_options(mut self, options: CallOptions) -> Self {
        let options = match self.options.call_options.as_deref() {
            Some(others) => options.or(others),
            None => options,
        };
        self.options.call_options = Some(Arc::new(options));
        self
    }

    /// Adds the context of each call's span to its metadata, so that a tracing system sees the handlers of other processes as
    /// its children.
    pub fn propagator(mut self, propagator: impl Propagator) -> Self {
        self.options.propagator = Some(Arc::new(propagator));
        self
    }

    /// Publishes metrics through the facade of the crate [`metrics`], under this name: the label `configuration`. What
    /// happens in calls is recorded at once; gauges, and counters of nodes, are published at the interval, when the
    /// configuration is closed, and when a node is gone. The metrics are listed in the guide, under "Observability"; their
    /// names are stable.
    ///
    /// The recorder has to be installed before the configuration is made.
    #[cfg(feature = "metrics")]
    pub fn metrics(mut self, name: impl Into<String>, interval: Duration) -> Self {
        self.options.metrics = Some((name.into(), interval));
        self
    }

    /// Offers services to the nodes, which can call them back over the connections that this configuration makes. The
    /// options of the builder other than its services and interceptors do not matter, and ordinary gRPC services of it are not
    /// offered.
    ///
    /// A server finds this client among its [clients](crate::ServerHandle::clients), and a handler as the
    /// [caller](crate::ServerContext::caller). Only what is offered here can be called.
    pub fn serve_callbacks(mut self, services: ServerBuilder) -> Self {
        self.options.callbacks = Some(Callbacks { services: services.into_services(), registry: None });
        self
    }

    /// Connects in another way than over TCP.
    pub fn connector(mut self, connector: impl Connector) -> Self {
        self.options.connector = Arc::new(connector);
        self
    }

    /// Encrypts the connections and verifies the servers, and shows them who this client is if `tls` has an identity.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: crate::ClientTls) -> Self {
        self.options.security = crate::transport::ClientSecurity::Tls(tls);
        self
    }

    /// Draws the jitter of the back-off from a seed, so that a test can be repeated exactly. Without it, every
    /// configuration draws its own.
    #[cfg(feature = "testing")]
    pub fn jitter_seed(mut self, seed: u64) -> Self {
        self.options.jitter_seed = Some(seed);
        self
    }

    /// Makes the configuration at once. Each node is dialled when it is first used.
    ///
    /// # Errors
    ///
    /// Tells what is wrong with the nodes that were given, or that there is no Tokio runtime.
    pub fn connect_lazy(self) -> Result<Configuration, ConfigError> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(ConfigError::NoRuntime);
        }
        if self.nodes.is_empty() {
            return Err(ConfigError::NoNodes);
        }
        let pool = Pool::new(Initiator::Client, self.options);
        let nodes = add_nodes(&pool, self.nodes)?;
        #[cfg(feature = "metrics")]
        if let Some((_, every)) = &pool.options().metrics {
            let (pool, closing) = (Arc::downgrade(&pool), pool.closing().clone());
            tokio::spawn(crate::observe::metrics::publish_client(pool, closing, *every));
        }
        Ok(Configuration::from_nodes(pool, nodes))
    }

    /// Makes the configuration and waits until every node is connected.
    ///
    /// # Errors
    ///
    /// As [`connect_lazy`](Self::connect_lazy), and [`ConfigError::Connect`] if a node cannot be reached. A
    /// configuration that has to work with some nodes down is made with `connect_lazy`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the connections that were made.
    pub async fn connect(self) -> Result<Configuration, ConfigError> {
        let configuration = self.connect_lazy()?;
        configuration.wait_connected().await?;
        Ok(configuration)
    }
}

impl fmt::Debug for ConfigurationBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigurationBuilder").field("nodes", &self.nodes).finish_non_exhaustive()
    }
}

/// Makes nodes in a pool, next to those that are in use, after all of them were found to be good.
pub(crate) fn add_nodes(pool: &Arc<Pool>, specs: Vec<NodeSpec>) -> Result<Vec<Node>, ConfigError> {
    if pool.is_inbound() {
        return Err(ConfigError::Inbound);
    }
    let _adding = pool.adding();
    let in_use: Vec<Node> =
        pool.nodes().iter().filter_map(|entry| entry.value().upgrade()).map(Node::from_handle).collect();
    let mut seen: Vec<(NodeId, &str)> = in_use.iter().map(|node| (node.id(), node.address())).collect();
    for spec in &specs {
        let address = spec.address();
        let id = NodeId::new(spec.id).ok_or_else(|| ConfigError::ZeroId { address: address.to_owned() })?;
        if let Place::At(address) = &spec.place {
            check_address(address)?;
        }
        for &(other, taken) in &seen {
            if other == id {
                let (first, second) = (taken.to_owned(), address.to_owned());
                return Err(ConfigError::DuplicateId { id, first, second });
            }
            if address == taken {
                let address = address.to_owned();
                return Err(ConfigError::DuplicateAddress { address, first: other, second: id });
            }
        }
        seen.push((id, address));
    }
    let ids: Vec<_> = seen[in_use.len()..].iter().map(|&(id, _)| id).collect();
    Ok(ids.into_iter().zip(specs).map(|(id, spec)| open(pool, id, spec)).collect())
}

fn open(pool: &Arc<Pool>, id: NodeId, spec: NodeSpec) -> Node {
    let (address, limits) = (spec.address().into(), pool.options().limits);
    let channel = match spec.place {
        Place::At(_) => {
            let channel = Channel::new(pool.clone(), id, address, limits);
            pool.spawn(outbound::run(channel.clone()));
            channel
        }
        Place::Here(services, registry) => {
            let channel = Channel::local(pool.clone(), id, address, limits);
            pool.spawn(local::run(channel.clone(), services, registry));
            channel
        }
    };
    let node = Node::new(channel);
    #[cfg(feature = "metrics")]
    if let Some(metrics) = pool.metrics() {
        metrics.watch(&node);
    }
    node
}

/// Whether an address has the form `host:port`.
fn check_address(address: &str) -> Result<(), ConfigError> {
    let bad = |reason| Err(ConfigError::BadAddress { address: address.to_owned(), reason });
    if address.contains("://") {
        return bad("it has a scheme: only `host:port` is wanted");
    }
    let Some((host, port)) = address.rsplit_once(':') else {
        return bad("it has no port");
    };
    match port.parse::<u16>() {
        Ok(0) => return bad("port 0 cannot be dialled"),
        Ok(_) => {}
        Err(_) => return bad("its port is not a number from 1 to 65535"),
    }
    if host.is_empty() {
        return bad("it has no host");
    }
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return bad("an IPv6 address needs brackets");
    }
    match address.parse::<http::uri::Authority>() {
        Ok(authority) if authority.as_str().contains('@') => bad("it must not have a user"),
        Ok(_) => Ok(()),
        Err(_) => bad("its host is not a name or an IP address"),
    }
}

/// Waits until each node is connected or known not to be.
pub(crate) async fn wait_connected(nodes: &[Node]) -> Result<(), ConfigError> {
    let errors: Vec<NodeError> = join_all(nodes.iter().map(wait_one)).await.into_iter().flatten().collect();
    if errors.is_empty() { Ok(()) } else { Err(ConfigError::Connect(errors)) }
}

async fn wait_one(node: &Node) -> Option<NodeError> {
    let mut connectivity = node.channel().connectivity();
    node.channel().want();
    let error =
        |kind, source| Some(Fault::unsent(kind, source).at(node.id(), node.channel().address().clone()));
    // A node that is down already has until its next dial.
    let mut was_down = matches!(*connectivity.borrow(), Connectivity::Down(_));
    loop {
        match &*connectivity.borrow_and_update() {
            Connectivity::Up => return None,
            Connectivity::Closed => return error(NodeErrorKind::Closed, None),
            Connectivity::Down(source) if !was_down => {
                return error(NodeErrorKind::Unavailable, Some(source.clone()));
            }
            Connectivity::Down(_) | Connectivity::Waiting => was_down = false,
        }
        if connectivity.changed().await.is_err() {
            return error(NodeErrorKind::Closed, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["10.0.0.1:80", "localhost:65535", "[::1]:8080", "a-b.example.org:1"] {
            assert!(check_address(good).is_ok(), "{good}");
        }
        for (bad, reason) in [
            ("", "it has no port"),
            ("localhost", "it has no port"),
            ("localhost:", "its port is not a number from 1 to 65535"),
            ("localhost:http", "its port is not a number from 1 to 65535"),
            ("localhost:65536", "its port is not a number from 1 to 65535"),
            ("localhost:0", "port 0 cannot be dialled"),
            (":80", "it has no host"),
            ("http://localhost:80", "it has a scheme: only `host:port` is wanted"),
            ("::1:80", "an IPv6 address needs brackets"),
            ("a b:80", "its host is not a name or an IP address"),
            ("me@host:80", "it must not have a user"),
        ] {
            match check_address(bad) {
                Err(ConfigError::BadAddress { address, reason: found }) => {
                    assert_eq!((address.as_str(), found), (bad, reason));
                }
                other => panic!("{bad:?}: {other:?}"),
            }
        }
    }
}
