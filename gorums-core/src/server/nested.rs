//! What the calls that a handler makes inherit from the request that it handles (G8).
//!
//! Known to the task of the handler while it runs. Work that a handler hands to another task inherits nothing.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::channel::Channel;
use crate::error::Source;
use crate::server::active::{Active, Metadata};

thread_local! {
    /// The request whose handler runs on this thread at the moment. Tokio's task-locals would do, at five times the cost.
    static CURRENT: RefCell<Option<Arc<Active>>> = const { RefCell::new(None) };
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

/// Handles a request for as long as `handling` runs.
pub(crate) async fn scope<F: Future>(request: Arc<Active>, handling: F) -> F::Output {
    let mut handling = pin!(handling);
    poll_fn(|cx| within(&request, || handling.as_mut().poll(cx))).await
}

/// Handles a request while `run` runs.
pub(crate) fn within<T>(request: &Arc<Active>, run: impl FnOnce() -> T) -> T {
    if current(|current| Arc::ptr_eq(current, request).then_some(())).is_some() {
        return run();
    }
    lend(request.clone(), run).0
}

/// Handles a request while `run` runs, and gives it back.
pub(crate) fn lend<T>(request: Arc<Active>, run: impl FnOnce() -> T) -> (T, Arc<Active>) {
    let mut lent = Some(request);
    let result = {
        let _back = Lent::new(&mut lent);
        run()
    };
    (result, lent.unwrap_or_else(|| unreachable!("what was lent was given back")))
}

/// A request that is handled on this thread, in exchange for the one that was: that has its turn again although a
/// handler may panic.
struct Lent<'a>(&'a mut Option<Arc<Active>>);

impl<'a> Lent<'a> {
    fn new(request: &'a mut Option<Arc<Active>>) -> Self {
        CURRENT.with_borrow_mut(|current| std::mem::swap(current, request));
        Self(request)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        CURRENT.with_borrow_mut(|current| std::mem::swap(current, self.0));
    }
}

fn current<T>(ask: impl FnOnce(&Arc<Active>) -> Option<T>) -> Option<T> {
    CURRENT.try_with(|current| current.borrow().as_ref().and_then(ask)).ok().flatten()
}

/// When the caller of the current handler stops waiting.
pub(crate) fn deadline() -> Option<Instant> {
    current(|current| current.facts().deadline.filter(|_| !current.facts().one_way))
}

/// Cancelled when the caller of the current handler has gone.
pub(crate) fn cancellation() -> Option<CancellationToken> {
    current(|current| (!current.facts().one_way).then(|| current.cancellation()))
}

/// Shows the metadata of the request of the current handler, if there is any.
pub(crate) fn with_metadata(show: impl FnOnce(&MetadataMap)) {
    let some = |current: &Arc<Active>| {
        let metadata = &current.facts().metadata;
        (!matches!(metadata, Metadata::None)).then(|| metadata.read())
    };
    if let Some(metadata) = current(some) {
        show(&metadata);
    }
}

/// The channel of the own node, if the current handler was called over it and keeps its turn, and what to tell it.
pub(crate) fn own_turn_held() -> Option<(Arc<Channel>, Status)> {
    current(|current| {
        let held = current.session().is_local() && current.holds_turn();
        held.then(|| {
            let status = Status::internal(TurnHeld { method: current.facts().method }.to_string());
            (current.session().channel().clone(), status)
        })
    })
}

/// Why a call of the current handler to this node may have got no answer, if that is the handler's own doing.
pub(crate) fn turn_held(channel: &Arc<Channel>) -> Option<Source> {
    current(|current| {
        let own = Arc::ptr_eq(current.session().channel(), channel) && current.holds_turn();
        own.then(|| Arc::new(TurnHeld { method: current.facts().method }) as Source)
    })
}
