//! The nodes of a call, which of them may still reply, and which might at another attempt.

use crate::error::{ErrorClass, NodeError};
use crate::id::NodeId;

/// Sees to it that each node counts once, and strangers not at all.
#[derive(Clone, Debug, Default)]
pub(super) struct Outstanding {
    nodes: Vec<NodeId>,
    left: Vec<NodeId>,
    failed: Vec<(NodeId, ErrorClass)>,
}

impl Outstanding {
    pub(super) fn begin(&mut self, nodes: &[NodeId]) {
        self.nodes = nodes.to_vec();
        self.left = nodes.to_vec();
        self.failed.clear();
    }

    /// The reply, if it is a successful one, and the first of one of the nodes.
    pub(super) fn take<Resp>(&mut self, node: NodeId, reply: Result<Resp, NodeError>) -> Option<Resp> {
        let place = self.left.iter().position(|left| *left == node)?;
        self.left.swap_remove(place);
        reply.map_err(|error| self.failed.push((node, error.class()))).ok()
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

    /// The class of what has become impossible: that of the failures that would have to pass. `would_do` says whether the
    /// replies of these nodes would be enough, with those that there are.
    pub(super) fn class(&self, would_do: impl Fn(&[NodeId]) -> bool) -> ErrorClass {
        let failed = |classes: &[ErrorClass]| -> Vec<_> {
            let failed = self.failed.iter().filter(|(_, class)| classes.contains(class));
            failed.map(|(node, _)| *node).collect()
        };
        if would_do(&failed(&[ErrorClass::Transient])) {
            ErrorClass::Transient
        } else if would_do(&failed(&[ErrorClass::Transient, ErrorClass::SteppedDown])) {
            ErrorClass::SteppedDown
        } else {
            ErrorClass::Permanent
        }
    }
}
