//! Quorum systems: which sets of nodes are quorums.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::call::tally::Quorum;
use crate::id::NodeId;

/// Says which sets of nodes are quorums.
///
/// [`gather`](crate::quorum::gather) makes a rule of it.
pub trait QuorumSystem {
    /// Whether the nodes that `has` is true for are a quorum, or have one among them. `nodes` are those of the
    /// configuration; `has` is false for all others.
    ///
    /// With more nodes it must never turn false.
    fn is_quorum(&self, nodes: &[NodeId], has: &dyn Fn(NodeId) -> bool) -> bool;

    /// The system that needs a quorum of each of two systems.
    fn and<B: QuorumSystem>(self, other: B) -> BothSystems<Self, B>
    where
        Self: Sized,
    {
        BothSystems(self, other)
    }

    /// The system that needs a quorum of one of two systems.
    fn or<B: QuorumSystem>(self, other: B) -> EitherSystem<Self, B>
    where
        Self: Sized,
    {
        EitherSystem(self, other)
    }
}

impl<S: QuorumSystem + ?Sized> QuorumSystem for &S {
    fn is_quorum(&self, nodes: &[NodeId], has: &dyn Fn(NodeId) -> bool) -> bool {
        (**self).is_quorum(nodes, has)
    }
}

impl<S: QuorumSystem + ?Sized> QuorumSystem for Arc<S> {
    fn is_quorum(&self, nodes: &[NodeId], has: &dyn Fn(NodeId) -> bool) -> bool {
        (**self).is_quorum(nodes, has)
    }
}

/// Any so many nodes, as the terminals of the same names count them.
impl QuorumSystem for Quorum {
    fn is_quorum(&self, nodes: &[NodeId], has: &dyn Fn(NodeId) -> bool) -> bool {
        nodes.iter().filter(|node| has(**node)).count() >= self.needed(nodes.len())
    }
}

/// Any so many nodes that two quorums have a correct node in common, although some nodes lie: more than (n + f) / 2
/// of n nodes, which is 2f + 1 of 3f + 1.
///
/// After "Byzantine Quorum Systems" (Malkhi, Reiter, Distributed Computing 1998): a dissemination quorum system. With fewer
/// than 3f + 1 nodes there is no quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Byzantine {
    /// How many nodes may lie: f.
    pub faults: usize,
}

impl QuorumSystem for Byzantine {
    fn is_quorum(&self, nodes: &[NodeId], has: &dyn Fn(NodeId) -> bool) -> bool {
        let enough = nodes.len() > self.faults.saturating_mul(3);
        enough && nodes.iter().filter(|node| has(**node)).count() > usize::midpoint(nodes.len(), self.faults)
    }
}

/// Nodes whose weights add up to enough.
///
/// After "Weighted Voting for Replicated Data" (Gifford, SOSP 1979). Nodes without a weight, or with the weight 0, are
/// witnesses that never make a quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weighted {
    weights: BTreeMap<NodeId, u64>,
    needed: u128,
}

impl Weighted {
    /// More than half of the weight of all these nodes is a quorum. The last of several weights for a node is taken.
    pub fn new(weights: impl IntoIterator<Item = (NodeId, u64)>) -> Self {
        let weights = BTreeMap::from_iter(weights);
        let total: u128 = weights.values().copied().map(u128::from).sum();
        Self { weights, needed: total / 2 + 1 }
    }

    /// So much weight is a quorum. 0 counts as 1.
    #[must_use]
    pub fn needing(self, weight: u64) -> Self {
        Self { needed: weight.max(1).into(), ..self }
    }
}

impl QuorumSystem for Weighted {
    fn is_quorum(&self, _: &[NodeId], has: &dyn Fn(NodeId) -> bool) -> bool {
        let weights =
            self.weights.iter().filter(|(node, _)| has(**node)).map(|(_, weight)| u128::from(*weight));
        weights.sum::<u128>() >= self.needed
    }
}

/// Quorums that are listed one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorums {
    quorums: Vec<Vec<NodeId>>,
}

impl Quorums {
    /// These sets of nodes are quorums, and whatever contains one of them. A set without nodes is none.
    pub fn new<Q: IntoIterator<Item = NodeId>>(quorums: impl IntoIterator<Item = Q>) -> Self {
        let quorums = quorums.into_iter().map(|quorum| quorum.into_iter().collect::<Vec<_>>());
        Self { quorums: quorums.filter(|quorum| !quorum.is_empty()).collect() }
    }
}

impl QuorumSystem for Quorums {
    fn is_quorum(&self, _: &[NodeId], has: &dyn Fn(NodeId) -> bool) -> bool {
        self.quorums.iter().any(|quorum| quorum.iter().all(|node| has(*node)))
    }
}

/// Nodes in rows and columns. Each row meets each column, so that readers who ask a row see what was written to a column;
/// writers who also have to meet each other take `grid.rows().and(grid.columns())`.
///
/// After "The Grid Protocol" (Cheung, Ammar, Ahamad, ICDE 1990).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    rows: Vec<Vec<NodeId>>,
}

/// These nodes are no grid: it needs at least one row, rows of the same length of at least 1, and a place of its own for
/// each node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a grid needs rows of one length, at least 1, in which no node is named twice")]
pub struct NoGrid;

impl Grid {
    /// The grid with these rows.
    ///
    /// # Errors
    ///
    /// If these are no rows of a grid.
    pub fn new<R: IntoIterator<Item = NodeId>>(rows: impl IntoIterator<Item = R>) -> Result<Self, NoGrid> {
        let rows: Vec<Vec<_>> = rows.into_iter().map(|row| row.into_iter().collect()).collect();
        let width = rows.first().map_or(0, Vec::len);
        let distinct: BTreeSet<_> = rows.iter().flatten().collect();
        let valid = width > 0 && rows.iter().all(|row| row.len() == width);
        if valid && distinct.len() == width * rows.len() { Ok(Self { rows }) } else { Err(NoGrid) }
    }

    /// Every node of a row is a quorum.
    pub fn rows(&self) -> Quorums {
        Quorums::new(self.rows.iter().cloned())
    }

    /// Every node of a column is a quorum.
    pub fn columns(&self) -> Quorums {
        let width = self.rows.first().map_or(0, Vec::len);
        Quorums::new((0..width).map(|column| self.rows.iter().map(move |row| row[column])))
    }
}

/// A quorum of each of two systems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BothSystems<A, B>(A, B);

impl<A: QuorumSystem, B: QuorumSystem> QuorumSystem for BothSystems<A, B> {
    fn is_quorum(&self, nodes: &[NodeId], has: &dyn Fn(NodeId) -> bool) -> bool {
        self.0.is_quorum(nodes, has) && self.1.is_quorum(nodes, has)
    }
}

/// A quorum of one of two systems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EitherSystem<A, B>(A, B);

impl<A: QuorumSystem, B: QuorumSystem> QuorumSystem for EitherSystem<A, B> {
    fn is_quorum(&self, nodes: &[NodeId], has: &dyn Fn(NodeId) -> bool) -> bool {
        self.0.is_quorum(nodes, has) || self.1.is_quorum(nodes, has)
    }
}
