//! What a quorum rule is, and what it says.

use std::borrow::Cow;
use std::fmt;

use crate::error::{ErrorClass, NodeError};
use crate::id::NodeId;
use crate::quorum::combine::{And, Map, Or};

/// What a rule says of the replies so far. All but `Undecided` is final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It depends on replies that are still to come.
    Undecided,
    /// The replies are enough: there is an output.
    Decided,
    /// Whatever the outstanding nodes reply, there will be no output.
    Impossible(Reason),
}

/// Why there will be no output.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Every quorum has lost a node.
    NoQuorum {
        /// The nodes without which there is no quorum: all that have failed, in the order of the configuration.
        failed: Vec<NodeId>,
        /// What this means for the next attempt: the class of the failures that would have to pass.
        class: ErrorClass,
    },
    /// Not enough nodes are left that could say the same.
    NoMatch {
        /// How many had to.
        needed: usize,
        /// How many still could.
        possible: usize,
        /// What this means for the next attempt: the class of the failures that would have to pass.
        class: ErrorClass,
    },
    /// Neither of two rules will have an output.
    Neither(Box<Reason>, Box<Reason>),
    /// What a rule of a protocol has to say.
    Other(Cow<'static, str>),
}

impl Reason {
    /// What this means for the next attempt; `None` if the rule does not say.
    pub fn class(&self) -> Option<ErrorClass> {
        match self {
            Self::NoQuorum { class, .. } | Self::NoMatch { class, .. } => Some(*class),
            Self::Neither(first, second) => {
                let classes = [first.class()?, second.class()?];
                let easier = [ErrorClass::Transient, ErrorClass::SteppedDown];
                Some(
                    easier.into_iter().find(|class| classes.contains(class)).unwrap_or(ErrorClass::Permanent),
                )
            }
            Self::Other(_) => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoQuorum { failed, .. } if failed.is_empty() => f.write_str("these nodes have no quorum"),
            Self::NoQuorum { failed, .. } => {
                f.write_str("there is no quorum without")?;
                failed.iter().try_for_each(|node| write!(f, " {node}"))
            }
            Self::NoMatch { needed, possible, .. } => {
                write!(f, "{needed} nodes had to say the same, and at most {possible} can")
            }
            Self::Neither(first, second) => write!(f, "{first}, and {second}"),
            Self::Other(reason) => f.write_str(reason),
        }
    }
}

/// Decides a call, one reply at a time.
///
/// A rule is a value for one call: `call.decide(rule)` tells it the nodes, then each reply in order of arrival, and takes its
/// output once it has decided.
///
/// An implementation keeps these laws, on which the terminal and the combinators rely:
///
/// - It counts the first reply of each node that it was told of, and ignores all others.
/// - A verdict that is not [`Undecided`](Verdict::Undecided) is repeated ever after. Replies that come then, in a
///   [grace period](crate::Decide::grace), may improve the output, but never take it away.
/// - There is an output exactly if the verdict is [`Decided`](Verdict::Decided).
pub trait QuorumRule<Resp> {
    /// The result of the call.
    type Output;

    /// Called once, before all replies, with the nodes that are called.
    fn begin(&mut self, nodes: &[NodeId]) -> Verdict;

    /// Called for each reply, and each failure. A node that the caller left out is a failure here: it will not reply.
    fn reply(&mut self, node: NodeId, reply: Result<Resp, NodeError>) -> Verdict;

    /// The result, if it has decided.
    fn output(self) -> Option<Self::Output>;

    /// The same rule with another output.
    fn map<T, F: FnOnce(Self::Output) -> T>(self, change: F) -> Map<Self, F>
    where
        Self: Sized,
    {
        Map::new(self, change)
    }

    /// Both rules: decided when both have decided, and impossible as soon as one of them is. The output is a pair.
    ///
    /// Each rule judges for itself. Two that ask for contrary things, such as matches by two different keys, may be
    /// found impossible together only when the last node has replied.
    fn and<B: QuorumRule<Resp>>(self, other: B) -> And<Self, B>
    where
        Self: Sized,
        Resp: Clone,
    {
        And::new(self, other)
    }

    /// Either rule: decided when one of them has decided, the first if both have at the same reply, and impossible when both
    /// are. The output is a [`OneOf`](crate::quorum::OneOf).
    fn or<B: QuorumRule<Resp>>(self, other: B) -> Or<Self, B>
    where
        Self: Sized,
        Resp: Clone,
    {
        Or::new(self, other)
    }
}
