//! Orders of nodes, for [`Configuration::sorted_by`](crate::Configuration::sorted_by).

use std::time::Duration;

use crate::id::NodeId;
use crate::node::Node;

/// By ascending id.
pub fn id(node: &Node) -> NodeId {
    node.id()
}

/// The fastest first; nodes that never replied come last.
pub fn latency(node: &Node) -> Duration {
    node.latency().unwrap_or(Duration::MAX)
}

/// Nodes with which nothing has gone wrong first.
pub fn last_error(node: &Node) -> bool {
    node.last_error().is_some()
}
