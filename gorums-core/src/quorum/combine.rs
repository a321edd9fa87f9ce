//! Rules that are made of rules.

use std::fmt;

use crate::error::NodeError;
use crate::id::NodeId;
use crate::quorum::rule::{QuorumRule, Reason, Verdict};

/// See [`QuorumRule::map`].
#[derive(Clone)]
pub struct Map<R, F> {
    rule: R,
    change: F,
}

impl<R, F> Map<R, F> {
    pub(super) fn new(rule: R, change: F) -> Self {
        Self { rule, change }
    }
}

impl<Resp, R: QuorumRule<Resp>, T, F: FnOnce(R::Output) -> T> QuorumRule<Resp> for Map<R, F> {
    type Output = T;

    fn begin(&mut self, nodes: &[NodeId]) -> Verdict {
        self.rule.begin(nodes)
    }

    fn reply(&mut self, node: NodeId, reply: Result<Resp, NodeError>) -> Verdict {
        self.rule.reply(node, reply)
    }

    fn output(self) -> Option<T> {
        self.rule.output().map(self.change)
    }
}

impl<R: fmt::Debug, F> fmt::Debug for Map<R, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Map").field(&self.rule).finish()
    }
}

/// See [`QuorumRule::and`].
#[derive(Clone, Debug)]
pub struct And<A, B> {
    first: A,
    second: B,
    verdict: Verdict,
}

impl<A, B> And<A, B> {
    pub(super) fn new(first: A, second: B) -> Self {
        Self { first, second, verdict: Verdict::Undecided }
    }

    fn judge(&mut self, first: Verdict, second: Verdict) -> Verdict {
        if self.verdict == Verdict::Undecided {
            self.verdict = match (first, second) {
                (Verdict::Impossible(reason), _) | (_, Verdict::Impossible(reason)) => {
                    Verdict::Impossible(reason)
                }
                (Verdict::Decided, Verdict::Decided) => Verdict::Decided,
                (Verdict::Undecided, _) | (_, Verdict::Undecided) => Verdict::Undecided,
            };
        }
        self.verdict.clone()
    }
}

impl<Resp: Clone, A: QuorumRule<Resp>, B: QuorumRule<Resp>> QuorumRule<Resp> for And<A, B> {
    type Output = (A::Output, B::Output);

    fn begin(&mut self, nodes: &[NodeId]) -> Verdict {
        let (first, second) = (self.first.begin(nodes), self.second.begin(nodes));
        self.judge(first, second)
    }

    fn reply(&mut self, node: NodeId, reply: Result<Resp, NodeError>) -> Verdict {
        let (first, second) = (self.first.reply(node, reply.clone()), self.second.reply(node, reply));
        self.judge(first, second)
    }

    fn output(self) -> Option<Self::Output> {
        self.first.output().zip(self.second.output())
    }
}

/// The output of the one of two rules that has decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OneOf<A, B> {
    /// The first rule has decided.
    First(A),
    /// The second rule has decided, before the first.
    Second(B),
}

/// See [`QuorumRule::or`].
#[derive(Clone, Debug)]
pub struct Or<A, B> {
    first: A,
    second: B,
    verdict: Verdict,
    /// Whether it was the second that has decided.
    is_second: bool,
}

impl<A, B> Or<A, B> {
    pub(super) fn new(first: A, second: B) -> Self {
        Self { first, second, verdict: Verdict::Undecided, is_second: false }
    }

    fn judge(&mut self, first: Verdict, second: Verdict) -> Verdict {
        if self.verdict == Verdict::Undecided {
            self.verdict = match (first, second) {
                (Verdict::Decided, _) => Verdict::Decided,
                (_, Verdict::Decided) => {
                    self.is_second = true;
                    Verdict::Decided
                }
                (Verdict::Impossible(first), Verdict::Impossible(second)) => {
                    Verdict::Impossible(Reason::Neither(Box::new(first), Box::new(second)))
                }
                (Verdict::Undecided, _) | (_, Verdict::Undecided) => Verdict::Undecided,
            };
        }
        self.verdict.clone()
    }
}

impl<Resp: Clone, A: QuorumRule<Resp>, B: QuorumRule<Resp>> QuorumRule<Resp> for Or<A, B> {
    type Output = OneOf<A::Output, B::Output>;

    fn begin(&mut self, nodes: &[NodeId]) -> Verdict {
        let (first, second) = (self.first.begin(nodes), self.second.begin(nodes));
        self.judge(first, second)
    }

    fn reply(&mut self, node: NodeId, reply: Result<Resp, NodeError>) -> Verdict {
        let (first, second) = (self.first.reply(node, reply.clone()), self.second.reply(node, reply));
        self.judge(first, second)
    }

    fn output(self) -> Option<Self::Output> {
        if self.is_second {
            self.second.output().map(OneOf::Second)
        } else {
            self.first.output().map(OneOf::First)
        }
    }
}
