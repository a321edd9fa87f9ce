//! A call in flight, and its end.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::call::intercept::{Received, ReplyChain};
use crate::call::retry::Retries;
use crate::call::staged::NeverAsked;
use crate::call::tally::{Outcome, Tally};
use crate::codec::MessageError;
use crate::error::{Fault, NodeError, NodeErrorKind, QuorumError, QuorumErrorKind};
use crate::id::MessageId;
use crate::node::{Node, Targets};
use crate::observe::{CallOutcome, Observed};
use crate::payload::Payload;
use crate::pool::Pool;
use crate::router::entry::{Ended, Entry, Look, Progress, RawReplies, RawReply};
use crate::server::nested;

/// A call in flight. Dropping it removes the call everywhere at once (G4).
pub(crate) struct Call<Resp> {
    /// Absent for a call that was refused as a whole.
    pub(super) id: Option<MessageId>,
    pub(super) targets: Targets,
    pub(super) method: &'static str,
    pub(super) open: fn(Payload) -> Result<Resp, MessageError>,
    pub(super) deadline: Option<Instant>,
    /// Cancelled when nobody waits any more for the handler that made the call.
    pub(super) caller: Option<CancellationToken>,
    pub(super) streaming: bool,
    /// The call has succeeded: what other nodes still do for it is to be left alone.
    pub(super) reached: bool,
    pub(super) refused: Vec<RawReply>,
    /// The places that its request got in the queues of its targets, as far as they are known.
    pub(super) places: Places,
    /// What was left of the call, once it was taken out of the table.
    pub(super) closed: Option<Box<Ended>>,
    /// What replies go through.
    pub(super) interceptors: Option<Box<dyn ReplyChain<Resp>>>,
    /// What asks nodes again that have failed.
    pub(super) retries: Option<Box<Retries>>,
    /// What watches the call.
    pub(super) observed: Option<Box<Observed>>,
}

/// By how much the clock of a node may be ahead, which counts from when the request reached it, in steps of a
/// millisecond.
const CLOCKS_DIFFER: Duration = Duration::from_millis(5);

/// The places that a request got in the queues of its targets; 0 where it got none.
pub(super) type Places = SmallVec<[u64; 4]>;

impl<Resp> Call<Resp> {
    pub(super) fn pool(&self) -> Option<&Pool> {
        self.targets.iter().next().map(|node| &**node.channel().pool())
    }

    pub(crate) fn size(&self) -> usize {
        self.targets.len()
    }

    pub(crate) fn method(&self) -> &'static str {
        self.method
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(crate) fn caller(&self) -> Option<&CancellationToken> {
        self.caller.as_ref()
    }

    /// Whether a node may reply more than once.
    pub(crate) fn is_streaming(&self) -> bool {
        self.streaming
    }

    pub(crate) fn look(&mut self, waker: &Waker) -> Look {
        if self.retries.is_some() { self.look_and_retry(waker) } else { self.look_for_replies(waker) }
    }

    #[cold]
    fn look_and_retry(&mut self, waker: &Waker) -> Look {
        let Some(mut retries) = self.retries.take() else { return Look::Done };
        let look = loop {
            retries.poll(self, &mut Context::from_waker(waker));
            match self.look_for_replies(waker) {
                Look::Replies(replies) => {
                    let given = retries.hold_back(self, replies);
                    if !given.is_empty() {
                        break Look::Replies(given);
                    }
                }
                look => break look,
            }
        };
        self.retries = Some(retries);
        look
    }

    #[inline]
    fn look_for_replies(&mut self, waker: &Waker) -> Look {
        if !self.refused.is_empty() {
            return Look::Replies(self.refused.drain(..).collect());
        }
        let (Some(id), Some(pool)) = (self.id, self.pool()) else { return Look::Done };
        match pool.pending().look(id, waker) {
            Look::Wait if self.fail_if_own_turn_is_held() => pool.pending().look(id, waker),
            look => look,
        }
    }

    pub(crate) fn id(&self) -> Option<MessageId> {
        self.id
    }

    /// The request is about to be offered to a target from which it was held back; `None` if it was not.
    pub(super) fn reopened(&self, target: usize, now: Instant) -> Option<MessageId> {
        self.id.filter(|_| self.with(|entry| entry.offered(target, now)) == Some(true))
    }

