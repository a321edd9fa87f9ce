//! The types that the consensus engine is used with.

use std::fmt;

use bytes::Bytes;
use openraft::type_config::alias::{
    CommittedLeaderIdOf, EntryOf, LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf,
};
use openraft_rt::deterministic_rng::DeterministicRng;
use openraft_rt_tokio::TokioRuntime;

use crate::proto::{self, Outcome, command, operation};

/// The id of a node of the cluster, from 1 to 2^20 - 1, as gorums has it.
pub type Id = u32;

openraft::declare_raft_types!(
    /// The types of this crate's Raft. Its randomness, which election timeouts are drawn with, comes from a seed, so that
    /// simulations can be repeated.
    pub Types:
        D = proto::Command,
        R = Applied,
        NodeId = Id,
        Node = proto::Member,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, Id>,
        AsyncRuntime = DeterministicRng<TokioRuntime>,
);

pub(crate) type LogId = LogIdOf<Types>;
pub(crate) type Vote = VoteOf<Types>;
pub(crate) type Entry = EntryOf<Types>;
pub(crate) type Payload = openraft::EntryPayload<proto::Command, Id, proto::Member>;
pub(crate) type Membership = openraft::Membership<Id, proto::Member>;
pub(crate) type StoredMembership = StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = SnapshotMetaOf<Types>;
pub(crate) type Snapshot = SnapshotOf<Types, crate::storage::SnapshotData>;
pub(crate) type Raft = openraft::Raft<Types, crate::storage::StateMachine>;

/// The id of an entry.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderIdOf::<Types>::new(term), index)
}

/// What a command did when it was applied.
#[derive(Clone, Debug, PartialEq)]
pub enum Applied {
    /// Nothing that anybody waits for.
    Nothing,
    /// What each operation of a batch did, in their order.
    Batch(Vec<Outcome>),
    /// The answer of the application.
    Application(Bytes),
}

impl fmt::Display for proto::Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Some(command::Kind::Batch(batch)) => write!(f, "{} operations", batch.operations.len()),
            Some(command::Kind::Application(command)) => {
                write!(f, "{} bytes of the application", command.len())
            }
            None => f.write_str("nothing"),
        }
    }
}

impl From<proto::Put> for operation::Change {
    fn from(put: proto::Put) -> Self {
        Self::Put(put)
    }
}

impl From<proto::Delete> for operation::Change {
    fn from(delete: proto::Delete) -> Self {
        Self::Delete(delete)
    }
}

impl From<proto::CompareAndSwap> for operation::Change {
    fn from(swap: proto::CompareAndSwap) -> Self {
        Self::CompareAndSwap(swap)
    }
}
