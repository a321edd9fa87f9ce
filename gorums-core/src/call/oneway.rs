//! Calls without replies.

use std::fmt;
use std::future::IntoFuture;
use std::pin::pin;

use futures_util::future::{BoxFuture, Either, join_all, select};
use tokio::time::{Instant, timeout_at};

use crate::call::description::{Description, Unwatched};
use crate::call::intercept::{Own, request_interceptors};
use crate::call::offer::fail;
use crate::call::options::common_options;
use crate::call::reach::{Counted, Reach};
use crate::call::tally::{Quorum, Tally};
use crate::channel::queue::{Awaits, Outgoing, Overflow};
use crate::error::{Fault, NodeError, NodeErrorKind, QuorumError, QuorumErrorKind};
use crate::method::Method;
use crate::node::{Node, Targets};

impl<Req> Description<Req, ()> {
    /// There is nobody who could wait for room.
    fn fails_at_once(&mut self) {
        if self.options.overflow == Some(Overflow::Wait) {
            self.options.overflow = Some(Overflow::Fail);
        }
    }

    /// All nodes are skipped: the message has come to everybody for whom it is.
    fn for_nobody(self) {
        if let Some(mut observed) = self.observed {
            observed.queued(&[], true);
        }
    }

    /// Starts the call and waits for the hand-over. Where there is no room, waits for that too if it is to.
    async fn hand_over(mut self, quorum: Quorum) -> Result<(), QuorumError> {
        let own = self.prepare();
        let Some(quorum) = among_called(quorum, &own) else {
            self.for_nobody();
            return Ok(());
        };
        let tally = Tally::new(quorum, self.size());
        let (call, waiting) = self.start_handover(tally, &own);
        drop(own);
        let progress = Counted::new(quorum, &call);
        let mut reach = pin!(Reach::new(call, progress, QuorumErrorKind::SendFailure));
        if waiting.is_empty() {
            return reach.await;
        }
        let mut waiting: Vec<_> = waiting.into_iter().map(Waiting::new).collect();
        let early = {
            let offers = pin!(join_all(waiting.iter_mut().map(Waiting::offer_or_fail)));
            match select(reach.as_mut(), offers).await {
                Either::Left((result, _)) => Some(result),
                Either::Right(_) => None,
            }
        };
        let result = match early {
            Some(result) => result,
            None => reach.await,
        };
        if result.is_ok() {
            waiting.into_iter().for_each(Waiting::go_or_drop);
        }
        result
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

/// A request that waits until its node has room for it. Dropped while it waits, it counts as failed.
struct Waiting {
    node: Node,
    /// Absent once it was taken, or refused for good.
    request: Option<Outgoing>,
}

impl Waiting {
    fn new((node, request): (Node, Outgoing)) -> Self {
        Self { node, request: Some(request) }
    }

    /// Offers the request until it is taken, or refused for another reason than that there is no room.
    async fn offer(&mut self) -> Result<(), Fault> {
        let channel = self.node.channel();
        while let Some(request) = &mut self.request {
            channel.wait_for_room(request).await;
            match channel.offer(request, Instant::now()) {
                // Somebody else was faster.
                Err(fault) if matches!(fault.kind, NodeErrorKind::QueueFull) => {}
                taken => {
                    self.request = None;
                    return taken;
                }
            }
        }
        Ok(())
    }

    /// The same for a call that waits for the hand-over.
    async fn offer_or_fail(&mut self) {
        let id = self.request.as_ref().map(|request| request.id);
        if let (Err(fault), Some(id)) = (self.offer().await, id) {
            fail(&self.node, id, fault);
        }
    }

    /// The call has succeeded without this node: its request goes if there is room now, and else is dropped and counted.
    fn go_or_drop(mut self) {
        if let Some(mut request) = self.request.take() {
            (request.awaits, request.overflow) = (Awaits::NoLonger, Overflow::DropNewest);
            // If the node does not take it for another reason, that is counted, and nobody is there to be told.
            let _ = self.node.channel().offer(&mut request, Instant::now());
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.request.is_some() {
            self.node.channel().gave_up_waiting();
        }
    }
}

/// Offers a request to a node until it is taken, or refused for another reason than that there is no room.
async fn offer_when_room(node: &Node, request: Outgoing) -> Result<(), Fault> {
    Waiting::new((node.clone(), request)).offer().await
}

impl Unwatched {
    /// Waits until there was room for all requests that want to wait.
    async fn queued(mut self) -> Self {
        let (waiting, deadline) = (std::mem::take(&mut self.waiting), self.deadline);
        let wait = async |(node, request): (Node, Outgoing)| {
            let late = Fault::unsent(NodeErrorKind::DeadlineExceeded, None);
            let offer = offer_when_room(&node, request);
            let taken = match deadline {
                Some(deadline) => timeout_at(deadline, offer).await.unwrap_or(Err(late)),
                None => offer.await,
            };
            taken.map_err(|fault| fault.of(&node))
        };
        if !waiting.is_empty() {
            let waited = join_all(waiting.into_iter().map(wait)).await;
            self.errors.extend(waited.into_iter().filter_map(Result::err));
        }
        self
    }

    /// The call has ended, with enough nodes that took it or not. Gives back what went wrong.
    fn ended(self, is_enough: bool) -> Vec<NodeError> {
        if let Some(mut observed) = self.observed {
            observed.queued(&self.errors, is_enough);
        }
        self.errors
    }

    /// The call has ended, of which the only node has taken it or not.
    fn of_one(self) -> Result<(), NodeError> {
        let is_enough = self.errors.is_empty();
        self.ended(is_enough).into_iter().next().map_or(Ok(()), Err)
    }
}

/// The options that one-way calls have beside those of all calls.
macro_rules! oneway_options {
    () => {
        common_options!();

        /// What happens when the queue of a node is full; by default, the call fails on that node.
        pub fn overflow(mut self, overflow: Overflow) -> Self {
            self.description.options.overflow = Some(overflow);
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
    pub fn send(mut self) -> Result<(), NodeError> {
        self.description.fails_at_once();
        self.description.prepare();
        self.description.start_unwatched(&[]).of_one()
    }

    /// Queues the message, at once if there is room. If there is none and it is to [wait](Overflow::Wait), waits for that;
    /// not, as [awaiting](Self::into_future) the call does, until it was handed to the transport. This is the way to send
    /// many messages, as fast as the node takes them.
    ///
    /// # Errors
    ///
    /// As those of [`send`](Self::send); [`NodeErrorKind::DeadlineExceeded`] if there was no room in time.
    ///
    /// # Cancel safety
    ///
    /// The message was queued or not: it is withdrawn if it waits for room.
    pub async fn queued(mut self) -> Result<(), NodeError> {
        self.description.prepare();
        self.description.start_unwatched(&[]).queued().await.of_one()
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
/// if it skips all of them, that is a success; a configuration without nodes is an error.
///
/// The message still goes to nodes that were not waited for, if they had taken it into their queues. One that is to
/// [wait](Overflow::Wait) for room at a node which still has none when enough others have the message is dropped for that
/// node, and counted as [dropped](crate::QueueCounts::dropped): otherwise a node that is stuck would hold up all calls.
/// [`queued`](Self::queued) waits for room at every node, whatever was chosen.
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
        self.description.fails_at_once();
        let own = self.description.prepare();
        let Some(quorum) = among_called(self.quorum, &own) else {
            self.description.for_nobody();
            return Ok(());
        };
        let started = self.description.start_unwatched(&own);
        self.taken(quorum, started)
    }

    /// Queues the message for every node, at once where there is room. Where there is none and it is to
    /// [wait](Overflow::Wait), waits for that; not, as [awaiting](Self::into_future) the call does, until it was handed to
    /// the transport. This is the way to send many messages, as fast as the nodes take them.
    ///
    /// # Errors
    ///
    /// As those of [`send`](Self::send); nodes that had no room in time are [`NodeErrorKind::DeadlineExceeded`].
    ///
    /// # Cancel safety
    ///
    /// The message was queued for the nodes that had room, and is withdrawn from the others.
    pub async fn queued(mut self) -> Result<(), QuorumError> {
        let own = self.description.prepare();
        let Some(quorum) = among_called(self.quorum, &own) else {
            self.description.for_nobody();
            return Ok(());
        };
        let started = self.description.start_unwatched(&own);
        drop(own);
        let queued = started.queued().await;
        self.taken(quorum, queued)
    }

    fn taken(&self, quorum: Quorum, queued: Unwatched) -> Result<(), QuorumError> {
        let size = self.description.size();
        let (needed, taken) = (quorum.needed(size), size - queued.errors.len());
        let is_enough = size > 0 && taken >= needed;
        let errors = queued.ended(is_enough);
        if is_enough {
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
