//! A node: a cheap handle to one process that calls are made on.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use tokio::sync::watch;

use crate::call::CallOptions;
use crate::channel::{Channel, Connectivity};
use crate::configuration::Members;
use crate::error::NodeErrorKind;
use crate::id::NodeId;
use crate::stats::{Counters, NodeStats};

/// One process that calls can be made on. Handles are cheap to clone and share one connection, which closes
/// when the last of them is gone.
///
/// Two handles are equal if they are to the same node of the same pool, that is, of configurations that were
/// made from one another.
#[derive(Clone)]
pub struct Node {
    handle: Arc<Handle>,
}

/// Closes the channel when the last handle to the node is gone, unless somebody else owns that.
pub(crate) struct Handle {
    channel: Arc<Channel>,
    owned: bool,
}

impl Node {
    pub(crate) fn new(channel: Arc<Channel>) -> Self {
        let node = Self { handle: Arc::new(Handle { channel, owned: true }) };
        let pool = node.channel().pool();
        pool.nodes().insert(node.id(), Arc::downgrade(&node.handle));
        node
    }

    /// A node whose channel lives as long as its stream.
    pub(crate) fn borrowed(channel: Arc<Channel>) -> Self {
        Self { handle: Arc::new(Handle { channel, owned: false }) }
    }

    /// Nodes with ids from 1 to `size` that nothing drives.
    #[cfg(any(test, feature = "bench"))]
    pub(crate) fn detached(size: u32) -> crate::Configuration {
        let pool = crate::pool::Pool::detached();
        let nodes = (1..=size).filter_map(NodeId::new).map(|id| {
            let address = format!("node{id}:1").into();
            Self::new(Channel::new(pool.clone(), id, address, pool.options().limits))
        });
        let nodes = nodes.collect();
        crate::Configuration::from_nodes(pool, nodes)
    }

    pub(crate) fn from_handle(handle: Arc<Handle>) -> Self {
        Self { handle }
    }

    pub(crate) fn channel(&self) -> &Arc<Channel> {
        &self.handle.channel
    }

    pub(crate) fn counters(&self) -> &Counters {
        self.channel().counters()
    }

    /// The node's id.
    pub fn id(&self) -> NodeId {
        self.channel().id()
    }

    /// The node's address, as it was given.
    pub fn address(&self) -> &str {
        self.channel().address()
    }

    /// The moving average of the time from a call to this node's reply; `None` before the first reply. Where a
    /// [staged](crate::QuorumCall::staged) call had to ask other nodes and ended without this one's reply, the time it
    /// waited counts, if that is more than the average.
    pub fn latency(&self) -> Option<Duration> {
        self.counters().latency()
    }

    /// What last went wrong with a call or the connection; `None` if nothing has.
    pub fn last_error(&self) -> Option<NodeErrorKind> {
        self.counters().last_error()
    }

    /// How many calls this node still owes a reply. Looks at every call in flight of the configuration and those that were
    /// made from the same one, so it costs more the more there are.
    pub fn pending(&self) -> usize {
        self.channel().pending()
    }

    /// Whether there is a connection at this moment.
    pub fn is_connected(&self) -> bool {
        self.channel().is_up()
    }

    /// How it stands with the connection at this moment.
    pub fn state(&self) -> NodeState {
        (&*self.channel().connectivity().borrow()).into()
    }

    /// The state at this moment, and then each change, until the node is closed. Whoever is slow sees the newest
    /// state, not each one between. The stream does not keep the connection open.
    pub fn states(&self) -> impl Stream<Item = NodeState> + Send + Unpin + use<> {
        Box::pin(stream::unfold(Some((self.channel().connectivity(), None)), next_state))
    }

    /// Why the node is [unreachable](NodeState::Unreachable), if it is.
    pub fn unreachable_because(&self) -> Option<Arc<dyn std::error::Error + Send + Sync>> {
        self.channel().down_because()
    }

    /// The node's counters.
    pub fn stats(&self) -> NodeStats {
        self.channel().stats()
    }
}

/// How it stands with the connection to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeState {
    /// Not used yet, or dialled for the first time.
    Idle,
    /// There is a connection.
    Connected,
    /// The connection broke, or could not be made; it is dialled again with a back-off.
    Unreachable,
    /// There will be no connection any more.
    Closed,
}

impl From<&Connectivity> for NodeState {
    fn from(connectivity: &Connectivity) -> Self {
        match connectivity {
            Connectivity::Waiting => Self::Idle,
            Connectivity::Up => Self::Connected,
            Connectivity::Down(_) => Self::Unreachable,
            Connectivity::Closed => Self::Closed,
        }
    }
}

type Watched = Option<(watch::Receiver<Connectivity>, Option<NodeState>)>;

/// The next state that differs from the last one, and what is watched from then on: nothing once it is closed.
async fn next_state(watched: Watched) -> Option<(NodeState, Watched)> {
    let (mut connectivity, last) = watched?;
    let differs = |now: &Connectivity| last != Some(now.into());
    let state = NodeState::from(&*connectivity.wait_for(differs).await.ok()?);
    let next = (state != NodeState::Closed).then_some((connectivity, Some(state)));
    Some((state, next))
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(self.channel(), other.channel())
    }
}

impl Eq for Node {}

impl Hash for Node {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(self.channel()).hash(state);
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.id())
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} ({})", self.id(), self.address())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.owned {
            self.channel.close();
            self.channel.pool().forget(&self.channel);
        }
    }
}

/// The nodes of one call, in order.
#[derive(Clone, Debug)]
pub(crate) enum Targets {
    One(Node),
    Many(Arc<Members>),
}

impl Targets {
    pub(crate) fn nodes(&self) -> &[Node] {
        match self {
            Self::One(node) => std::slice::from_ref(node),
            Self::Many(members) => members.nodes(),
        }
    }

    /// What holds for a call on them that does not say otherwise.
    pub(crate) fn call_options(&self) -> Option<&CallOptions> {
        match self {
            Self::One(node) => node.channel().pool().options().call_options.as_deref(),
            Self::Many(members) => members.call_options(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes().len()
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Node> {
        self.nodes().iter()
    }

    pub(crate) fn get(&self, index: usize) -> &Node {
        &self.nodes()[index]
    }

    /// The index of the node whose channel has this ordinal.
    pub(crate) fn position(&self, ordinal: u32) -> Option<usize> {
        match self {
            Self::One(node) => (node.channel().ordinal() == ordinal).then_some(0),
            Self::Many(members) => members.position(ordinal),
        }
    }
}
