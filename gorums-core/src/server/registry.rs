//! Who is connected to a server and can be called back: the peers that it knows, and clients that offer services.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock, Weak};

use http::HeaderMap;
use tokio::sync::watch;

use crate::channel::Channel;
use crate::configuration::Configuration;
use crate::id::NodeId;
use crate::node::Node;
use crate::pool::Pool;
use crate::sync::Mutex;
use crate::wire;

/// Clients are numbered from here up, as by Go Gorums.
const FIRST_CLIENT: u32 = 1 << 20;

/// Who a server is, and which peers it knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Membership {
    pub(crate) own: Option<NodeId>,
    pub(crate) known: BTreeSet<NodeId>,
}

/// The id of a member, if this number can be one.
pub(crate) fn member(number: u32) -> Option<NodeId> {
    NodeId::new(number).filter(|_| number < FIRST_CLIENT)
}

/// What a client says of itself when it opens a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It cannot be called back.
    Plain,
    /// It offers services, and has no id of its own.
    Anonymous,
    /// It offers services, and has this id.
    Peer(NodeId),
}

impl Claim {
    /// Reads what the headers say. An id that is none counts as anonymous, as with Go Gorums.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let Some(value) = headers.get(wire::NODE_ID) else { return Self::Plain };
        let number = value.to_str().ok().and_then(|text| text.parse().ok());
        number.and_then(NodeId::new).map_or(Self::Anonymous, Self::Peer)
    }
}

pub(crate) struct Registry {
    pool: Arc<Pool>,
    membership: Membership,
    state: Mutex<State>,
    /// Each holds what `state` says, and changes with it.
    peers: watch::Sender<Configuration>,
    clients: watch::Sender<Configuration>,
    /// Where this process dials the members, if it does.
    dialled: OnceLock<Weak<Pool>>,
}

#[derive(Default)]
struct State {
    peers: BTreeMap<NodeId, Node>,
    clients: BTreeMap<NodeId, Node>,
    numbered: u32,
}

/// A stream's place in the registry. Dropping it takes the node out, unless another stream has taken its place (I3).
pub(crate) struct Place {
    registry: Arc<Registry>,
    channel: Arc<Channel>,
    node: Option<Node>,
}

impl Registry {
    pub(crate) fn new(pool: Arc<Pool>, membership: Membership) -> Arc<Self> {
        let nobody = Configuration::from_nodes(pool.clone(), Vec::new());
        let (peers, clients) = (watch::Sender::new(nobody.clone()), watch::Sender::new(nobody));
        Arc::new(Self { pool, membership, state: Mutex::default(), peers, clients, dialled: OnceLock::new() })
    }

    /// The id of this process, if it has one.
    pub(crate) fn own_id(&self) -> Option<NodeId> {
        self.membership.own
    }

    /// Whether an id is that of a member of the system.
    pub(crate) fn is_member(&self, id: NodeId) -> bool {
        self.membership.known.contains(&id)
    }

    /// The connected peers and this process, by id.
    pub(crate) fn peers(&self) -> &watch::Sender<Configuration> {
        &self.peers
    }

    /// The clients that can be called back, by id.
    pub(crate) fn clients(&self) -> &watch::Sender<Configuration> {
        &self.clients
    }

    /// Has the connections that this pool makes to members dialled at once when these connect by themselves.
    pub(crate) fn dialled_by(&self, pool: &Arc<Pool>) {
        self.dialled.get_or_init(|| Arc::downgrade(pool));
    }

    /// A member has connected, so it can be dialled.
    fn sighted(&self, id: NodeId) {
        let Some(pool) = self.dialled.get().and_then(Weak::upgrade) else { return };
        let handle = pool.nodes().get(&id).and_then(|node| node.upgrade());
        if let Some(handle) = handle {
            Node::from_handle(handle).channel().sighted();
        }
    }

    /// Adds this process to its own peers.
    pub(crate) fn add_local(&self, channel: Arc<Channel>) {
        let mut state = self.state.lock();
        state.peers.insert(channel.id(), Node::borrowed(channel));
        self.publish(&state.peers, &self.peers);
    }

    /// The server is shut down: nobody can be called any more.
    pub(crate) fn clear(&self) {
        let mut state = self.state.lock();
        (state.peers, state.clients) = (BTreeMap::new(), BTreeMap::new());
        self.publish(&state.peers, &self.peers);
        self.publish(&state.clients, &self.clients);
    }

    /// Gives a new stream its place. `channel` makes the channel of a node with the id that it gets.
    pub(crate) fn enter(
        self: &Arc<Self>,
        claim: Claim,
        channel: impl FnOnce(NodeId) -> Arc<Channel>,
    ) -> Place {
        let mut state = self.state.lock();
        let known = |id: &NodeId| self.membership.known.contains(id) && self.membership.own != Some(*id);
        let (channel, node) = match claim {
            Claim::Peer(id) if known(&id) => {
                self.sighted(id);
                let channel = channel(id);
                let node = Node::borrowed(channel.clone());
                if let Some(older) = state.peers.insert(id, node.clone()) {
                    older.channel().close();
                }
                self.publish(&state.peers, &self.peers);
                (channel, Some(node))
            }
            Claim::Anonymous => {
                let channel = channel(state.next_client());
                let node = Node::borrowed(channel.clone());
                state.clients.insert(node.id(), node.clone());
                self.publish(&state.clients, &self.clients);
                (channel, Some(node))
            }
            Claim::Peer(_) | Claim::Plain => (channel(state.next_client()), None),
        };
        Place { registry: self.clone(), channel, node }
    }

