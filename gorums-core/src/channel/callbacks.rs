//! What a client offers to the nodes that it is connected to, for calls back.

use std::sync::Arc;

use http::HeaderValue;
use tokio_util::sync::CancellationToken;

use crate::channel::Channel;
use crate::id::NodeId;
use crate::node::Node;
use crate::server::dispatch::Dispatcher;
use crate::server::registry::Registry;
use crate::server::services::Services;
use crate::server::session::{Peer, Session, Way};
use crate::server::tasks::Tasks;
use crate::transport::PeerCertificates;

/// The services of a client.
#[derive(Clone)]
pub(crate) struct Callbacks {
    pub(crate) services: Services,
    /// The server of the same process, if it has one.
    pub(crate) registry: Option<Arc<Registry>>,
}

impl Callbacks {
    fn own_id(&self) -> Option<NodeId> {
        self.registry.as_ref().and_then(|registry| registry.own_id())
    }

    /// No call back will come any more. The services of a system end with that.
    pub(crate) fn end(&self) {
        if self.registry.is_none() {
            self.services.withdraw();
        }
    }

    /// What the client says of itself.
    pub(crate) fn claim(&self) -> HeaderValue {
        HeaderValue::from(self.own_id().map_or(0, NodeId::get))
    }
}

/// Handles the calls back that come over one channel, in order across its streams.
pub(crate) struct Handling {
    callbacks: Callbacks,
    channel: Arc<Channel>,
    tasks: Tasks,
    /// Cancelled when nothing of the last stream will start any more.
    last: CancellationToken,
}

impl Handling {
    pub(crate) fn new(callbacks: Callbacks, channel: Arc<Channel>) -> Self {
        let last = CancellationToken::new();
        last.cancel();
        Self { callbacks, channel, tasks: Tasks::default(), last }
    }

    /// What starts the handlers of a new stream, once those of the last one have had their turns.
    pub(crate) fn dispatcher(&self, certificates: Option<PeerCertificates>) -> Dispatcher {
        let node = Some(Node::borrowed(self.channel.clone()));
        let peer = Peer { certificates, node, ..Peer::default() };
        let way = Way::Stream(self.channel.clone());
        let session = Session::new(peer, way, self.tasks.clone(), self.callbacks.registry.clone());
        Dispatcher::new(self.callbacks.services.clone(), session).after(self.last.clone())
    }

    /// A stream has ended: its handlers are told, and what it has left to start is started.
    pub(crate) fn detach(&mut self, dispatcher: Dispatcher) {
        dispatcher.close();
        let ended = CancellationToken::new();
        self.last = ended.clone();
        let ended = ended.drop_guard();
        self.tasks.spawn_detached(async move {
            dispatcher.finish().await;
            drop(ended);
        });
    }

    /// Drops what still runs, and waits until it is gone.
    pub(crate) async fn end(self) {
        self.tasks.abort.cancel();
        self.tasks.tracker.close();
        self.tasks.tracker.wait().await;
    }
}
