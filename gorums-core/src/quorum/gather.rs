//! The rule that gathers replies until they are from a quorum.

use crate::call::tally::Quorum;
use crate::error::NodeError;
use crate::id::NodeId;
use crate::quorum::outstanding::Outstanding;
use crate::quorum::rule::{QuorumRule, Reason, Verdict};
use crate::quorum::system::QuorumSystem;

/// Successful replies with the nodes that gave them, in order of arrival.
pub type Successes<Resp> = Vec<(NodeId, Resp)>;

/// Gathers the successful replies of a quorum.
#[derive(Clone, Debug)]
pub struct Gather<S, Resp> {
    system: S,
    nodes: Outstanding,
    successes: Successes<Resp>,
    verdict: Verdict,
}

/// Successful replies of a quorum of a system.
pub fn gather<S: QuorumSystem, Resp>(system: S) -> Gather<S, Resp> {
    Gather { system, nodes: Outstanding::default(), successes: Vec::new(), verdict: Verdict::Undecided }
}

/// One successful reply.
pub fn any<Resp>() -> Gather<Quorum, Resp> {
    gather(Quorum::First)
}

/// Successful replies of more than half of the nodes.
pub fn majority<Resp>() -> Gather<Quorum, Resp> {
    gather(Quorum::Majority)
}

/// Successful replies of every node.
pub fn all<Resp>() -> Gather<Quorum, Resp> {
    gather(Quorum::All)
}

/// Successful replies of `replies` nodes; 0 counts as 1.
pub fn threshold<Resp>(replies: usize) -> Gather<Quorum, Resp> {
    gather(Quorum::Threshold(replies))
}

impl<S: QuorumSystem, Resp> Gather<S, Resp> {
    fn judge(&mut self) -> Verdict {
        if self.verdict == Verdict::Undecided {
            let nodes = self.nodes.nodes();
            let has = |node| self.successes.iter().any(|(success, _)| *success == node);
            let may_have = |node| has(node) || self.nodes.has(node);
            if self.system.is_quorum(nodes, &has) {
                self.verdict = Verdict::Decided;
            } else if !self.system.is_quorum(nodes, &may_have) {
                let failed = nodes.iter().copied().filter(|node| !may_have(*node)).collect();
                let would_do = |again: &[NodeId]| {
                    self.system.is_quorum(nodes, &|node| may_have(node) || again.contains(&node))
                };
                let class = self.nodes.class(would_do);
                self.verdict = Verdict::Impossible(Reason::NoQuorum { failed, class });
            }
        }
        self.verdict.clone()
    }

    pub(super) fn nodes(&self) -> &[NodeId] {
        self.nodes.nodes()
    }
}

impl<S: QuorumSystem, Resp> QuorumRule<Resp> for Gather<S, Resp> {
    type Output = Successes<Resp>;

    fn begin(&mut self, nodes: &[NodeId]) -> Verdict {
        self.nodes.begin(nodes);
        self.judge()
    }

    fn reply(&mut self, node: NodeId, reply: Result<Resp, NodeError>) -> Verdict {
        self.successes.extend(self.nodes.take(node, reply).map(|reply| (node, reply)));
        self.judge()
    }

    fn output(self) -> Option<Self::Output> {
        (self.verdict == Verdict::Decided).then_some(self.successes)
    }
}
