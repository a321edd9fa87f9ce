//! New configurations from old ones. Nodes are shared, never dialled again.

use std::sync::Arc;

use crate::configuration::Configuration;
use crate::configuration::builder::{self, NodeSpec};
use crate::error::{ConfigError, NodeError, NodeErrorKind, QuorumError};
use crate::id::AsNodeId;
use crate::node::Node;

impl Configuration {
    fn with_nodes(&self, nodes: Vec<Node>) -> Self {
        Self::from_parts(self.pool().clone(), nodes, self.members().call_options.clone())
    }

    fn retain(&self, keep: impl Fn(&Node) -> bool) -> Self {
        self.with_nodes(self.iter().filter(|node| keep(node)).cloned().collect())
    }

    /// The nodes of this configuration, and then those of the other one that it does not have.
    ///
    /// # Errors
    ///
    /// [`ConfigError::SeparatePools`] if the two were not made from one another: their nodes do not share
    /// the table of calls in flight.
    pub fn union(&self, other: &Self) -> Result<Self, ConfigError> {
        if !Arc::ptr_eq(self.pool(), other.pool()) {
            return Err(ConfigError::SeparatePools);
        }
        let added = other.iter().filter(|node| !self.nodes().contains(node));
        Ok(self.with_nodes(self.iter().chain(added).cloned().collect()))
    }

    /// The nodes of this configuration that the other one does not have.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.retain(|node| !other.nodes().contains(node))
    }

    /// The nodes with other ids than these. Ids that no node has are ignored.
    #[must_use]
    pub fn without<I: AsNodeId>(&self, ids: impl IntoIterator<Item = I>) -> Self {
        let left_out: Vec<u32> = ids.into_iter().map(|id| id.number()).collect();
        self.retain(|node| !left_out.contains(&node.id().get()))
    }

    /// The nodes with these ids. Ids that no node has are ignored.
    #[must_use]
    pub fn only<I: AsNodeId>(&self, ids: impl IntoIterator<Item = I>) -> Self {
        let kept: Vec<u32> = ids.into_iter().map(|id| id.number()).collect();
        self.retain(|node| kept.contains(&node.id().get()))
    }

    /// The nodes that did not fail: those that replied, were not waited for any longer, or were not asked; those too that
    /// the caller had left out.
    #[must_use]
    pub fn without_errors(&self, error: &QuorumError) -> Self {
        use NodeErrorKind::{Cancelled, Filtered, Skipped};
        self.without_kinds(error, |kind| !matches!(kind, Cancelled | Skipped | Filtered))
    }

    /// The nodes that did not fail in one of the ways that `leave_out` picks.
    #[must_use]
    pub fn without_kinds(&self, error: &QuorumError, leave_out: impl Fn(&NodeErrorKind) -> bool) -> Self {
        let failed = error.nodes().iter().filter(|error| leave_out(error.kind()));
        self.without(failed.map(NodeError::node))
    }

    /// The nodes of this configuration and new ones, given by id and address. The new ones are dialled when
    /// they are first used.
    ///
    /// # Errors
    ///
    /// As for [`ConfigurationBuilder`](crate::ConfigurationBuilder), also when a new node has the id or the
    /// address of one that is in use.
    pub fn extend<I, A>(&self, nodes: impl IntoIterator<Item = (I, A)>) -> Result<Self, ConfigError>
    where
        I: AsNodeId,
        A: ToString,
    {
        let specs = nodes.into_iter().map(|(id, address)| NodeSpec::new(id.number(), address.to_string()));
        let added = builder::add_nodes(self.pool(), specs.collect())?;
        Ok(self.with_nodes(self.iter().cloned().chain(added).collect()))
    }

    /// The same nodes by ascending key, as [`id`](crate::id), [`latency`](crate::latency),
    /// [`last_error`](crate::last_error) or a closure gives it. Nodes with equal keys keep their order. Each
    /// key is taken once, so that the order is sound although latencies change meanwhile.
    #[must_use]
    pub fn sorted_by<K: Ord>(&self, key: impl FnMut(&Node) -> K) -> Self {
        let mut nodes = self.nodes().to_vec();
        nodes.sort_by_cached_key(key);
        self.with_nodes(nodes)
    }

    /// The first `count` nodes, or all if there are fewer.
    #[must_use]
    pub fn take(&self, count: usize) -> Self {
        self.with_nodes(self.iter().take(count).cloned().collect())
    }
}
