//! From the description of a call to a call in flight, and its end.

use std::fmt;
use std::task::Waker;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::call::intercept::{CallInterceptor, Chain, Own, Received, ReplyChain};
use crate::call::options::{CallOptions, Timeout};
use crate::call::staged::NeverAsked;
use crate::call::tally::{Outcome, Tally};
use crate::channel::queue::{Awaits, Outgoing, Overflow};
use crate::error::{Fault, NodeError, NodeErrorKind, QuorumError, QuorumErrorKind};
use crate::id::MessageId;
use crate::method::{MessageError, Method};
use crate::node::{Node, Targets};
use crate::pool::Pool;
use crate::router::entry::{Entry, Look, Mode, Progress, RawReplies, RawReply};
use crate::server::nested;
use crate::wire;

/// A day: what counts as never for requests that wait to be sent.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// A call that was described and not yet sent.
pub(crate) struct Description<Req: 'static, Resp: 'static> {
    pub(crate) targets: Targets,
    pub(crate) method: &'static Method<Req, Resp>,
    pub(crate) request: Req,
    pub(crate) options: CallOptions,
    /// Most calls have none.
    interceptors: Option<Box<Chain<Req, Resp>>>,
}

impl<Req, Resp> Description<Req, Resp> {
    pub(crate) fn new(targets: Targets, method: &'static Method<Req, Resp>, request: Req) -> Self {
        Self { targets, method, request, options: CallOptions::default(), interceptors: None }
    }

    pub(crate) fn add_interceptor(&mut self, takes_replies: bool, link: impl CallInterceptor<Req, Resp>) {
        self.interceptors.get_or_insert_default().add(takes_replies, link);
    }

    pub(crate) fn size(&self) -> usize {
        self.targets.len()
    }

    /// Starts a call with one reply of each node, of which every one is reported.
    pub(crate) fn start_each(self) -> Call<Resp> {
        self.start(Mode::Each)
    }

    /// Starts a call with one reply of each node, of which the tally's decision is reported; or every one, if
    /// interceptors may change what it counts as.
    pub(crate) fn start_counted(self, tally: Tally) -> Call<Resp> {
        let takes_replies = self.interceptors.as_ref().is_some_and(|chain| chain.takes_replies());
        self.start(if takes_replies { Mode::Each } else { Mode::Counted(tally) })
    }

    /// Starts a call with any number of replies of each node.
    pub(crate) fn start_streaming(self) -> Call<Resp> {
        let (limit, overflow) = self.options.mailbox;
        self.start(Mode::Streaming { limit: limit.max(1), overflow })
    }

    /// Starts a one-way call that ends when the tally is decided about the hand-over. Gives back the requests
    /// that want to wait until there is room for them.
    pub(crate) fn start_handover(
        self,
        tally: Tally,
        own: &[Own<Req>],
    ) -> (Call<Resp>, Vec<(Node, Outgoing)>) {
        let mut waiting = Vec::new();
        let call = self.start_with(Mode::Handover(tally), own, |node, request, fault| {
            let waits = request.overflow == Overflow::Wait && matches!(fault.kind, NodeErrorKind::QueueFull);
            if waits { waiting.push((node.clone(), request.clone())) } else { fail(node, request, fault) }
        });
        (call, waiting)
    }

    /// When a call that is started now ends at the latest, by its own options.
    fn own_deadline(&self, now: Instant) -> Option<Instant> {
        let timeout = match self.options.timeout {
            Timeout::Default => self.pool_timeout(),
            Timeout::After(timeout) => timeout,
            Timeout::Never => return None,
        };
        now.checked_add(timeout)
    }

    fn pool_timeout(&self) -> Duration {
        self.targets.iter().next().map_or(Duration::ZERO, |node| node.channel().pool().options().timeout)
    }

    fn start(mut self, mode: Mode) -> Call<Resp> {
        let own = self.own_requests();
        self.start_with(mode, &own, fail)
    }

    fn start_with(
        mut self,
        mode: Mode,
        own: &[Own<Req>],
        failed: impl FnMut(&Node, &Outgoing, Fault),
    ) -> Call<Resp> {
        let now = Instant::now();
        let awaits = match mode {
            Mode::Handover(_) => Awaits::Handover,
            Mode::Streaming { .. } => Awaits::Replies,
            Mode::Each | Mode::Counted(_) => Awaits::Reply,
        };
        let call = self.register(mode, now, |_| {});
        if let Some(id) = call.id {
            self.offer(id, awaits, (call.deadline, now), own, failed);
        }
        call
    }

