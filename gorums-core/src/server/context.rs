//! What a handler knows of the request that it handles.

use std::fmt;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tonic::metadata::MetadataMap;

use crate::configuration::Configuration;
use crate::id::NodeId;
use crate::node::Node;
use crate::server::active::Active;
use crate::server::registry::Registry;
use crate::server::session::Session;
use crate::transport::PeerCertificates;

/// What a handler knows of its request and of who sent it.
///
/// Handlers of one sender start in the order in which it sent: the next one starts when the one before it
/// returned, or called [`release`](Self::release).
pub struct ServerContext {
    request: Arc<Active>,
    metadata: OnceLock<Box<MetadataMap>>,
    /// The turn is passed on by somebody else.
    turn_is_held: bool,
}

impl ServerContext {
    pub(crate) fn new(request: Arc<Active>) -> Self {
        Self { request, metadata: OnceLock::new(), turn_is_held: false }
    }

    pub(crate) fn request(&self) -> &Arc<Active> {
        &self.request
    }

    fn session(&self) -> &Arc<Session> {
        self.request.session()
    }

    /// Lets the next request of the same sender start before this handler returns. Idempotent.
    ///
    /// To be called by a handler that waits for something, once the order no longer matters to it. One that calls its
    /// own caller, and needs another request of that one to be handled meanwhile, has to call it: else the call ends at
    /// its deadline, with an error that names this method. A handler that waits for its own node, over the configuration
    /// over which it was called itself, gets such an error at once.
    pub fn release(&self) {
        self.request.release();
    }

    /// What can release this request when its handler has returned.
    pub(crate) fn turn(&self) -> Turn {
        Turn { session: self.session().clone(), number: self.request.facts().turn }
    }

    /// Keeps the turn beyond the handler, until what is returned is dropped.
    pub(crate) fn hold_turn(&mut self) -> HeldTurn {
        self.turn_is_held = true;
        HeldTurn(self.turn())
    }

    /// The sender's network address; `None` for a call within the process.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.session().peer().address
    }

    /// The id of the sender: of a peer or of a client that offers services; `None` for any other.
    pub fn peer_id(&self) -> Option<NodeId> {
        self.session().peer().node.as_ref().map(Node::id)
    }

    /// The certificates that the sender has shown; `None` without mutual TLS, and for a call within the process.
    pub fn peer_certificates(&self) -> Option<&PeerCertificates> {
        self.session().peer().certificates.as_ref()
    }

    /// The sender, to call it back; `None` if it offers no services.
    pub fn caller(&self) -> Option<&Node> {
        self.session().peer().node.as_ref()
    }

    /// The members of this system that are connected to this process, and this process itself, by id.
    pub fn peers(&self) -> Configuration {
        self.connected(Registry::peers)
    }

    /// The clients of this process that offer services, by id.
    pub fn clients(&self) -> Configuration {
        self.connected(Registry::clients)
    }

    fn connected(&self, whom: fn(&Registry) -> &watch::Sender<Configuration>) -> Configuration {
        match self.session().registry() {
            Some(registry) => whom(registry).borrow().clone(),
            None => Configuration::from_nodes(self.session().channel().pool().clone(), Vec::new()),
        }
    }

    /// The metadata that came with this request.
    pub fn metadata(&self) -> &MetadataMap {
        self.metadata.get_or_init(|| Box::new(self.request.facts().metadata.read()))
    }

    pub(crate) fn metadata_mut(&mut self) -> &mut MetadataMap {
        self.metadata();
        self.metadata.get_mut().expect("initialized in the line above")
    }

    /// The metadata that the sender gave when it connected.
    pub fn connection_metadata(&self) -> &MetadataMap {
        &self.session().peer().metadata
    }

    /// The full name of the method, as `storage.Storage.ReadQC`.
    pub fn method(&self) -> &'static str {
        self.request.facts().method
    }

    /// When the caller stops waiting; `None` if it does not say, as a Go client.
    pub fn deadline(&self) -> Option<Instant> {
        self.request.facts().deadline
    }

    /// How long the caller still waits, zero if it no longer does; `None` if it does not say.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Resolves when nobody waits for the reply any more: the caller gave the call up, its connection broke,
    /// or its deadline passed. Never resolves for a caller of which this cannot be known.
    ///
    /// The handler goes on unless it acts on this, as with `tokio::select!`.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again.
    pub async fn cancelled(&self) {
        let token = self.request.cancellation();
        match self.deadline() {
            Some(deadline) => tokio::select! {
                biased;
                () = token.cancelled() => {}
                () = sleep_until(deadline) => {}
            },
            None => token.cancelled().await,
        }
    }
}

impl ServerContext {
    /// Runs work that has to happen although the caller may go or the handler may return, in a task of its own and for at
    /// most `limit`: releasing a lock elsewhere, repairing what a quorum call left half done.
    ///
    /// The result is `None` if the limit passed or the server was shut down first. Dropping the future that is returned
    /// does not stop the work. A graceful shutdown waits for it within the drain timeout. Calls that the work makes do
    /// not inherit the deadline of the request, nor its cancellation.
    ///
    /// # Panics
    ///
    /// The future that is returned panics if the work did.
    pub fn detach<T, F>(&self, limit: Duration, work: F) -> impl Future<Output = Option<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let task = self.session().tasks().spawn_detached(timeout(limit, work));
        async {
            match task.await {
                Ok(ended) => ended.and_then(Result::ok),
                Err(error) => error.try_into_panic().map_or(None, |panic| resume_unwind(panic)),
            }
        }
    }
}

impl Drop for ServerContext {
    fn drop(&mut self) {
        if !self.turn_is_held {
            self.release();
        }
    }
}

/// The turn of a request: while it is not released, no other request of the same sender starts.
#[derive(Clone)]
pub struct Turn {
    session: Arc<Session>,
    number: u64,
}

impl Turn {
    /// Lets the next request of the same sender start. Idempotent.
    pub fn release(&self) {
        self.session.pass(self.number);
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn").field("number", &self.number).finish_non_exhaustive()
    }
}

/// Releases a turn when it is dropped.
pub(crate) struct HeldTurn(Turn);

impl Drop for HeldTurn {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl fmt::Debug for ServerContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerContext")
            .field("method", &self.method())
            .field("peer_addr", &self.peer_addr())
            .field("deadline", &self.deadline())
            .finish_non_exhaustive()
    }
}