    fn leave(&self, channel: &Arc<Channel>) {
        let mut state = self.state.lock();
        let State { peers, clients, .. } = &mut *state;
        for (nodes, published) in [(peers, &self.peers), (clients, &self.clients)] {
            if nodes.get(&channel.id()).is_some_and(|node| Arc::ptr_eq(node.channel(), channel)) {
                nodes.remove(&channel.id());
                self.publish(nodes, published);
            }
        }
    }

    /// To be called with the state locked, so that changes are published in their order.
    fn publish(&self, nodes: &BTreeMap<NodeId, Node>, published: &watch::Sender<Configuration>) {
        let nodes = nodes.values().cloned().collect();
        published.send_replace(Configuration::from_nodes(self.pool.clone(), nodes));
    }
}

impl State {
    fn next_client(&mut self) -> NodeId {
        let id = NodeId::new(FIRST_CLIENT.wrapping_add(self.numbered)).unwrap_or(NodeId::MAX);
        self.numbered = self.numbered.wrapping_add(1);
        id
    }
}

impl Place {
    pub(crate) fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    /// The node at the other end, if it can be called back.
    pub(crate) fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.registry.leave(&self.channel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::queue::QueueLimits;

    fn registry() -> Arc<Registry> {
        let known = [1, 2, 3].into_iter().filter_map(NodeId::new).collect();
        let membership = Membership { own: NodeId::new(1), known };
        let registry = Registry::new(Pool::detached(), membership);
        registry.add_local(channel(&registry)(NodeId::new(1).unwrap()));
        registry
    }

    fn channel(registry: &Arc<Registry>) -> impl FnOnce(NodeId) -> Arc<Channel> + use<> {
        let pool = registry.pool.clone();
        move |id| Channel::new(pool, id, "test:1".into(), QueueLimits::default())
    }

    fn peer(id: u32) -> Claim {
        Claim::Peer(NodeId::new(id).unwrap())
    }

    fn ids(published: &watch::Sender<Configuration>) -> Vec<u32> {
        published.borrow().node_ids().map(NodeId::get).collect()
    }

    #[test]
    fn claims() {
        let claim = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(wire::NODE_ID, value.parse().unwrap());
            Claim::of(&headers)
        };
        assert_eq!(Claim::of(&HeaderMap::new()), Claim::Plain);
        for (value, expected) in [
            ("0", Claim::Anonymous),
            ("2", peer(2)),
            ("x", Claim::Anonymous),
            ("4294967296", Claim::Anonymous),
        ] {
            assert_eq!(claim(value), expected, "{value}");
        }
    }

    #[test]
    fn only_known_peers_are_believed() {
        let registry = registry();
        assert_eq!(ids(registry.peers()), [1]);
        let three = registry.enter(peer(3), channel(&registry));
        let two = registry.enter(peer(2), channel(&registry));
        assert_eq!(ids(registry.peers()), [1, 2, 3]);
        let unknown = registry.enter(peer(4), channel(&registry));
        let ourselves = registry.enter(peer(1), channel(&registry));
        assert!(unknown.node().is_none() && ourselves.node().is_none());
        assert_eq!(ids(registry.peers()), [1, 2, 3]);
        assert!(ids(registry.clients()).is_empty());
        drop((two, three, unknown, ourselves));
        assert_eq!(ids(registry.peers()), [1]);
    }

    /// I3. After `TestAcceptPeerStaleCleanupDoesNotDetachReplacement` of Go Gorums.
    #[test]
    fn the_end_of_an_old_stream_does_not_remove_its_successor() {
        let registry = registry();
        let old = registry.enter(peer(2), channel(&registry));
        let new = registry.enter(peer(2), channel(&registry));
        assert!(old.channel().is_closed() && !new.channel().is_closed());
        drop(old);
        assert_eq!(ids(registry.peers()), [1, 2]);
        let published = registry.peers().borrow().nodes()[1].clone();
        assert!(Arc::ptr_eq(published.channel(), new.channel()));
        drop(new);
        assert_eq!(ids(registry.peers()), [1]);
    }

    #[test]
    fn clients_get_ids_of_their_own() {
        let registry = registry();
        let plain = registry.enter(Claim::Plain, channel(&registry));
        let first = registry.enter(Claim::Anonymous, channel(&registry));
        let second = registry.enter(Claim::Anonymous, channel(&registry));
        assert!(plain.node().is_none());
        assert_eq!(ids(registry.clients()), [FIRST_CLIENT + 1, FIRST_CLIENT + 2]);
        drop(first);
        assert_eq!(ids(registry.clients()), [FIRST_CLIENT + 2]);
        let third = registry.enter(Claim::Anonymous, channel(&registry));
        assert_eq!(ids(registry.clients()), [FIRST_CLIENT + 2, FIRST_CLIENT + 3]);
        drop((second, third));
    }
}