    /// Changes what is in the table; `None` if the call is not there any more.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.pool()?.pending().with(self.id?, change)
    }

    /// From now on only the decision of `tally`, which counts what was taken so far, is reported.
    pub(crate) fn count(&self, tally: Tally) {
        self.with(|entry| entry.count(tally));
    }

    /// Keeps only the newest reply of each node that the caller has not taken.
    pub(crate) fn keep_newest(&self) {
        self.with(Entry::keep_newest);
    }

    /// A reply that was counted could not be decoded.
    pub(crate) fn retract(&self) -> Option<Outcome> {
        self.with(Entry::retract)
    }

    /// Takes the call out of the table: nothing more comes for it. Gives what has come and was not looked at, which is to
    /// be accounted for before [`unsettled`](Self::unsettled) nodes are.
    pub(crate) fn close(&mut self) -> RawReplies {
        let (Some(id), None) = (self.id, &self.closed) else { return RawReplies::new() };
        let end = |entry: &mut Entry| (entry.take_replies(), entry.ended());
        let Some((replies, ended)) = self.pool().and_then(|pool| pool.pending().end(id, end)) else {
            return RawReplies::new();
        };
        self.closed = Some(Box::new(ended));
        replies
    }

    /// How many replies were replaced by newer ones.
    pub(crate) fn take_dropped(&self) -> usize {
        self.with(Entry::take_dropped).unwrap_or_default()
    }

    /// Whether replies may be changed before they count.
    pub(crate) fn is_intercepted(&self) -> bool {
        self.interceptors.is_some()
    }

    /// Whether every reply has to be looked at as it comes, whatever the caller waits for.
    pub(crate) fn takes_each(&self) -> bool {
        self.interceptors.is_some() || self.retries.is_some()
    }

    /// The request is put into the queue of a node once more, at a place that is not known.
    pub(crate) fn forget_place(&mut self, target: usize) {
        if let Some(place) = self.places.get_mut(target) {
            *place = 0;
        }
    }

    /// What the call has got from one node; `None` if that is nothing.
    pub(crate) fn receive(&mut self, reply: RawReply) -> Option<Received<Resp>> {
        let target = reply.target;
        let reply = self.decode(reply);
        if let Some(observed) = &mut self.observed {
            observed.reply(self.targets.get(target), reply.as_ref().err());
        }
        self.pass(target, reply)
    }

    /// The deadline has passed for one node.
    pub(crate) fn pass(&mut self, target: usize, reply: Result<Resp, NodeError>) -> Option<Received<Resp>> {
        match &mut self.interceptors {
            Some(chain) => chain.receive(self.targets.get(target), reply, !self.streaming),
            None => Some(Received::Given(reply)),
        }
    }

    /// The reply of one node, decoded.
    pub(crate) fn decode(&self, reply: RawReply) -> Result<Resp, NodeError> {
        let fault = match reply.result {
            Ok(payload) => match (self.open)(payload) {
                Ok(response) => return Ok(response),
                Err(error) => Fault::sent(NodeErrorKind::Decode, Some(Arc::new(error.of(self.method)))),
            },
            Err(fault) => self.or_late(fault),
        };
        Err(self.error(reply.target, self.after_retries(reply.target, fault)))
    }

    /// A node that answers that the deadline of this call has passed was only faster than the timer here: it depends
    /// on luck which of the two is seen first, and what the caller is told must not. What the node says stays the cause.
    fn or_late(&self, fault: Fault) -> Fault {
        match fault.kind {
            NodeErrorKind::Status(status)
                if status.code() == Code::DeadlineExceeded
                    && self.deadline.is_some_and(|deadline| Instant::now() + CLOCKS_DIFFER >= deadline) =>
            {
                Fault { kind: NodeErrorKind::DeadlineExceeded, source: Some(Arc::new(status)), ..fault }
            }
            kind => Fault { kind, ..fault },
        }
    }

    pub(crate) fn node(&self, target: usize) -> crate::id::NodeId {
        self.targets.get(target).id()
    }

    pub(crate) fn target(&self, target: usize) -> &Node {
        self.targets.get(target)
    }

    fn error(&self, target: usize, fault: Fault) -> NodeError {
        let node = self.targets.get(target);
        fault.at(node.id(), node.channel().address().clone())
    }

    /// An error for each node that has not come to an end, of a call that was [closed](Self::close).
    pub(crate) fn unsettled(&self, kind: &NodeErrorKind) -> Vec<(usize, NodeError)> {
        let mut errors = Vec::new();
        let Some(ended) = &self.closed else { return errors };
        for &(target, progress) in &ended.open {
            let sent = match progress {
                Progress::Settled => continue,
                Progress::Held => {
                    let last = self.retries.as_ref().and_then(|retries| retries.last(target)).cloned();
                    let never = || Fault::unsent(NodeErrorKind::Cancelled, Some(Arc::new(NeverAsked)));
                    let fault = last.map_or_else(never, |last| self.or_late(last));
                    errors.push((target, self.error(target, self.after_retries(target, fault))));
                    continue;
                }
                Progress::Queued => false,
                Progress::Sent(_) | Progress::Requeued => true,
            };
            if matches!(kind, NodeErrorKind::DeadlineExceeded) {
                self.targets.get(target).counters().failed(kind.clone());
            }
            // That there is no connection says more than that nobody waited for one.
            let down = self.targets.get(target).channel().down_because();
            let fault =
                if let Some(source) = down.filter(|_| !sent && matches!(kind, NodeErrorKind::Cancelled)) {
                    Fault::unsent(NodeErrorKind::Unavailable, Some(source))
                } else {
                    let late = matches!(kind, NodeErrorKind::DeadlineExceeded);
                    let held = late.then(|| nested::turn_held(self.targets.get(target).channel())).flatten();
                    if sent { Fault::sent(kind.clone(), held) } else { Fault::unsent(kind.clone(), held) }
                };
            errors.push((target, self.error(target, self.after_retries(target, fault))));
        }
        errors
    }

    /// The last fault of a node, which may have been asked before.
    fn after_retries(&self, target: usize, fault: Fault) -> Fault {
        match &self.retries {
            Some(retries) => retries.after(target, fault),
            None => fault,
        }
    }

    /// The call has succeeded: its entry goes, and its requests go on.
    pub(crate) fn reached(&mut self) {
        self.reached = true;
        self.came_to(CallOutcome::Ok);
        self.end();
    }

    /// What watches the call, as long as it has not ended.
    pub(super) fn observed(&self) -> Option<&Observed> {
        self.observed.as_deref()
    }

    /// How the call has ended, for whoever watches it.
    pub(crate) fn came_to(&mut self, outcome: CallOutcome) {
        if let Some(mut observed) = self.observed.take() {
            observed.ended(outcome);
        }
    }

    pub(crate) fn quorum_error(
        &mut self,
        kind: QuorumErrorKind,
        (needed, replies): (usize, usize),
        nodes: Vec<NodeError>,
    ) -> QuorumError {
        self.came_to(kind.into());
        QuorumError::new(kind, self.method, (needed, replies, self.size()), nodes)
    }
}

