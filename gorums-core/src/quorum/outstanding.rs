//! The nodes of a call, and which of them may still reply.

use crate::id::NodeId;

/// Sees to it that each node counts once, and strangers not at all.
#[derive(Clone, Debug, Default)]
pub(super) struct Outstanding {
    nodes: Vec<NodeId>,
    left: Vec<NodeId>,
}

impl Outstanding {
    pub(super) fn begin(&mut self, nodes: &[NodeId]) {
        self.nodes = nodes.to_vec();
        self.left = nodes.to_vec();
    }

    /// Whether this is the first reply of one of the nodes.
    pub(super) fn take(&mut self, node: NodeId) -> bool {
        let place = self.left.iter().position(|left| *left == node);
        place.map(|place| self.left.swap_remove(place)).is_some()
    }

    pub(super) fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    pub(super) fn has(&self, node: NodeId) -> bool {
        self.left.contains(&node)
    }

    pub(super) fn count(&self) -> usize {
        self.left.len()
    }
}
