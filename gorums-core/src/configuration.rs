//! A configuration: the nodes that calls are made on.

mod algebra;
mod builder;
mod order;
mod scope;
mod watch;

use std::fmt;
use std::sync::Arc;

pub use self::builder::ConfigurationBuilder;
pub use self::order::{id, last_error, latency};
pub use self::scope::{Decided, NodeTarget, QuorumConfiguration, QuorumTarget, Undecided};
use crate::call::CallOptions;
use crate::call::tally::Quorum;
use crate::error::ConfigError;
use crate::id::{AsNodeId, NodeId};
use crate::node::Node;
use crate::pool::Pool;

/// An immutable, ordered set of nodes that calls are made on.
///
/// Cheap to clone. Configurations that are made from one another share their nodes' connections. A node's
/// connection closes when nothing refers to the node any more.
///
/// Two configurations are equal if they have the same nodes, in whatever order.
#[derive(Clone)]
pub struct Configuration {
    members: Arc<Members>,
}

/// The nodes of a configuration, and how to find them.
pub(crate) struct Members {
    pool: Arc<Pool>,
    nodes: Vec<Node>,
    /// Ordinals and the indices of their nodes, sorted by ordinal.
    by_ordinal: Vec<(u32, usize)>,
    /// What holds for calls that do not say otherwise.
    call_options: Option<Arc<CallOptions>>,
}

impl Members {
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(crate) fn call_options(&self) -> Option<&CallOptions> {
        self.call_options.as_deref()
    }

    pub(crate) fn position(&self, ordinal: u32) -> Option<usize> {
        let found = self.by_ordinal.binary_search_by_key(&ordinal, |&(ordinal, _)| ordinal).ok()?;
        Some(self.by_ordinal[found].1)
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.nodes).finish()
    }
}

impl Configuration {
    /// A configuration of nodes that are given by their addresses.
    pub fn builder() -> ConfigurationBuilder {
        ConfigurationBuilder::new()
    }

    pub(crate) fn from_nodes(pool: Arc<Pool>, nodes: Vec<Node>) -> Self {
        let call_options = pool.options().call_options.clone();
        Self::from_parts(pool, nodes, call_options)
    }

    fn from_parts(pool: Arc<Pool>, nodes: Vec<Node>, call_options: Option<Arc<CallOptions>>) -> Self {
        let mut by_ordinal: Vec<_> =
            nodes.iter().enumerate().map(|(index, node)| (node.channel().ordinal(), index)).collect();
        by_ordinal.sort_unstable();
        Self { members: Arc::new(Members { pool, nodes, by_ordinal, call_options }) }
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.members.pool
    }

    pub(crate) fn members(&self) -> &Arc<Members> {
        &self.members
    }

    /// The nodes, in order.
    pub fn nodes(&self) -> &[Node] {
        self.members.nodes()
    }

    /// The nodes, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Node> {
        self.nodes().iter()
    }

    /// The node with this id.
    pub fn node(&self, id: impl AsNodeId) -> Option<&Node> {
        self.iter().find(|node| node.id() == id.number())
    }

    /// The nodes' ids, in order.
    pub fn node_ids(&self) -> impl ExactSizeIterator<Item = NodeId> + '_ {
        self.iter().map(Node::id)
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes().len()
    }

    /// Whether there are no nodes. Calls on such a configuration fail at once.
    pub fn is_empty(&self) -> bool {
        self.nodes().is_empty()
    }

    /// Whether a node with this id belongs to the configuration.
    pub fn contains(&self, id: impl AsNodeId) -> bool {
        self.node(id).is_some()
    }

    /// The same nodes, with every node as the quorum of calls that do not choose one.
    pub fn all(&self) -> QuorumConfiguration {
        QuorumConfiguration::new(self.clone(), Quorum::All)
    }

    /// The same nodes, with more than half of them as the quorum of calls that do not choose one.
    pub fn majority(&self) -> QuorumConfiguration {
        QuorumConfiguration::new(self.clone(), Quorum::Majority)
    }

    /// The same nodes, with any one of them as the quorum of calls that do not choose one.
    pub fn first(&self) -> QuorumConfiguration {
        QuorumConfiguration::new(self.clone(), Quorum::First)
    }

    /// The same nodes, with any `replies` of them as the quorum of calls that do not choose one.
    pub fn threshold(&self, replies: usize) -> QuorumConfiguration {
        QuorumConfiguration::new(self.clone(), Quorum::Threshold(replies))
    }

    /// The same nodes and connections, with these options for quorum calls and multicasts that do not say otherwise. What
    /// `options` do not say stays as it is on this configuration. Configurations that are made from the new one have them
    /// too; rpcs and unicasts on its nodes do not: for these there are the options of the
    /// [builder](ConfigurationBuilder::call_options).
    #[must_use]
    pub fn with_options(&self, options: CallOptions) -> Self {
        let options = match self.members.call_options() {
            Some(others) => options.or(others),
            None => options,
        };
        Self::from_parts(self.pool().clone(), self.nodes().to_vec(), Some(Arc::new(options)))
    }

    /// Waits until every node is connected, dialling those that are not.
    ///
    /// # Errors
    ///
    /// Names the nodes that could not be reached, once the last of them is known to be down.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again.
    pub async fn wait_connected(&self) -> Result<(), ConfigError> {
        builder::wait_connected(self.nodes()).await
    }

    /// How many calls are in flight on this configuration and on those it shares nodes with, one-way calls
    /// that are waited for included.
    pub fn pending(&self) -> usize {
        self.pool().pending().open()
    }

    /// Closes the connections to the nodes of this configuration and of all that were made from it.
    ///
    /// Takes no further calls; writes what is queued and lets calls in flight finish, for up to the drain
    /// timeout; ends what is left as [`NodeErrorKind::Closed`](crate::NodeErrorKind::Closed); and returns when every task has ended.
    /// Dropping the last configuration and node does the same in the background.
    ///
    /// # Cancel safety
    ///
    /// Closing goes on if the future is dropped.
    ///
    /// The peers and clients of a server are closed with the server, not so.
    pub async fn close(&self) {
        if !self.pool().is_inbound() {
            self.pool().close().await;
        }
    }

    /// As [`close`](Self::close), without waiting for what is queued or in flight: that ends as
    /// [`NodeErrorKind::Closed`](crate::NodeErrorKind::Closed) at once. Also cuts a `close` short that is under way.
    ///
    /// # Cancel safety
    ///
    /// As that of `close`.
    pub async fn abort(&self) {
        if !self.pool().is_inbound() {
            self.pool().abort().await;
        }
    }
}

impl PartialEq for Configuration {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|node| other.nodes().contains(node))
    }
}

impl Eq for Configuration {}

impl<'a> IntoIterator for &'a Configuration {
    type Item = &'a Node;
    type IntoIter = std::slice::Iter<'a, Node>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Configuration").field(&self.members).finish()
    }
}

impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list: Vec<_> = self.iter().map(|node| format!("{}={}", node.id(), node.address())).collect();
        write!(f, "[{}]", list.join(", "))
    }
}
