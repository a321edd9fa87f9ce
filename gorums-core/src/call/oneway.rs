//! Calls without replies.

use std::fmt;
use std::future::IntoFuture;
use std::pin::pin;

use futures_util::future::{BoxFuture, Either, join_all, select};
use tokio::time::Instant;

use crate::call::description::{Description, fail};
use crate::call::intercept::{Own, request_interceptors};
use crate::call::options::common_options;
use crate::call::reach::{Counted, Reach};
use crate::call::tally::{Quorum, Tally};
use crate::channel::queue::{Outgoing, Overflow};
use crate::error::{Fault, NodeError, NodeErrorKind, QuorumError, QuorumErrorKind};
use crate::method::Method;
use crate::node::{Node, Targets};

impl<Req> Description<Req, ()> {
    /// Starts the call and waits for the hand-over. Where there is no room, waits for that too if it is to.
    async fn hand_over(mut self, quorum: Quorum) -> Result<(), QuorumError> {
        let own = self.own_requests();
        let Some(quorum) = among_called(quorum, &own) else { return Ok(()) };
        let tally = Tally::new(quorum, self.size());
        let (call, waiting) = self.start_handover(tally, &own);
        drop(own);
        let progress = Counted::new(quorum, &call);
        let reach = Reach::new(call, progress, QuorumErrorKind::SendFailure);
        if waiting.is_empty() {
            return reach.await;
        }
        let offers = join_all(waiting.into_iter().map(|(node, request)| offer_when_room(node, request)));
        match select(pin!(reach), pin!(offers)).await {
            Either::Left((result, _)) => result,
            Either::Right((_, reach)) => reach.await,
        }
    }
}

/// What a quorum means for a one-way call that skips nodes: all are all others. `None` if there is nothing to be done.
fn among_called<Req>(quorum: Quorum, own: &[Own<Req>]) -> Option<Quorum> {
    match own.iter().filter(|own| !own.skipped).count() {
        called if called == own.len() || quorum != Quorum::All => Some(quorum),
        0 => None,
        called => Some(Quorum::Threshold(called)),
    }
}

async fn offer_when_room(node: Node, mut request: Outgoing) {
    loop {
        node.channel().wait_for_room(&request).await;
        match node.channel().offer(&mut request, Instant::now()) {
            // Somebody else was faster.
            Err(fault) if matches!(fault.kind, NodeErrorKind::QueueFull) => {}
            Err(fault) => return fail(&node, request.id, fault),
            Ok(()) => return,
        }
    }
}

/// The options that one-way calls have beside those of all calls.
macro_rules! oneway_options {
    () => {
        common_options!();

        /// What happens when the queue of a node is full; by default, the call fails on that node.
        pub fn overflow(mut self, overflow: Overflow) -> Self {
            self.description.options.overflow = overflow;
            self
        }
    };
}

/// A call to one node, without a reply.
///
/// Awaited, it resolves when the message was handed to the transport, which is no proof that it arrives.
#[must_use = "a call does nothing until it is awaited or `send()` is called"]
pub struct Unicast<Req: 'static> {
    description: Description<Req, ()>,
}

impl<Req> Unicast<Req> {
    pub(crate) fn new(targets: Targets, method: &'static Method<Req, ()>, request: Req) -> Self {
        Self { description: Description::new(targets, method, request) }
    }

    oneway_options!();

    /// Queues the message now, without waiting for anything.
    ///
    /// # Errors
    ///
    /// The message was not taken: the queue is full, the node is down or closed. A connection that breaks
    /// later goes unnoticed.
    pub fn send(self) -> Result<(), NodeError> {
        self.description.start_unwatched(&[]).into_iter().next().map_or(Ok(()), Err)
    }
}

impl<Req: Send + Sync + 'static> IntoFuture for Unicast<Req> {
    type Output = Result<(), NodeError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let node = self.description.targets.get(0).clone();
            self.description.hand_over(Quorum::All).await.map_err(|error| {
                // One node was called, and it is the only one that an error can be of.
                error.into_first().unwrap_or_else(|| {
                    Fault::unsent(NodeErrorKind::Unavailable, None)
                        .at(node.id(), node.channel().address().clone())
                })
            })
        })
    }
}

impl<Req: fmt::Debug> fmt::Debug for Unicast<Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Unicast").field(&self.description).finish()
    }
}

/// A call to all nodes of a configuration, without replies.
///
/// Awaited, it resolves when the message was handed to the transport of every node, or of as many as were
/// chosen on the configuration; which is no proof that it arrives. Nodes that a mapping skips are not waited for, and
/// a message for nobody is a success.
#[must_use = "a call does nothing until it is awaited or `send()` is called"]
pub struct Multicast<Req: 'static> {
    description: Description<Req, ()>,
    quorum: Quorum,
}

impl<Req> Multicast<Req> {
    pub(crate) fn new(
        targets: Targets,
        method: &'static Method<Req, ()>,
        request: Req,
        quorum: Quorum,
    ) -> Self {
        Self { description: Description::new(targets, method, request), quorum }
    }

    oneway_options!();
    request_interceptors!();

    /// Queues the message for every node now, without waiting for anything.
    ///
    /// # Errors
    ///
    /// [`QuorumErrorKind::SendFailure`] if fewer nodes took the message than were asked for; it still goes to
    /// those that did. A connection that breaks later goes unnoticed.
    pub fn send(mut self) -> Result<(), QuorumError> {
        let size = self.description.size();
        let own = self.description.own_requests();
        let Some(quorum) = among_called(self.quorum, &own) else { return Ok(()) };
        let needed = quorum.needed(size);
        let errors = self.description.start_unwatched(&own);
        let taken = size - errors.len();
        if size > 0 && taken >= needed {
            return Ok(());
        }
        let method = self.description.method.name();
        Err(QuorumError::new(QuorumErrorKind::SendFailure, method, (needed, taken, size), errors))
    }
}

impl<Req: Send + Sync + 'static> IntoFuture for Multicast<Req> {
    type Output = Result<(), QuorumError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.description.hand_over(self.quorum))
    }
}

impl<Req: fmt::Debug> fmt::Debug for Multicast<Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Multicast").field(&self.description).finish()
    }
}
