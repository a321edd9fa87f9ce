//! Whether quorums meet.

use crate::id::NodeId;
use crate::quorum::system::QuorumSystem;

/// Of so many nodes that are in both configurations, all divisions are tried: a million.
const MOST: usize = 20;

/// Two quorums that have no node in common.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the quorums {first:?} and {second:?} have no node in common")]
#[non_exhaustive]
pub struct DisjointQuorums {
    /// Nodes that have a quorum of the first system among them, and none of the second's.
    pub first: Vec<NodeId>,
    /// The same the other way round.
    pub second: Vec<NodeId>,
}

/// The configurations have too many nodes in common to be checked: more than 20.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{nodes} nodes in common are too many to be checked, at most {MOST} can be")]
#[non_exhaustive]
pub struct TooManyNodes {
    /// How many there are.
    pub nodes: usize,
}

/// Looks for a quorum of one system that does not meet one of another: each system with the nodes of its configuration,
/// which may be the same, or those before and after a change. `None` if all of them meet.
///
/// It tries the divisions of the nodes that are in both configurations in two; with 20 nodes it may take a second.
///
/// # Errors
///
/// If there are more than 20 of them.
pub fn disjoint_quorums(
    (first, first_nodes): (&impl QuorumSystem, &[NodeId]),
    (second, second_nodes): (&impl QuorumSystem, &[NodeId]),
) -> Result<Option<DisjointQuorums>, TooManyNodes> {
    let (common, only_first): (Vec<_>, Vec<_>) =
        first_nodes.iter().copied().partition(|node| second_nodes.contains(node));
    let only_second = second_nodes.iter().copied().filter(|node| !first_nodes.contains(node)).collect();
    if common.len() > MOST {
        return Err(TooManyNodes { nodes: common.len() });
    }
    let is_first = |has: &dyn Fn(NodeId) -> bool| first.is_quorum(first_nodes, has);
    let is_second = |has: &dyn Fn(NodeId) -> bool| second.is_quorum(second_nodes, has);
    let mut search = Search { is_first, is_second, first: only_first, second: only_second };
    let found = search.divide(&common);
    Ok(found.then_some(DisjointQuorums { first: search.first, second: search.second }))
}

struct Search<A, B> {
    is_first: A,
    is_second: B,
    first: Vec<NodeId>,
    second: Vec<NodeId>,
}

impl<A, B> Search<A, B>
where
    A: Fn(&dyn Fn(NodeId) -> bool) -> bool,
    B: Fn(&dyn Fn(NodeId) -> bool) -> bool,
{
    /// Gives each node of the rest to one side, so that both have a quorum.
    fn divide(&mut self, rest: &[NodeId]) -> bool {
        let with_rest = |side: &[NodeId], node: NodeId| side.contains(&node) || rest.contains(&node);
        if !(self.is_first)(&|node| with_rest(&self.first, node))
            || !(self.is_second)(&|node| with_rest(&self.second, node))
        {
            return false;
        }
        let Some((node, rest)) = rest.split_first() else { return true };
        self.first.push(*node);
        if self.divide(rest) {
            return true;
        }
        self.first.pop();
        self.second.push(*node);
        if self.divide(rest) {
            return true;
        }
        self.second.pop();
        false
    }
}

/// A quorum system to read from and one to write to, of which it is known that readers and writers meet, and writers each
/// other, in at least one node. Where nodes may lie that is not enough: the systems of [`Byzantine`](crate::quorum::Byzantine)
/// meet in one that does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadWrite<R, W> {
    read: R,
    write: W,
}

/// Why two systems are not good for reading and writing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoReadWrite {
    /// A read may miss a write.
    #[error("a read may miss a write: {0}")]
    ReadMissesWrite(DisjointQuorums),
    /// Two writes may miss each other.
    #[error("two writes may miss each other: {0}")]
    WritesMiss(DisjointQuorums),
    /// They cannot be checked.
    #[error(transparent)]
    TooManyNodes(#[from] TooManyNodes),
}

impl<R: QuorumSystem, W: QuorumSystem> ReadWrite<R, W> {
    /// Checks that on these nodes each read quorum meets each write quorum, and each write quorum every other.
    ///
    /// # Errors
    ///
    /// Which two quorums have no node in common; or [`TooManyNodes`], if there are too many to try.
    pub fn new(nodes: &[NodeId], read: R, write: W) -> Result<Self, NoReadWrite> {
        if let Some(found) = disjoint_quorums((&read, nodes), (&write, nodes))? {
            return Err(NoReadWrite::ReadMissesWrite(found));
        }
        if let Some(found) = disjoint_quorums((&write, nodes), (&write, nodes))? {
            return Err(NoReadWrite::WritesMiss(found));
        }
        Ok(Self { read, write })
    }

    /// The system to read from.
    pub fn read(&self) -> &R {
        &self.read
    }

    /// The system to write to.
    pub fn write(&self) -> &W {
        &self.write
    }
}