    /// Registers the call, after `prepare` has changed its entry. Nothing is sent yet.
    pub(crate) fn register(
        &mut self,
        mode: Mode,
        now: Instant,
        prepare: impl FnOnce(&mut Entry),
    ) -> Call<Resp> {
        let streaming = matches!(mode, Mode::Streaming { .. });
        let (deadline, caller) = match mode {
            Mode::Handover(_) => (self.own_deadline(now), None),
            Mode::Streaming { .. } | Mode::Each | Mode::Counted(_) => {
                (self.own_deadline(now).into_iter().chain(nested::deadline()).min(), nested::cancellation())
            }
        };
        let chain = self.interceptors.take().filter(|chain| chain.takes_replies());
        let mut call = Call {
            id: None,
            targets: self.targets.clone(),
            method: self.method.name(),
            decode: self.method.response.decode,
            deadline,
            caller,
            streaming,
            reached: false,
            refused: RawReplies::new(),
            closed: None,
            interceptors: chain.map(|chain| chain as Box<dyn ReplyChain<Resp>>),
        };
        let Some(pool) = call.pool() else { return call };
        let mut entry = Entry::new(self.targets.clone(), mode, now);
        prepare(&mut entry);
        if let Some(id) = pool.pending().register(entry) {
            call.id = Some(id);
        } else {
            let full = || Err(Fault::unsent(NodeErrorKind::QueueFull, None));
            call.refused =
                (0..self.targets.len()).map(|target| RawReply { target, result: full() }).collect();
        }
        call
    }

    /// What interceptors change about the request for each node; nothing if there are none. To be asked before the call
    /// is registered, as interceptors are code of the user.
    pub(crate) fn own_requests(&mut self) -> Vec<Own<Req>> {
        let Some(chain) = &mut self.interceptors else { return Vec::new() };
        let metadata = self.options.metadata.as_deref();
        self.targets.iter().map(|node| chain.request(node, &self.request, metadata)).collect()
    }

    /// Offers the request to every node for which nobody waits. Gives back what went wrong.
    pub(crate) fn start_unwatched(&self, own: &[Own<Req>]) -> Vec<NodeError> {
        let mut errors = Vec::new();
        if let Some(node) = self.targets.iter().next() {
            let id = node.channel().pool().pending().one_way_id();
            let now = Instant::now();
            self.offer(id, Awaits::Nothing, (self.own_deadline(now), now), own, |target, _, fault| {
                errors.push(fault.of(target));
            });
        }
        errors
    }

    fn offer(
        &self,
        id: MessageId,
        awaits: Awaits,
        (deadline, now): (Option<Instant>, Instant),
        own: &[Own<Req>],
        mut failed: impl FnMut(&Node, &Outgoing, Fault),
    ) {
        let timeout = deadline.map(|deadline| deadline.saturating_duration_since(now));
        let is_shared = own.is_empty() || own.iter().any(Own::is_shared);
        let shared = if is_shared { self.encode(id, timeout, None) } else { Bytes::new() };
        let mut request = self.outgoing(id, shared, awaits, (deadline, now));
        let shared = if own.is_empty() { Bytes::new() } else { request.frame.clone() };
        for (index, target) in self.targets.iter().enumerate() {
            if let Some(own) = own.get(index) {
                if own.skipped {
                    failed(target, &request, Fault::unsent(NodeErrorKind::Skipped, None));
                    continue;
                }
                request.frame =
                    if own.is_shared() { shared.clone() } else { self.encode(id, timeout, Some(own)) };
            }
            if let Err(fault) = offer(target, &request, now) {
                failed(target, &request, fault);
            }
        }
    }

    pub(crate) fn outgoing(
        &self,
        id: MessageId,
        frame: Bytes,
        awaits: Awaits,
        (deadline, now): (Option<Instant>, Instant),
    ) -> Outgoing {
        Outgoing {
            id,
            frame,
            deadline: deadline.unwrap_or(now + NEVER),
            awaits,
            overflow: self.options.overflow,
            idempotent: self.method.is_idempotent(),
            wait_for_ready: self.options.wait_for_ready,
            sent_before: false,
        }
    }

    pub(crate) fn encode(&self, id: MessageId, timeout: Option<Duration>, own: Option<&Own<Req>>) -> Bytes {
        let message = own.and_then(|own| own.message.as_ref()).unwrap_or(&self.request);
        let metadata = own.and_then(|own| own.metadata.as_deref()).or(self.options.metadata.as_deref());
        let outline = wire::Outline { id: id.to_wire(), method: self.method.name(), timeout, metadata };
        let len = (self.method.request.len)(message);
        let mut frame = BytesMut::new();
        wire::encode(&mut frame, &outline, len, |buf| (self.method.request.encode)(message, buf));
        frame.freeze()
    }
}

impl<Req: fmt::Debug, Resp> fmt::Debug for Description<Req, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Description")
            .field("targets", &self.targets)
            .field("method", &self.method)
            .field("request", &self.request)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Offers a request to one node.
fn offer(node: &Node, request: &Outgoing, now: Instant) -> Result<(), Fault> {
    let limit = node.channel().pool().options().transport.max_message_size;
    match too_long(request.frame.len() - wire::PREFIX, limit) {
        Some(fault) => Err(fault),
        None => node.channel().offer(request.clone(), now),
    }
}

/// Offers a request to one node, for which a caller waits.
pub(crate) fn offer_or_fail(node: &Node, request: &Outgoing, now: Instant) {
    if let Err(fault) = offer(node, request, now) {
        fail(node, request, fault);
    }
}

