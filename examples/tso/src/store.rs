//! Where the mark is kept, and what it means when that fails.

use std::future::Future;
use std::time::Duration;

use gorums::ErrorClass;
use raft::Consistency;
use tokio::time::Instant;

use crate::mark::{KEY, Mark, Raised};
use crate::proto::LeaderHint;

/// Why the mark could not be read or raised, classified once: each place that meets one has a policy for each class.
#[derive(Clone, Debug, PartialEq)]
pub enum Trouble {
    /// It may work the next time, as shortly after an election. Whether the mark was raised is not known.
    Transient(String),
    /// Another node leads.
    NotLeader(Option<LeaderHint>),
    /// A later leader has raised the mark.
    Fenced(u64),
    /// It will never work, or must never have happened.
    Permanent(String),
}

impl Trouble {
    /// The one place that says what an error of the node means.
    pub fn of(error: &raft::Error) -> Self {
        match error.class() {
            ErrorClass::SteppedDown => Self::NotLeader(error.leader().map(hint)),
            ErrorClass::Transient => Self::Transient(error.to_string()),
            ErrorClass::Permanent => Self::Permanent(error.to_string()),
        }
    }
}

pub(crate) fn hint(leader: &raft::proto::LeaderHint) -> LeaderHint {
    LeaderHint { node: leader.node, address: leader.address.clone(), epoch: leader.term }
}

/// Keeps the mark.
pub trait MarkStore: Send + Sync + 'static {
    /// Reads the mark: at least what was raised before this began, by whomever. `None` if it was never raised.
    fn load(&self) -> impl Future<Output = Result<Option<Mark>, Trouble>> + Send;

    /// Raises the mark, in bounded time. It may still be raised later if that failed, or if the future is dropped.
    fn persist(&self, mark: Mark) -> impl Future<Output = Result<(), Trouble>> + Send;
}

/// Keeps the mark in the log of a node.
#[derive(Clone, Debug)]
pub struct RaftStore {
    node: raft::Node,
    timeout: Duration,
}

impl RaftStore {
    /// Each access ends after the timeout.
    pub fn new(node: raft::Node, timeout: Duration) -> Self {
        Self { node, timeout }
    }
}

impl MarkStore for RaftStore {
    async fn load(&self) -> Result<Option<Mark>, Trouble> {
        let deadline = Instant::now() + self.timeout;
        self.node
            .linearize(Consistency::Linearizable, Some(deadline))
            .await
            .map_err(|error| Trouble::of(&error))?;
        let bytes = self.node.application_value(KEY).map_err(|error| Trouble::of(&error))?;
        bytes
            .map(|bytes| {
                Mark::decode(&bytes)
                    .ok_or_else(|| Trouble::Permanent("the mark in the state is damaged".into()))
            })
            .transpose()
    }

    async fn persist(&self, mark: Mark) -> Result<(), Trouble> {
        let deadline = Instant::now() + self.timeout;
        let answer = self.node.propose(mark.encode(), Some(deadline)).await;
        match Raised::decode(&answer.map_err(|error| Trouble::of(&error))?) {
            Raised::Done => Ok(()),
            Raised::Fenced(epoch) => Err(Trouble::Fenced(epoch)),
            Raised::Backwards => {
                Err(Trouble::Permanent("the mark of an earlier leader is not below that of the fence".into()))
            }
            Raised::Malformed => Err(Trouble::Permanent(
                "the state machine does not know the command, or its mark is damaged".into(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_of_a_node_has_its_class() {
        let leader = raft::proto::LeaderHint { node: 2, address: "b:1".into(), term: 7 };
        let told = LeaderHint { node: 2, address: "b:1".into(), epoch: 7 };
        let not_leader = raft::Error::NotLeader { leader: Some(leader) };
        assert_eq!(Trouble::of(&not_leader), Trouble::NotLeader(Some(told)));
        for error in [raft::Error::OutcomeUnknown, raft::Error::Unconfirmed, raft::Error::Overloaded] {
            assert!(matches!(Trouble::of(&error), Trouble::Transient(_)), "{error}");
        }
        for error in [raft::Error::Stopped("disk".into()), raft::Error::Invalid("what".into())] {
            assert!(matches!(Trouble::of(&error), Trouble::Permanent(_)), "{error}");
        }
    }
}
