//! The replies of a call that was sent, one by one.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn, ready};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use futures_util::stream::{FusedStream, StreamExt};

use crate::call::correctable::Correctable;
use crate::call::decide::Decide;
use crate::call::flight::Call;
use crate::call::intercept::Received;
use crate::call::reach::{Counted, Deadline, Reach};
use crate::call::reply_set::{QuorumFunction, ReachWith};
use crate::call::tally::{Outcome, Quorum};
use crate::error::{NodeError, QuorumErrorKind};
use crate::id::{AsNodeId, NodeId};
use crate::observe::CallOutcome;
use crate::quorum::QuorumRule;
use crate::router::entry::{Look, RawReply};

/// What one node answered.
#[derive(Clone, Debug)]
pub struct NodeReply<Resp> {
    /// The node.
    pub node: NodeId,
    /// Its reply, or what went wrong.
    pub result: Result<Resp, NodeError>,
}

/// The replies of a call that has been sent, as a stream in order of arrival.
///
/// A quorum call yields one item for each node; a streaming call any number, and then an error for each node
/// that failed. At the deadline, each node that has not answered yields
/// [`NodeErrorKind::DeadlineExceeded`](crate::NodeErrorKind::DeadlineExceeded), and the stream ends.
///
/// Instead of reading the stream to its end, the terminals of a quorum call may be used. They count what was
/// read, and resolve to the first reply that was not.
///
/// # Cancel safety
///
/// `next` may be dropped and called again. Dropping the stream gives the call up on the nodes that have not
/// answered: requests that were not sent are withdrawn, and nodes that support it are told.
#[must_use = "dropping the replies gives the call up"]
pub struct Replies<Resp> {
    call: Call<Resp>,
    /// Made when there is something to wait for.
    deadline: Option<Pin<Box<Deadline>>>,
    waiting: std::vec::IntoIter<(usize, Received<Resp>)>,
    /// The successes and errors that were read, for terminals that are used afterwards.
    counted: Counted<()>,
    ended: bool,
}

impl<Resp> Replies<Resp> {
    pub(crate) fn new(call: Call<Resp>) -> Self {
        let counted = Counted::new(Quorum::All, &call);
        Self { call, deadline: None, waiting: Vec::new().into_iter(), counted, ended: false }
    }

    /// How many nodes were called.
    pub fn size(&self) -> usize {
        self.call.size()
    }

    /// Waits for the next reply; `None` after the last. The same as `next` of futures' `StreamExt`.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again; no reply is lost.
    pub async fn next(&mut self) -> Option<NodeReply<Resp>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Only the successful replies, in order of arrival; failures are left out.
    pub fn successes(self) -> impl Stream<Item = (NodeId, Resp)> + Unpin {
        self.filter_map(|reply| ready(reply.result.ok().map(|value| (reply.node, value))))
    }

    /// Only the replies of one node, and its failure: of use for streaming calls.
    pub fn of_node(self, node: impl AsNodeId) -> impl Stream<Item = Result<Resp, NodeError>> + Unpin {
        let node = node.number();
        self.filter_map(move |reply| ready((reply.node.get() == node).then_some(reply.result)))
    }

    /// Waits for the first so many successful replies, and gives them in order of arrival; fewer, if the call ends before.
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives the call up.
    pub async fn first_n(mut self, count: usize) -> Vec<(NodeId, Resp)> {
        let mut successes = Vec::with_capacity(count.min(self.size()));
        while successes.len() < count {
            // Whether the call has ended well is for `reached` to say.
            let Some(reply) = poll_fn(|cx| self.poll_reply(cx)).await else { return successes };
            successes.extend(reply.result.ok().map(|value| (reply.node, value)));
        }
        self.call.reached();
        successes
    }

    /// Waits until the call has ended, and gives what each node has replied last, or how it failed, by ascending node.
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives the call up.
    pub async fn into_map(mut self) -> BTreeMap<NodeId, Result<Resp, NodeError>> {
        let mut replies = BTreeMap::new();
        while let Some(reply) = self.next().await {
            replies.insert(reply.node, reply.result);
        }
        replies
    }

    /// How many replies of a streaming call were replaced by newer ones since the last time of asking.
    pub(crate) fn take_dropped(&self) -> usize {
        self.call.take_dropped()
    }

    /// Ends the call. Gives what has arrived and was not read: it has to be accounted for.
    pub(crate) fn close(&mut self) -> impl Iterator<Item = (NodeId, Received<Resp>)> + use<Resp> {
        let mut all: Vec<_> = std::mem::take(&mut self.waiting).collect();
        let last = self.call.close();
        all.extend(last.into_iter().filter_map(|reply| receive(&mut self.call, reply)));
        let named: Vec<_> =
            all.into_iter().map(|(target, received)| (self.call.node(target), received)).collect();
        named.into_iter()
    }

    /// How many successes and failures were read.
    pub(crate) fn counts(&self) -> (usize, usize) {
        self.counted.counts()
    }

