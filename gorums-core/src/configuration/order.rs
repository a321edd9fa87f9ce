//! Orders of nodes, for [`Configuration::sorted_by`](crate::Configuration::sorted_by).

use std::cmp::Ordering;

use crate::node::Node;

/// By ascending id.
pub fn id(a: &Node, b: &Node) -> Ordering {
    a.id().cmp(&b.id())
}

/// The fastest first; nodes that never replied come last.
///
/// The averages move while nodes are compared, so that an order is one of those that held during the sort.
pub fn latency(a: &Node, b: &Node) -> Ordering {
    match (a.latency(), b.latency()) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

/// Nodes with which nothing has gone wrong first.
pub fn last_error(a: &Node, b: &Node) -> Ordering {
    a.last_error().is_some().cmp(&b.last_error().is_some())
}
