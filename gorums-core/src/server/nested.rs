//! What the calls that a handler makes inherit from the request that it handles (G8).
//!
//! Known to the task of the handler while it runs. Work that a handler hands to another task inherits nothing.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use futures_util::future::Either;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::channel::Channel;
use crate::error::Source;
use crate::id::MessageId;
use crate::server::session::Session;

tokio::task_local! {
    static CURRENT: Current;
}

/// The request that a task handles.
pub(crate) struct Current {
    session: Arc<Session>,
    id: MessageId,
    turn: u64,
    method: &'static str,
    deadline: Option<Instant>,
    /// Somebody waits for the reply.
    awaited: bool,
    asked_for_cancellation: AtomicBool,
}

/// A call to a node failed while the handler that made it kept that node's turn.
#[derive(Debug, thiserror::Error)]
#[error(
    "the handler of {method} waited for the node that called it, and no other request of that node can start before it \
     returns: call `ctx.release()` before such a call"
)]
struct TurnHeld {
    method: &'static str,
}

impl Current {
    pub(crate) fn new(
        session: Arc<Session>,
        (id, turn): (MessageId, u64),
        method: &'static str,
        deadline: Option<Instant>,
        awaited: bool,
    ) -> Self {
        let asked_for_cancellation = AtomicBool::new(false);
        Self { session, id, turn, method, deadline, awaited, asked_for_cancellation }
    }

    /// Handles the request. Handlers run within the scope of their interceptors, if they have any.
    pub(crate) fn scope<F: Future>(self, handling: F) -> impl Future<Output = F::Output> + use<F> {
        let same = |current: &Self| {
            (current.id == self.id && Arc::ptr_eq(&current.session, &self.session)).then_some(())
        };
        match current(same) {
            Some(()) => Either::Right(handling),
            None => Either::Left(CURRENT.scope(self, handling)),
        }
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        if *self.asked_for_cancellation.get_mut() {
            self.session.forget_cancellation(self.id);
        }
    }
}

fn current<T>(ask: impl FnOnce(&Current) -> Option<T>) -> Option<T> {
    CURRENT.try_with(ask).ok().flatten()
}

/// When the caller of the current handler stops waiting.
pub(crate) fn deadline() -> Option<Instant> {
    current(|current| current.deadline.filter(|_| current.awaited))
}

/// Cancelled when the caller of the current handler has gone.
pub(crate) fn cancellation() -> Option<CancellationToken> {
    current(|current| {
        current.awaited.then(|| {
            current.asked_for_cancellation.store(true, Relaxed);
            current.session.cancellation(current.id)
        })
    })
}

/// The channel of the own node, if the current handler was called over it and keeps its turn, and what to tell it.
pub(crate) fn own_turn_held() -> Option<(Arc<Channel>, Status)> {
    current(|current| {
        let held = current.session.is_local() && current.session.turn() == current.turn;
        held.then(|| {
            let status = Status::internal(TurnHeld { method: current.method }.to_string());
            (current.session.channel().clone(), status)
        })
    })
}

/// Why a call of the current handler to this node may have got no answer, if that is the handler's own doing.
pub(crate) fn turn_held(channel: &Arc<Channel>) -> Option<Source> {
    current(|current| {
        let own = Arc::ptr_eq(current.session.channel(), channel) && current.session.turn() == current.turn;
        own.then(|| Arc::new(TurnHeld { method: current.method }) as Source)
    })
}
