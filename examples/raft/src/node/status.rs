//! How a node is.

use std::sync::PoisonError;

use gorums::NodeStats;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{Instant as _, LogIdOptionExt, RaftMetrics, ServerState};
use tokio::time::Instant;

use crate::network::Lane;
use crate::node::Node;
use crate::node::leadership::{Leadership, is_alone, leads};
use crate::proto::{LeaderHint, Member, NodeStatus, PeerStatus};
use crate::types::{Id, Types};

impl Node {
    /// How the node is at this moment.
    pub fn status(&self) -> NodeStatus {
        let metrics = self.inner.raft.metrics().borrow_watched().clone();
        let leadership = self.inner.leadership.borrow().clone();
        let leader = match &leadership {
            Leadership::Following { leader, .. } => leader.clone(),
            Leadership::Leading { term, .. } | Leadership::Unconfirmed { term } => {
                let (node, address) = (self.id(), self.inner.options.address.clone());
                Some(LeaderHint { node, address, term: *term })
            }
        };
        let role = match metrics.state {
            ServerState::Leader => "leader",
            ServerState::Candidate => "candidate",
            ServerState::Learner => "learner",
            _ => "follower",
        };
        let others = metrics.membership_config.nodes().filter(|(id, _)| **id != self.id());
        NodeStatus {
            node: self.id(),
            role: role.to_owned(),
            term: metrics.current_term,
            leader,
            confirmed: leadership.is_leading(),
            last_index: metrics.last_log_index.unwrap_or(0),
            committed: metrics.local_committed.index().unwrap_or(0),
            applied: self.inner.reader.applied(),
            snapshot: metrics.snapshot.index().unwrap_or(0),
            purged: metrics.purged.index().unwrap_or(0),
            waiting: self.waiting() as u64,
            queued: self.inner.proposals.len() as u64,
            peers: others.map(|(id, member)| self.peer(*id, member, &metrics)).collect(),
        }
    }

    /// Whether this node leads and a quorum has confirmed it within the election timeout, at this very moment. Unlike
    /// [`leadership`](Self::leadership), which is told by a task, it holds on a process that was stopped and goes on. It
    /// relies on clocks that run at about the same speed on all nodes. Not while leadership is being handed over.
    pub fn is_confirmed(&self) -> bool {
        let raft = self.inner.raft.metrics();
        let metrics = raft.borrow_watched();
        let timeout = self.inner.options.election_timeout;
        let handing_over = self.inner.handing_over.lock().unwrap_or_else(PoisonError::into_inner);
        leads(&metrics)
            && handing_over.is_none_or(|until| until < Instant::now())
            && (metrics.last_quorum_acked.is_some_and(|at| at.elapsed() < timeout) || is_alone(&metrics))
    }

    /// Whether the node takes part: it knows the leader, and leads for certain if that is itself.
    pub fn is_ready(&self) -> bool {
        match &*self.inner.leadership.borrow() {
            Leadership::Leading { .. } => true,
            Leadership::Following { leader, .. } => leader.is_some(),
            Leadership::Unconfirmed { .. } => false,
        }
    }

    /// How many calls of clients are in progress.
    pub fn waiting(&self) -> usize {
        self.inner.options.max_calls.max(1) - self.inner.calls.available_permits()
    }

    fn peer(&self, id: Id, member: &Member, metrics: &RaftMetrics<Types>) -> PeerStatus {
        let links = self.inner.peers.links(id);
        let control = links.iter().find(|(lane, _)| *lane == Lane::Control).map(|(_, node)| node);
        let stats: Vec<NodeStats> = links.iter().map(|(_, node)| node.stats()).collect();
        let matched = metrics.replication.as_ref().and_then(|known| known.get(&id));
        let acknowledged = metrics.heartbeat.as_ref().and_then(|known| *known.get(&id)?);
        PeerStatus {
            node: id,
            address: member.address.clone(),
            voter: metrics.membership_config.voter_ids().any(|voter| voter == id),
            reachable: control.is_some_and(gorums::Node::is_connected),
            matched: matched.map(|matched| matched.index().unwrap_or(0)),
            acknowledged_ms: acknowledged.map(|at| at.elapsed().as_millis() as u64),
            queued: stats.iter().map(|stats| stats.queue.queued).sum(),
            dropped: stats.iter().map(|stats| stats.queue.dropped + stats.queue.failed).sum(),
            latency_us: control
                .and_then(gorums::Node::latency)
                .map_or(0, |latency| latency.as_micros() as u64),
        }
    }
}
