//! What a handler knows of the request that it handles.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tonic::metadata::MetadataMap;

use crate::id::MessageId;
use crate::server::session::Session;
use crate::wire::{Entry, Envelope};

/// A request without its payload.
pub(crate) struct RequestInfo {
    pub(crate) id: MessageId,
    pub(crate) turn: u64,
    pub(crate) method: &'static str,
    pub(crate) deadline: Option<Instant>,
    pub(crate) entries: Vec<Entry>,
}

/// What a handler knows of its request and of who sent it.
///
/// Handlers of one sender start in the order in which it sent: the next one starts when the one before it
/// returned, or called [`release`](Self::release).
pub struct ServerContext {
    session: Arc<Session>,
    request: RequestInfo,
    metadata: OnceLock<MetadataMap>,
    asked_for_cancellation: AtomicBool,
}

impl ServerContext {
    pub(crate) fn new(session: Arc<Session>, request: RequestInfo) -> Self {
        Self { session, request, metadata: OnceLock::new(), asked_for_cancellation: AtomicBool::new(false) }
    }

    /// Lets the next request of the same sender start before this handler returns. Idempotent.
    ///
    /// To be called by a handler that waits for something, once the order no longer matters to it.
    pub fn release(&self) {
        self.session.pass(self.request.turn);
    }

    /// The sender's network address; `None` for a call within the process.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.session.peer().address
    }

    /// The metadata that came with this request.
    pub fn metadata(&self) -> &MetadataMap {
        self.metadata.get_or_init(|| Envelope::metadata(&self.request.entries))
    }

    /// The metadata that the sender gave when it connected.
    pub fn connection_metadata(&self) -> &MetadataMap {
        &self.session.peer().metadata
    }

    /// The full name of the method, as `storage.Storage.ReadQC`.
    pub fn method(&self) -> &'static str {
        self.request.method
    }

    /// When the caller stops waiting; `None` if it does not say, as a Go client.
    pub fn deadline(&self) -> Option<Instant> {
        self.request.deadline
    }

    /// How long the caller still waits, zero if it no longer does; `None` if it does not say.
    pub fn remaining(&self) -> Option<Duration> {
        self.request.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
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
        self.asked_for_cancellation.store(true, Relaxed);
        let token = self.session.cancellation(self.request.id);
        match self.request.deadline {
            Some(deadline) => tokio::select! {
                biased;
                () = token.cancelled() => {}
                () = sleep_until(deadline) => {}
            },
            None => token.cancelled().await,
        }
    }
}

impl Drop for ServerContext {
    fn drop(&mut self) {
        if *self.asked_for_cancellation.get_mut() {
            self.session.forget_cancellation(self.request.id);
        }
        self.release();
    }
}

impl fmt::Debug for ServerContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerContext")
            .field("method", &self.request.method)
            .field("peer_addr", &self.peer_addr())
            .field("deadline", &self.request.deadline)
            .finish_non_exhaustive()
    }
}
