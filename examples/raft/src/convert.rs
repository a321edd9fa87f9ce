//! Between the engine's types and what is on the wire and on disk.

use std::collections::{BTreeMap, BTreeSet};

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use openraft::vote::RaftVote;

use crate::proto::{self, append_reply, entry};
use crate::types::{Entry, LogId, Membership, Payload, SnapshotMeta, StoredMembership, Types, Vote, log_id};

/// A message that says nothing sensible: a part is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed: {0}")]
pub struct Malformed(&'static str);

fn required<T>(part: Option<T>, name: &'static str) -> Result<T, Malformed> {
    part.ok_or(Malformed(name))
}

impl From<&LogId> for proto::LogId {
    fn from(id: &LogId) -> Self {
        Self { term: **id.committed_leader_id(), index: id.index() }
    }
}

impl From<proto::LogId> for LogId {
    fn from(id: proto::LogId) -> Self {
        log_id(id.term, id.index)
    }
}

/// The id of an entry there may not be.
pub(crate) fn to_proto(id: Option<&LogId>) -> Option<proto::LogId> {
    id.map(proto::LogId::from)
}

impl From<&Vote> for proto::Ballot {
    fn from(vote: &Vote) -> Self {
        let leader = RaftVote::leader_id(vote);
        Self { term: leader.term, node: leader.voted_for, committed: vote.committed }
    }
}

impl From<proto::Ballot> for Vote {
    fn from(ballot: proto::Ballot) -> Self {
        if ballot.committed {
            Self::new_committed(ballot.term, ballot.node)
        } else {
            Self::new(ballot.term, ballot.node)
        }
    }
}

impl From<&Membership> for proto::Membership {
    fn from(membership: &Membership) -> Self {
        let set = |nodes: &BTreeSet<u32>| proto::VoterSet { nodes: nodes.iter().copied().collect() };
        Self {
            voters: membership.get_joint_config().iter().map(set).collect(),
            members: membership.nodes().map(|(id, member)| (*id, member.clone())).collect(),
        }
    }
}

impl TryFrom<proto::Membership> for Membership {
    type Error = Malformed;

    fn try_from(membership: proto::Membership) -> Result<Self, Malformed> {
        let voters: Vec<BTreeSet<_>> =
            membership.voters.into_iter().map(|set| set.nodes.into_iter().collect()).collect();
        let members: BTreeMap<_, _> = membership.members.into_iter().collect();
        if voters.is_empty() && members.is_empty() {
            return Ok(Self::default());
        }
        Self::new(voters, members).map_err(|_| Malformed("a voter is not a member"))
    }
}

impl From<&Entry> for proto::Entry {
    fn from(entry: &Entry) -> Self {
        let payload = match &entry.payload {
            Payload::Blank => None,
            Payload::Normal(command) => Some(entry::Payload::Command(command.clone())),
            Payload::Membership(membership) => Some(entry::Payload::Membership(membership.into())),
        };
        Self { id: Some((&entry.log_id).into()), payload }
    }
}

/// An entry of the log.
pub(crate) fn entry(entry: proto::Entry) -> Result<Entry, Malformed> {
    let payload = match entry.payload {
        None => Payload::Blank,
        Some(entry::Payload::Command(command)) => Payload::Normal(command),
        Some(entry::Payload::Membership(membership)) => Payload::Membership(membership.try_into()?),
    };
    Ok(Entry { log_id: required(entry.id, "the id of an entry")?.into(), payload })
}

impl From<AppendEntriesRequest<Types>> for proto::AppendRequest {
    fn from(request: AppendEntriesRequest<Types>) -> Self {
        Self {
            leader: Some((&request.vote).into()),
            previous: to_proto(request.prev_log_id.as_ref()),
            entries: request.entries.iter().map(Into::into).collect(),
            committed: to_proto(request.leader_commit.as_ref()),
        }
    }
}

impl TryFrom<proto::AppendRequest> for AppendEntriesRequest<Types> {
    type Error = Malformed;

    fn try_from(request: proto::AppendRequest) -> Result<Self, Malformed> {
        Ok(Self {
            vote: required(request.leader, "the leader")?.into(),
            prev_log_id: request.previous.map(Into::into),
            entries: request.entries.into_iter().map(entry).collect::<Result<_, _>>()?,
            leader_commit: request.committed.map(Into::into),
        })
    }
}

impl From<AppendEntriesResponse<Types>> for proto::AppendReply {
    fn from(response: AppendEntriesResponse<Types>) -> Self {
        use append_reply::Result::{Conflict, Higher, Partial, Success};
        let appended = |last: Option<LogId>| proto::Appended { last: to_proto(last.as_ref()) };
        let result = match response {
            AppendEntriesResponse::Success => Success(appended(None)),
            AppendEntriesResponse::PartialSuccess(last) => Partial(appended(last)),
            AppendEntriesResponse::Conflict => Conflict(proto::Conflict {}),
            AppendEntriesResponse::HigherVote(vote) => Higher((&vote).into()),
        };
        Self { result: Some(result) }
    }
}

impl TryFrom<proto::AppendReply> for AppendEntriesResponse<Types> {
    type Error = Malformed;

    fn try_from(reply: proto::AppendReply) -> Result<Self, Malformed> {
        use append_reply::Result::{Conflict, Higher, Partial, Success};
        Ok(match required(reply.result, "the result of an append")? {
            Success(_) => Self::Success,
            Partial(appended) => Self::PartialSuccess(appended.last.map(Into::into)),
            Conflict(_) => Self::Conflict,
            Higher(vote) => Self::HigherVote(vote.into()),
        })
    }
}

/// A request for a vote, or on trial.
pub(crate) fn vote_request(request: &VoteRequest<Types>, trial: bool) -> proto::VoteRequest {
    proto::VoteRequest {
        candidate: Some((&request.vote).into()),
        last: to_proto(request.last_log_id.as_ref()),
        transfer: request.leadership_transfer,
        trial,
    }
}

impl TryFrom<proto::VoteRequest> for VoteRequest<Types> {
    type Error = Malformed;

    fn try_from(request: proto::VoteRequest) -> Result<Self, Malformed> {
        let candidate = required(request.candidate, "the candidate")?.into();
        let mut vote = Self::new(candidate, request.last.map(Into::into));
        vote.leadership_transfer = request.transfer;
        Ok(vote)
    }
}

impl From<VoteResponse<Types>> for proto::VoteReply {
    fn from(response: VoteResponse<Types>) -> Self {
        Self {
            vote: Some((&response.vote).into()),
            granted: response.vote_granted,
            last: to_proto(response.last_log_id.as_ref()),
        }
    }
}

impl TryFrom<proto::VoteReply> for VoteResponse<Types> {
    type Error = Malformed;

    fn try_from(reply: proto::VoteReply) -> Result<Self, Malformed> {
        let vote: Vote = required(reply.vote, "the vote")?.into();
        Ok(Self::new(vote, reply.last.map(Into::into), reply.granted))
    }
}

impl From<&TransferLeaderRequest<Types>> for proto::TransferRequest {
    fn from(request: &TransferLeaderRequest<Types>) -> Self {
        Self {
            from: Some(request.from_leader().into()),
            to: *request.to_node_id(),
            last: to_proto(request.last_log_id()),
        }
    }
}

impl TryFrom<proto::TransferRequest> for TransferLeaderRequest<Types> {
    type Error = Malformed;

    fn try_from(request: proto::TransferRequest) -> Result<Self, Malformed> {
        let from = required(request.from, "the leader that hands over")?.into();
        Ok(Self::new(from, request.to, request.last.map(Into::into)))
    }
}

impl From<&SnapshotMeta> for proto::SnapshotMeta {
    fn from(meta: &SnapshotMeta) -> Self {
        Self {
            last: to_proto(meta.last_log_id.as_ref()),
            membership_id: to_proto(meta.last_membership.log_id().as_ref()),
            membership: Some(meta.last_membership.membership().into()),
        }
    }
}

impl TryFrom<proto::SnapshotMeta> for SnapshotMeta {
    type Error = Malformed;

    fn try_from(meta: proto::SnapshotMeta) -> Result<Self, Malformed> {
        let membership = required(meta.membership, "the membership")?.try_into()?;
        Ok(Self {
            last_log_id: meta.last.map(Into::into),
            last_membership: StoredMembership::new(meta.membership_id.map(Into::into), membership),
        })
    }
}

/// The vote of a message that has to have one.
pub(crate) fn vote(ballot: Option<proto::Ballot>) -> Result<Vote, Malformed> {
    required(ballot, "the vote").map(Into::into)
}
