//! A request that is being handled: what its handler, the way back to its caller, and the calls of the handler share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;

use crate::id::MessageId;
use crate::server::session::Session;
use crate::wire::Message;

/// A request that is being handled.
pub(crate) struct Active {
    session: Arc<Session>,
    facts: Facts,
    asked_for_cancellation: AtomicBool,
}

/// What is known of a request.
pub(crate) struct Facts {
    pub(crate) id: MessageId,
    pub(crate) turn: u64,
    pub(crate) method: &'static str,
    pub(crate) one_way: bool,
    pub(crate) deadline: Option<Instant>,
    pub(crate) metadata: Metadata,
}

/// The metadata of a request, which few handlers look at.
pub(crate) enum Metadata {
    None,
    /// In a message that was received.
    Encoded(Bytes),
    /// Of a caller in this process.
    Local(Arc<MetadataMap>),
}

impl Metadata {
    pub(crate) fn read(&self) -> MetadataMap {
        match self {
            Self::None => MetadataMap::new(),
            Self::Encoded(message) => Message::metadata(message),
            Self::Local(metadata) => MetadataMap::clone(metadata),
        }
    }
}

impl Active {
    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Lets the next request of the same sender start.
    pub(crate) fn release(&self) {
        self.session.pass(self.facts.turn);
    }

    /// Whether no other request of the same sender starts.
    pub(crate) fn holds_turn(&self) -> bool {
        self.session.turn() == self.facts.turn
    }

    /// Cancelled when the caller has gone.
    pub(crate) fn cancellation(&self) -> CancellationToken {
        self.asked_for_cancellation.store(true, Relaxed);
        self.session.cancellation(self.facts.id, self.facts.turn)
    }

    fn forget_cancellation(&mut self) {
        if std::mem::take(self.asked_for_cancellation.get_mut()) {
            self.session.forget_cancellation(self.facts.id, self.facts.turn);
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.forget_cancellation();
    }
}

/// Memory for the requests of a stream: most are handled one after the other, in the same place.
#[derive(Default)]
pub(crate) struct Place(Option<Arc<Active>>);

impl Place {
    /// To be followed by [`end`](Self::end).
    pub(crate) fn start(&mut self, session: &Arc<Session>, facts: Facts) -> Arc<Active> {
        if let Some(mut last) = self.0.take()
            && let Some(active) = Arc::get_mut(&mut last)
        {
            active.facts = facts;
            return last;
        }
        let asked_for_cancellation = AtomicBool::new(false);
        Arc::new(Active { session: session.clone(), facts, asked_for_cancellation })
    }

    /// The request has ended, or goes on elsewhere.
    pub(crate) fn end(&mut self, mut request: Arc<Active>) {
        if let Some(active) = Arc::get_mut(&mut request) {
            active.forget_cancellation();
            active.facts.metadata = Metadata::None;
            self.0 = Some(request);
        }
    }
}