/// The call failed at a node before the request was sent.
pub(crate) fn fail(node: &Node, request: &Outgoing, fault: Fault) {
    node.channel().pool().pending().fail(request.id, node.channel().ordinal(), fault);
}

fn too_long(len: usize, limit: usize) -> Option<Fault> {
    (len > limit).then(|| {
        let reason = format!(
            "a request of {len} bytes is longer than the limit of {limit}: raise `max_message_size` on both ends"
        );
        Fault::unsent(NodeErrorKind::Status(Status::resource_exhausted(reason)), None)
    })
}

/// A call in flight. Dropping it removes the call everywhere at once (G4).
pub(crate) struct Call<Resp> {
    /// Absent for a call that was refused as a whole.
    id: Option<MessageId>,
    targets: Targets,
    method: &'static str,
    decode: fn(Bytes) -> Result<Resp, MessageError>,
    deadline: Option<Instant>,
    /// Cancelled when nobody waits any more for the handler that made the call.
    caller: Option<CancellationToken>,
    streaming: bool,
    /// The call has succeeded: what other nodes still do for it is to be left alone.
    reached: bool,
    refused: RawReplies,
    /// What was in the table, once the call was taken out of it.
    closed: Option<Entry>,
    /// What replies go through.
    interceptors: Option<Box<dyn ReplyChain<Resp>>>,
}

impl<Resp> Call<Resp> {
    fn pool(&self) -> Option<&Pool> {
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
        if !self.refused.is_empty() {
            return Look::Replies(std::mem::take(&mut self.refused));
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
        self.closed = self.pool().and_then(|pool| pool.pending().remove(id));
        self.closed.as_mut().map(Entry::take_replies).unwrap_or_default()
    }

    /// How many replies were replaced by newer ones.
    pub(crate) fn take_dropped(&self) -> usize {
        self.with(Entry::take_dropped).unwrap_or_default()
    }

    /// Whether replies may be changed before they count.
    pub(crate) fn is_intercepted(&self) -> bool {
        self.interceptors.is_some()
    }

    /// What the call has got from one node; `None` if that is nothing.
    pub(crate) fn receive(&mut self, reply: RawReply) -> Option<Received<Resp>> {
        let target = reply.target;
        let reply = self.decode(reply);
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
            Ok(payload) => match (self.decode)(payload) {
                Ok(response) => return Ok(response),
                Err(error) => Fault::sent(NodeErrorKind::Decode, Some(std::sync::Arc::new(error))),
            },
            Err(fault) => self.or_late(fault),
        };
        Err(self.error(reply.target, fault))
    }

    /// A node that answers that the deadline of this call has passed was only faster than the timer here: it depends
    /// on luck which of the two is seen first, and what the caller is told must not.
    fn or_late(&self, fault: Fault) -> Fault {
        let late = matches!(&fault.kind, NodeErrorKind::Status(status) if status.code() == Code::DeadlineExceeded)
            && self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if late { Fault { kind: NodeErrorKind::DeadlineExceeded, ..fault } } else { fault }
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
        let Some(entry) = &self.closed else { return errors };
        for target in 0..self.targets.len() {
            let sent = match entry.progress(target) {
                Progress::Settled => continue,
                Progress::Held => {
                    let fault =
                        Fault::unsent(NodeErrorKind::Cancelled, Some(std::sync::Arc::new(NeverAsked)));
                    errors.push((target, self.error(target, fault)));
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
            errors.push((target, self.error(target, fault)));
        }
        errors
    }

    /// The call has succeeded: its entry goes, and its requests go on.
    pub(crate) fn reached(&mut self) {
        self.reached = true;
        self.end();
    }

    pub(crate) fn quorum_error(
        &self,
        kind: QuorumErrorKind,
        (needed, replies): (usize, usize),
        nodes: Vec<NodeError>,
    ) -> QuorumError {
        QuorumError::new(kind, self.method, (needed, replies, self.size()), nodes)
    }
}

impl<Resp> Drop for Call<Resp> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<Resp> Call<Resp> {
    /// Removes the call everywhere.
    pub(crate) fn end(&mut self) {
        self.close();
        let (Some(id), Some(entry)) = (self.id.take(), self.closed.take()) else { return };
        let goes_on = self.reached && !self.streaming;
        // Who asks in stages does not mean to reach all nodes.
        let stays = goes_on && !entry.is_staged();
        if entry.is_staged() {
            entry.measure_unanswered(Instant::now());
        }
        for (target, node) in self.targets.iter().enumerate() {
            match entry.progress(target) {
                // Nodes go on replying to a call that was overrun until they are told.
                Progress::Settled if entry.is_overrun() => node.channel().give_up(id, true),
                Progress::Settled | Progress::Held => {}
                Progress::Queued | Progress::Requeued if stays => node.channel().leave(id),
                Progress::Sent(_) if goes_on => {}
                Progress::Queued | Progress::Requeued => node.channel().give_up(id, false),
                Progress::Sent(_) => node.channel().give_up(id, true),
            }
        }
    }
}
