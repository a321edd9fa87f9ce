//! The description of a call, and how it is started: registered, encoded, and offered to the queue of each node.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tonic::metadata::MetadataMap;

use crate::call::flight::{Call, Places};
use crate::call::intercept::{CallInterceptor, Chain, Own, ReplyChain};
use crate::call::offer::{fail, offer};
use crate::call::options::{CallOptions, MAILBOX, Timeout};
use crate::call::tally::Tally;
use crate::call::template::{Template, Timing};
use crate::channel::queue::{Awaits, Body, Outgoing, Overflow};
use crate::codec::MessageError;
use crate::error::{Fault, NodeError, NodeErrorKind};
use crate::id::MessageId;
use crate::method::Method;
use crate::node::{Node, Targets};
use crate::observe::{Observed, trace};
use crate::router::entry::{Entry, MailboxOverflow, Mode, RawReply};
use crate::server::nested;
use crate::wire;

/// A call that was described and not yet sent.
pub(crate) struct Description<Req: 'static, Resp: 'static> {
    pub(crate) targets: Targets,
    pub(crate) method: &'static Method<Req, Resp>,
    pub(crate) request: Req,
    pub(crate) options: CallOptions,
    /// Most calls have none.
    interceptors: Option<Box<Chain<Req, Resp>>>,
    /// What watches the call once it was prepared, if anybody wants to know of it.
    pub(crate) observed: Option<Box<Observed>>,
}