impl<Resp> Drop for Call<Resp> {
    fn drop(&mut self) {
        if self.observed.is_some() {
            // With all that there is taken, nobody is kept from answering.
            let gives_up = self.with(Entry::is_open).unwrap_or(false);
            self.came_to(if gives_up { CallOutcome::Dropped } else { CallOutcome::Ended });
        }
        self.end();
    }
}

impl<Resp> Call<Resp> {
    /// Removes the call everywhere.
    pub(crate) fn end(&mut self) {
        let Some(id) = self.id.take() else { return };
        let ended = match self.closed.take() {
            Some(ended) => Some(*ended),
            None => self.pool().and_then(|pool| pool.pending().end(id, Entry::ended)),
        };
        let Some(Ended { open, is_staged, is_overrun }) = ended else { return };
        if is_overrun {
            // Nodes go on replying to a call that was overrun until they are told.
            return self.targets.iter().for_each(|node| node.channel().give_up(id, true));
        }
        let goes_on = self.reached && !self.streaming;
        // Who asks in stages does not mean to reach all nodes.
        let stays = goes_on && !is_staged;
        for (target, progress) in open {
            let channel = self.targets.get(target).channel();
            match progress {
                Progress::Settled | Progress::Held => {}
                Progress::Queued | Progress::Requeued if stays => {
                    channel.leave(id, self.places.get(target).copied().unwrap_or(0));
                }
                Progress::Sent(_) if goes_on => {}
                Progress::Queued | Progress::Requeued => channel.give_up(id, false),
                Progress::Sent(_) => channel.give_up(id, true),
            }
        }
    }
}