    pub(crate) fn call(&self) -> &Call<Resp> {
        &self.call
    }

    pub(crate) fn call_mut(&mut self) -> &mut Call<Resp> {
        &mut self.call
    }

    /// Waits for the first successful reply.
    pub fn first(self) -> Reach<Resp> {
        self.reach(Quorum::First)
    }

    /// Waits for successful replies of more than half of the nodes.
    pub fn majority(self) -> Reach<Resp> {
        self.reach(Quorum::Majority)
    }

    /// Waits for successful replies of every node.
    pub fn all(self) -> Reach<Resp> {
        self.reach(Quorum::All)
    }

    /// Waits for successful replies of `replies` nodes.
    pub fn threshold(self, replies: usize) -> Reach<Resp> {
        self.reach(Quorum::Threshold(replies))
    }

    /// Waits until a quorum rule has decided: one of those in [`quorum`](crate::quorum), or a protocol's own. It is told
    /// only what was not read.
    pub fn decide<R: QuorumRule<Resp>>(self, rule: R) -> Decide<Resp, R> {
        Decide::new(self, rule)
    }

    /// Waits until a quorum function has decided, which sees all replies so far each time, but not what was read before.
    pub fn quorum<F: QuorumFunction<Resp>>(self, function: F) -> ReachWith<Resp, F> {
        ReachWith::new(self, function)
    }

    /// Watches the reply improve, up to `level` replies.
    pub fn correctable(self, level: usize) -> Correctable<Resp> {
        Correctable::new(self, level)
    }

    /// What was read before counts, but its value is gone: one more reply is needed for a value.
    fn reach(self, quorum: Quorum) -> Reach<Resp> {
        let mut progress = self.counted.continued(quorum, self.call.size());
        for (target, received) in self.waiting {
            progress.receive(target, received);
        }
        if progress.tally.outcome() == Outcome::Pending && !self.call.takes_each() {
            self.call.count(progress.tally);
        }
        Reach::new(self.call, progress, QuorumErrorKind::Incomplete)
    }

    fn receive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let call = &mut self.call;
        let received: Vec<_> = match call.look(cx.waker()) {
            Look::Replies(replies) => replies.into_iter().filter_map(|reply| receive(call, reply)).collect(),
            Look::Done => {
                self.ended = true;
                call.end();
                return Poll::Ready(());
            }
            Look::Wait => {
                let deadline = self.deadline.get_or_insert_with(|| Box::pin(Deadline::of(call)));
                let overdue = ready!(deadline.as_mut().poll(cx));
                self.ended = true;
                let last = call.close();
                let late = call.unsettled(&overdue.into());
                let mut all: Vec<_> = last.into_iter().filter_map(|reply| receive(call, reply)).collect();
                for (target, error) in late {
                    all.extend(call.pass(target, Err(error)).map(|received| (target, received)));
                }
                call.end();
                all
            }
        };
        self.waiting = received.into_iter();
        Poll::Ready(())
    }
}

fn receive<Resp>(call: &mut Call<Resp>, reply: RawReply) -> Option<(usize, Received<Resp>)> {
    let target = reply.target;
    call.receive(reply).map(|received| (target, received))
}

impl<Resp> Replies<Resp> {
    /// The next that the call has got from a node, with what was left out.
    pub(crate) fn poll_received(&mut self, cx: &mut Context<'_>) -> Poll<Option<(NodeId, Received<Resp>)>> {
        loop {
            if let Some((target, received)) = self.waiting.next() {
                let counted = match &received {
                    Received::Given(result) => result.as_ref().map(|_| ()).map_err(NodeError::clone),
                    Received::LeftOut(error) => Err(error.clone()),
                };
                self.counted.add(target, counted);
                return Poll::Ready(Some((self.call.node(target), received)));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            if self.receive(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// The next reply or error, without what was left out.
    fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<Option<NodeReply<Resp>>> {
        loop {
            match ready!(self.poll_received(cx)) {
                Some((node, Received::Given(result))) => {
                    return Poll::Ready(Some(NodeReply { node, result }));
                }
                Some((_, Received::LeftOut(_))) => {}
                None => return Poll::Ready(None),
            }
        }
    }
}

impl<Resp> Stream for Replies<Resp> {
    type Item = NodeReply<Resp>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<NodeReply<Resp>>> {
        let reply = ready!(self.poll_reply(cx));
        if self.ended {
            // However long the caller keeps the replies. With a terminal it is the terminal that says how.
            self.call.came_to(CallOutcome::Ended);
        }
        Poll::Ready(reply)
    }
}

impl<Resp> Unpin for Replies<Resp> {}

impl<Resp> FusedStream for Replies<Resp> {
    fn is_terminated(&self) -> bool {
        self.ended && self.waiting.len() == 0
    }
}

impl<Resp> fmt::Debug for Replies<Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies")
            .field("size", &self.size())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