impl<Req, Resp> Description<Req, Resp> {
    pub(crate) fn new(targets: Targets, method: &'static Method<Req, Resp>, request: Req) -> Self {
        let options = targets.call_options().cloned().unwrap_or_default();
        Self { targets, method, request, options, interceptors: None, observed: None }
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
    /// interceptors may change what it counts as, or nodes that fail are asked again.
    pub(crate) fn start_counted(self, tally: Tally) -> Call<Resp> {
        let takes_replies = self.interceptors.as_ref().is_some_and(|chain| chain.takes_replies());
        let each = takes_replies || self.options.retry.is_some();
        self.start(if each { Mode::Each } else { Mode::Counted(tally) })
    }

    /// Starts a call with any number of replies of each node.
    pub(crate) fn start_streaming(self) -> Call<Resp> {
        let (limit, overflow) = self.options.mailbox.unwrap_or((MAILBOX, MailboxOverflow::Fail));
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
        let waits = self.waits_for_room();
        let call = self.start_with(Mode::Handover(tally), own, |node, id, fault, request| match request {
            Some(request) if waits && matches!(fault.kind, NodeErrorKind::QueueFull) => {
                waiting.push((node.clone(), request.clone()));
            }
            _ => fail(node, id, fault),
        });
        (call, waiting)
    }

    /// When a call that is started now ends at the latest, by its own options.
    fn own_deadline(&self, now: Instant) -> Option<Instant> {
        let timeout = match self.options.timeout {
            None => self.pool_timeout(),
            Some(Timeout::After(timeout)) => timeout,
            Some(Timeout::Never) => return None,
        };
        now.checked_add(timeout)
    }

    fn waits_for_room(&self) -> bool {
        self.options.overflow == Some(Overflow::Wait)
    }

    fn pool_timeout(&self) -> Duration {
        self.targets.iter().next().map_or(Duration::ZERO, |node| node.channel().pool().options().timeout)
    }

    fn start(mut self, mode: Mode) -> Call<Resp> {
        let own = self.prepare();
        let retries = if matches!(mode, Mode::Each) { self.retries(&own) } else { None };
        let mut call = self.start_with(mode, &own, |node, id, fault, _| fail(node, id, fault));
        call.retries = retries;
        call
    }

    fn start_with(
        mut self,
        mode: Mode,
        own: &[Own<Req>],
        refused: impl FnMut(&Node, MessageId, Fault, Option<&Outgoing>),
    ) -> Call<Resp> {
        let now = Instant::now();
        let awaits = match mode {
            Mode::Handover(_) => Awaits::Handover,
            Mode::Streaming { .. } => Awaits::Replies,
            Mode::Each | Mode::Counted(_) => Awaits::Reply,
        };
        let mut call = self.register(mode, now, |_| {});
        if let Some(id) = call.id {
            call.places = self.offer(id, awaits, (call.deadline, now), own, refused);
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
            open: self.method.response.open,
            deadline,
            caller,
            streaming,
            reached: false,
            refused: Vec::new(),
            places: Places::new(),
            closed: None,
            interceptors: chain.map(|chain| chain as Box<dyn ReplyChain<Resp>>),
            retries: None,
            observed: self.observed.take(),
        };
        let Some(pool) = call.pool() else { return call };
        let targets = self.targets.clone();
        let registered = pool.pending().register(|entry| {
            entry.begin(targets, mode, now);
            prepare(entry);
        });
        call.id = registered;
        if registered.is_none() {
            let full = || Err(Fault::unsent(NodeErrorKind::QueueFull, None));
            call.refused =
                (0..self.targets.len()).map(|target| RawReply { target, result: full() }).collect();
        }
        call
    }

    /// To be called before the call is registered, as interceptors are code of the user. Gives what they change about the
    /// request for each node; nothing if there are none.
    pub(crate) fn prepare(&mut self) -> Vec<Own<Req>> {
        self.observed = Observed::of(&self.targets, self.method);
        trace::inject(&self.targets, self.observed.as_deref(), &mut self.options.metadata);
        let Some(chain) = &mut self.interceptors else { return Vec::new() };
        let metadata = self.options.metadata.as_deref();
        self.targets.iter().map(|node| chain.request(node, &self.request, metadata)).collect()
    }

    /// Offers the request to every node for which nobody waits. Gives back what went wrong, and the requests that want to
    /// wait until there is room for them, with the time at which they give up.
    pub(crate) fn start_unwatched(&mut self, own: &[Own<Req>]) -> Unwatched {
        let now = Instant::now();
        let (deadline, observed) = (self.own_deadline(now), self.observed.take());
        let mut started = Unwatched { deadline, observed, ..Unwatched::default() };
        if let Some(node) = self.targets.iter().next() {
            let id = node.channel().pool().pending().one_way_id();
            let waits = self.waits_for_room();
            let timing = (started.deadline, now);
            self.offer(id, Awaits::Nothing, timing, own, |target, _, fault, request| match request {
                Some(request) if waits && matches!(fault.kind, NodeErrorKind::QueueFull) => {
                    started.waiting.push((target.clone(), request.clone()));
                }
                _ => started.errors.push(fault.of(target)),
            });
        }
        started
    }

    /// Offers the request to every node. Gives the places that it got.
    fn offer(
        &self,
        id: MessageId,
        awaits: Awaits,
        (deadline, now): (Option<Instant>, Instant),
        own: &[Own<Req>],
        mut refused: impl FnMut(&Node, MessageId, Fault, Option<&Outgoing>),
    ) -> Places {
        let timing = Timing::new(deadline, now);
        let (mut shared, mut places) = (None, Places::new());
        for (index, target) in self.targets.iter().enumerate() {
            let own = own.get(index);
            if own.is_some_and(|own| own.skipped) {
                refused(target, id, Fault::unsent(NodeErrorKind::Skipped, None), None);
                places.push(0);
                continue;
            }
            let mut separate = None;
            let outgoing = |body| self.outgoing(id, body, awaits, timing);
            let request = match own.filter(|own| !own.is_shared()) {
                own if target.channel().is_local() => {
                    self.local(id, timing, own).map(|body| separate.insert(outgoing(body)))
                }
                Some(own) => self.encode(id, timing, Some(own)).map(|body| separate.insert(outgoing(body))),
                None => match &mut shared {
                    Some(shared) => Ok(shared),
                    None => self.encode(id, timing, None).map(|body| shared.insert(outgoing(body))),
                },
            };
            let request = match request {
                Ok(request) => request,
                Err(fault) => {
                    refused(target, id, fault, None);
                    places.push(0);
                    continue;
                }
            };
            match offer(target, request, now) {
                Ok(()) => places.push(request.place),
                Err(fault) => {
                    places.push(0);
                    refused(target, id, fault, Some(request));
                }
            }
        }
        if let Some(shared) = shared {
            shared.body.recycle();
        }
        places
    }

    #[inline]
    pub(crate) fn outgoing(&self, id: MessageId, body: Body, awaits: Awaits, timing: Timing) -> Outgoing {
        self.template().outgoing(id, body, awaits, timing)
    }

    #[inline]
    pub(crate) fn template(&self) -> Template {
        let options = &self.options;
        Template {
            method: self.method.name(),
            idempotent: self.method.is_idempotent(),
            overflow: options.overflow.filter(|_| self.method.call_type().is_one_way()).unwrap_or_default(),
            wait_for_ready: options.wait_for_ready.unwrap_or_default(),
            priority: options.priority.unwrap_or_default(),
        }
    }

    /// The message for another process.
    pub(crate) fn encode(
        &self,
        id: MessageId,
        timing: Timing,
        own: Option<&Own<Req>>,
    ) -> Result<Body, Fault> {
        let (message, metadata) = self.own_or_shared(own);
        let message = self.method.request.prepare(message).map_err(|error| self.unencodable(error))?;
        let outline = self.outline(id, timing, metadata);
        Ok(Body::encode(outline.encoded_len(message.len()), |buf| {
            wire::encode(buf, &outline, message.len(), |buf| message.write(buf));
        }))
    }

    /// The message for this process: a copy. One that could not be sent to another process is not sent to this one either.
    pub(crate) fn local(&self, id: MessageId, timing: Timing, own: Option<&Own<Req>>) -> Result<Body, Fault> {
        let (message, metadata) = self.own_or_shared(own);
        let codec = &self.method.request;
        let len = codec.len(message).map_err(|error| self.unencodable(error))?;
        let len = self.outline(id, timing, metadata).encoded_len(len);
        Ok(self.template().local((codec.keep)((codec.copy)(message), codec), timing, metadata, len))
    }

    pub(crate) fn unencodable(&self, error: MessageError) -> Fault {
        Fault::unsent(NodeErrorKind::Encode, Some(Arc::new(error.of(self.method.name()))))
    }

    pub(crate) fn own_or_shared<'a>(
        &'a self,
        own: Option<&'a Own<Req>>,
    ) -> (&'a Req, Option<&'a MetadataMap>) {
        let message = own.and_then(|own| own.message.as_ref()).unwrap_or(&self.request);
        let metadata = own.and_then(|own| own.metadata.as_deref()).or(self.options.metadata.as_deref());
        (message, metadata)
    }

    pub(crate) fn outline<'a>(
        &self,
        id: MessageId,
        timing: Timing,
        metadata: Option<&'a MetadataMap>,
    ) -> wire::Outline<'a> {
        self.template().outline(id, timing, metadata)
    }
}

/// What became of a one-way call for which nobody waits.
#[derive(Default)]
pub(crate) struct Unwatched {
    pub(crate) errors: Vec<NodeError>,
    pub(crate) waiting: Vec<(Node, Outgoing)>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) observed: Option<Box<Observed>>,
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
