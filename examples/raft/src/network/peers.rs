//! The connections to the other nodes.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gorums::{Backoff, Configuration, ConfigurationBuilder, Node, QueueLimits};

use crate::proto::Member;
use crate::types::Id;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// Heartbeats, votes, and the hand-over of leadership.
    Control,
    /// Entries of the log.
    Log,
    /// Snapshots.
    Bulk,
    /// Calls of clients, and of administrators, on their way to the leader.
    Service,
}

/// How to connect: the options of all connections, such as TLS or the connector of a test.
pub(crate) type Connect = Arc<dyn Fn(ConfigurationBuilder) -> ConfigurationBuilder + Send + Sync>;

/// The connections to other nodes. Each is made when it is first used, kept while the node is a member at this address, and
/// made anew at another address.
pub(crate) struct Peers {
    links: Mutex<HashMap<(Id, Lane), Link>>,
    connect: Connect,
    heartbeat_interval: Duration,
}

struct Link {
    address: String,
    configuration: Configuration,
}

impl Peers {
    pub(crate) fn new(connect: Connect, heartbeat_interval: Duration) -> Self {
        Self { links: Mutex::default(), connect, heartbeat_interval }
    }

    /// The node with this id and address, over a lane. `None` if the address is not one.
    pub(crate) fn node(&self, id: Id, member: &Member, lane: Lane) -> Option<Node> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let known = links.get(&(id, lane)).filter(|link| link.address == member.address);
        if let Some(node) = known.and_then(|link| link.configuration.node(id)) {
            return Some(node.clone());
        }
        let configuration = (self.connect)(self.builder(lane).node(id, member.address.clone()));
        let configuration = configuration.connect_lazy();
        let configuration =
            configuration.inspect_err(|error| tracing::warn!("node {id} cannot be called: {error}")).ok()?;
        let node = configuration.node(id).cloned();
        links.insert((id, lane), Link { address: member.address.clone(), configuration });
        node
    }

    fn builder(&self, lane: Lane) -> ConfigurationBuilder {
        // A peer that is back is to hear of the leader before it stands for election.
        let backoff = Backoff { initial: self.heartbeat_interval, max: self.heartbeat_interval * 10 };
        let builder = Configuration::builder()
            .backoff(backoff)
            .connect_timeout(self.heartbeat_interval * 10)
            .keepalive(self.heartbeat_interval * 10, self.heartbeat_interval * 20)
            .drain_timeout(self.heartbeat_interval);
        match lane {
            Lane::Control | Lane::Bulk => builder,
            Lane::Log => builder.queue_limits(QueueLimits { messages: 256, bytes: 8 << 20 }),
            Lane::Service => builder.queue_limits(QueueLimits { messages: 4096, bytes: 16 << 20 }),
        }
    }

    /// Forgets nodes that are members no more.
    pub(crate) fn retain(&self, is_member: impl Fn(Id) -> bool) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|(id, _), _| is_member(*id));
    }

    /// The connections to a node that were used so far.
    pub(crate) fn links(&self, id: Id) -> Vec<(Lane, Node)> {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let of_node = links.iter().filter(|((node, _), _)| *node == id);
        of_node.filter_map(|((_, lane), link)| Some((*lane, link.configuration.node(id)?.clone()))).collect()
    }

    /// Closes all connections.
    pub(crate) fn close(&self) {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(links.keys()).finish()
    }
}
