//! Accepting connections, and shutting down.
//!
//! Shutdown goes in this order, each step for the sake of the next: stop accepting, so that nothing new
//! comes; stop reading on each stream, so that no new request starts; let running handlers finish and their
//! replies be written, within the drain timeout; drop what still runs; wait until every task has ended.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::channel::{Channel, local};
use crate::configuration::Configuration;
use crate::error::ServerError;
#[cfg(feature = "metrics")]
use crate::observe::metrics::ServerMetrics;
use crate::server::tasks::ServerStats;
use crate::server::{Shared, connection};
use crate::transport::{BoxedIo, Io};

/// Pause after a failure to accept that may pass, as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An accepted byte stream and, if there is one, the address at its other end.
pub struct Incoming {
    io: BoxedIo,
    address: Option<SocketAddr>,
}

impl Incoming {
    /// A byte stream of any kind.
    pub fn new(io: impl Io, address: Option<SocketAddr>) -> Self {
        Self { io: Box::new(io), address }
    }
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming").field("address", &self.address).finish_non_exhaustive()
    }
}

impl From<TcpStream> for Incoming {
    fn from(stream: TcpStream) -> Self {
        let address = stream.peer_addr().ok();
        // Only delays small packets if it fails.
        let _ = stream.set_nodelay(true);
        Self::new(stream, address)
    }
}

impl From<tokio::io::DuplexStream> for Incoming {
    fn from(stream: tokio::io::DuplexStream) -> Self {
        Self::new(stream, None)
    }
}

/// Accepts connections over TCP.
#[derive(Debug)]
pub struct TcpIncoming {
    listener: TcpListener,
    address: SocketAddr,
}

impl TcpIncoming {
    pub(crate) fn new(listener: TcpListener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Stream for TcpIncoming {
    type Item = io::Result<TcpStream>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.listener.poll_accept(cx).map(|accepted| Some(accepted.map(|(stream, _)| stream)))
    }
}

/// A server that knows where its connections come from, and does not serve yet.
pub struct BoundServer<S = TcpIncoming> {
    shared: Arc<Shared>,
    incoming: S,
}

impl BoundServer {
    /// The address, with the port that was chosen.
    pub fn local_addr(&self) -> SocketAddr {
        self.incoming.address
    }
}

impl<S> BoundServer<S> {
    pub(crate) fn new(shared: Arc<Shared>, incoming: S) -> Self {
        Self { shared, incoming }
    }

    /// A handle to shut the server down with.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle { shared: self.shared.clone() }
    }
}

impl<S, I> BoundServer<S>
where
    S: Stream<Item = io::Result<I>>,
    I: Into<Incoming>,
{
    /// Serves until it is shut down with its [handle](Self::handle), or until there are no more connections to
    /// come and all there were have ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, or aborting its task, ends the server at once: connections are closed and running
    /// handlers are dropped.
    pub async fn serve(self) -> Result<(), ServerError> {
        self.serve_with_shutdown(pending()).await
    }

    /// Serves until `signal` resolves, then shuts down gracefully.
    ///
    /// # Cancel safety
    ///
    /// As that of [`serve`](Self::serve).
    pub async fn serve_with_shutdown(self, signal: impl Future<Output = ()>) -> Result<(), ServerError> {
        let Self { shared, incoming } = self;
        let _aborted = AbortOnDrop(shared.clone());
        // What is published is taken back when this is dropped, here or with the future.
        #[cfg(feature = "metrics")]
        let metrics = shared.metrics.as_ref().map(|(name, every)| ServerMetrics::new(name, *every));
        let publish = async {
            #[cfg(feature = "metrics")]
            if let Some(metrics) = &metrics {
                return metrics.publish(&ServerHandle { shared: shared.clone() }).await;
            }
            pending::<Infallible>().await
        };
        serve_itself(&shared);
        tokio::select! {
            biased;
            () = shared.stopping.cancelled() => {}
            () = signal => {}
            () = accept(&shared, incoming) => {}
            never = publish => match never {},
        }
        shut_down(&shared).await;
        Ok(())
    }
}

/// Makes a server that is a member of a system one of its own peers.
fn serve_itself(shared: &Shared) {
    if let Some(id) = shared.registry.own_id() {
        let channel = Channel::local(shared.pool.clone(), id, "local".into(), shared.pool.options().limits);
        let (services, registry) = (shared.services.clone(), Some(shared.registry.clone()));
        shared.pool.spawn(local::run(channel.clone(), services, registry));
        shared.registry.add_local(channel);
    }
}

