//! Accepting connections, and shutting down.
//!
//! Shutdown goes in this order, each step for the sake of the next: stop accepting, so that nothing new
//! comes; stop reading on each stream, so that no new request starts; let running handlers finish and their
//! replies be written, within the drain timeout; drop what still runs; wait until every task has ended.

use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::error::ServerError;
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

/// A server that has its address, and does not serve yet.
pub struct BoundServer {
    shared: Arc<Shared>,
    listener: TcpListener,
    address: SocketAddr,
}

impl BoundServer {
    pub(crate) fn new(shared: Arc<Shared>, listener: TcpListener) -> Result<Self, ServerError> {
        let address = listener.local_addr().map_err(|error| ServerError::bind("the given address", error))?;
        Ok(Self { shared, listener, address })
    }

    /// The address, with the port that was chosen.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// A handle to shut the server down with.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle { shared: self.shared.clone() }
    }

    /// Serves until it is shut down with its [handle](Self::handle).
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
        let Self { shared, listener, .. } = self;
        let _aborted = AbortOnDrop(shared.clone());
        let accept = async {
            let slots = Arc::new(Semaphore::new(shared.options.max_connections));
            loop {
                // The semaphore is never closed.
                let Ok(slot) = slots.clone().acquire_owned().await else { return };
                match listener.accept().await {
                    Ok((stream, _)) => spawn(&shared, stream.into(), slot),
                    Err(error) => {
                        tracing::warn!(%error, "could not accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        tokio::select! {
            () = accept => {}
            () = signal => {}
            () = shared.stopping.cancelled() => {}
        }
        drop(listener);
        shut_down(&shared).await;
        Ok(())
    }
}

impl std::fmt::Debug for BoundServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BoundServer").field("address", &self.address).finish_non_exhaustive()
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
    pub async fn shutdown(&self) {
        shut_down(&self.shared).await;
    }

    /// Shuts down at once: running handlers are dropped.
    pub async fn abort(&self) {
        self.shared.tasks.abort.cancel();
        shut_down(&self.shared).await;
    }
}

impl std::fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerHandle").finish_non_exhaustive()
    }
}

pub(crate) async fn serve_incoming<S, I>(shared: Arc<Shared>, incoming: S) -> Result<(), ServerError>
where
    S: Stream<Item = io::Result<I>>,
    I: Into<Incoming>,
{
    let _aborted = AbortOnDrop(shared.clone());
    let mut incoming = pin!(incoming);
    let slots = Arc::new(Semaphore::new(shared.options.max_connections));
    let result = loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { break Ok(()) };
        match incoming.next().await {
            Some(Ok(io)) => spawn(&shared, io.into(), slot),
            Some(Err(error)) => {
                tracing::warn!(%error, "could not accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
            None => {
                shared.tasks.tracker.close();
                shared.tasks.tracker.wait().await;
                break Ok(());
            }
        }
    };
    shut_down(&shared).await;
    result
}

/// Ends everything at once when serving is dropped instead of being shut down.
struct AbortOnDrop(Arc<Shared>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.stopping.cancel();
        self.0.tasks.abort.cancel();
    }
}

fn spawn(shared: &Arc<Shared>, incoming: Incoming, slot: tokio::sync::OwnedSemaphorePermit) {
    let server = shared.clone();
    let tasks = &shared.tasks;
    let abort = tasks.abort.clone();
    tasks.tracker.spawn(async move {
        let _slot = slot;
        abort.run_until_cancelled(connection::serve(server, incoming.io, incoming.address)).await;
    });
}

async fn shut_down(shared: &Shared) {
    shared.stopping.cancel();
    let tasks = &shared.tasks;
    tasks.tracker.close();
    if timeout(shared.options.drain_timeout, tasks.tracker.wait()).await.is_err() {
        tasks.abort.cancel();
        tasks.tracker.wait().await;
    }
}
