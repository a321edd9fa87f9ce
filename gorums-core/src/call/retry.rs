//! Asking nodes again that have failed transiently.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use smallvec::SmallVec;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::metadata::MetadataMap;

use crate::call::description::{Description, Template, Timing, offer_or_fail};
use crate::call::flight::Call;
use crate::call::intercept::Own;
use crate::channel::link::Backoff;
use crate::channel::queue::{Awaits, Body};
use crate::error::{Fault, NodeError};
use crate::payload::Payload;
use crate::router::entry::{RawReplies, RawReply};
use crate::wire;

/// Which nodes are asked again, how often, and when.
///
/// A node is asked again if its error is [transient](NodeError::is_transient) and it is safe to do so (G5): the request
/// cannot have taken effect, or its method is idempotent. Nodes that have replied are not asked again, and a failure that is
/// still to be made good does not count against the quorum: the call is decided as early as if the node had not answered
/// yet. The call ends at its deadline, whatever is left to be tried; its error then names what each node answered last.
///
/// The waits before the second, third, .. attempt are those of the [`Backoff`]: exponential with full jitter, so that
/// callers that failed together do not come back together.
///
/// Of use for rpcs and quorum calls. One-way and streaming calls are not retried, nor are [staged](crate::StagedCall) ones,
/// which ask the next node instead; requests that wait for a lost connection are sent again without any of this.
///
/// - *Order*: at a node that is asked again, the request takes its place when that is done, which may be after calls that
///   were started later.
/// - *Cancel safety*: nodes are asked again while the call is polled. Dropping it ends that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    attempts: u32,
    backoff: Backoff,
}

impl Retry {
    /// Asks each node up to so many times in all; 1 asks none again. The first wait is up to 20 ms, and the longest up to 1 s.
    pub fn up_to(attempts: u32) -> Self {
        Self {
            attempts,
            backoff: Backoff { initial: Duration::from_millis(20), max: Duration::from_secs(1) },
        }
    }

    /// Waits as this tells before each further attempt.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }
}

/// What is known of one node of a call that is retried.
#[derive(Clone, Default)]
struct Asked {
    /// Attempts that have failed.
    failures: u32,
    last: Option<Fault>,
    /// When it is asked again.
    due: Option<Instant>,
}

/// The part of a call that asks nodes again. It is polled when the call looks for replies.
pub(crate) struct Retries {
    retry: Retry,
    template: Template,
    shared: Again,
    /// What interceptors made of the request for each node; nothing if there are none.
    own: Vec<Option<Again>>,
    nodes: SmallVec<[Asked; 8]>,
    timer: Pin<Box<Sleep>>,
    /// Absent outside of tests that are to be repeated exactly.
    dice: Option<StdRng>,
}

/// A request that may be sent again.
struct Again {
    message: Message,
    metadata: Option<Box<MetadataMap>>,
}

/// What a request says: encoded, and, if a node is in this process, as it is.
struct Message {
    encoded: Bytes,
    local: Option<Payload>,
}

impl<Req, Resp> Description<Req, Resp> {
    /// What is needed to ask nodes again, if that is wanted.
    pub(crate) fn retries(&self, own: &[Own<Req>]) -> Option<Box<Retries>> {
        let retry = *self.options.retry.as_deref().filter(|retry| retry.attempts > 1 && self.size() > 0)?;
        let codec = &self.method.request;
        let has_local = self.targets.iter().any(|node| node.channel().is_local());
        // What cannot be encoded fails now, and each time.
        let again = |request: &Req, metadata: Option<&MetadataMap>| {
            let local = has_local.then(|| (codec.keep)((codec.copy)(request), codec));
            let message = Message { encoded: codec.encoded(request).ok()?, local };
            Some(Again { message, metadata: metadata.cloned().map(Box::new) })
        };
        let shared = again(&self.request, self.options.metadata.as_deref())?;
        let own = own.iter().map(|own| {
            let (request, metadata) = self.own_or_shared(Some(own));
            if own.is_shared() { None } else { again(request, metadata) }
        });
        Some(Box::new(Retries {
            retry,
            template: self.template(),
            shared,
            own: own.collect(),
            nodes: SmallVec::from_elem(Asked::default(), self.size()),
            timer: Box::pin(sleep_until(Instant::now())),
            dice: self.targets.get(0).channel().pool().options().jitter_seed.map(StdRng::seed_from_u64),
        }))
    }
}

impl Retries {
    /// Takes the failures that are to be made good out of what came.
    pub(crate) fn hold_back<Resp>(&mut self, call: &Call<Resp>, replies: RawReplies) -> RawReplies {
        replies.into_iter().filter_map(|reply| self.hold(call, reply)).collect()
    }

    fn hold<Resp>(&mut self, call: &Call<Resp>, reply: RawReply) -> Option<RawReply> {
        let Err(fault) = &reply.result else { return Some(reply) };
        let asked = &mut self.nodes[reply.target];
        asked.failures += 1;
        let error: NodeError = fault.clone().of(call.target(reply.target));
        let is_safe = self.template.idempotent || !error.is_ambiguous();
        let tries_again = error.is_transient() && is_safe && asked.failures < self.retry.attempts;
        if !tries_again || call.with(|entry| entry.reopen(reply.target)).is_none() {
            return Some(reply);
        }
        let dice = self.dice.as_mut().map_or_else(rand::random, Rng::random);
        let wait = self.retry.backoff.wait(asked.failures, dice);
        if let Some(observed) = call.observed() {
            observed.retried(&error, wait);
        }
        asked.last = reply.result.err();
        asked.due = Some(Instant::now() + wait);
        None
    }

    /// Asks the nodes whose time has come, and sees to it that the call is polled when the next one's has.
    pub(crate) fn poll<Resp>(&mut self, call: &mut Call<Resp>, cx: &mut Context<'_>) {
        loop {
            let now = Instant::now();
            for target in 0..self.nodes.len() {
                if self.nodes[target].due.is_some_and(|due| due <= now) {
                    self.nodes[target].due = None;
                    self.ask(call, target, now);
                }
            }
            let Some(next) = self.nodes.iter().filter_map(|asked| asked.due).min() else { return };
            self.timer.as_mut().reset(next);
            if self.timer.as_mut().poll(cx).is_pending() {
                return;
            }
        }
    }

    fn ask<Resp>(&self, call: &mut Call<Resp>, target: usize, now: Instant) {
        let Some(id) = call.id().filter(|_| call.with(|entry| entry.offered(target, now)) == Some(true))
        else {
            return;
        };
        let timing = Timing::new(call.deadline(), now);
        let again = self.own.get(target).and_then(Option::as_ref).unwrap_or(&self.shared);
        let outline = self.template.outline(id, timing, again.metadata.as_deref());
        let Message { encoded, local } = &again.message;
        let len = outline.encoded_len(encoded.len());
        let body = match local.as_ref().filter(|_| call.target(target).channel().is_local()) {
            Some(payload) => self.template.local(payload.clone(), timing, again.metadata.as_deref(), len),
            None => Body::encode(len, |buf| {
                wire::encode(buf, &outline, encoded.len(), |buf| buf.extend_from_slice(encoded));
            }),
        };
        call.forget_place(target);
        offer_or_fail(call.target(target), &mut self.template.outgoing(id, body, Awaits::Reply, timing), now);
    }

    /// What a node has answered last, that is to be asked again.
    pub(crate) fn last(&self, target: usize) -> Option<&Fault> {
        self.nodes.get(target)?.last.as_ref()
    }
}
