//! The rule of replicated registers: the newest reply of a quorum.
//!
//! After "Sharing Memory Robustly in Message-Passing Systems" (Attiya, Bar-Noy, Dolev, JACM 1995).

use std::fmt;

use crate::call::tally::Quorum;
use crate::error::NodeError;
use crate::id::NodeId;
use crate::quorum::gather::{Gather, gather};
use crate::quorum::rule::{QuorumRule, Verdict};
use crate::quorum::system::QuorumSystem;

/// Gathers the replies of a quorum, and gives the newest.
#[derive(Clone)]
pub struct NewestRule<R, W, F, Resp> {
    gather: Gather<R, Resp>,
    write: W,
    timestamp: F,
}

/// The reply with the highest timestamp of a majority of the nodes.
///
/// The timestamp has to tell values apart: if several writers may choose the same number, it is the number and the writer.
pub fn newest<F: Fn(&Resp) -> T, T: Ord, Resp>(timestamp: F) -> NewestRule<Quorum, Quorum, F, Resp> {
    newest_of(Quorum::Majority, Quorum::Majority, timestamp)
}

/// The reply with the highest timestamp of a quorum of the system `read`, where values are written to quorums of the system
/// `write`. [`ReadWrite`](crate::quorum::ReadWrite) checks that these meet.
pub fn newest_of<R, W, F, T, Resp>(read: R, write: W, timestamp: F) -> NewestRule<R, W, F, Resp>
where
    R: QuorumSystem,
    W: QuorumSystem,
    F: Fn(&Resp) -> T,
    T: Ord,
{
    NewestRule { gather: gather(read), write, timestamp }
}

/// The newest reply.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Newest<Resp> {
    /// The reply with the highest timestamp; of several, the first that arrived.
    pub value: Resp,
    /// The nodes that replied with this timestamp, in order of arrival.
    pub holders: Vec<NodeId>,
    /// Whether it is not certain that a quorum holds it. Then another reader may still get an older one, unless it is written
    /// back first.
    pub needs_write_back: bool,
}

impl<Resp: Clone> Newest<Resp> {
    /// The value, once a quorum holds it: if that is not certain, `write` has to see to it.
    ///
    /// # Errors
    ///
    /// Those of `write`. The value must not be used then: a later read may not find it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives `write` up, and the value must not be used, as after an error.
    pub async fn write_back<T, E, W>(self, write: impl FnOnce(Resp) -> W) -> Result<Resp, E>
    where
        W: IntoFuture<Output = Result<T, E>>,
    {
        if self.needs_write_back {
            write(self.value.clone()).await?;
        }
        Ok(self.value)
    }
}

impl<R, W, F, T, Resp> QuorumRule<Resp> for NewestRule<R, W, F, Resp>
where
    R: QuorumSystem,
    W: QuorumSystem,
    F: Fn(&Resp) -> T,
    T: Ord,
{
    type Output = Newest<Resp>;

    fn begin(&mut self, nodes: &[NodeId]) -> Verdict {
        self.gather.begin(nodes)
    }

    fn reply(&mut self, node: NodeId, reply: Result<Resp, NodeError>) -> Verdict {
        self.gather.reply(node, reply)
    }

    fn output(self) -> Option<Self::Output> {
        let Self { gather, write, timestamp } = self;
        let nodes = gather.nodes().to_vec();
        let replies = gather.output()?;
        let highest = replies.iter().map(|(_, reply)| timestamp(reply)).max()?;
        let mut newest = replies.into_iter().filter(|(_, reply)| timestamp(reply) == highest);
        let (first, value) = newest.next()?;
        let mut holders = vec![first];
        holders.extend(newest.map(|(node, _)| node));
        let needs_write_back = !write.is_quorum(&nodes, &|node| holders.contains(&node));
        Some(Newest { value, holders, needs_write_back })
    }
}

impl<R: fmt::Debug, W: fmt::Debug, F, Resp> fmt::Debug for NewestRule<R, W, F, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewestRule").field("write", &self.write).finish_non_exhaustive()
    }
}