/// Takes connections in until none is to come, and then waits until they have ended. Dropping this closes what
/// listens.
async fn accept<S, I>(shared: &Arc<Shared>, incoming: S)
where
    S: Stream<Item = io::Result<I>>,
    I: Into<Incoming>,
{
    let mut incoming = pin!(incoming);
    let slots = Arc::new(Semaphore::new(shared.options.max_connections));
    // The semaphore is never closed.
    while let Ok(slot) = slots.clone().acquire_owned().await {
        match incoming.next().await {
            Some(Ok(io)) => {
                let (server, Incoming { io, address }) = (shared.clone(), io.into());
                shared.tasks.spawn_connection(async move {
                    connection::serve(server, io, address).await;
                    drop(slot);
                });
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "could not accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
            None => break,
        }
    }
    shared.tasks.tracker.close();
    shared.tasks.tracker.wait().await;
}

impl<S> std::fmt::Debug for BoundServer<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BoundServer").finish_non_exhaustive()
    }
}

/// Shuts a server down.
#[derive(Clone)]
pub struct ServerHandle {
    shared: Arc<Shared>,
}

impl ServerHandle {
    /// Shuts down gracefully: running handlers may finish and reply within the drain timeout. Every
    /// connection is closed and every task has ended when this returns.
    ///
    /// # Cancel safety
    ///
    /// Shutting down goes on if the future is dropped.
    pub async fn shutdown(&self) {
        shut_down(&self.shared).await;
    }

    /// The members of this server's [system](crate::ServerBuilder::membership) that are connected to it, and the server
    /// itself while it serves, by id. Calls on it go over the connections that they have made.
    ///
    /// What is given does not change; a later call gives what has changed since.
    pub fn peers(&self) -> Configuration {
        self.shared.registry.peers().borrow().clone()
    }

    /// The clients that offer services, by the ids that the server has given them.
    pub fn clients(&self) -> Configuration {
        self.shared.registry.clients().borrow().clone()
    }

    /// The peers at this moment, and then those after each change. Whoever is slow sees the newest, not each one between.
    pub fn peer_changes(&self) -> impl Stream<Item = Configuration> + Send + Unpin + use<> {
        changes(self.shared.registry.peers())
    }

    /// The clients at this moment, and then those after each change.
    pub fn client_changes(&self) -> impl Stream<Item = Configuration> + Send + Unpin + use<> {
        changes(self.shared.registry.clients())
    }

    /// Waits until the peers are as asked, as `|peers| peers.len() == 3`. `None` if the server is shut down first.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again.
    pub async fn wait_for_peers(&self, enough: impl FnMut(&Configuration) -> bool) -> Option<Configuration> {
        self.wait_for(self.shared.registry.peers(), enough).await
    }

    /// Waits until the clients are as asked. `None` if the server is shut down first.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again.
    pub async fn wait_for_clients(
        &self,
        enough: impl FnMut(&Configuration) -> bool,
    ) -> Option<Configuration> {
        self.wait_for(self.shared.registry.clients(), enough).await
    }

    async fn wait_for(
        &self,
        published: &watch::Sender<Configuration>,
        enough: impl FnMut(&Configuration) -> bool,
    ) -> Option<Configuration> {
        let mut published = published.subscribe();
        let found = self.shared.stopping.run_until_cancelled(published.wait_for(enough)).await;
        found?.ok().map(|configuration| configuration.clone())
    }

    /// What the server has open at this moment.
    pub fn stats(&self) -> ServerStats {
        let shared = &self.shared;
        ServerStats {
            calls: shared.pool.pending().open(),
            named_clients: shared.fences.len(),
            ..shared.tasks.stats()
        }
    }

    /// Shuts down at once: running handlers are dropped. Also cuts a [`shutdown`](Self::shutdown) short that is under way.
    ///
    /// # Cancel safety
    ///
    /// Shutting down goes on if the future is dropped.
    pub async fn abort(&self) {
        self.shared.tasks.abort.cancel();
        shut_down(&self.shared).await;
    }
}

fn changes(
    published: &watch::Sender<Configuration>,
) -> impl Stream<Item = Configuration> + Send + Unpin + use<> {
    let next = async |mut published: watch::Receiver<Configuration>| {
        published.changed().await.ok()?;
        let configuration = published.borrow_and_update().clone();
        Some((configuration, published))
    };
    let mut published = published.subscribe();
    published.mark_changed();
    Box::pin(stream::unfold(published, next))
}

impl std::fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerHandle").finish_non_exhaustive()
    }
}

/// Ends everything at once when serving is dropped instead of being shut down.
struct AbortOnDrop(Arc<Shared>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.stopping.cancel();
        self.0.tasks.abort.cancel();
        self.0.pool.aborting().cancel();
    }
}

async fn shut_down(shared: &Shared) {
    shared.stopping.cancel();
    let tasks = &shared.tasks;
    tasks.tracker.close();
    if timeout(shared.options.drain_timeout, tasks.tracker.wait()).await.is_err() {
        tasks.abort.cancel();
        tasks.tracker.wait().await;
    }
    shared.registry.clear();
    shared.pool.abort().await;
}
