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

/// After `TestNodeSort` and `TestConfigurationSortBy` of Go Gorums.
#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use super::*;
    use crate::configuration::Configuration;
    use crate::error::NodeErrorKind;

    /// Nodes with ids from 1 up, and these latencies in milliseconds, or none.
    fn nodes(latencies: &[Option<u64>]) -> Configuration {
        let nodes = Node::detached(latencies.len() as u32);
        for (node, latency) in nodes.iter().zip(latencies) {
            if let Some(ms) = latency {
                node.counters().replied_after(Duration::from_millis(*ms));
            }
        }
        nodes
    }

    fn ids<K: Ord>(nodes: &Configuration, key: impl FnMut(&Node) -> K) -> Vec<u32> {
        nodes.sorted_by(key).node_ids().map(u32::from).collect()
    }

    #[test]
    fn by_id() {
        let nodes = nodes(&[None; 4]);
        let mixed = nodes.sorted_by(|node| node.id().get() % 3);
        assert_eq!(mixed.node_ids().map(u32::from).collect::<Vec<_>>(), [3, 1, 4, 2]);
        assert_eq!(ids(&mixed, id), [1, 2, 3, 4]);
        assert_eq!(ids(&mixed, |node| Reverse(id(node))), [4, 3, 2, 1]);
        assert_eq!(mixed, nodes, "the same nodes");
    }

    #[test]
    fn by_last_error_and_then_by_another_key() {
        let nodes = nodes(&[Some(30), Some(10), Some(20), Some(5)]);
        for failed in [1, 3] {
            nodes.nodes()[failed].counters().failed(NodeErrorKind::ConnectionLost);
        }
        assert_eq!(ids(&nodes, last_error), [1, 3, 2, 4]);
        assert_eq!(ids(&nodes, |node| (last_error(node), Reverse(id(node)))), [3, 1, 4, 2]);
        assert_eq!(ids(&nodes, |node| (last_error(node), latency(node))), [3, 1, 4, 2]);
    }

    #[test]
    fn by_latency_with_the_unmeasured_last() {
        assert_eq!(ids(&nodes(&[Some(30), Some(10), None, Some(20)]), latency), [2, 4, 1, 3]);
        assert_eq!(ids(&nodes(&[None; 3]), latency), [1, 2, 3], "equal ones keep their order");
        let equal = nodes(&[Some(20), Some(10), Some(20)]);
        assert_eq!(ids(&equal, latency), [2, 1, 3]);
        assert_eq!(ids(&equal, |node| (latency(node), Reverse(id(node)))), [2, 3, 1]);
    }

    #[test]
    fn leaves_the_old_configuration_as_it_is_and_takes_an_empty_one() {
        let nodes = nodes(&[Some(30), Some(10)]);
        assert_eq!(ids(&nodes, latency), [2, 1]);
        assert_eq!(nodes.node_ids().map(u32::from).collect::<Vec<_>>(), [1, 2]);
        assert!(nodes.take(0).sorted_by(latency).is_empty());
    }
}
