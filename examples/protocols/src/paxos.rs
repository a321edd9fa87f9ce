//! Consensus on one value, among nodes of which a minority may crash.
//!
//! After "Paxos Made Simple" (Lamport, 2001). The proposers are clients, and the acceptors the nodes.

use std::sync::{Arc, Mutex};

use gorums::quorum::{QuorumRule, Successes, majority};
use gorums::{Configuration, QuorumError, ServerContext, Status};

use crate::lock;

/// The number of an attempt. Two proposers never take the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Message)]
pub struct Ballot {
    /// Rises with each attempt of a proposer.
    #[prost(uint64, tag = "1")]
    pub round: u64,
    /// Who tries.
    #[prost(uint32, tag = "2")]
    pub proposer: u32,
}

/// A value that is proposed in a ballot.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Proposal {
    /// The ballot.
    #[prost(message, required, tag = "1")]
    pub ballot: Ballot,
    /// The value.
    #[prost(uint64, tag = "2")]
    pub value: u64,
}

/// An acceptor promises to take part in no earlier ballot, and tells what it has accepted so far.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Promise {
    /// The proposal of the latest ballot that it has accepted.
    #[prost(message, optional, tag = "1")]
    pub accepted: Option<Proposal>,
}

/// An acceptor. It refuses with an error, so that a proposer learns as early as can be that a majority will not follow it.
#[gorums::service(package = "protocols.paxos", mock)]
pub trait Acceptor {
    /// Phase 1: asks for a promise.
    #[quorumcall(idempotent)]
    async fn prepare(&self, ctx: &ServerContext, ballot: Ballot) -> Result<Promise, Status>;

    /// Phase 2: asks to accept a proposal.
    #[quorumcall(idempotent)]
    async fn accept(&self, ctx: &ServerContext, proposal: Proposal) -> Result<(), Status>;
}

/// What an acceptor must not forget.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    promised: Ballot,
    accepted: Option<Proposal>,
}

/// A node. What it remembers has to outlast its process, and be on disk before it answers.
#[derive(Clone, Debug, Default)]
pub struct Node {
    memory: Arc<Mutex<Memory>>,
}

impl Acceptor for Node {
    async fn prepare(&self, _: &ServerContext, ballot: Ballot) -> Result<Promise, Status> {
        let mut memory = lock(&self.memory);
        follow(&mut memory, ballot)?;
        Ok(Promise { accepted: memory.accepted })
    }

    async fn accept(&self, _: &ServerContext, proposal: Proposal) -> Result<(), Status> {
        let mut memory = lock(&self.memory);
        follow(&mut memory, proposal.ballot)?;
        memory.accepted = Some(proposal);
        Ok(())
    }
}

/// Takes part in a ballot, unless it was promised not to.
fn follow(memory: &mut Memory, ballot: Ballot) -> Result<(), Status> {
    if ballot < memory.promised {
        return Err(Status::failed_precondition(format!("promised to follow {:?}", memory.promised)));
    }
    memory.promised = ballot;
    Ok(())
}

/// Proposes values.
#[derive(Debug)]
pub struct Proposer {
    ballot: Ballot,
    nodes: Configuration,
}

impl Proposer {
    /// A proposer with an id that no other has, nor this one had before it was started again.
    pub fn new(id: u32, nodes: Configuration) -> Self {
        Self { ballot: Ballot { round: 0, proposer: id }, nodes }
    }

    /// Makes one attempt to have a value chosen: its own, or one that may have been chosen before. Gives the value that is
    /// chosen then, for good.
    ///
    /// # Errors
    ///
    /// No majority followed, as others are trying as well, or did not answer in time. To be tried again, after a pause that
    /// differs from that of the others. What was proposed may be chosen later all the same.
    pub async fn propose(&mut self, own: u64) -> Result<u64, QuorumError> {
        self.ballot.round += 1;
        let ballot = self.ballot;
        let promised = self.nodes.prepare(ballot).decide(majority().map(latest)).await?;
        let value = promised.map_or(own, |proposal| proposal.value);
        self.nodes.accept(Proposal { ballot, value }).majority().await?;
        Ok(value)
    }
}

/// The proposal of the latest ballot that any of the acceptors has accepted: if a value is chosen, it is that.
fn latest(promises: Successes<Promise>) -> Option<Proposal> {
    let accepted = promises.into_iter().filter_map(|(_, promise)| promise.accepted);
    accepted.max_by_key(|proposal| proposal.ballot)
}

#[cfg(test)]
mod tests;
