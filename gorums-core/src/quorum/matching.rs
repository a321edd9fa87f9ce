//! The rule that waits until enough nodes say the same.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hash};

use crate::error::NodeError;
use crate::id::NodeId;
use crate::quorum::gather::Successes;
use crate::quorum::outstanding::Outstanding;
use crate::quorum::rule::{QuorumRule, Reason, Verdict};

/// Waits until enough nodes say the same.
#[derive(Clone)]
pub struct Matching<F, K, Resp> {
    needed: usize,
    key: F,
    nodes: Outstanding,
    groups: Vec<(K, Successes<Resp>)>,
    /// The first group that was large enough.
    decided: Option<usize>,
    verdict: Verdict,
}

/// The same reply from `needed` nodes; 0 counts as 1.
///
/// If at most f nodes lie, one of f + 1 that say the same does not.
pub fn matching<Resp: Clone + PartialEq>(needed: usize) -> Matching<fn(&Resp) -> Resp, Resp, Resp> {
    matching_by(needed, Resp::clone as fn(&Resp) -> Resp)
}

/// Replies of `needed` nodes that have the same key; 0 counts as 1.
pub fn matching_by<F: Fn(&Resp) -> K, K: PartialEq, Resp>(needed: usize, key: F) -> Matching<F, K, Resp> {
    Matching {
        needed: needed.max(1),
        key,
        nodes: Outstanding::default(),
        groups: Vec::new(),
        decided: None,
        verdict: Verdict::Undecided,
    }
}

/// Replies of `needed` nodes that have the same hash, for replies that are long; 0 counts as 1.
///
/// The hash is keyed with random numbers that no node knows, so that a node that lies cannot aim at another's. For hashes
/// that nodes have computed, take [`matching_by`].
pub fn matching_by_hash<Resp: Hash>(needed: usize) -> Matching<impl Fn(&Resp) -> u64, u64, Resp> {
    let hasher = RandomState::new();
    matching_by(needed, move |reply: &Resp| hasher.hash_one(reply))
}

impl<F, K, Resp> Matching<F, K, Resp> {
    fn judge(&mut self) -> Verdict {
        if self.verdict == Verdict::Undecided {
            let largest = self.groups.iter().map(|(_, replies)| replies.len()).max().unwrap_or(0);
            let possible = largest + self.nodes.count();
            self.decided = self.groups.iter().position(|(_, replies)| replies.len() >= self.needed);
            if self.decided.is_some() {
                self.verdict = Verdict::Decided;
            } else if possible < self.needed {
                let class = self.nodes.class(|again| possible + again.len() >= self.needed);
                self.verdict = Verdict::Impossible(Reason::NoMatch { needed: self.needed, possible, class });
            }
        }
        self.verdict.clone()
    }
}

impl<F: Fn(&Resp) -> K, K: PartialEq, Resp> QuorumRule<Resp> for Matching<F, K, Resp> {
    type Output = Successes<Resp>;

    fn begin(&mut self, nodes: &[NodeId]) -> Verdict {
        self.nodes.begin(nodes);
        self.judge()
    }

    fn reply(&mut self, node: NodeId, reply: Result<Resp, NodeError>) -> Verdict {
        if let Some(reply) = self.nodes.take(node, reply) {
            let key = (self.key)(&reply);
            match self.groups.iter_mut().find(|(other, _)| *other == key) {
                Some((_, replies)) => replies.push((node, reply)),
                None => self.groups.push((key, vec![(node, reply)])),
            }
        }
        self.judge()
    }

    fn output(mut self) -> Option<Self::Output> {
        self.decided.map(|group| self.groups.swap_remove(group).1)
    }
}

impl<F, K, Resp> fmt::Debug for Matching<F, K, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Matching")
            .field("needed", &self.needed)
            .field("verdict", &self.verdict)
            .finish_non_exhaustive()
    }
}
