//! Who belongs to the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{InitializeError, RaftError};
use openraft::{ChangeMembers, LogIdOptionExt};
use tokio::time::Instant;

use crate::error::Error;
use crate::network::Peers;
use crate::node::Node;
use crate::node::proposals::write_error;
use crate::proto::{LogId, Member};
use crate::types::{Id, Raft};

impl Node {
    /// Makes the first cluster of these nodes, by their ids and addresses, if the node does not belong to one yet. Every
    /// node of it may be told so, with the same members.
    ///
    /// # Errors
    ///
    /// The node itself is not a member, or has stopped.
    pub async fn initialize(&self, members: BTreeMap<Id, String>) -> Result<(), Error> {
        let members: BTreeMap<_, _> =
            members.into_iter().map(|(id, address)| (id, Member { address })).collect();
        match self.inner.raft.initialize(members).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(RaftError::APIError(error)) => Err(Error::Invalid(error.to_string())),
            Err(RaftError::Fatal(fatal)) => Err(Error::Stopped(fatal.to_string())),
        }
    }

    /// Adds a node that gets the log and does not vote, and waits until it has caught up. Only on the leader.
    ///
    /// # Errors
    ///
    /// [`Error::NotLeader`], or what is wrong with the change, such as another one in progress.
    pub async fn add_learner(&self, id: Id, address: String) -> Result<LogId, Error> {
        let added = self.inner.raft.add_learner(id, Member { address }, false).await;
        let added = added.map_err(|error| self.refused(error))?.log_id;
        // The engine has an idea of its own of who has caught up: whoever gets no snapshot any more.
        let mut metrics = self.inner.raft.metrics();
        loop {
            let has_it = metrics
                .borrow_watched()
                .replication
                .as_ref()
                .map(|matched| matched.get(&id).is_some_and(|last| last.index() >= Some(added.index())));
            match has_it {
                Some(true) => return Ok((&added).into()),
                Some(false) => {}
                None => return Err(self.hinted(Error::NotLeader { leader: None })),
            }
            if metrics.changed().await.is_err() {
                return Err(Error::Stopped("the node has stopped".into()));
            }
        }
    }

    /// Lets exactly these nodes vote; former voters become learners. Only on the leader.
    ///
    /// # Errors
    ///
    /// As [`add_learner`](Self::add_learner).
    pub async fn set_voters(&self, voters: BTreeSet<Id>) -> Result<LogId, Error> {
        self.change(ChangeMembers::ReplaceAllVoters(voters), true).await
    }

    /// Takes a node out of the cluster, a voter or a learner. Only on the leader.
    ///
    /// # Errors
    ///
    /// As [`add_learner`](Self::add_learner).
    pub async fn remove(&self, id: Id) -> Result<LogId, Error> {
        let is_voter = self.inner.raft.voter_ids().any(|voter| voter == id);
        let change = if is_voter {
            ChangeMembers::RemoveVoters(BTreeSet::from([id]))
        } else {
            ChangeMembers::RemoveNodes(BTreeSet::from([id]))
        };
        self.change(change, false).await
    }

    async fn change(&self, change: ChangeMembers<Id, Member>, retain: bool) -> Result<LogId, Error> {
        let changed = self.inner.raft.change_membership(change, retain).await;
        changed.map(|response| (&response.log_id).into()).map_err(|error| self.refused(error))
    }

    fn refused(
        &self,
        error: RaftError<crate::types::Types, openraft::errors::ClientWriteError<crate::types::Types>>,
    ) -> Error {
        self.hinted(write_error(error))
    }

    /// Hands leadership over to a voter. Only on the leader. That it was handed over is seen in the
    /// [leadership](Self::leadership).
    ///
    /// # Errors
    ///
    /// [`Error::NotLeader`].
    pub async fn transfer(&self, to: Id) -> Result<(), Error> {
        self.leads().map_err(|error| self.hinted(error))?;
        // The other one does not wait until this one cannot be confirmed any more.
        let until = Instant::now() + 2 * self.inner.options.election_timeout;
        *self.inner.handing_over.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
        self.inner.raft.trigger().transfer_leader(to).await.map_err(|fatal| Error::Stopped(fatal.to_string()))
    }

    /// Syncs the state now, and cuts the log up to it, but for the entries that are kept.
    ///
    /// # Errors
    ///
    /// The node has stopped.
    pub async fn compact(&self) -> Result<(), Error> {
        self.inner.raft.trigger().snapshot().await.map_err(|fatal| Error::Stopped(fatal.to_string()))
    }
}

/// Closes the connections to nodes that leave the cluster.
pub(crate) async fn forget_former(raft: Raft, peers: Arc<Peers>) {
    let mut metrics = raft.server_metrics();
    let mut last = None;
    loop {
        let membership = metrics.borrow_watched().membership_config.clone();
        if last.as_ref() != Some(&membership) {
            peers.retain(|id| membership.membership().get_node(&id).is_some());
            last = Some(membership);
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}
